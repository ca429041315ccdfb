//! The keys of `rank_pattern` and `alpha_pattern`: regular expressions for the end of a module's path.
//!
//! peft's `utils/other.py`, `get_pattern_key`: `re.match(rf"(.*\.)?({key})$", path)`, so that `to_k`
//! matches `….attn1.to_k`, and `^mid_block.attentions.0.proj_in` that module alone.

use regex_lite::{Regex, RegexBuilder};

use crate::text;

/// Real expressions among the keys; trainers write a handful, names as many as there are modules.
const MAX_EXPRESSIONS: usize = 64;
/// Bytes that a compiled expression may take, so that matching a stranger's stays quick.
const MAX_COMPILED_BYTES: usize = 1 << 16;

/// One key.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// A name, in which `.` stands for any character, as in every regular expression. Nearly all keys
    /// are names, and a table that names every module is matched far quicker without an engine.
    Name {
        /// Whether it is the whole path and not its end.
        is_whole: bool,
        name: String,
    },
    /// Anything else.
    Expression(Regex),
}

impl Pattern {
    /// Whether the module at `path` is meant.
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Name { is_whole, name } => {
                let Some(before) = path.len().checked_sub(name.len()) else {
                    return false;
                };
                let (start, end) = path.as_bytes().split_at(before);
                let is_place = before == 0 || (!is_whole && start.ends_with(b"."));
                let is_same = || {
                    let mut pairs = name.bytes().zip(end);
                    pairs.all(|(wanted, found)| wanted == b'.' || wanted == *found)
                };
                is_place && is_same()
            }
            Self::Expression(expression) => expression.is_match(path),
        }
    }

    fn of_name(key: &str) -> Option<Self> {
        let (is_whole, name) = match key.strip_prefix('^') {
            Some(name) => (true, name),
            None => (false, key),
        };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let name = name.strip_suffix('$').unwrap_or(name);
        (!name.is_empty() && name.chars().all(is_name)).then(|| Self::Name {
            is_whole,
            name: name.to_owned(),
        })
    }

    fn of_expression(key: &str) -> Result<Self, String> {
        let compiled = RegexBuilder::new(&format!(r"^(?:.*\.)?(?:{key})$"))
            .size_limit(MAX_COMPILED_BYTES)
            .build();
        let expression = compiled.map_err(|_error| {
            let key = text::name(key);
            format!("{key:?} is no regular expression that can be used")
        })?;
        Ok(Self::Expression(expression))
    }
}

/// The keys with their numbers, in the same order.
///
/// # Errors
/// Which key cannot be used.
pub(super) fn read_all(entries: Vec<(String, f64)>) -> Result<Vec<(Pattern, f64)>, String> {
    let mut expressions = 0;
    let read = |(key, value): (String, f64)| {
        if let Some(pattern) = Pattern::of_name(&key) {
            return Ok((pattern, value));
        }
        expressions += 1;
        if expressions > MAX_EXPRESSIONS {
            return Err(format!("more than {MAX_EXPRESSIONS} regular expressions"));
        }
        Ok((Pattern::of_expression(&key)?, value))
    };
    entries.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(key: &str) -> Pattern {
        let read = read_all(vec![(key.to_owned(), 1.0)]).unwrap();
        read.into_iter().next().unwrap().0
    }

    #[test]
    fn a_key_matches_what_peft_matches_with_it() {
        let path = "down_blocks.0.attentions.1.attn1.to_out.0";
        let keys = [
            ("to_out.0", true),
            ("attn1.to_out.0", true),
            ("out.0", false),
            ("to_out", false),
            ("down_blocks.0.attentions.1.attn1.to_out.0", true),
            ("^down_blocks.0.attentions.1.attn1.to_out.0", true),
            ("^down_blocks.0.attentions.1.attn1.to_out.0$", true),
            ("^attn1.to_out.0", false),
            ("more.down_blocks.0.attentions.1.attn1.to_out.0", false),
            // A dot is any character, as in Python.
            ("to_out_0", false),
            ("to.out.0", true),
            (r"attn\d\.to_out\.0", true),
            (r"down_blocks\.(0|1)\..*", true),
            ("to_q|to_out.0", true),
            ("to_q|to_k", false),
        ];
        for (key, expected) in keys {
            assert_eq!(pattern(key).matches(path), expected, "{key} and {path}");
        }
    }

    #[test]
    fn an_expression_that_cannot_be_used_is_named() {
        for key in ["to_(k", "a{1000}{1000}", ""] {
            let read = read_all(vec![(key.to_owned(), 1.0)]);
            // Python's `(.*\.)?()$` matches nothing but a path that ends in a dot, or none.
            let refused = read.is_err() || !read.unwrap()[0].0.matches("mid_block.proj_in");
            assert!(refused, "{key:?} must match nothing");
        }
        let many = (0..=MAX_EXPRESSIONS).map(|number| (format!("a+{number}"), 1.0));
        let refusal = read_all(many.collect()).unwrap_err();
        assert!(refusal.contains("regular expressions"), "{refusal}");
    }

    proptest! {
        #[test]
        fn names_match_as_the_expressions_that_they_are(
            key in "\\^?[a-c._]{1,6}\\$?",
            path in "[a-c._]{0,10}",
        ) {
            let name = Pattern::of_name(&key).unwrap();
            let expression = Pattern::of_expression(&key).unwrap();
            prop_assert_eq!(name.matches(&path), expression.matches(&path), "{} and {}", key, path);
        }

        #[test]
        fn no_key_makes_the_reader_panic(key in "\\PC{0,40}", path in "\\PC{0,40}") {
            if let Ok(read) = read_all(vec![(key, 1.0)]) {
                // Whatever it answers, it answers.
                let matched = read.iter().filter(|(pattern, _)| pattern.matches(&path)).count();
                prop_assert!(matched <= 1, "one pattern");
            }
        }
    }
}
