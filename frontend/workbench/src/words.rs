//! Numbers as people say them: durations, sizes, shares and scores.

use mimeo_protocol::{
    JobState, Linearity, NewerFormat, PauseReason, Phase, Recipe, Scores, UnreadableJob,
};

/// "25 s", "3 min 10 s", "1 h 5 min"; nothing that is not known is made up: a number that is no
/// duration is "?".
#[must_use]
pub fn duration(secs: f64) -> String {
    if !secs.is_finite() || secs < 0.0 {
        return "?".to_owned();
    }
    let whole = secs.round() as u64;
    match whole {
        0 if secs > 0.0 => "less than 1 s".to_owned(),
        0..60 => format!("{whole} s"),
        60..3600 => with_rest(whole / 60, "min", whole % 60, "s"),
        // Seconds of an hour tell nobody anything.
        _ => {
            let minutes = (secs / 60.0).round() as u64;
            with_rest(minutes / 60, "h", minutes % 60, "min")
        }
    }
}

fn with_rest(count: u64, unit: &str, rest: u64, rest_unit: &str) -> String {
    if rest == 0 {
        format!("{count} {unit}")
    } else {
        format!("{count} {unit} {rest} {rest_unit}")
    }
}

/// How long one unit takes: "1.4 s/step", "0.08 s/step", "12 s/step".
#[must_use]
pub fn pace(secs: f64, unit: &str) -> String {
    let number = match secs {
        secs if !secs.is_finite() || secs < 0.0 => "?".to_owned(),
        secs if secs < 0.095 => format!("{secs:.2}"),
        secs if secs < 9.95 => format!("{secs:.1}"),
        secs => format!("{secs:.0}"),
    };
    format!("{number} s/{unit}")
}

/// "3.1 MB": decimal units, as files and downloads are counted.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be written as 1000.0.
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    if size < 99.95 {
        format!("{size:.1} {unit}")
    } else {
        format!("{size:.0} {unit}")
    }
}

/// A share of 1 as "86 %"; -0.3 is "−30 %".
#[must_use]
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "?".to_owned();
    }
    let percent = (share * 100.0).round();
    let sign = if percent < 0.0 { "\u{2212}" } else { "" };
    format!("{sign}{} %", percent.abs())
}

/// A strength as it stands on a dial: "−1", "0", "+0.5".
#[must_use]
pub fn strength(strength: f64) -> String {
    if strength == 0.0 {
        return "0".to_owned();
    }
    let sign = if strength < 0.0 { "\u{2212}" } else { "+" };
    format!("{sign}{}", strength.abs())
}

/// How long ago something was: "just now", "3 min ago", "2 days ago". A clock that runs behind
/// makes it "just now".
#[must_use]
pub fn ago(millis: u64, now_millis: u64) -> String {
    let minutes = now_millis.saturating_sub(millis) / 60_000;
    match minutes {
        0 => "just now".to_owned(),
        1..60 => format!("{minutes} min ago"),
        60..1440 => format!("{} h ago", minutes / 60),
        1440..2880 => "yesterday".to_owned(),
        _ => format!("{} days ago", minutes / 1440),
    }
}

/// What a part of a job is called.
#[must_use]
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "Loading",
        Phase::Compiling => "Preparing the GPU",
        Phase::Encoding => "Encoding",
        Phase::Copier => "Copying A",
        Phase::Training => "Training",
        Phase::Calibrating => "Calibrating",
        Phase::Scoring => "Measuring",
        Phase::Saving => "Saving",
    }
}

/// What one unit of a phase's progress is called; none where units mean nothing to people.
#[must_use]
pub const fn unit(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Copier | Phase::Training => Some("step"),
        _ => None,
    }
}

/// Where a job is, in a word or two.
#[must_use]
pub const fn state(state: &JobState) -> &'static str {
    match state {
        JobState::Queued => "Waiting",
        JobState::Running { phase: at } => phase(*at),
        JobState::Paused {
            reason: PauseReason::User,
            ..
        } => "Paused",
        JobState::Paused {
            reason: PauseReason::DiskFull { .. },
            ..
        } => "Waiting for disk space",
        JobState::Finished => "Finished",
        JobState::Stopped => "Stopped",
        JobState::Failed { .. } => "Failed",
    }
}

/// The two scores that matter, in one line: "makes 86 % of the change; 3 % spills elsewhere".
#[must_use]
pub fn scores(scores: &Scores) -> String {
    if let Some(style) = &scores.style
        && scores.is_of_style_alone()
    {
        let [leak, progress] = [style.leak, style.progress].map(percent);
        return format!("brings {leak} of the style; goes {progress} of the way to its pictures");
    }
    let gain = scores.edit_gain;
    let made = if !gain.is_finite() {
        "could not be measured".to_owned()
    } else if gain < -0.005 {
        format!("moves {} away from the change", percent(-gain))
    } else {
        format!("makes {} of the change", percent(gain))
    };
    let spill = if scores.spill.is_finite() {
        format!("; {} spills elsewhere", percent(scores.spill))
    } else {
        String::new()
    };
    format!("{made}{spill}")
}

/// Every score as a sentence, the two that matter first.
///
/// - `recipe`: by which they were measured
#[must_use]
pub fn score_sentences(measured: &Scores, recipe: &Recipe) -> Vec<String> {
    if !recipe.method.takes_pictures() {
        return slider_sentences(measured, recipe);
    }
    if measured.is_of_style_alone() {
        return style(measured);
    }
    let mut sentences = vec![capitalised(&scores(measured))];
    sentences.extend(held_out(measured, recipe));
    sentences.extend(consistency(measured));
    sentences.push(linearity(measured));
    sentences.extend(evenness(&measured.linearity));
    sentences.extend(valid(&measured.linearity));
    if let Some(fidelity) = measured.copy_fidelity {
        sentences.push(format!("The copier copies A: {}", percent(fidelity)));
    }
    if let Some(graded) = &measured.graded
        && let [lowest, .., highest] = graded.levels[..]
    {
        let deviation = percent(graded.deviation);
        let unseen = graded.held_out.as_ref().map(|unseen| {
            let deviation = percent(unseen.deviation);
            format!(", on unseen pictures within {deviation}")
        });
        sentences.push(format!(
            "From level {lowest} to {highest} the change is in proportion within {deviation}{}",
            unseen.unwrap_or_default()
        ));
    }
    sentences.extend(style(measured));
    let strength = measured.calibrated_strength;
    if strength.is_finite() && (strength - 1.0).abs() > 0.005 {
        sentences.push(format!(
            "Calibrated: what was strength {strength:.2} is strength 1 now"
        ));
    }
    sentences
}

/// Of a LoRA that was trained upon a style copier; none of others.
fn style(measured: &Scores) -> Vec<String> {
    let Some(style) = &measured.style else {
        return Vec::new();
    };
    let [leak, rest, progress] = [style.leak, style.rest, style.progress].map(percent);
    let pictures = style.pictures;
    vec![
        format!(
            "Used alone, it brings {leak} of the style into {pictures} pictures that do not name it, and changes them otherwise by {rest} of what the style is"
        ),
        format!("Pictures that name it go {progress} of the way to those it was trained on"),
    ]
}

/// There is no pair: all of the change is what the prompts do themselves.
fn slider_sentences(measured: &Scores, recipe: &Recipe) -> Vec<String> {
    let held_out = &measured.held_out;
    let (way, pictures) = (percent(held_out.progress), held_out.pictures);
    let mut sentences = vec![
        format!(
            "Takes {pictures} pictures it never saw {way} of the way that the prompts themselves take them"
        ),
        linearity(measured),
    ];
    sentences.extend(consistency(measured));
    sentences.extend(evenness(&measured.linearity));
    if !recipe.slider.keep.is_empty() {
        let elsewhere = held_out.elsewhere;
        sentences.push(format!(
            "Pictures of the prompts to keep change by {elsewhere:.1} of 255"
        ));
    }
    sentences
}

fn held_out(measured: &Scores, recipe: &Recipe) -> Option<String> {
    let held_out = &measured.held_out;
    if held_out.pictures == 0 || !held_out.gained.is_finite() {
        return None;
    }
    let pictures = held_out.pictures;
    let gained = (held_out.gained * pictures as f64).round();
    let progress = percent(held_out.progress);
    let elsewhere = held_out.elsewhere;
    let which = match &*recipe.held_out_prompts {
        [] => "it never saw",
        _ => "of your prompts",
    };
    Some(format!(
        "{gained} of {pictures} pictures {which} gain the change; on average they go {progress} of the way, and change by {elsewhere:.1} of 255 elsewhere"
    ))
}

fn linearity(measured: &Scores) -> String {
    /// Straighter than this, half the strength is about half the change.
    const STRAIGHT: f64 = 0.95;
    let linearity = &measured.linearity;
    if !linearity.monotone {
        "More strength does not always make more of the change".to_owned()
    } else if linearity.correlation >= STRAIGHT {
        let strongest = linearity.strongest();
        format!("The strength works evenly from \u{2212}{strongest} to {strongest}")
    } else {
        "More strength makes more of the change, but not evenly".to_owned()
    }
}

/// Up to which strength it can be used.
fn valid(linearity: &Linearity) -> Option<String> {
    let [low, high] = linearity.valid?;
    let from = match low {
        0.0 => "0".to_owned(),
        _ => format!("\u{2212}{}", -low),
    };
    Some(if (low, high) == (0.0, 0.0) {
        "Every strength that was tried does damage: it takes the change back, or changes more elsewhere than where you meant it".to_owned()
    } else if linearity.is_valid_throughout() {
        format!("From {from} to {high} it does no damage")
    } else {
        format!(
            "From {from} to {high} it does no damage; beyond, it takes the change back or changes more elsewhere"
        )
    })
}

/// What a step of strength does.
fn evenness(linearity: &Linearity) -> Option<String> {
    /// Steps that differ by less look alike.
    const EVEN: f64 = 0.25;
    Some(match linearity.unevenness? {
        ..EVEN => "Equal steps of strength make equal steps of the picture".to_owned(),
        uneven => format!(
            "Equal steps of strength make steps of the picture that differ by {}",
            percent(uneven)
        ),
    })
}

/// Whether it makes the same change on everyone.
fn consistency(measured: &Scores) -> Option<String> {
    let alike = measured.held_out.consistency?;
    let word = match alike {
        0.7.. => "The change is the same on everyone",
        0.4..0.7 => "The change is much the same on everyone",
        _ => "The change differs from one picture to the next",
    };
    Some(format!("{word} (alike to {})", percent(alike)))
}

/// Why something that a newer Mimeo wrote is left aside.
#[must_use]
pub fn newer(format: &NewerFormat) -> String {
    format!("{}.", capitalised(&format.to_string()))
}

/// Why a run cannot be read, and what to do.
#[must_use]
pub fn unreadable(job: &UnreadableJob) -> String {
    capitalised(&job.message)
}

/// With a capital letter first: sentences of the protocol begin small, because the command line puts
/// "error:" before them.
#[must_use]
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{HeldOut, Method, ModelSize};
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn measured(edit_gain: f64) -> Scores {
        Scores {
            edit_gain,
            spill: 0.03,
            held_out: HeldOut {
                pictures: 16,
                gained: 0.75,
                progress: 0.63,
                elsewhere: 5.5,
                consistency: None,
            },
            linearity: Linearity {
                edit_gain: vec![],
                progress: vec![],
                monotone: true,
                correlation: 0.97,
                valid: None,
                unevenness: None,
            },
            copy_fidelity: Some(0.93),
            calibrated_strength: 0.8,
            graded: None,
            style: None,
        }
    }

    #[test]
    fn a_character_is_told_by_what_it_has_of_the_style() {
        let recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        let style = mimeo_protocol::StyleLeak {
            pictures: 8,
            leak: 0.04,
            rest: 0.5,
            progress: 0.37,
        };
        let told = score_sentences(&Scores::of_style(style.clone()), &recipe);
        let [alone, named] = &told[..] else {
            panic!("nothing of a pair: {told:?}");
        };
        assert!(
            alone.contains("4 % of the style into 8 pictures"),
            "{alone}"
        );
        assert!(named.contains("37 % of the way"), "{named}");
        let pair = Scores {
            style: Some(style),
            ..measured(0.86)
        };
        let told = score_sentences(&pair, &recipe);
        assert!(told.contains(alone) && told.len() > 4, "beside: {told:?}");
        assert!(scores(&pair).starts_with("makes 86 %"), "the change first");
    }

    #[test]
    fn durations_are_as_people_say_them() {
        for (secs, text) in [
            (0.0, "0 s"),
            (0.2, "less than 1 s"),
            (25.4, "25 s"),
            (59.6, "1 min"),
            (190.0, "3 min 10 s"),
            (3599.7, "1 h"),
            (3900.0, "1 h 5 min"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ] {
            assert_eq!(duration(secs), text, "{secs} s");
        }
    }

    #[test]
    fn paces_have_the_digits_that_matter() {
        for (secs, text) in [
            (1.42, "1.4 s/step"),
            (0.078, "0.08 s/step"),
            (12.3, "12 s/step"),
        ] {
            assert_eq!(pace(secs, "step"), text, "{secs} s");
        }
    }

    #[test]
    fn sizes_are_decimal() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (3_140_000, "3.1 MB"),
            (999_999, "1.0 MB"),
            (144_000_000, "144 MB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(size), text, "{size} bytes");
        }
    }

    #[test]
    fn shares_and_strengths_carry_a_real_minus() {
        assert_eq!(percent(0.864), "86 %", "rounded");
        assert_eq!(percent(-0.3), "\u{2212}30 %", "below nothing");
        assert_eq!(percent(-0.001), "0 %", "no minus before nothing");
        assert_eq!(
            [-1.0, 0.0, 0.5].map(strength),
            ["\u{2212}1", "0", "+0.5"],
            "as on the dial"
        );
    }

    #[test]
    fn the_past_is_told_in_its_largest_unit() {
        let minute = 60_000;
        for (minutes, text) in [
            (0, "just now"),
            (3, "3 min ago"),
            (130, "2 h ago"),
            (1500, "yesterday"),
            (4 * 1440, "4 days ago"),
        ] {
            assert_eq!(ago(minute, minute * (minutes + 1)), text, "{minutes} min");
        }
        assert_eq!(ago(minute, 0), "just now", "a clock that runs behind");
    }

    #[test]
    fn scores_are_one_plain_line() {
        assert_eq!(
            scores(&measured(0.86)),
            "makes 86 % of the change; 3 % spills elsewhere",
            "the usual case"
        );
        assert!(
            scores(&measured(-0.2)).starts_with("moves 20 % away from the change"),
            "damage is called by its name"
        );
        assert!(
            scores(&measured(f64::NAN)).starts_with("could not be measured"),
            "no number is made up"
        );
    }

    #[test]
    fn every_score_has_its_sentence() {
        let mut recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        assert_eq!(
            score_sentences(&measured(0.86), &recipe),
            [
                "Makes 86 % of the change; 3 % spills elsewhere",
                "12 of 16 pictures it never saw gain the change; on average they go 63 % of the way, and change by 5.5 of 255 elsewhere",
                "The strength works evenly from \u{2212}2 to 2",
                "The copier copies A: 93 %",
                "Calibrated: what was strength 0.80 is strength 1 now",
            ],
            "all five"
        );
        recipe.held_out_prompts = vec!["a cat".to_owned()];
        let sentences = score_sentences(&measured(0.86), &recipe);
        let own = "12 of 16 pictures of your prompts gain the change";
        assert!(
            sentences[1].starts_with(own),
            "whose they were: {sentences:?}"
        );
    }

    #[test]
    fn range_steps_and_consistency_are_told_where_they_were_measured() {
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let told = |valid: [f64; 2], uneven: f64, alike: f64| {
            let mut scores = measured(0.86);
            scores.linearity.progress = vec![0.0; 5];
            scores.linearity.valid = Some(valid);
            scores.linearity.unevenness = Some(uneven);
            scores.held_out.consistency = Some(alike);
            score_sentences(&scores, &recipe)
        };
        let sentences = told([-2.0, 2.0], 0.1, 0.83);
        assert_eq!(
            [&sentences[2], &sentences[4], &sentences[5]],
            [
                "The change is the same on everyone (alike to 83 %)",
                "Equal steps of strength make equal steps of the picture",
                "From \u{2212}2 to 2 it does no damage",
            ],
            "of {sentences:?}"
        );
        let sentences = told([0.0, 1.0], 0.6, 0.2);
        assert!(
            sentences[2].contains("differs from one picture"),
            "{sentences:?}"
        );
        assert!(
            sentences[4].ends_with("that differ by 60 %"),
            "{sentences:?}"
        );
        let words = "From 0 to 1 it does no damage; beyond, it takes";
        assert!(sentences[5].starts_with(words), "{sentences:?}");
        let none = told([0.0; 2], 0.6, 0.5);
        assert!(
            none[5].starts_with("Every strength that was tried does damage"),
            "{none:?}"
        );
    }

    #[test]
    fn a_slider_is_told_by_its_way_and_what_it_keeps() {
        let mut recipe = Recipe::preset(Method::Slider, ModelSize::Small);
        let sentences = score_sentences(&measured(0.8), &recipe);
        assert_eq!(
            sentences[0],
            "Takes 16 pictures it never saw 63 % of the way that the prompts themselves take them",
            "of {sentences:?}"
        );
        assert_eq!(sentences.len(), 2, "nothing to keep");
        recipe.slider.keep = vec!["a hat".to_owned()];
        let sentences = score_sentences(&measured(0.8), &recipe);
        assert!(sentences[2].ends_with("by 5.5 of 255"), "{sentences:?}");
    }

    proptest! {
        #[test]
        fn no_number_is_written_without_a_unit_or_twice(secs in any::<f64>(), size in any::<u64>()) {
            let text = duration(secs);
            prop_assert!(text == "?" || text.ends_with([' ', 's', 'n', 'h']), "{text}");
            prop_assert!(bytes(size).ends_with('B'), "{size}");
            prop_assert!(!duration(secs.abs()).contains("60 s"), "60 s is a minute: {secs}");
        }
    }
}
