//! Curves as a picture: what was kept, and what changed elsewhere, over what was gained.

use std::fmt::Write as _;

use super::Judged;
use super::curve::{Curve, Point};

/// Width and height of a panel, px.
const PANEL: [f64; 2] = [150.0, 120.0];
/// Room left of all panels and above them, for what the axes mean and the edits' names.
const MARGIN: [f64; 2] = [64.0, 40.0];
/// Room between panels.
const GAP: f64 = 14.0;
/// Room below all of them, for the numbers and the methods' names.
const FOOT: f64 = 62.0;

/// Methods in the colours of Okabe and Ito, which everybody can tell apart.
const COLOURS: [(&str, &str); 5] = [
    ("copier", "#0072b2"),
    ("addift", "#d55e00"),
    ("plain", "#009e73"),
    ("words", "#555555"),
    ("file", "#cc79a7"),
];

/// What stands on the upright axis of a row of panels.
struct Axis {
    title: &'static str,
    /// The values at its foot and at its head, and how they are written there.
    ends: [(f64, &'static str); 2],
    /// What is aimed at, which gets a line.
    goal: f64,
    value: fn(&Point) -> f64,
}

const AXES: [Axis; 2] = [
    Axis {
        title: "others kept",
        ends: [(0.5, "50 %"), (1.0, "100 %")],
        goal: 0.93,
        value: |point| point.kept,
    },
    Axis {
        title: "elsewhere",
        ends: [(50.0, "50"), (0.0, "0")],
        goal: 5.0,
        value: |point| point.elsewhere,
    },
];

impl Axis {
    /// How high a value stands, 0 at the foot and 1 at the head.
    fn height(&self, value: f64) -> f64 {
        let [(foot, _), (head, _)] = self.ends;
        ((value - foot) / (head - foot)).clamp(0.0, 1.0)
    }
}

/// The curves as an SVG: a column for each edit, a line for each method, the mean of the edit's pairs. A
/// dot is a strength, a large one strength 1, as the file is saved.
pub fn chart(judged: &[Judged]) -> String {
    let kept = judged.iter().filter(|judged| !judged.control);
    let mut edits: Vec<(&str, Vec<&Judged>)> = Vec::new();
    for one in kept {
        let edit = one.pair.split('/').next().unwrap_or(&one.pair);
        match edits.iter_mut().find(|(known, _)| *known == edit) {
            Some((_, of_edit)) => of_edit.push(one),
            None => edits.push((edit, vec![one])),
        }
    }
    let [width, height] = size(edits.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing into a string does not fail.
    _ = draw(&mut svg, &edits);
    svg.push_str("</svg>\n");
    svg
}

fn size(edits: usize) -> [f64; 2] {
    [(edits, 0), (AXES.len(), 1)].map(|(count, way)| {
        let panels = count as f64 * (PANEL[way] + GAP);
        MARGIN[way] + panels + if way == 1 { FOOT } else { 0.0 }
    })
}

fn draw(svg: &mut String, edits: &[(&str, Vec<&Judged>)]) -> std::fmt::Result {
    for (row, axis) in AXES.iter().enumerate() {
        let top = MARGIN[1] + row as f64 * (PANEL[1] + GAP);
        let [(_, foot), (_, head)] = axis.ends;
        text(svg, [MARGIN[0] - 6.0, top + 12.0], "end", head)?;
        text(svg, [MARGIN[0] - 6.0, top + PANEL[1]], "end", foot)?;
        let middle = top + PANEL[1] / 2.0 + 4.0;
        text(svg, [MARGIN[0] - 2.0, middle], "end", axis.title)?;
        for (column, (edit, judged)) in edits.iter().enumerate() {
            let left = MARGIN[0] + column as f64 * (PANEL[0] + GAP);
            if row == 0 {
                let name = edit.replace('_', " ");
                text(
                    svg,
                    [left + PANEL[0] / 2.0, MARGIN[1] - 10.0],
                    "middle",
                    &name,
                )?;
            }
            panel(svg, [left, top], axis, judged)?;
        }
    }
    let foot = MARGIN[1] + AXES.len() as f64 * (PANEL[1] + GAP);
    for column in 0..edits.len() {
        let left = MARGIN[0] + column as f64 * (PANEL[0] + GAP);
        text(svg, [left, foot + 4.0], "start", "0 %")?;
        text(svg, [left + PANEL[0] / 2.0, foot + 4.0], "middle", "gained")?;
        text(svg, [left + PANEL[0], foot + 4.0], "end", "100 %")?;
    }
    let used = |method: &str| {
        let mut all = edits.iter().flat_map(|(_, judged)| judged);
        all.any(|judged| judged.method == method)
    };
    let used = COLOURS.iter().filter(|(method, _)| used(method));
    for (place, (method, colour)) in used.enumerate() {
        let (x, y) = (MARGIN[0] + place as f64 * 90.0, foot + 32.0);
        writeln!(
            svg,
            "<circle cx=\"{}\" cy=\"{}\" r=\"5\" fill=\"{colour}\"/>",
            x + 5.0,
            y - 4.0
        )?;
        text(svg, [x + 16.0, y], "start", method)?;
    }
    Ok(())
}

fn panel(
    svg: &mut String,
    [left, top]: [f64; 2],
    axis: &Axis,
    judged: &[&Judged],
) -> std::fmt::Result {
    let [width, height] = PANEL;
    writeln!(
        svg,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height}\" fill=\"#f6f6f6\"/>"
    )?;
    let place = |point: &Point| {
        let up = axis.height((axis.value)(point));
        [left + width * point.gained, top + height * (1.0 - up)]
    };
    let goal = top + height * (1.0 - axis.height(axis.goal));
    writeln!(
        svg,
        "<path d=\"M{left:.1} {goal:.1}h{width}\" stroke=\"#bbb\" stroke-dasharray=\"4 3\"/>"
    )?;
    for (method, colour) in COLOURS {
        let curves = judged.iter().filter(|judged| judged.method == method);
        let curves: Vec<&Curve> = curves.map(|judged| &judged.curve).collect();
        let points = mean(&curves);
        let line: Vec<String> = points
            .iter()
            .map(|point| {
                let [x, y] = place(point);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        if line.is_empty() {
            continue;
        }
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            line.join(" ")
        )?;
        // Where everything begins is no strength.
        for point in points.iter().skip(1) {
            let [x, y] = place(point);
            let radius = if point.strength == 1.0 { 4.0 } else { 2.0 };
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
            )?;
        }
    }
    Ok(())
}

/// Points of several curves over the same strengths, each the mean of theirs.
fn mean(curves: &[&Curve]) -> Vec<Point> {
    let Some(first) = curves.first() else {
        return Vec::new();
    };
    let strengths = first.points().iter().map(|point| point.strength);
    let at = |strength: f64| {
        let points = curves
            .iter()
            .filter_map(|curve| curve.at_strength(strength));
        Point::mean(&points.collect::<Vec<_>>())
    };
    strengths.filter_map(at).collect()
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) -> std::fmt::Result {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            letter => safe.push(letter),
        }
    }
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{safe}</text>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pair: &str, method: &str, gained: f64) -> Judged {
        let point = Point {
            strength: 1.0,
            gained,
            kept: 0.75,
            pull: 0.0,
            elsewhere: 25.0,
        };
        Judged {
            pair: pair.to_owned(),
            method: method.to_owned(),
            curve: Curve::new([point]),
            control: false,
        }
    }

    #[test]
    fn a_method_has_one_line_an_edit_through_the_means_of_its_pairs() {
        let judged = [
            judged("hat/00", "addift", 0.25),
            judged("hat/01", "addift", 0.75),
            judged("beard/00", "copier", 1.0),
            Judged {
                control: true,
                ..judged("both/00", "plain", 0.5)
            },
        ];
        let svg = chart(&judged);
        assert_eq!(svg.matches("<polyline").count(), 4, "two edits, two rows");
        // Gained by half, in the middle of the first panel; kept in the middle of its axis.
        let (x, y) = (MARGIN[0] + PANEL[0] / 2.0, MARGIN[1] + PANEL[1] / 2.0);
        let dot = format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"");
        assert!(svg.contains(&dot), "{dot} in {svg}");
        assert!(!svg.contains(">plain<"), "controls are left out");
    }

    #[test]
    fn names_of_folders_are_text() {
        let svg = chart(&[judged("<b>&/00", "addift", 0.5)]);
        assert!(svg.contains(">&lt;b>&amp;</text>"), "{svg}");
    }
}
