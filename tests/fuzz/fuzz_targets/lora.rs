//! A file is a LoRA or an error, and what it says about itself cannot steer a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimeo_checkpoint::{LoraFile, MemoryFile, printable};

fuzz_target!(|file: &[u8]| {
    let source = Box::new(MemoryFile::new("fuzz", file.to_vec()));
    if let Ok(lora) = pollster::block_on(LoraFile::read(source)) {
        for (key, value) in &lora.metadata {
            for text in [key, value] {
                let shown = printable(text, 100);
                assert!(!shown.chars().any(char::is_control));
            }
        }
    }
});
