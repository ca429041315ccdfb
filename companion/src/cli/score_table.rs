//! Scores as people read them: a number, and a line of words.

use std::fmt::Write as _;

use mimeo_engine::Scores;
use mimeo_protocol::Recipe;

/// The scores as lines of a table.
///
/// - `recipe`: by which they were measured
pub fn table(scores: &Scores, recipe: &Recipe) -> String {
    let mut text = String::new();
    for (name, value, words) in rows(scores, recipe) {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{name:<15} {value:>7}   {words}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn rows(scores: &Scores, recipe: &Recipe) -> Vec<(&'static str, String, String)> {
    let held_out = &scores.held_out;
    let linearity = &scores.linearity;
    let pictures = match &*recipe.held_out_prompts {
        [] => "unseen pictures",
        _ => "pictures of the given prompts",
    };
    if !recipe.method.takes_pictures() {
        return slider_rows(scores, recipe);
    }
    if scores.is_of_style_alone() {
        return style_rows(scores);
    }
    let mut rows = vec![
        (
            "Edit gain",
            percent(scores.edit_gain),
            gain_words(scores.edit_gain),
        ),
        (
            "Spill",
            percent(scores.spill),
            format!("{} of the change spills elsewhere", percent(scores.spill)),
        ),
        (
            "Held-out",
            percent(held_out.gained),
            format!(
                "{} of {} {pictures} gained it, on average {} of the change; elsewhere they changed by {:.1} of 255",
                (held_out.gained * held_out.pictures as f64).round(),
                held_out.pictures,
                percent(held_out.progress),
                held_out.elsewhere
            ),
        ),
        ("Linearity", format!("{:.2}", linearity.correlation), {
            let range = format!("from -{0} to {0}", linearity.strongest());
            if linearity.monotone {
                format!("more strength is more change, {range}")
            } else {
                format!("not every higher strength {range} is more change")
            }
        }),
    ];
    rows.extend(further_rows(scores));
    if let Some(fidelity) = scores.copy_fidelity {
        let words = format!("the copier drew the original to {}", percent(fidelity));
        rows.push(("Copy fidelity", percent(fidelity), words));
    }
    if let Some(graded) = &scores.graded
        && let [lowest, .., highest] = graded.levels[..]
    {
        let deviation = percent(graded.deviation);
        let unseen = graded.held_out.as_ref().map(|unseen| {
            let deviation = percent(unseen.deviation);
            format!(", on unseen pictures {deviation}")
        });
        let words = format!(
            "from level {lowest} to {highest} the change is at most so far from being in proportion{}",
            unseen.unwrap_or_default()
        );
        rows.push(("Grading", deviation, words));
    }
    rows.extend(style_rows(scores));
    if scores.calibrated_strength != 1.0 {
        rows.push((
            "Calibration",
            format!("{:.2}", scores.calibrated_strength),
            "folded into the weights, so that strength 1 is the change you showed".to_owned(),
        ));
    }
    rows
}

/// Those that scores of before do not have.
fn further_rows(scores: &Scores) -> Vec<(&'static str, String, String)> {
    let linearity = &scores.linearity;
    let valid = linearity.valid.map(|[low, high]| {
        let words = match linearity.is_valid_throughout() {
            true => "all that was tried goes on with the change, and changes less elsewhere",
            false => "beyond it takes the change back, or changes more elsewhere",
        };
        ("Valid range", format!("{low} to {high}"), words.to_owned())
    });
    let unevenness = linearity.unevenness.map(|uneven| {
        let words = "is how much what equal steps of strength change differs";
        ("Unevenness", percent(uneven), words.to_owned())
    });
    let consistency = scores.held_out.consistency.map(|alike| {
        let words = "is how alike unseen pictures change";
        ("Consistency", percent(alike), words.to_owned())
    });
    let rows = [valid, unevenness, consistency];
    rows.into_iter().flatten().collect()
}

/// Of a LoRA that was trained upon a style copier; none of others.
fn style_rows(scores: &Scores) -> Vec<(&'static str, String, String)> {
    let Some(style) = &scores.style else {
        return Vec::new();
    };
    vec![
        (
            "Style leak",
            percent(style.leak),
            format!(
                "of the style is in {} unseen pictures that do not name it; otherwise they change by {} of what the style is",
                style.pictures,
                percent(style.rest)
            ),
        ),
        (
            "Subject",
            percent(style.progress),
            "of the way to the training pictures is gone by pictures that name it, without the style"
                .to_owned(),
        ),
    ]
}

/// There is no pair: what the prompts do themselves is all of the change.
fn slider_rows(scores: &Scores, recipe: &Recipe) -> Vec<(&'static str, String, String)> {
    let (held_out, linearity) = (&scores.held_out, &scores.linearity);
    let ways = linearity.progress.iter().map(|way| percent(*way));
    let ways = ways.collect::<Vec<_>>().join(", ");
    let range = linearity.strongest();
    let mut rows = vec![
        (
            "Progress",
            percent(held_out.progress),
            format!(
                "of the way that the prompts themselves take {} unseen pictures, at strength 1",
                held_out.pictures
            ),
        ),
        (
            "Linearity",
            format!("{:.2}", linearity.correlation),
            format!("the way from strength -{range} to {range}: {ways}"),
        ),
    ];
    rows.extend(further_rows(scores));
    if !recipe.slider.keep.is_empty() {
        rows.push((
            "Kept",
            format!("{:.1}", held_out.elsewhere),
            "of 255 is what pictures of the prompts to keep changed by".to_owned(),
        ));
    }
    rows
}

fn gain_words(gain: f64) -> String {
    match gain {
        ..0.0 => "it damages the picture instead of making the change".to_owned(),
        0.0..0.05 => "it makes next to nothing of the change".to_owned(),
        _ => format!("makes {} of the change", percent(gain)),
    }
}

/// `86 %`
pub fn percent(share: f64) -> String {
    // Adding zero turns -0 into 0.
    format!("{:.0} %", (share * 100.0).round() + 0.0)
}

#[cfg(test)]
mod tests {
    use mimeo_engine::{HeldOut, Linearity};
    use mimeo_protocol::{Graded, HeldOutGrading, Method, ModelSize, StyleLeak};

    use super::*;

    fn scores() -> Scores {
        Scores {
            edit_gain: 0.861,
            spill: 0.03,
            held_out: HeldOut {
                pictures: 8,
                gained: 0.75,
                progress: 0.5,
                elsewhere: 4.83,
                consistency: None,
            },
            linearity: Linearity {
                edit_gain: Vec::new(),
                progress: Vec::new(),
                monotone: true,
                correlation: 0.987,
                valid: None,
                unevenness: None,
            },
            copy_fidelity: None,
            calibrated_strength: 1.0,
            graded: None,
            style: None,
        }
    }

    #[test]
    fn every_number_comes_with_words() {
        let mut recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        let text = table(&scores(), &recipe);
        for words in [
            "makes 86 % of the change",
            "3 % of the change spills",
            "6 of 8 unseen",
        ] {
            assert!(text.contains(words), "{words} in:\n{text}");
        }
        assert_eq!(
            text.lines().count(),
            4,
            "no copier and no calibration to tell:\n{text}"
        );
        recipe.held_out_prompts = vec!["a cat".to_owned()];
        let text = table(&scores(), &recipe);
        let words = "6 of 8 pictures of the given prompts gained it";
        assert!(text.contains(words), "whose prompts they were:\n{text}");
    }

    #[test]
    fn range_steps_and_consistency_have_lines_where_they_were_measured() {
        let mut scores = scores();
        scores.linearity.progress = vec![0.0; 5];
        scores.linearity.valid = Some([-0.5, 1.0]);
        scores.linearity.unevenness = Some(0.42);
        scores.held_out.consistency = Some(0.83);
        let text = table(&scores, &Recipe::preset(Method::Addift, ModelSize::Small));
        for (name, number, words) in [
            (
                "Valid range",
                "-0.5 to 1 ",
                "beyond it takes the change back",
            ),
            ("Unevenness", "42 %", "equal steps of strength"),
            ("Consistency", "83 %", "how alike unseen pictures change"),
        ] {
            let line = text.lines().find(|line| line.starts_with(name));
            let line = line.expect("a line of its own");
            assert!(line.contains(number) && line.contains(words), "{line}");
        }
    }

    #[test]
    fn a_graded_slider_tells_how_far_from_proportion_it_is() {
        let graded = Graded {
            levels: vec![-2.0, 1.0, 2.0],
            progress: vec![0.8, 1.0, 1.2],
            deviation: 0.2,
            held_out: Some(HeldOutGrading {
                progress: vec![0.4, 0.5, 0.8],
                deviation: 0.41,
            }),
        };
        let scores = Scores {
            graded: Some(Box::new(graded)),
            ..scores()
        };
        let text = table(&scores, &Recipe::preset(Method::Addift, ModelSize::Small));
        let line = text.lines().find(|line| line.starts_with("Grading"));
        let line = line.expect("a line of its own");
        assert!(line.contains("20 %   from level -2 to 2"), "{line}");
        assert!(line.ends_with("on unseen pictures 41 %"), "{line}");
    }

    #[test]
    fn a_character_is_told_by_its_style_leak_also_without_a_pair() {
        let style = StyleLeak {
            pictures: 8,
            leak: 0.04,
            rest: 0.5,
            progress: 0.37,
        };
        let recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        let alone = table(&Scores::of_style(style.clone()), &recipe);
        assert_eq!(alone.lines().count(), 2, "nothing of a change:\n{alone}");
        assert!(
            alone.contains("4 %   of the style is in 8 unseen"),
            "{alone}"
        );
        assert!(alone.contains("37 %   of the way to the"), "{alone}");
        let scores = Scores {
            style: Some(style),
            ..scores()
        };
        let pair = table(&scores, &recipe);
        assert_eq!(pair.lines().count(), 4 + 2, "beside the others:\n{pair}");
    }

    #[test]
    fn a_slider_is_told_by_its_way_and_what_it_keeps() {
        let mut recipe = Recipe::preset(Method::Slider, ModelSize::Small);
        let mut scores = scores();
        scores.linearity.progress = vec![-0.9, 0.0, 1.1];
        let text = table(&scores, &recipe);
        assert!(
            text.contains("from strength -1 to 1: -90 %, 0 %, 110 %"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2, "nothing to keep:\n{text}");
        recipe.slider.keep = vec!["a hat".to_owned()];
        let text = table(&scores, &recipe);
        assert!(text.contains("4.8   of 255"), "{text}");
    }

    #[test]
    fn damage_is_called_damage() {
        assert!(gain_words(-0.2).contains("damages"), "a negative gain");
        assert_eq!(percent(-0.001), "0 %", "no minus before a zero");
    }
}
