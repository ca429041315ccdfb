//! Findings as people read them. Everything that comes from the file is made printable.

use std::collections::BTreeMap;

use mimeo_checkpoint::metadata::THUMBNAIL;
use mimeo_checkpoint::printable;
use mimeo_protocol::Example;
use serde_json::Value;

use super::{Findings, Kind, ModuleFindings};

/// Modules listed; `--json` lists all.
const SHOWN_MODULES: usize = 8;
/// Examples listed; likewise.
const SHOWN_EXAMPLES: usize = 24;
/// Characters of a metadata value.
const VALUE_CHARS: usize = 200;
/// Characters of a picture's hash, which tell it from a user's other pictures.
const HASH_CHARS: usize = 12;
/// Characters of a module's name or a metadata key.
const NAME_CHARS: usize = 120;

/// The findings as lines.
pub fn of(findings: &Findings) -> String {
    let mut lines = match &findings.kind {
        Kind::Lora {
            base,
            ranks,
            alphas,
            alpha_from,
            rank_stabilized,
            applied,
            left_out,
            changes_nothing,
            missing,
            unknown_settings,
            modules,
        } => {
            let base = base.unwrap_or("a base that its shapes do not tell");
            let mut lines = vec![
                format!("LoRA for {base}"),
                format!("Modules  {}", modules.len()),
                format!("Rank     {}", join(ranks)),
                format!("Alpha    {}  ({})", join(alphas), origins(alpha_from)),
            ];
            if *rank_stabilized > 0 {
                lines.push(format!(
                    "rsLoRA   in {rank_stabilized} modules: the scale is lora_alpha/√rank, and the alpha here lora_alpha·√rank"
                ));
            }
            if !applied.is_empty() {
                lines.push(format!("Applied  {}", counts(applied)));
            }
            if !left_out.is_empty() {
                lines.push(format!(
                    "Left out {}, when it is drawn with",
                    counts(left_out)
                ));
            }
            if *changes_nothing {
                lines.push(
                    "Changes  nothing: in each module that is applied alpha or the weights are 0"
                        .to_owned(),
                );
            }
            if !missing.is_empty() {
                lines.push(format!(
                    "Lacks    {} (settings that ask for more than the file holds)",
                    join(missing)
                ));
            }
            if !unknown_settings.is_empty() {
                lines.push(format!(
                    "Unknown  {} (settings, left aside)",
                    join(unknown_settings)
                ));
            }
            lines.extend(norms(modules));
            lines
        }
        Kind::Checkpoint {
            family,
            prediction,
            prediction_by,
            zero_terminal_snr,
            inpainting,
            tensors,
        } => {
            let inpainting = if *inpainting { ", for inpainting" } else { "" };
            let mut lines = vec![
                format!("Checkpoint: {family}{inpainting}"),
                match prediction_by {
                    Some(by) => format!("Predicts {prediction} ({by})"),
                    None => format!("Predicts {prediction}"),
                },
            ];
            if *zero_terminal_snr {
                lines.push("Schedule ends in pure noise (zero terminal SNR)".to_owned());
            }
            lines.extend(tensors.map(|tensors| format!("Tensors  {tensors}")));
            lines
        }
        Kind::Other { what, tensors } => vec![
            format!("Neither a LoRA nor a checkpoint that Mimeo knows: this is {what}"),
            format!("Tensors  {tensors}"),
        ],
    };
    for (title, json) in [("Recipe", &findings.recipe), ("Scores", &findings.scores)] {
        if let Some(json) = json {
            lines.push(String::new());
            lines.push(title.to_owned());
            push_json(json, 1, &mut lines);
        }
    }
    if let Some(pair) = &findings.pair {
        lines.push(String::new());
        lines.push("Pair (SHA-256 of the files)".to_owned());
        let lined = pictures(pair).map(|picture| format!("  {picture}"));
        lines.extend(lined);
    }
    if let Some(examples) = &findings.examples {
        lines.push(String::new());
        lines.push(format!(
            "{} examples (SHA-256 of the files)",
            examples.len()
        ));
        let shown = examples.iter().zip(1..).take(SHOWN_EXAMPLES);
        lines.extend(shown.map(|(example, number)| format!("{number:>4}  {}", line(example))));
        let more = examples.len().saturating_sub(SHOWN_EXAMPLES);
        if more > 0 {
            lines.push(format!("      and {more} more (--json lists all)"));
        }
    }
    if !findings.metadata.is_empty() {
        lines.push(String::new());
        lines.push("Metadata".to_owned());
        for (key, value) in &findings.metadata {
            let value = match key.as_str() {
                THUMBNAIL => format!("yes, {} KiB", value.len().div_ceil(1024)),
                _ => printable(value, VALUE_CHARS),
            };
            lines.push(format!("  {} = {value}", printable(key, NAME_CHARS)));
        }
    }
    lines.join("\n")
}

/// Where alpha comes from; with numbers only where there are several places.
fn origins(alpha_from: &BTreeMap<&'static str, usize>) -> String {
    match alpha_from.keys().next() {
        Some(only) if alpha_from.len() == 1 => (*only).to_owned(),
        _ => counts(alpha_from),
    }
}

/// Kinds with the number of modules of each.
fn counts(kinds: &BTreeMap<&'static str, usize>) -> String {
    join(kinds.iter().map(|(kind, count)| format!("{kind} {count}")))
}

fn norms(modules: &[ModuleFindings]) -> Vec<String> {
    let whole = modules
        .iter()
        .map(|module| module.norm * module.norm)
        .sum::<f64>()
        .sqrt();
    let mut lines = vec![
        format!("Norm     {whole:.4}  (Frobenius norm of the change at strength 1)"),
        String::new(),
        "Strongest modules".to_owned(),
    ];
    lines.extend(modules.iter().take(SHOWN_MODULES).map(|module| {
        format!(
            "  {:>8.4}  {}",
            module.norm,
            printable(&module.name, NAME_CHARS)
        )
    }));
    if let Some(more @ 1..) = modules.len().checked_sub(SHOWN_MODULES) {
        lines.push(format!("  and {more} more; --json lists all"));
    }
    lines
}

/// A line for each picture that the file names.
fn pictures(pair: &Example) -> impl Iterator<Item = String> {
    let named = [
        ("original", Some(pair.original)),
        ("target", Some(pair.target)),
        ("mask", pair.mask),
    ];
    named.into_iter().filter_map(|(role, id)| {
        let id = printable(&id?.to_string(), HASH_CHARS);
        Some(format!("{role} = {id}"))
    })
}

/// An example with what is said of it, where that is not as usual.
fn line(example: &Example) -> String {
    let mut said: Vec<_> = match example.is_alone() {
        true => pictures(example).take(1).collect(),
        false => pictures(example).collect(),
    };
    if example.level.get() != 1.0 {
        said.push(format!("level = {}", example.level));
    }
    if example.weight.get() != 1.0 {
        said.push(format!("weight = {}", example.weight));
    }
    if !example.caption.is_empty() {
        said.push(format!(
            "caption = {:?}",
            printable(&example.caption, NAME_CHARS)
        ));
    }
    said.join(", ")
}

/// `key = value` lines, tables indented.
fn push_json(json: &Value, depth: usize, lines: &mut Vec<String>) {
    let Value::Object(table) = json else {
        lines.push(format!(
            "{}{}",
            "  ".repeat(depth),
            printable(&json.to_string(), VALUE_CHARS)
        ));
        return;
    };
    for (key, value) in table {
        let key = printable(key, NAME_CHARS);
        let indent = "  ".repeat(depth);
        if value.is_object() {
            lines.push(format!("{indent}{key}"));
            push_json(value, depth + 1, lines);
        } else {
            lines.push(format!(
                "{indent}{key} = {}",
                printable(&value.to_string(), VALUE_CHARS)
            ));
        }
    }
}

fn join(values: impl IntoIterator<Item = impl ToString>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(", ")
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::BlobId;

    use super::*;

    #[test]
    fn hostile_metadata_cannot_steer_the_terminal() {
        let evil = "\u{1b}[2J\u{202e}".to_owned();
        let id = BlobId::from_sha256([7; 32]);
        let findings = Findings {
            file: "x".into(),
            kind: Kind::Other {
                what: "a test".to_owned(),
                tensors: 0,
            },
            recipe: Some(serde_json::json!({ evil.clone(): [evil.clone()] })),
            scores: None,
            pair: None,
            examples: Some(vec![Example {
                caption: evil.clone(),
                ..Example::new(id, id)
            }]),
            metadata: BTreeMap::from([(evil.clone(), evil)]),
        };
        let text = of(&findings);
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }
}
