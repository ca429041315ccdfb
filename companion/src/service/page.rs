//! The built workbench: its page, scripts and styles.

use axum::body::Bytes;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse as _, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::http::not_found;

/// What is shown where the workbench was not built.
const NO_WORKBENCH: &str = include_str!("no_workbench.html");
const INDEX: &str = "index.html";

/// How to get what [`NO_WORKBENCH`] misses: programs read the page from disk or have it in them.
const REMEDY: &str = if cfg!(debug_assertions) {
    "Build it with `cargo xtask page` in the checkout; this program then finds it."
} else {
    "Build it with `cargo xtask page` in the checkout, then build or install this program again."
};

/// In the program itself in release builds, read from disk otherwise.
///
/// A folder of this crate, because one above it that is missing when the program is compiled would
/// not be found later either.
#[derive(RustEmbed)]
#[folder = "workbench"]
#[allow_missing = true]
#[exclude = "mimeo-avatars/*"]
struct Workbench;

/// What to do when this program has no page to show; none if it has one.
pub fn remedy() -> Option<&'static str> {
    Workbench::get(INDEX).is_none().then_some(REMEDY)
}

/// A file of the workbench, or the page itself.
pub async fn serve(uri: Uri) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => INDEX,
        path => path,
    };
    let base = path
        .strip_prefix(mimeo_base::NAME)
        .and_then(|path| path.strip_prefix('/'));
    if let Some(path) = base {
        return base_file(path);
    }
    match Workbench::get(path) {
        Some(file) => answer(path, file),
        None if path == INDEX => Html(NO_WORKBENCH).into_response(),
        None => not_found(),
    }
}

/// A file of the bundled base, for a browser that trains by itself: from the program, which has it
/// anyway.
fn base_file(path: &str) -> Response {
    let file = mimeo_base::files().iter().find(|(name, _)| *name == path);
    let Some((_, bytes)) = file else {
        return not_found();
    };
    // The trainer keeps it, and asks for no other: it knows the hash.
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Bytes::from_static(bytes)).into_response()
}

fn answer(path: &str, file: EmbeddedFile) -> Response {
    let cache = if has_hash(path) {
        "private, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [(CONTENT_TYPE, media_type(path)), (CACHE_CONTROL, cache)];
    (headers, Bytes::from(file.data.into_owned())).into_response()
}

/// What a file is, by its name: of all that Trunk puts into the folder.
fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html",
        "css" => "text/css",
        "js" => "text/javascript",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "json" => "application/json",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// Whether the name has a hash of the content in it, as in `app-0123456789abcdef_bg.wasm`: then the
/// file never changes.
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
