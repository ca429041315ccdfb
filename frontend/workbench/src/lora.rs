//! LoRA files on their way to whoever draws: which belong together, what of them will not be applied.

use std::sync::Arc;

use mimeo_checkpoint::lora_file::{put_together, survey};
use mimeo_checkpoint::{LoraFileError, MemoryFile, SafetensorsFile, Stranger, printable, text_of};

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
    /// What a user would not expect of it, such as what will not be applied; none if all is well.
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
            sorted.refusals.push(refusal(name));
        }
    }
    sorted
}

/// Why a file of this name is not taken.
fn refusal(name: &str) -> String {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let shown = printable(name, QUOTE);
    match &*extension.to_ascii_lowercase() {
        "zip" | "7z" | "rar" | "gz" | "xz" => {
            format!("{shown} is an archive. Unpack it and choose the .safetensors file in it.")
        }
        "ckpt" | "pt" | "pth" | "bin" => format!(
            "{shown} is a pickle, and opening a pickle can run a stranger's code, so Mimeo never \
             does. Convert it to .safetensors and choose that file."
        ),
        _ => format!(
            "{shown} is no LoRA. Choose a .safetensors file; of a folder that PEFT saved, choose \
             {WEIGHTS} and {CONFIG} together."
        ),
    }
}

/// Looks at a LoRA before it is sent; its numbers are read until one shows that it does something.
///
/// - `config`: the bytes of its `adapter_config.json`
///
/// # Errors
/// One sentence: why it cannot be used, and what to do.
pub async fn pack(name: &str, bytes: Vec<u8>, config: Option<&[u8]>) -> Result<Parcel, String> {
    let shown = printable(name, QUOTE);
    let mut bytes = Arc::new(bytes);
    if let Some(config) = config {
        let text = text_of(config).map_err(|Stranger { found, .. }| {
            format!("{CONFIG} is {found}. Choose the one that PEFT saved beside {WEIGHTS}.")
        })?;
        let file = open(&shown, &bytes).await?;
        let whole = put_together(&file, &text).await;
        bytes = Arc::new(whole.map_err(|error| error.to_string())?);
    }
    let file = open(&shown, &bytes).await?;
    let remarks = survey(&file).await.map_err(|error| match error {
        LoraFileError::MissingAdapterConfig { .. } => format!(
            "{shown} does not say how strong it is: PEFT keeps that in {CONFIG}. Choose the two \
             together."
        ),
        error => error.to_string(),
    })?;
    drop(file);
    let sentences = remarks.sentences(&shown);
    Ok(Parcel {
        bytes: Arc::unwrap_or_clone(bytes),
        remark: (!sentences.is_empty()).then(|| sentences.join(" ")),
    })
}

/// Opens bytes that are handed back: a LoRA may fill half of what a page may take.
async fn open(name: &str, bytes: &Arc<Vec<u8>>) -> Result<SafetensorsFile, String> {
    let file = MemoryFile::shared(name, Arc::clone(bytes));
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
        let sorted = sort(&names(&[
            CONFIG,
            "a.safetensors",
            "b.png",
            "c.ZIP",
            "d.ckpt",
        ]));
        assert_eq!(sorted.loras, [1], "the one that is");
        let [half, picture, archive, pickle] = &*sorted.refusals else {
            panic!("four refusals: {:?}", sorted.refusals);
        };
        assert!(archive.contains("Unpack it"), "what to do: {archive}");
        assert!(pickle.contains("d.ckpt is a pickle"), "why: {pickle}");
        assert!(half.contains(WEIGHTS), "its other half: {half}");
        assert!(picture.contains("b.png is no LoRA"), "which: {picture}");
    }

    #[test]
    fn what_will_not_be_applied_is_said_before_it_is_sent() {
        let adapted = "lora_unet_mid_block_attentions_0_proj_in";
        let norm = "lora_unet_mid_block_attentions_0_norm";
        let parts = ["lora_down", "lora_up"];
        let whole = file(&[adapted], parts);
        let parcel = block_on(pack("a.safetensors", whole.clone(), None)).unwrap();
        let expected = Parcel {
            bytes: whole,
            remark: None,
        };
        assert_eq!(parcel, expected, "as it is");
        let both = file(&[adapted, norm], parts);
        let remark = block_on(pack("a.safetensors", both, None)).unwrap().remark;
        let remark = remark.unwrap_or_default();
        assert!(remark.contains("norm layers 1"), "{remark}");
        let refusal = block_on(pack("a.safetensors", file(&[norm], parts), None)).unwrap_err();
        assert!(refusal.contains("norm layers 1"), "{refusal}");
        assert!(refusal.contains("a.safetensors"), "which: {refusal}");
    }

    #[test]
    fn a_lora_that_changes_nothing_is_told_before_it_is_sent() {
        let module = "lora_unet_mid_block_attentions_0_proj_in";
        let array = |shape: &[usize], value| Array {
            shape: shape.to_vec(),
            data: vec![value],
        };
        let tensors = [
            ("alpha", array(&[], 0.0)),
            ("lora_down.weight", array(&[1, 1], 0.5)),
            ("lora_up.weight", array(&[1, 1], 0.5)),
        ];
        let tensors = tensors.map(|(part, array)| (format!("{module}.{part}"), array));
        let file = write_f32(tensors.into(), &BTreeMap::new());
        let parcel = block_on(pack("a.safetensors", file, None)).unwrap();
        let remark = parcel.remark.unwrap_or_default();
        assert!(
            remark.starts_with("a.safetensors changes nothing"),
            "{remark}"
        );
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
        let text = str::from_utf8(config).unwrap().encode_utf16();
        let notepad: Vec<u8> = text.flat_map(u16::to_le_bytes).collect();
        let notepad = [b"\xFF\xFE", &notepad[..]].concat();
        let same = block_on(pack(WEIGHTS, weights.clone(), Some(&notepad)));
        let read_back = same.unwrap().bytes;
        let again = block_on(pack("sent.safetensors", read_back, None));
        assert!(again.is_ok(), "in UTF-16 as well: {again:?}");
        for config in [&b"\xff"[..], b"{"] {
            let refusal = block_on(pack(WEIGHTS, weights.clone(), Some(config)));
            assert!(refusal.unwrap_err().contains(CONFIG), "of {config:?}");
        }
    }
}
