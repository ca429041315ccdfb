//! The format number that recipes, jobs and everything else that is stored carry.
//!
//! What was stored once is read by every later version. A new field has a default, so that what
//! lacks it means what it meant: often what the program did before there was a choice
//! (`PromptSyntax::Cut`), else what the preset says. Where that is not enough (a field that an older
//! program must not overlook, or one that changed its meaning), the number is raised. A program
//! refuses a number that is newer than its own by name, instead of doing something else than what
//! was asked for.
//!
//! The first format is written as no number at all: so recipes, LoRAs and messages have the bytes
//! that they had before there were numbers, and programs from then read them.

use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Something that is stored and has formats.
pub trait Kind {
    /// What it is called, with its article.
    const NAME: &'static str;
    /// The format that is written; older ones are read as well.
    const NEWEST: u32;
}

/// The number of the format that a value has: the field that is written before all others. In
/// memory every value has the newest, so this holds nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format<K>(PhantomData<K>);

/// A format that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} has format {found} of a newer Mimeo, and this one reads formats up to {newest}: update Mimeo"
)]
pub struct NewerFormat {
    /// What has it.
    pub what: &'static str,
    /// Its number.
    pub found: u32,
    /// The newest that is known here.
    pub newest: u32,
}

impl<K: Kind> Format<K> {
    /// Whether it is the first, which is written as no number.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        K::NEWEST == 1
    }

    /// Reads nothing but the format of a value, so that its number is what is told, whatever else a
    /// newer program put into it.
    ///
    /// # Errors
    /// When it is newer. What has no format that could be read is refused by whoever reads the rest.
    pub fn check<'de>(value: impl Deserializer<'de>) -> Result<(), NewerFormat> {
        #[derive(Deserialize)]
        struct Stamp {
            format: u32,
        }
        Stamp::deserialize(value).map_or(Ok(()), |stamp| Self::take(stamp.format))
    }

    const fn take(found: u32) -> Result<(), NewerFormat> {
        let (what, newest) = (K::NAME, K::NEWEST);
        if found <= newest {
            return Ok(());
        }
        Err(NewerFormat {
            what,
            found,
            newest,
        })
    }
}

impl<K: Kind> Serialize for Format<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(K::NEWEST)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Format<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::take(u32::deserialize(deserializer)?).map_err(de::Error::custom)?;
        Ok(Self(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codec;
    use crate::recipe::{Method, ModelSize, Recipe};

    /// Something of which there were two formats.
    #[derive(Debug, Default, PartialEq)]
    struct OfList;

    impl Kind for OfList {
        const NAME: &'static str = "the list";
        const NEWEST: u32 = 2;
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        #[serde(default, skip_serializing_if = "Format::is_first")]
        format: Format<OfList>,
        length: u32,
    }

    #[test]
    fn the_newest_format_is_written_and_every_older_one_is_read() {
        let list = List {
            format: Format::default(),
            length: 3,
        };
        let written = serde_json::to_string(&list).expect("plain data");
        assert_eq!(written, r#"{"format":2,"length":3}"#, "its number first");
        for older in [
            json!({"length": 3}),
            json!({"format": 1, "length": 3}),
            json!({"format": 2, "length": 3}),
        ] {
            let read: List = serde_json::from_value(older).expect("an older format");
            assert_eq!(read, list, "as it is now");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name_whatever_else_is_new_in_it() {
        #[derive(Serialize)]
        struct Newer {
            format: u32,
            length: [u32; 2],
            colour: &'static str,
        }
        let newer = Newer {
            format: 3,
            length: [1, 2],
            colour: "blue",
        };
        let told = "the list has format 3 of a newer Mimeo, and this one reads formats up to 2";
        let bytes = codec::encode(&newer);
        let error = codec::decode::<List>(&bytes, usize::MAX).expect_err("it is newer");
        assert!(error.to_string().contains(told), "{error}");

        // The order of fields may be lost on the way.
        let reversed = r#"{"colour": "blue", "length": [], "format": 3}"#;
        let mut json = serde_json::Deserializer::from_str(reversed);
        let error = Format::<OfList>::check(&mut json).expect_err("it is newer");
        assert!(error.to_string().contains(told), "{error}");
        for other in [json!(3), json!({"length": 3}), json!({"format": "new"})] {
            assert_eq!(
                Format::<OfList>::check(&other),
                Ok(()),
                "{other} has no format"
            );
        }
    }

    #[test]
    fn the_first_format_is_written_as_nothing() {
        let recipe = Recipe::preset(Method::Plain, ModelSize::Small);
        let mut json = serde_json::to_value(&recipe).expect("plain data");
        assert_eq!(json.get("format"), None, "as before there were numbers");
        json["format"] = 1.into();
        let read: Recipe = serde_json::from_value(json).expect("whoever writes it means the same");
        assert_eq!(read, recipe, "the same recipe");
    }
}
