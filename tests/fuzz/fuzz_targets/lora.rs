//! A file is a LoRA or an error, and what it says about itself cannot steer a terminal. What is known
//! of it before its numbers are read agrees with what comes of reading them, and what PEFT says in a
//! second file is as good as in one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimeo_checkpoint::lora_file::{put_together, survey};
use mimeo_checkpoint::{AdapterConfig, LoraFile, LoraFileError, MemoryFile, SafetensorsFile, printable};

/// A line that no JSON contains, between a LoRA's settings and its numbers.
const BETWEEN: &[u8] = b"\n--\n";

fuzz_target!(|bytes: &[u8]| {
    match split(bytes) {
        Some((config, weights)) => pollster::block_on(two_files(config, weights)),
        None => pollster::block_on(one_file(bytes)),
    }
});

/// Settings and numbers, if the input is both.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let place = bytes
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN)?;
    let config = std::str::from_utf8(&bytes[..place]).ok()?;
    Some((config, &bytes[place + BETWEEN.len()..]))
}

async fn open(bytes: &[u8]) -> Option<SafetensorsFile> {
    let file = MemoryFile::new("fuzz", bytes.to_vec());
    SafetensorsFile::open(Box::new(file)).await.ok()
}

async fn one_file(bytes: &[u8]) {
    let Some(file) = open(bytes).await else {
        return;
    };
    let surveyed = survey(&file).await;
    match LoraFile::from_tensors(&file).await {
        Ok(lora) => {
            check(&lora);
            let applies = lora.check_applies("fuzz");
            assert_eq!(surveyed.is_ok(), applies.is_ok(), "known before it is read");
            if let Ok(remarks) = surveyed {
                assert_eq!(remarks, lora.remarks());
            }
        }
        Err(error) => one_line(&error),
    }
}

async fn two_files(config: &str, weights: &[u8]) {
    let parsed = AdapterConfig::read(config, "fuzz");
    if let Err(error) = &parsed {
        one_line(error);
    }
    let Some(file) = open(weights).await else {
        return;
    };
    let together = put_together(&file, config).await;
    assert_eq!(together.is_ok(), parsed.is_ok(), "one way to read settings");
    let (Ok(config), Ok(together)) = (parsed, together) else {
        return;
    };
    let beside = LoraFile::with_adapter_config(&file, Some(&config)).await;
    let together = open(&together).await.expect("it was sound before");
    match (beside, LoraFile::from_tensors(&together).await) {
        (Ok(beside), Ok(together)) => {
            check(&beside);
            assert_eq!(beside.modules, together.modules, "the same strength");
        }
        (Err(error), Err(_)) => one_line(&error),
        // The metadata is longer by the settings.
        (Ok(_), Err(LoraFileError::MetadataTooLong { .. })) => {}
        (beside, together) => panic!("{beside:?} is not {together:?}"),
    }
}

fn check(lora: &LoraFile) {
    for (key, value) in &lora.metadata {
        for text in [key, value] {
            let shown = printable(text, 100);
            assert!(!shown.chars().any(char::is_control));
        }
    }
    for module in lora.modules.values() {
        assert!(module.check().is_ok(), "no module that is not sound");
    }
    let modules = lora.reading.alphas.values().sum::<usize>();
    assert_eq!(modules, lora.modules.len(), "every alpha comes from somewhere");
    for setting in &lora.reading.unknown_settings {
        assert!(!setting.chars().any(char::is_control));
    }
}

fn one_line(error: &LoraFileError) {
    let message = error.to_string();
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
