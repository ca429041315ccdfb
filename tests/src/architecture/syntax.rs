//! What no lint sees: conditions of compilation, and who is excused from a lint. Read from the tokens
//! of a file, so comments and texts say nothing, however the code is written.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::text::SourceFile;

/// What a condition of compilation calls a platform.
const PLATFORMS: [&str; 7] = [
    "target_arch",
    "target_env",
    "target_family",
    "target_os",
    "target_vendor",
    "unix",
    "windows",
];

/// The lints that the lists of `clippy.toml` are for, and all that they are among.
const LISTS: [&str; 6] = [
    "all",
    "disallowed_macros",
    "disallowed_methods",
    "disallowed_types",
    "style",
    "warnings",
];

/// Where a file is compiled otherwise on another platform, unit tests apart.
pub fn platform_conditions(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    every_level(&code(file), &mut |tokens| {
        for (place, token) in tokens.iter().enumerate() {
            let is_condition = names(token, "cfg") || names(token, "cfg_attr");
            // `cfg!(…)` has a mark in between.
            let inside = tokens[place + 1..].iter().take(2).find_map(brackets);
            let Some(condition) = inside.filter(|_| is_condition) else {
                continue;
            };
            if let Some(platform) = first_of(&PLATFORMS, &condition) {
                found.push(told(&platform, file));
            }
        }
    });
    found
}

/// Where a file is excused from a list of `clippy.toml`, other than in its tests.
pub fn exceptions(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    every_level(&code(file), &mut |tokens| {
        for (place, token) in tokens.iter().enumerate() {
            let excuses = ["allow", "expect"].iter().any(|name| names(token, name));
            let Some(lints) = tokens.get(place + 1).and_then(brackets) else {
                continue;
            };
            if let Some(lint) = first_of(&LISTS, &lints).filter(|_| excuses) {
                found.push(told(&lint, file));
            }
        }
    });
    found
}

fn told(word: &str, file: &SourceFile) -> String {
    format!("{word} in {}", file.path.display())
}

/// The tokens of a file without what `#[cfg(test)]` and `#![cfg_attr(test, …)]` are for.
fn code(file: &SourceFile) -> Vec<TokenTree> {
    let tokens: TokenStream = file
        .text()
        .parse()
        .unwrap_or_else(|error| panic!("{} is no Rust: {error}", file.path.display()));
    without_tests(tokens)
}

fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            TokenTree::Group(group) if is_for_tests(&group, "cfg_attr") => {}
            TokenTree::Group(group) if is_for_tests(&group, "cfg") => {
                // The item is over with its body, or without one.
                for skipped in rest.by_ref() {
                    let ends = matches!(&skipped, TokenTree::Punct(mark) if mark.as_char() == ';');
                    let body = matches!(&skipped, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
                    if ends || body {
                        break;
                    }
                }
            }
            TokenTree::Group(group) => {
                let inside = without_tests(group.stream()).into_iter().collect();
                let mut smaller = Group::new(group.delimiter(), inside);
                smaller.set_span(group.span());
                kept.push(TokenTree::Group(smaller));
            }
            other => kept.push(other),
        }
    }
    kept
}

/// Whether these are the brackets of an attribute `cfg(test)`, or `cfg_attr(test, …)`.
fn is_for_tests(group: &Group, attribute: &str) -> bool {
    let mut tokens = group.stream().into_iter();
    let is_attribute = group.delimiter() == Delimiter::Bracket
        && tokens.next().is_some_and(|token| names(&token, attribute));
    let mut condition = tokens
        .next()
        .as_ref()
        .and_then(brackets)
        .into_iter()
        .flatten();
    is_attribute && condition.next().is_some_and(|token| names(&token, "test"))
}

/// Shows a list of tokens and those in its brackets, one level after the other.
fn every_level(tokens: &[TokenTree], see: &mut impl FnMut(&[TokenTree])) {
    see(tokens);
    for inside in tokens.iter().filter_map(brackets) {
        every_level(&inside, see);
    }
}

/// The first of `words` among tokens, however deep.
fn first_of(words: &[&str], tokens: &[TokenTree]) -> Option<String> {
    tokens.iter().find_map(|token| {
        let name = token.to_string();
        match brackets(token) {
            Some(inside) => first_of(words, &inside),
            None => words.contains(&name.as_str()).then_some(name),
        }
    })
}

fn names(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(name) if name == word)
}

fn brackets(token: &TokenTree) -> Option<Vec<TokenTree>> {
    match token {
        TokenTree::Group(group) => Some(group.stream().into_iter().collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &str) -> SourceFile {
        SourceFile::new("src/a.rs", contents)
    }

    #[test]
    fn a_platform_is_found_in_every_condition() {
        for source in [
            "#[cfg(unix)]\nmod a;",
            "#[cfg(all(\n    feature = \"gpu\",\n    not(target_family = \"wasm\")\n))]\nmod a;",
            "#![cfg_attr(windows, path = \"b.rs\")]",
            "fn f() { g(|| if cfg!(target_os = \"linux\") { 1 } else { 2 }) }",
            "#[cfg(test)]\nmod tests;\n#[cfg(unix)]\nfn f() {}",
        ] {
            let found = platform_conditions(&file(source));
            assert_eq!(found.len(), 1, "{source}: {found:?}");
        }
    }

    #[test]
    fn what_a_comment_a_text_or_a_test_says_is_no_condition() {
        for source in [
            "// cfg(unix)\n/* cfg(unix) */\nconst A: &str = \"cfg(unix)\";",
            "#[cfg(feature = \"gpu\")]\nfn unix() { let windows = 1; }",
            "#[cfg(test)]\nmod tests {\n    #[cfg(unix)]\n    fn f() {}\n}",
        ] {
            let found = platform_conditions(&file(source));
            assert!(found.is_empty(), "{source}: {found:?}");
        }
    }

    #[test]
    fn an_exception_is_found_and_one_for_tests_is_none() {
        for source in [
            "#![allow(clippy::disallowed_types)]",
            "#[allow(clippy::all)]\nfn f() {}",
            "#[expect(\n    clippy::unwrap_used,\n    clippy::disallowed_methods,\n    reason = \"so\"\n)]\nfn f() {}",
            "#[cfg_attr(unix, expect(clippy::disallowed_methods))]\nfn f() {}",
        ] {
            let found = exceptions(&file(source));
            assert_eq!(found.len(), 1, "{source}: {found:?}");
        }
        for source in [
            "#![cfg_attr(test, allow(clippy::disallowed_methods))]",
            "// allow(clippy::disallowed_types)\n#[expect(clippy::unwrap_used)]\nfn f() {}",
            "#[warn(clippy::disallowed_types)]\nfn f() {}",
        ] {
            let found = exceptions(&file(source));
            assert!(found.is_empty(), "{source}: {found:?}");
        }
    }
}
