//! What is to be said of a LoRA before it is used.

use std::collections::BTreeSet;

use super::LeftOut;

/// What a user would not expect of a LoRA that can be applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remarks {
    /// What of it is not applied.
    pub left_out: LeftOut,
    /// Whether all that is applied leaves every picture as it is.
    pub changes_nothing: bool,
    /// Settings of PEFT's that ask for tensors which the file lacks.
    pub missing: BTreeSet<&'static str>,
    /// Settings of PEFT's that are not known here and were left aside; made printable.
    pub unknown_settings: BTreeSet<String>,
}

impl Remarks {
    /// A sentence for each, of the file called `name`.
    #[must_use]
    pub fn sentences(&self, name: &str) -> Vec<String> {
        let nothing = self.changes_nothing.then(|| {
            format!(
                "{name} changes nothing: in each of its modules alpha or the weights are 0, as in a \
                 file that was saved before it was trained. Save it again, or choose another one."
            )
        });
        let missing = (!self.missing.is_empty()).then(|| {
            format!(
                "{name} lacks what its settings ask for ({}), so it may do something else than when \
                 it was trained. Take the file as it was saved first.",
                list(&self.missing)
            )
        });
        let unknown = (!self.unknown_settings.is_empty()).then(|| {
            format!(
                "{name} was made with settings that this version does not know and leaves aside: {}.",
                list(&self.unknown_settings)
            )
        });
        let sentences = [self.left_out.sentence(name), nothing, missing, unknown];
        sentences.into_iter().flatten().collect()
    }
}

fn list(names: &BTreeSet<impl AsRef<str>>) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_sentence_with_the_name_of_the_file() {
        assert!(Remarks::default().sentences("x").is_empty(), "all is well");
        let mut left_out = LeftOut::default();
        left_out.add("norm layers");
        let remarks = Remarks {
            left_out,
            changes_nothing: true,
            missing: BTreeSet::from(["lora_bias", "modules_to_save"]),
            unknown_settings: BTreeSet::from(["use_new".to_owned()]),
        };
        let sentences = remarks.sentences("x");
        for (sentence, words) in sentences.iter().zip([
            "norm layers 1",
            "x changes nothing",
            "(lora_bias, modules_to_save)",
            "leaves aside: use_new.",
        ]) {
            assert!(sentence.contains(words), "{words:?} in: {sentence}");
            assert!(sentence.contains('x'), "which file: {sentence}");
        }
        assert_eq!(sentences.len(), 4, "{sentences:?}");
    }
}
