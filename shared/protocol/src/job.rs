//! What is to be trained.

use serde::{Deserialize, Serialize};

use crate::format::{Format, Kind};
use crate::id::{BaseId, BlobId, CopierId, JobName, VaeId};
use crate::number::{Level, Steps, Strength, Weight};
use crate::recipe::{Method, Recipe};

/// Of stored jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfJob;

impl Kind for OfJob {
    const NAME: &'static str = "the job";
    const NEWEST: u32 = 1;
}

/// The format of a [`TrainJob`].
pub type JobFormat = Format<OfJob>;

/// One training job: pictures that differ in one thing, where, and how to learn it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainJob {
    /// The format that it has.
    #[serde(default, skip_serializing_if = "Format::is_first")]
    pub format: JobFormat,
    /// Name of the LoRA; other programs offer it under this name.
    pub name: JobName,
    /// The checkpoint to train upon.
    pub base: BaseId,
    /// The VAE that encodes its pictures; none: the base's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<VaeId>,
    /// What it learns from; which ones, see [`Recipe::check_examples`].
    #[serde(flatten, with = "examples")]
    pub examples: Vec<Example>,
    /// The method and its numbers.
    pub recipe: Recipe,
    /// Which copier of A to build upon.
    #[serde(default)]
    pub copier: CopierChoice,
    /// Pictures to draw while training; none: no previews.
    #[serde(default)]
    pub previews: Option<PreviewPlan>,
    /// Whether to measure what the LoRA does.
    #[serde(default = "yes")]
    pub scores: bool,
}

/// Two pictures that differ in one thing, and where: what to learn.
///
/// Pictures are named by their hash and were uploaded before. A LoRA's metadata names so what it was
/// trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// A: what to start from.
    pub original: BlobId,
    /// B: what to become.
    pub target: BlobId,
    /// Where to learn; none, or nothing painted, means where the two differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<BlobId>,
    /// Prompt of these two pictures; empty: that of the recipe.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caption: String,
    /// How much it counts beside the others.
    #[serde(
        default = "Example::usual_weight",
        skip_serializing_if = "Example::is_usual_weight"
    )]
    pub weight: Weight,
    /// The strength of the LoRA at which its change is to come.
    #[serde(
        default = "Example::usual_level",
        skip_serializing_if = "Example::is_usual_level"
    )]
    pub level: Level,
}

impl Example {
    /// Two pictures without a mask or a caption.
    #[must_use]
    pub const fn new(original: BlobId, target: BlobId) -> Self {
        Self {
            original,
            target,
            mask: None,
            caption: String::new(),
            weight: Self::usual_weight(),
            level: Self::usual_level(),
        }
    }

    const fn usual_weight() -> Weight {
        Weight::constant(1.0)
    }

    fn is_usual_weight(weight: &Weight) -> bool {
        *weight == Self::usual_weight()
    }

    const fn usual_level() -> Level {
        Level::constant(1.0)
    }

    fn is_usual_level(level: &Level) -> bool {
        *level == Self::usual_level()
    }

    /// Whether it is one picture, which differs in nothing: what a copier learns from, and an ordinary
    /// LoRA. Both names are the same then.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.original == self.target
    }

    /// The files that it names.
    pub fn pictures(&self) -> impl Iterator<Item = BlobId> + use<> {
        [self.original, self.target].into_iter().chain(self.mask)
    }
}

/// How a job's examples are written: one alone has its fields among those of the job, as when there
/// was no list, so that older programs read it; several are a list.
mod examples {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::Example;
    use crate::id::BlobId;
    use crate::number::{Level, Weight};

    #[derive(Serialize)]
    struct Several<'a> {
        examples: &'a [Example],
    }

    #[derive(Deserialize)]
    struct Found {
        examples: Option<Vec<Example>>,
        original: Option<BlobId>,
        target: Option<BlobId>,
        mask: Option<BlobId>,
        #[serde(default)]
        caption: String,
        #[serde(default = "Example::usual_weight")]
        weight: Weight,
        #[serde(default = "Example::usual_level")]
        level: Level,
    }

    pub(super) fn serialize<S: Serializer>(
        examples: &[Example],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match examples {
            [alone] => alone.serialize(serializer),
            examples => Several { examples }.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Example>, D::Error> {
        let missing = de::Error::missing_field;
        let found = Found::deserialize(deserializer)?;
        match found.examples {
            Some(examples) if examples.is_empty() => Err(missing("examples")),
            Some(examples) => Ok(examples),
            None => Ok(vec![Example {
                original: found.original.ok_or_else(|| missing("original"))?,
                target: found.target.ok_or_else(|| missing("target"))?,
                mask: found.mask,
                caption: found.caption,
                weight: found.weight,
                level: found.level,
            }]),
        }
    }
}

impl TrainJob {
    /// A job as most are: scores, no previews, and whichever copier there is.
    #[must_use]
    pub fn new(name: JobName, base: BaseId, example: Example, recipe: Recipe) -> Self {
        Self {
            format: JobFormat::default(),
            name,
            base,
            vae: None,
            examples: vec![example],
            recipe,
            copier: CopierChoice::default(),
            previews: None,
            scores: yes(),
        }
    }

    /// Whether it makes a copier and nothing else: there is none to build upon, and no pair to learn a
    /// difference from.
    #[must_use]
    pub fn makes_copier(&self) -> bool {
        let builds_upon_one = matches!(self.copier, CopierChoice::Given(_));
        self.recipe.method == Method::Copier
            && !builds_upon_one
            && self.examples.iter().all(Example::is_alone)
    }

    /// The pictures of all its examples.
    pub fn pictures(&self) -> impl Iterator<Item = BlobId> {
        self.examples.iter().flat_map(Example::pictures)
    }
}

const fn yes() -> bool {
    true
}

/// Which copier a job of method `copier` builds upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopierChoice {
    /// A finished one of the same base, picture and recipe if there is one, else a new one.
    #[default]
    Cached,
    /// A new one.
    New,
    /// This one.
    Given(CopierId),
}

/// Pictures drawn from one prompt and seed while a job trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewPlan {
    /// Drawn every so many steps, and after the last.
    pub every: Steps,
    /// What to draw.
    pub prompt: String,
    /// Which noise it starts from.
    #[serde(deserialize_with = "crate::number::deserialize_seed")]
    pub seed: u64,
    /// One picture for each.
    pub strengths: Vec<Strength>,
}

impl PreviewPlan {
    /// The change undone, the base alone, the change made.
    pub const STRENGTHS: [Strength; 3] = [
        Strength::constant(-1.0),
        Strength::constant(0.0),
        Strength::constant(1.0),
    ];
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codec;
    use crate::recipe::{Method, ModelSize};

    fn job(examples: Vec<Example>) -> TrainJob {
        let [original, target] = [1, 2].map(|digit| BlobId::from_sha256([digit; 32]));
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let name = "job".parse().expect("a name");
        let example = Example::new(original, target);
        TrainJob {
            examples,
            ..TrainJob::new(name, BaseId::bundled(), example, recipe)
        }
    }

    fn example(digit: u8, caption: &str) -> Example {
        let [original, target, mask] =
            [digit, digit + 1, digit + 2].map(|digit| BlobId::from_sha256([digit; 32]));
        Example {
            mask: Some(mask),
            caption: caption.to_owned(),
            ..Example::new(original, target)
        }
    }

    #[test]
    fn one_example_is_written_as_when_there_was_no_list_and_several_as_a_list() {
        let alone = job(vec![example(1, "")]);
        let json = serde_json::to_value(&alone).expect("plain data");
        assert_eq!(json["original"], json!("01".repeat(32)), "among the others");
        assert_eq!(json.get("examples"), None, "no list");
        assert_eq!(json.get("caption"), None, "nothing that is new");
        let several = job(vec![example(1, "a girl"), example(4, "")]);
        let json = serde_json::to_value(&several).expect("plain data");
        assert_eq!(json["examples"][0]["caption"], json!("a girl"), "a list");
        assert_eq!(
            json.get("original"),
            None,
            "and nothing that looks like one"
        );
        assert_eq!(json["examples"][0].get("weight"), None, "as usual");
        let graded = Example {
            weight: Weight::constant(0.5),
            level: Level::constant(-2.0),
            ..example(1, "")
        };
        let json = serde_json::to_value(job(vec![graded.clone()])).expect("plain data");
        assert_eq!(
            (&json["weight"], &json["level"]),
            (&json!(0.5), &json!(-2.0)),
            "said"
        );
        for job in [
            alone,
            several,
            job(vec![graded]),
            job(vec![example(1, "a girl")]),
        ] {
            let read: TrainJob = codec::decode(&codec::encode(&job), usize::MAX).expect("its own");
            assert_eq!(read, job, "there and back");
        }
    }

    #[test]
    fn a_job_without_an_example_is_refused() {
        let json = serde_json::to_value(job(vec![example(1, "")])).expect("plain data");
        for (gone, put, named) in [
            ("original", None, "`original`"),
            ("target", None, "`target`"),
            ("original", Some(json!([])), "`examples`"),
        ] {
            let mut json = json.clone();
            let fields = json.as_object_mut().expect("a table");
            fields.remove(gone);
            if let Some(examples) = put {
                fields.insert("examples".to_owned(), examples);
            }
            let error = serde_json::from_value::<TrainJob>(json).expect_err("it trains nothing");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
