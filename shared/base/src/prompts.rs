//! Prompts for looking at a LoRA on people it was not trained on.

/// Twelve different people in the base's own tags, in the order of its captions.
///
/// They leave room for every bundled edit: no glasses, no beard, no hat, eyes open, mouth serious
/// or sad, head of normal size, hair not pink. So a change that shows is the
/// LoRA's.
pub fn prompts() -> &'static [&'static str] {
    &[
        "short hair, brown hair, pale skin, open eyes, serious mouth, blue hoodie, white background",
        "long hair, black hair, tan skin, open eyes, serious mouth, green t-shirt, blue background",
        "bob hair, blonde hair, pale skin, open eyes, frown, black blazer, gray background",
        "hair bun, brown hair, dark skin, open eyes, serious mouth, yellow sweater, green background",
        "curly hair, black hair, brown skin, open eyes, serious mouth, white t-shirt, yellow background",
        "medium hair, silver hair, tan skin, open eyes, serious mouth, purple hoodie, pink background",
        "mullet, blonde hair, pale skin, open eyes, frown, red t-shirt, white background",
        "buzz cut, black hair, dark skin, open eyes, serious mouth, blue blazer, gray background",
        "afro, brown hair, brown skin, open eyes, serious mouth, green overalls, blue background",
        "spiky hair, blue hair, pale skin, open eyes, serious mouth, black hoodie, yellow background",
        "long hair, blonde hair, tan skin, open eyes, frown, pink sweater, green background",
        "short hair, silver hair, brown skin, open eyes, serious mouth, black t-shirt, white background",
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{pairs, set};

    #[test]
    fn no_prompt_repeats_or_is_trained_on() {
        let distinct: BTreeSet<_> = prompts().iter().collect();
        assert_eq!(
            distinct.len(),
            prompts().len(),
            "every prompt is another person"
        );
        let captions = pairs()
            .iter()
            .flat_map(|pair| [pair.original_caption, pair.target_caption]);
        for caption in captions.chain([set().original_caption]) {
            assert!(!prompts().contains(&caption), "{caption} is in an example");
        }
    }

    #[test]
    fn no_prompt_shows_a_bundled_edit_already() {
        let edits = [
            "glasses",
            "smile",
            "beard",
            "moustache",
            "hat",
            "pink hair",
            "closed",
            "small",
        ];
        for prompt in prompts() {
            for tag in prompt.split(", ") {
                let shown = edits.iter().find(|edit| tag.contains(**edit));
                assert_eq!(shown, None, "{prompt}");
            }
        }
    }
}
