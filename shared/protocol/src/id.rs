//! Names of things on the wire: ids that are valid by type, never paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An id that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {what}: {rule}. Choose another one.")]
pub struct InvalidId {
    /// What it should have been.
    pub what: &'static str,
    /// What it must look like.
    pub rule: &'static str,
    /// What was given, shortened.
    pub found: String,
}

impl InvalidId {
    fn new(what: &'static str, rule: &'static str, found: &str) -> Self {
        let found = found.chars().take(80).collect();
        Self { what, rule, found }
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

numbers! {
    /// A job, numbered by the server that took it.
    JobId(u64);
    /// A result that can be fetched as `/files/<id>`.
    FileId(u64);
    /// A finished copier that can be used again.
    CopierId(u64);
    /// A request, numbered by the client; the answer carries the same number.
    RequestId(u32);
}

/// A picture, by the SHA-256 of its bytes: fetched and stored as `/blobs/<id>`. An uploaded LoRA as
/// well, stored as `/loras/<id>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The id of bytes with this SHA-256.
    #[must_use]
    pub const fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    const INVALID: &str = "it must be 64 hexadecimal digits in lower case";
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl FromStr for BlobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("picture id", Self::INVALID, text);
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(invalid());
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let (high, low) = digit(*high).zip(digit(*low)).ok_or_else(invalid)?;
            *byte = high << 4 | low;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for BlobId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<BlobId> for String {
    fn from(id: BlobId) -> Self {
        id.to_string()
    }
}

macro_rules! list_ids {
    ($($(#[$doc:meta])* $name:ident $what:literal $nameless:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The first id that is made of a file's or folder's name and is not taken; of two that
            /// come out equal, the later gets a number.
            #[must_use]
            pub fn for_name(name: &str, is_taken: impl Fn(&Self) -> bool) -> Option<Self> {
                let mut ids = slugs(name, $nameless).filter_map(|slug| Self::try_from(slug).ok());
                ids.find(|id| !is_taken(id))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
                if (1..=64).contains(&text.len()) && text.bytes().all(known) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId::new($what, INVALID_IN_LIST, &text))
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

/// What an id may be made of a name, in the order in which it is tried. The first has at most 60
/// characters, so that a number fits behind it.
fn slugs(name: &str, nameless: &str) -> impl Iterator<Item = String> + use<> {
    let characters = name.chars().map(|character| match character {
        'a'..='z' | '0'..='9' | '-' | '_' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '-',
    });
    let mut slug: String = characters.take(60).collect();
    if slug.is_empty() {
        nameless.clone_into(&mut slug);
    }
    (1..).map(move |number| match number {
        1 => slug.clone(),
        // A number of three digits fits behind any.
        2..1000 => format!("{slug}-{number}"),
        _ => format!("{}-{number}", &slug[..slug.len().min(50)]),
    })
}

const INVALID_IN_LIST: &str = "it must be 1 to 64 of a-z, 0-9, - and _";

list_ids! {
    /// A base checkpoint, by its place in the server's own list.
    BaseId "base id" "base";
    /// A VAE in a file of its own, likewise.
    VaeId "VAE id" "vae";
}

impl BaseId {
    /// The base that Mimeo brings along.
    #[must_use]
    pub fn bundled() -> Self {
        Self("bundled".to_owned())
    }
}

/// What a LoRA is called: a file name on every system, without its ending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    const INVALID: &str = "a name has 1 to 64 characters, no / \\ : * ? \" < > | and no control \
        characters, does not begin or end with a dot or space, and is no device of Windows";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for JobName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let forbidden = |character: char| {
            matches!(
                character,
                '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|'
            ) || character.is_control()
                // Marks that turn the direction of writing hide a name's true ending.
                || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        let edge = |character: char| matches!(character, '.' | ' ');
        let length = text.chars().count();
        let bad = !(1..=64).contains(&length)
            || text.len() > 200
            || text.contains(forbidden)
            || text.starts_with(edge)
            || text.ends_with(edge)
            || is_windows_device(&text);
        if bad {
            Err(InvalidId::new("name", Self::INVALID, &text))
        } else {
            Ok(Self(text))
        }
    }
}

impl FromStr for JobName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

fn is_windows_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let stem = stem.trim_end().to_ascii_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_id_is_its_hash_and_nothing_else() {
        let text = "00ff".repeat(16);
        let id: BlobId = text.parse().expect("64 digits");
        assert_eq!(id.to_string(), text, "there and back");
        for bad in [
            "",
            "00",
            "../../etc/passwd",
            &"00FF".repeat(16),
            &"0".repeat(66),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<BlobId>().is_err(), "{bad:?} is no hash");
        }
    }

    #[test]
    fn a_base_id_cannot_be_a_path() {
        for bad in ["", "..", "a/b", "a\\b", "A", "a b", &"a".repeat(65)] {
            assert!(BaseId::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(
            BaseId::try_from("sd15_anime-2".to_owned()).is_ok(),
            "a slug"
        );
    }

    #[test]
    fn names_become_ids_that_differ() {
        let taken = [BaseId::bundled()];
        let id = |name| BaseId::for_name(name, |id| taken.contains(id)).map(|id| id.to_string());
        assert_eq!(
            id("Anime v2").as_deref(),
            Some("anime-v2"),
            "what an id may have"
        );
        assert_eq!(id("bundled").as_deref(), Some("bundled-2"), "another one's");
        assert_eq!(id("").as_deref(), Some("base"), "something");
    }

    #[test]
    fn a_name_is_a_file_name_on_every_system() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "c:x",
            "nul",
            "COM1.txt",
            "a\u{0}b",
            "a\n",
            " a",
            "a.",
            "a\u{202e}gpj",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<JobName>().is_err(), "{bad:?}");
        }
        for good in ["smile", "眼鏡 2", "v1.2_copy", "nullify", "com10"] {
            assert!(good.parse::<JobName>().is_ok(), "{good:?}");
        }
    }
}
