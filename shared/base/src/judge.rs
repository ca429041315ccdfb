//! What reads the attributes of the base's avatars, to measure LoRAs by.

/// The judge's weights and vocabulary, a safetensors file (`judge/train_judge.py`).
pub const JUDGE: &[u8] = include_bytes!("../judge/judge.safetensors");

/// People to draw: a JSON list of what is said of each, by attribute (`judge/pairs.mjs`).
pub const PEOPLE: &[u8] = include_bytes!("../judge/people.json");
