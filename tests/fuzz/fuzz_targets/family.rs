//! A checkpoint in one file is one that can be read, or an error in one line: whatever its tensors are
//! called and however large they are. The input is a file as it is, or a list of tensors, a line each
//! (`F16 64,32 name`), of which a sound file is made.
#![no_main]

use std::fmt::Write as _;

use libfuzzer_sys::fuzz_target;
use mimeo_checkpoint::{
    Checkpoint, Component, EmbeddedFolder, Family, MemoryFile, SchedulerConfig,
    SingleFile, TextEncoderConfig, UNetConfig, VaeConfig, WithVae,
};

/// Of a file that is made of a list.
const MAX_BYTES: usize = 4 << 20;

const VOCABULARY: EmbeddedFolder = EmbeddedFolder {
    name: "vocabulary",
    files: &[],
};

const COMPONENTS: [Component; 5] = [
    Component::Unet,
    Component::Vae,
    Component::TextEncoder,
    Component::TextEncoder2,
    Component::Scheduler,
];

fuzz_target!(|bytes: &[u8]| {
    let listed = std::str::from_utf8(bytes).ok().and_then(made_of);
    let file = listed.unwrap_or_else(|| bytes.to_vec());
    pollster::block_on(look_through(file));
});

/// The file of a list of tensors, if this is one.
fn made_of(list: &str) -> Option<Vec<u8>> {
    let (mut header, mut length) = ("{".to_owned(), 0_usize);
    for (place, line) in list.lines().enumerate() {
        let mut words = line.splitn(3, ' ');
        let (dtype, shape, name) = (words.next()?, words.next()?, words.next()?);
        let bits = match dtype {
            "F32" | "I32" => 32,
            "F16" | "BF16" => 16,
            "F8_E4M3" | "F8_E5M2" | "I8" => 8,
            _ => return None,
        };
        let sides = shape.split(',').filter(|side| !side.is_empty());
        let sides: Vec<usize> = sides.map(|side| side.parse().ok()).collect::<Option<_>>()?;
        let count = sides.iter().try_fold(1_usize, |count, side| count.checked_mul(*side))?;
        let end = length.checked_add(count.checked_mul(bits)? / 8)?;
        if end > MAX_BYTES || name.contains(['"', '\\']) || name.chars().any(char::is_control) {
            return None;
        }
        let comma = if place == 0 { "" } else { "," };
        write!(
            header,
            "{comma}\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{sides:?},\"data_offsets\":[{length},{end}]}}"
        )
        .ok()?;
        length = end;
    }
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + length, 0);
    Some(file)
}

async fn look_through(bytes: Vec<u8>) {
    let source = || Box::new(MemoryFile::new("fuzz", bytes.clone()));
    let file = match SingleFile::open(source(), Box::new(VOCABULARY)).await {
        Ok(file) => file,
        Err(error) => return one_line(&error.to_string()),
    };
    one_line(&file.detected().to_string());
    file.notes().iter().for_each(|note| one_line(note));
    if let Err(error) = Family::of(&file).await {
        one_line(&error.to_string());
    }
    for component in COMPONENTS {
        match file.config(component).await {
            Ok(json) => check_config(component, &json),
            Err(error) => one_line(&error.to_string()),
        }
        let Ok(weights) = file.weights(component).await else {
            continue;
        };
        for tensor in weights.tensors() {
            let count: usize = tensor.entry.shape.iter().product();
            match tensor.read_f32().await {
                Ok(array) => assert_eq!(array.data.len(), count, "{}", tensor.name),
                Err(error) => one_line(&error.to_string()),
            }
        }
    }
    match WithVae::new(Box::new(file), source()).await {
        Ok(checkpoint) => {
            if let Err(error) = checkpoint.config(Component::Vae).await {
                one_line(&error.to_string());
            }
        }
        Err(error) => one_line(&error.to_string()),
    }
}

fn check_config(component: Component, json: &str) {
    let refused = match component {
        Component::Unet => UNetConfig::from_json(json).err(),
        Component::Vae => VaeConfig::from_json(json).err(),
        Component::TextEncoder | Component::TextEncoder2 => TextEncoderConfig::from_json(json).err(),
        Component::Scheduler => SchedulerConfig::from_json(json).err(),
    };
    if let Some(error) = refused {
        one_line(&error.to_string());
    }
}

fn one_line(message: &str) {
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
