//! Whether everything comes that a browser needs of the page and of its trainer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

use super::http::Response;
use super::server::Server;
use super::{megabytes, tell};

/// Where the trainer begins; the page's program knows this name.
const TRAINER: &str = "worker.js";

/// How compiled programs begin.
const WASM: &[u8] = b"\0asm";

/// Follows the links of the page and of the trainer.
pub fn check(server: &Server, index: &Response) -> Result<()> {
    let html = String::from_utf8_lossy(&index.body);
    if !html.contains("<title>Mimeo</title>") {
        bail!("the program has no workbench in it; build the page before the program");
    }
    let page = follow(server, links(&html, ""))?;
    whole("page", &page)?;
    tell("page", &summary(&page));

    let trainer = follow(server, [TRAINER.to_owned()].into())?;
    if !trainer.contains_key(TRAINER) {
        bail!("the page has no trainer for browsers: there is no {TRAINER}");
    }
    whole("trainer", &trainer)?;
    tell("trainer", &summary(&trainer));
    Ok(())
}

/// Fetches files, and what they name. Comments name files too, so one that is not there is left out.
fn follow(server: &Server, mut open: BTreeSet<String>) -> Result<BTreeMap<String, Response>> {
    let mut found = BTreeMap::new();
    let mut seen = open.clone();
    while let Some(path) = open.pop_first() {
        let Ok(answer) = server.get(&path) else {
            continue;
        };
        if path.ends_with(".js") {
            let text = String::from_utf8_lossy(&answer.body);
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for link in links(&text, folder) {
                if seen.insert(link.clone()) {
                    open.insert(link);
                }
            }
        }
        found.insert(path, answer);
    }
    Ok(found)
}

/// Scripts, styles and programs that a text names, as paths from the root.
fn links(text: &str, folder: &str) -> BTreeSet<String> {
    let is_end =
        |character: char| !character.is_ascii_alphanumeric() && !"-_./".contains(character);
    let names = text.split(is_end).filter(|name| {
        let kinds = [".js", ".css", ".wasm"];
        kinds
            .iter()
            .any(|kind| name.ends_with(kind) && name.len() > kind.len())
    });
    names
        .filter(|name| !name.contains(".."))
        .map(|name| {
            let name = name.trim_start_matches("./").trim_start_matches('/');
            if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            }
        })
        .collect()
}

/// An error unless there is a script and a program, each said to be what it is.
fn whole(part: &str, files: &BTreeMap<String, Response>) -> Result<()> {
    for (kind, said) in [(".js", "text/javascript"), (".wasm", "application/wasm")] {
        let mut of_kind = files.iter().filter(|(path, _)| path.ends_with(kind));
        let (path, answer) = of_kind
            .next()
            .with_context(|| format!("the {part} has no file {kind}"))?;
        if answer.kind != said {
            bail!(
                "browsers refuse {path}, which is said to be {}",
                answer.kind
            );
        }
    }
    for (path, answer) in files.iter().filter(|(path, _)| path.ends_with(".wasm")) {
        if !answer.body.starts_with(WASM) {
            bail!("this is no compiled program: {path}");
        }
    }
    Ok(())
}

fn summary(files: &BTreeMap<String, Response>) -> String {
    let bytes = files.values().map(|answer| answer.body.len()).sum();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    format!("{} in {}", megabytes(bytes), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_quoted_or_not_and_from_where_they_stand() {
        let html = r#"<link href="./a-01.js"><link href=b.css><script src='/c_bg.wasm'></script>"#;
        assert_eq!(
            links(html, ""),
            ["a-01.js", "b.css", "c_bg.wasm"].map(str::to_owned).into(),
            "three of them"
        );
        let script = r#"import x from "./x.js"; new URL(`y.wasm`); import "../z.js"; // .js"#;
        assert_eq!(
            links(script, "inner"),
            ["inner/x.js", "inner/y.wasm"].map(str::to_owned).into(),
            "those in its own folder"
        );
    }

    #[test]
    fn a_part_without_its_program_or_with_a_wrong_kind_is_refused() {
        let file = |kind: &str, body: &[u8]| Response {
            kind: kind.to_owned(),
            body: body.to_vec(),
        };
        let mut files = BTreeMap::new();
        files.insert("a.js".to_owned(), file("text/javascript", b""));
        let error = whole("page", &files).unwrap_err().to_string();
        assert!(error.contains(".wasm"), "{error}");
        files.insert("a.wasm".to_owned(), file("application/wasm", WASM));
        whole("page", &files).unwrap();
        files.insert("a.js".to_owned(), file("text/plain", b""));
        let error = whole("page", &files).unwrap_err().to_string();
        assert!(error.contains("text/plain"), "{error}");
    }
}
