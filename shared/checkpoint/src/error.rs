//! Every way in which a file can be wrong, each with what to do about it.
//!
//! Names that come out of a file are shortened and escaped before they reach a message; the path
//! stands last.

use thiserror::Error;

use crate::{Component, LeftOut};

/// What messages call the part that other files can bring.
pub(crate) const VAE: &str = "VAE";

/// How a pickle of a checkpoint becomes a safetensors file: torch's reader that runs no code, in one
/// line for a shell.
pub const CONVERSION: &str = "python -c \"import sys, torch, safetensors.torch as s; \
     d = torch.load(sys.argv[1], 'cpu', weights_only=True); \
     s.save_file({k: v.clone().contiguous() for k, v in d.get('state_dict', d).items() \
     if torch.is_tensor(v)}, sys.argv[1] + '.safetensors')\" FILE.ckpt";

/// Why a checkpoint, a folder or a safetensors file was refused.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum CheckpointError {
    #[error("The file could not be read; check that it exists and that you may read it: {file:?}")]
    Io {
        file: String,
        source: std::io::Error,
    },

    #[error(
        "The file has changed since it was opened, or is gone; choose it again, or bring it back: {file:?}"
    )]
    Changed { file: String },

    #[error("This is {found}, not a file; choose a file: {file:?}")]
    NotAFile { found: &'static str, file: String },

    #[error(
        "Bytes {offset}..+{length} lie outside the file's {size}; copy or download it again: {file:?}"
    )]
    ReadPastEnd {
        offset: u64,
        length: usize,
        size: u64,
        file: String,
    },

    #[error(
        "This is a pickle ({found}), and opening a pickle can run a stranger's code, so Mimeo never \
         does; convert it to .safetensors and choose that file ({CONVERSION}): {file:?}"
    )]
    Pickle { found: &'static str, file: String },

    #[error("This is {found}, not a safetensors file; {remedy}: {file:?}")]
    NotSafetensors {
        found: &'static str,
        remedy: &'static str,
        file: String,
    },

    #[error(
        "The header says that it is {length} bytes long and {limit} are allowed, so this is damaged \
         or not a safetensors file; choose another one: {file:?}"
    )]
    HeaderTooLong {
        length: u64,
        limit: u64,
        file: String,
    },

    #[error(
        "The header cannot be understood ({reason}), so the file is damaged or not safetensors; \
         download or save it again: {file:?}"
    )]
    BadHeader { reason: String, file: String },

    #[error(
        "The file ends early: it should have {expected} bytes and has {found}; download or copy it \
         again: {file:?}"
    )]
    Truncated {
        expected: u64,
        found: u64,
        file: String,
    },

    #[error(
        "The file is longer than its header says ({found} bytes instead of {expected}); download or \
         save it again: {file:?}"
    )]
    TrailingBytes {
        expected: u64,
        found: u64,
        file: String,
    },

    #[error("Two tensors are named {tensor:?}; save the file again with a sound program: {file:?}")]
    DuplicateTensor { tensor: String, file: String },

    #[error(
        "The bytes of tensor {tensor:?} overlap another's, leave a gap or run backwards; the file is \
         damaged, download or save it again: {file:?}"
    )]
    BadOffsets { tensor: String, file: String },

    #[error(
        "Tensor {tensor:?} has {found} bytes where its shape and type need {expected}; the file is \
         damaged, download or save it again: {file:?}"
    )]
    WrongSize {
        tensor: String,
        expected: usize,
        found: usize,
        file: String,
    },

    #[error(
        "Tensor {tensor:?} has a shape that no file can hold; the file is damaged, download or save \
         it again: {file:?}"
    )]
    ShapeOverflow { tensor: String, file: String },

    #[error(
        "Tensor {tensor:?} is missing, so the file is incomplete or of another model; choose another \
         one: {file:?}"
    )]
    MissingTensor { tensor: String, file: String },

    #[error(
        "Tensor {tensor:?} is stored as {found}, and Mimeo reads F32, F16 and BF16; take the fp16 or \
         full-precision variant, or save the file in one of these: {file:?}"
    )]
    WrongDtype {
        tensor: String,
        found: String,
        file: String,
    },

    #[error(
        "The base holds {found} in tensor {tensor:?} ({count} of its {total} numbers), so every picture \
         would come out black; download the file again, or take another variant of it: {file:?}"
    )]
    NotFinite {
        tensor: String,
        found: &'static str,
        count: usize,
        total: usize,
        file: String,
    },

    #[error(
        "This is not a folder; choose a diffusers folder (it holds model_index.json): {folder:?}"
    )]
    NotAFolder { folder: String },

    #[error("The folder lacks {path:?}; choose a complete diffusers folder: {folder:?}")]
    MissingFile { path: String, folder: String },

    #[error("{path:?} leads out of the folder; use a plain relative path: {folder:?}")]
    PathLeavesFolder { path: String, folder: String },

    #[error(
        "The file has {size} bytes where at most {limit} make sense; replace it with a sound one: \
         {file:?}"
    )]
    TextTooLong { size: u64, limit: u64, file: String },

    #[error("This is {found}; {remedy}: {file:?}")]
    NotText {
        found: &'static str,
        remedy: &'static str,
        file: String,
    },

    #[error(
        "The configuration cannot be understood ({reason}); replace it with a sound one: {file:?}"
    )]
    BadConfig { reason: String, file: String },

    #[error(
        "The folder has no weights for the {component} ({component}/{expected}); choose a complete \
         diffusers folder: {folder:?}"
    )]
    MissingWeights {
        component: String,
        expected: String,
        folder: String,
    },

    #[error(
        "The weights of the {component} are only there as a pickle ({component}/{found}), and opening \
         a pickle can run a stranger's code, so Mimeo never does; download the .safetensors variant \
         of this folder or convert it: {folder:?}"
    )]
    OnlyPickles {
        component: String,
        found: String,
        folder: String,
    },

    #[error(
        "Tensor {tensor:?} has shape {found:?}, which its name does not allow; download or save the file \
         again: {file:?}"
    )]
    BadShape {
        tensor: String,
        found: Vec<usize>,
        file: String,
    },

    #[error(
        "The file holds no {component}, so it is only a part of a checkpoint; {remedy}: {file:?}"
    )]
    MissingComponent {
        component: &'static str,
        remedy: &'static str,
        file: String,
    },

    #[error("This file holds no VAE; choose one that does: {file:?}")]
    NotAVae { file: String },

    #[error("This is {found}; choose a checkpoint of Stable Diffusion 1.x, 2.x or XL: {file:?}")]
    UnknownFamily { found: String, file: String },

    #[error(
        "The modules {first:?} and {second:?} would both be called {name:?} in a LoRA file; train only \
         one of them"
    )]
    AmbiguousName {
        name: String,
        first: String,
        second: String,
    },
}

impl CheckpointError {
    /// Whether a checkpoint was found to have no VAE, and all else that was looked for.
    #[must_use]
    pub fn is_missing_vae(&self) -> bool {
        match self {
            Self::MissingComponent { component, .. } => *component == VAE,
            Self::MissingFile { path, .. } => path == Component::Vae.config_path(),
            _ => false,
        }
    }
}

/// Why a LoRA file was refused, or could not be written.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum LoraFileError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    #[error("This is not a LoRA but {found}; choose a LoRA file: {file:?}")]
    NotALora { found: &'static str, file: String },

    #[error(
        "This file holds no plain LoRA but, by number of modules, {kinds}, and Mimeo reads plain LoRA \
         only; convert it to a plain LoRA or choose another one: {file:?}"
    )]
    OtherKinds { kinds: LeftOut, file: String },

    #[error(
        "Nothing of this LoRA can be applied: all that it changes is, by number of modules, {left_out}, \
         and those are not weights that a LoRA can change; choose another one: {file:?}"
    )]
    NothingToApply { left_out: LeftOut, file: String },

    #[error(
        "This is a LoRA for {model}, and Mimeo draws with Stable Diffusion 1.x, 2.x and XL; choose a LoRA that was \
         trained on the base in use: {file:?}"
    )]
    OtherModel { model: String, file: String },

    #[error(
        "This is a textual inversion (an embedding, a new word for prompts), not a LoRA, and Mimeo \
         does not read those; choose a LoRA file: {file:?}"
    )]
    TextualInversion { file: String },

    #[error(
        "PEFT keeps the strength of this LoRA (alpha) in adapter_config.json, and that file is not \
         there; put the two beside each other, or choose both: {file:?}"
    )]
    MissingAdapterConfig { file: String },

    #[error(
        "The settings in {place} cannot be understood ({reason}), and they decide how strong this LoRA \
         is; save it again with a sound program: {file:?}"
    )]
    BadAdapterConfig {
        place: &'static str,
        reason: String,
        file: String,
    },

    #[error(
        "This is not a plain LoRA: the setting {setting} in {place} {what}; convert it to a plain LoRA \
         or choose another one: {file:?}"
    )]
    OtherArithmetic {
        setting: String,
        what: &'static str,
        place: &'static str,
        file: String,
    },

    #[error(
        "The tensor {key:?} belongs to no kind of LoRA that Mimeo knows, and leaving it out would \
         change the effect; choose a plain LoRA: {file:?}"
    )]
    UnknownKey { key: String, file: String },

    #[error("Module {module:?} is there twice, in two spellings; save the file again: {file:?}")]
    DuplicateModule { module: String, file: String },

    #[error("Module {module:?} lacks its {part} weight; download or save the file again: {file:?}")]
    MissingPart {
        module: String,
        part: &'static str,
        file: String,
    },

    #[error("Module {module:?} {problem}: {file:?}")]
    BadModule {
        module: String,
        problem: ModuleProblem,
        file: String,
    },

    #[error(
        "The metadata has {found} bytes where at most {limit} make sense; strip it or choose another \
         file: {file:?}"
    )]
    MetadataTooLong {
        found: usize,
        limit: usize,
        file: String,
    },

    #[error("There is no module to save; train at least one")]
    Empty,

    #[error("Module {module:?} cannot be saved: it {problem}")]
    UnwritableModule {
        module: String,
        problem: ModuleProblem,
    },

    #[error(
        "{module:?} is not a name under which a LoRA file can hold a module; it should look like \"lora_unet_mid_block_…\""
    )]
    UnwritableName { module: String },

    #[error(
        "Module {module:?} holds {value:e}, more than half precision can; save in full precision \
         (f32), or train again with a lower learning rate"
    )]
    F16Overflow { module: String, value: f32 },

    #[error(
        "The metadata has {found} bytes where at most {limit} are allowed; leave out what is not needed"
    )]
    UnwritableMetadata { found: usize, limit: usize },
}

/// What is wrong with the numbers of one LoRA module. Reads on after "Module … ".
#[derive(Debug, Clone, PartialEq, Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum ModuleProblem {
    #[error(
        "has weights of shape {down:?} (down) and {up:?} (up), neither a linear layer nor a \
         convolution; use another file"
    )]
    Shape { down: Vec<usize>, up: Vec<usize> },
    #[error(
        "has weights of shape {down:?} (down) and {mid:?} (mid), and no kernel of shape [rank, rank, height, \
         width] fits between; use another file"
    )]
    Mid { down: Vec<usize>, mid: Vec<usize> },
    #[error("has rank {down} in its down weight and {up} in its up weight; use another file")]
    Ranks { down: usize, up: usize },
    #[error(
        "has {found} values in its {part} weight where the shape needs {expected}; train it again"
    )]
    Length {
        part: &'static str,
        expected: usize,
        found: usize,
    },
    #[error("is empty (a size of 0 in its {part} weight); use a rank of at least 1")]
    Empty { part: &'static str },
    #[error(
        "holds numbers that are infinite or not a number in its {part}; train it again with a lower learning rate"
    )]
    NotFinite { part: &'static str },
    #[error("has an alpha that is not one number; use another file")]
    Alpha,
    #[error(
        "has rank {found} where {place} says {expected}, so one of the two is of another LoRA; put \
         together what was saved together"
    )]
    OtherRank {
        expected: f64,
        found: usize,
        place: &'static str,
    },
}
