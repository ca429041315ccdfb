//! LoRA files on their way to whoever draws: which belong together, what of them will not be applied.

use std::rc::Rc;

use mimeo_checkpoint::lora_file::{put_together, survey};
use mimeo_checkpoint::{LoraFileError, MemoryFile, SafetensorsFile, printable};

/// What PEFT calls the two files that make one LoRA.
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";
/// Longest quote of a stranger's text.
const QUOTE: usize = 200;

/// A LoRA as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    /// One file that says everything by itself.
    pub bytes: Vec<u8>,
    /// What of it will not be applied, in one sentence; none if all of it will.
    pub remark: Option<String>,
}

/// Files that were picked together, sorted by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// The LoRAs, by their places among the names.
    pub loras: Vec<usize>,
    /// The place of PEFT's configuration, and that of the LoRA that it belongs to.
    pub config: Option<(usize, usize)>,
    /// A sentence for each that is no LoRA, or lacks its other half.
    pub refusals: Vec<String>,
}

impl Sorted {
    /// The place of the configuration of the LoRA at `lora`.
    #[must_use]
    pub fn config_of(&self, lora: usize) -> Option<usize> {
        let (config, weights) = self.config?;
        (weights == lora).then_some(config)
    }
}

/// Sorts files that were picked together.
#[must_use]
pub fn sort(names: &[String]) -> Sorted {
    let mut sorted = Sorted::default();
    let weights = names.iter().position(|name| name == WEIGHTS);
    for (place, name) in names.iter().enumerate() {
        if name == CONFIG {
            match weights {
                Some(weights) => sorted.config = Some((place, weights)),
                None => sorted.refusals.push(format!(
                    "{CONFIG} belongs to an {WEIGHTS}. Choose the two together."
                )),
            }
        } else if name.to_ascii_lowercase().ends_with(".safetensors") {
            sorted.loras.push(place);
        } else {
            let name = printable(name, QUOTE);
            sorted.refusals.push(format!(
                "{name} is no LoRA. Choose a .safetensors file; of a folder that PEFT saved, choose \
                 {WEIGHTS} and {CONFIG} together."
            ));
        }
    }
    sorted
}

/// Looks at a LoRA before it is sent; of its numbers nothing is read.
///
/// - `config`: the bytes of its `adapter_config.json`
///
/// # Errors
/// One sentence: why it cannot be used, and what to do.
pub async fn pack(name: &str, bytes: Vec<u8>, config: Option<&[u8]>) -> Result<Parcel, String> {
    let shown = printable(name, QUOTE);
    let mut bytes = Rc::new(bytes);
    if let Some(config) = config {
        let text = std::str::from_utf8(config).map_err(|_not_text| {
            format!("{CONFIG} is no text. Choose the one that PEFT saved beside {WEIGHTS}.")
        })?;
        let file = open(&shown, &bytes).await?;
        let whole = put_together(&file, text).await;
        bytes = Rc::new(whole.map_err(|error| error.to_string())?);
    }
    let file = open(&shown, &bytes).await?;
    let left_out = survey(&file).map_err(|error| match error {
        LoraFileError::MissingAdapterConfig { .. } => format!(
            "{shown} does not say how strong it is: PEFT keeps that in {CONFIG}. Choose the two \
             together."
        ),
        error => error.to_string(),
    })?;
    drop(file);
    Ok(Parcel {
        bytes: Rc::unwrap_or_clone(bytes),
        remark: left_out.sentence(&shown),
    })
}

/// Opens bytes that are handed back: a LoRA may fill half of what a page may take.
async fn open(name: &str, bytes: &Rc<Vec<u8>>) -> Result<SafetensorsFile, String> {
    let file = MemoryFile::shared(name, Rc::clone(bytes));
    let opened = SafetensorsFile::open(Box::new(file)).await;
    opened.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mimeo_checkpoint::Array;
    use mimeo_checkpoint::safetensors::write_f32;
    use pollster::block_on;

    use super::*;

    const PATH: &str = "mid_block.attentions.0.proj_in";

    /// A file of rank 1 with these modules.
    fn file(modules: &[&str], [down, up]: [&str; 2]) -> Vec<u8> {
        let array = || Array {
            shape: vec![1, 1],
            data: vec![0.5],
        };
        let tensors = modules
            .iter()
            .flat_map(|module| [down, up].map(|part| (format!("{module}.{part}.weight"), array())));
        write_f32(tensors.collect(), &BTreeMap::new())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_configuration_is_given_to_its_weights() {
        let sorted = sort(&names(&["a.safetensors", CONFIG, WEIGHTS]));
        assert_eq!(sorted.loras, [0, 2], "both LoRAs");
        let configs = [0, 2].map(|lora| sorted.config_of(lora));
        assert_eq!(configs, [None, Some(1)], "and whose the settings are");
        let sorted = sort(&names(&["a.SAFETENSORS"]));
        assert_eq!((sorted.loras, sorted.config), (vec![0], None), "one");
    }

    #[test]
    fn what_is_no_lora_or_half_of_one_is_named_and_keeps_no_other_out() {
        let sorted = sort(&names(&[CONFIG, "a.safetensors", "b.png"]));
        assert_eq!(sorted.loras, [1], "the one that is");
        let [half, picture] = &*sorted.refusals else {
            panic!("two refusals: {:?}", sorted.refusals);
        };
        assert!(half.contains(WEIGHTS), "its other half: {half}");
        assert!(picture.contains("b.png is no LoRA"), "which: {picture}");
    }

    #[test]
    fn what_will_not_be_applied_is_said_before_it_is_sent() {
        let adapted = "lora_unet_mid_block_attentions_0_proj_in";
        let text = "lora_te_text_model_encoder_layers_0_mlp_fc1";
        let parts = ["lora_down", "lora_up"];
        let whole = file(&[adapted], parts);
        let parcel = block_on(pack("a.safetensors", whole.clone(), None)).unwrap();
        let expected = Parcel {
            bytes: whole,
            remark: None,
        };
        assert_eq!(parcel, expected, "as it is");
        let both = file(&[adapted, text], parts);
        let remark = block_on(pack("a.safetensors", both, None)).unwrap().remark;
        let remark = remark.unwrap_or_default();
        assert!(remark.contains("text encoder 1"), "{remark}");
        let refusal = block_on(pack("a.safetensors", file(&[text], parts), None)).unwrap_err();
        assert!(refusal.contains("text encoder 1"), "{refusal}");
        assert!(refusal.contains("a.safetensors"), "which: {refusal}");
    }

    #[test]
    fn pefts_two_files_are_sent_as_one() {
        let module = format!("base_model.model.{PATH}");
        let weights = file(&[&module], ["lora_A", "lora_B"]);
        let alone = block_on(pack(WEIGHTS, weights.clone(), None)).unwrap_err();
        assert!(alone.contains(CONFIG), "what is missing: {alone}");
        let config = br#"{"r": 1, "lora_alpha": 4}"#;
        let parcel = block_on(pack(WEIGHTS, weights.clone(), Some(config))).unwrap();
        let again = block_on(pack("sent.safetensors", parcel.bytes, None));
        assert!(again.is_ok(), "it says everything by itself: {again:?}");
        for config in [&b"\xff"[..], b"{"] {
            let refusal = block_on(pack(WEIGHTS, weights.clone(), Some(config)));
            assert!(refusal.unwrap_err().contains(CONFIG), "of {config:?}");
        }
    }
}
