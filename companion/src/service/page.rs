//! The built workbench: its page, scripts and styles.
//!
//! Trunk starts the page with a short inline script. The content security policy forbids inline
//! scripts, but for those that our own page came with: it is sent with their hashes, so that any
//! other that may get into it stays dead.

use axum::body::Bytes;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse as _, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest as _, Sha256};

use super::guard;
use super::http::not_found;

/// What is shown where the workbench was not built.
const NO_WORKBENCH: &str = include_str!("no_workbench.html");
const INDEX: &str = "index.html";

/// In the program itself in release builds, read from disk otherwise.
///
/// A folder of this crate, because one above it that is missing when the program is compiled would
/// not be found later either.
#[derive(RustEmbed)]
#[folder = "workbench"]
#[allow_missing = true]
struct Workbench;

/// A file of the workbench, or the page itself.
pub async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.is_empty() || path == INDEX {
        return index(Workbench::get(INDEX));
    }
    Workbench::get(path).map_or_else(not_found, |file| asset(path, file))
}

fn index(file: Option<EmbeddedFile>) -> Response {
    let Some(file) = file else {
        return Html(NO_WORKBENCH).into_response();
    };
    let html = String::from_utf8_lossy(&file.data).into_owned();
    let headers = [
        (CONTENT_SECURITY_POLICY, policy(&html)),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, Html(html)).into_response()
}

fn asset(path: &str, file: EmbeddedFile) -> Response {
    let cache = if has_hash(path) {
        "private, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (CONTENT_TYPE, file.metadata.mimetype().to_owned()),
        (CACHE_CONTROL, cache.to_owned()),
    ];
    (headers, Bytes::from(file.data.into_owned())).into_response()
}

/// The policy of a page with these inline scripts.
fn policy(html: &str) -> String {
    let scripts = inline_scripts(html).into_iter();
    let sources: Vec<String> = scripts.map(source_of).collect();
    guard::policy(&sources)
}

/// What a policy calls a script: the hash of the text that the browser sees.
fn source_of(script: &str) -> String {
    // HTML's reader turns every line's end into one character before anything else sees it.
    let script = script.replace("\r\n", "\n").replace('\r', "\n");
    format!("'sha256-{}'", base64(&Sha256::digest(script)))
}

/// The text of every script that stands in the page itself.
fn inline_scripts(html: &str) -> Vec<&str> {
    // Of the same length, because only ASCII changes.
    let lower = html.to_ascii_lowercase();
    let find = |what: &str, from: usize| lower[from..].find(what).map(|at| from + at);
    let mut scripts = Vec::new();
    let mut at = 0;
    while let Some(tag) = find("<", at) {
        at = tag + 1;
        if lower[tag..].starts_with("<!--") {
            at = find("-->", tag).unwrap_or(html.len());
        } else if let Some(attributes) = lower[tag..].strip_prefix("<script")
            && attributes
                .starts_with(|next: char| next == '>' || next == '/' || next.is_ascii_whitespace())
        {
            let (has_source, length) = read_attributes(attributes);
            let start = html.len() - attributes.len() + length;
            let end = find("</script", start).unwrap_or(html.len());
            if !has_source {
                scripts.push(&html[start..end]);
            }
            at = end;
        }
    }
    scripts
}

/// Whether a tag's attributes name a `src`, and the length of the tag's rest with its `>`.
fn read_attributes(rest: &str) -> (bool, usize) {
    let (mut names, mut quote) = (String::new(), None);
    for (at, character) in rest.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '>') => return (names_source(&names), at + 1),
            (None, _) => names.push(character),
        }
    }
    (names_source(&names), rest.len())
}

/// - `names`: attributes in lower case, without what is in quotes
fn names_source(names: &str) -> bool {
    let names = names.split(|character: char| character.is_ascii_whitespace() || character == '/');
    let mut names = names.filter_map(|name| name.split('=').next());
    names.any(|name| name == "src")
}

/// RFC 4648 with padding, as policies spell hashes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |group: &[u8]| -> String {
        let [first, second, third] = [0, 1, 2].map(|at| group.get(at).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, first, second, third]);
        let digits = [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift & 63) as usize]));
        let padding = "=".repeat(3 - group.len());
        digits[..=group.len()]
            .iter()
            .copied()
            .chain(padding.chars())
            .collect()
    };
    bytes.chunks(3).map(digits).collect()
}

/// Whether Trunk put a hash of the content into the name, as in `app-0123456789abcdef_bg.wasm`: then
/// the file never changes.
fn has_hash(path: &str) -> bool {
    // Zeros in front are left out of it.
    const DIGITS: std::ops::RangeInclusive<usize> = 12..=16;
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let stem = stem.strip_suffix("_bg").unwrap_or(stem);
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    stem.rsplit_once('-')
        .is_some_and(|(_, hash)| DIGITS.contains(&hash.len()) && hash.bytes().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_scripts_are_found_and_others_are_not() {
        let html = r#"<!DOCTYPE html><html><head>
            <script type="module" nonce="a > b">import init from '/app.js'; if (1 < 2) init();</script>
            <SCRIPT
                defer>two()</SCRIPT >
            <script src="/three.js"></script><script type=module src=/four.js>ignored()</script>
            <!-- <script>five()</script> --><scripture>no</scripture>
            <script data-src="x">six("é")</script>
            </head></html>"#;
        assert_eq!(
            inline_scripts(html),
            [
                "import init from '/app.js'; if (1 < 2) init();",
                "two()",
                "six(\"é\")"
            ],
            "in their order, to the letter"
        );
    }

    #[test]
    fn a_page_that_is_cut_off_is_read_to_its_end() {
        for html in [
            "<script",
            "<script ",
            "<script a=\"",
            "<!-- <script>",
            "<",
            "",
        ] {
            let scripts = inline_scripts(html).concat();
            assert_eq!(scripts, "", "{html}");
        }
        assert_eq!(inline_scripts("<script>x"), ["x"], "what is there");
    }

    #[test]
    fn the_policy_of_a_page_allows_its_own_inline_scripts_only() {
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        let policy = policy("<script>alert(1)</script>");
        let expected = "script-src 'self' 'wasm-unsafe-eval' 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=';";
        assert!(policy.contains(expected), "{policy}");
        assert!(!policy.contains("'unsafe-inline'"), "{policy}");
        assert_eq!(
            source_of("a\r\nb\rc"),
            source_of("a\nb\nc"),
            "as the browser reads lines"
        );
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text, "RFC 4648, section 10");
        }
    }

    #[test]
    fn only_names_with_a_hash_are_kept_for_ever() {
        for kept in [
            "mimeo-app-0123456789abcdef.js",
            "mimeo-app-0123456789abcdef_bg.wasm",
            "styles/style-123456789abcdef.css",
        ] {
            assert!(has_hash(kept), "{kept}");
        }
        for changing in [
            "index.html",
            "favicon.svg",
            "mimeo-app.js",
            "mimeo-app_bg.wasm",
            "mimeo-app-decade.js",
            "0123456789abcdef/inline0.js",
        ] {
            assert!(!has_hash(changing), "{changing}");
        }
    }
}
