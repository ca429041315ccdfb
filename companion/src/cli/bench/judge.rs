//! `mimeo bench methods --judge`: what LoRAs do to people they never saw, read by a net that never
//! saw a LoRA.

mod chart;
mod curve;
mod reader;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use clap::Args;
use mimeo_checkpoint::LoraFile;
use mimeo_engine::rest::Counted;
use mimeo_engine::sample::{sample, total_steps};
use mimeo_engine::{Base, LoadedLora, LoraStack, SampleRequest};
use mimeo_image::{Rgb, mae_weighted};
use mimeo_protocol::{Method, Recipe};
use serde::Serialize;

use super::pair::Pair;
use super::train;
use crate::cli::lora;
use crate::cli::number::whole;
use crate::exit::{BadInput, Exit};
use crate::interrupt;
use crate::output::{Claims, Existing, Format, OutFile};
use crate::progress::Report;
use crate::recipe::RecipeFile;
use curve::{Curve, Point, Tally};
pub use reader::{Attributes, Judge};
use table::{Merit, Row};

/// From half of the change's beginning to where damage begins.
const STRENGTHS: [f64; 6] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0];
/// Seed of the first person.
const PEOPLE_SEED: u64 = 8000;

/// What is judged, and how.
#[derive(Debug, Args)]
#[group(skip)]
pub struct JudgeArgs {
    /// Read the attributes of drawn people over strengths 0.25 to 2, instead of the scores: how many
    /// gained the change, kept the rest, and were pulled towards A
    #[arg(long)]
    pub judge: bool,
    /// With --judge: people to draw
    #[arg(long, default_value_t = 24, requires = "judge",
          value_parser = whole("People", 1..=48), allow_hyphen_values = true)]
    people: u32,
    /// With --judge: DDIM steps of each picture
    #[arg(long, default_value_t = 10, requires = "judge",
          value_parser = whole("Steps", 1..=100), allow_hyphen_values = true)]
    steps: u32,
    /// With --judge: the pairs that are held out, and only these
    #[arg(long, requires = "judge")]
    held_out: bool,
    /// With --judge: a LoRA to judge instead of training any
    #[arg(long, value_name = "FILE", requires = "judge", conflicts_with_all = ["recipe", "methods", "seeds"])]
    lora: Option<PathBuf>,
    /// With --judge: a recipe (TOML, JSON or a LoRA by Mimeo) over the preset of each method
    #[arg(long, value_name = "FILE", requires = "judge")]
    recipe: Option<PathBuf>,
    /// With --judge: beside the LoRAs the base itself, asked for the change in the words of B's caption
    #[arg(long, requires = "judge")]
    words: bool,
    /// With --judge: where to write every curve
    #[arg(long, value_name = "FILE", default_value = "curves.json")]
    curves: PathBuf,
    /// With --judge: where to draw them
    #[arg(long, value_name = "FILE.svg", requires = "judge")]
    chart: Option<PathBuf>,
}

/// The places of what the judge writes.
pub struct Outs {
    curves: OutFile,
    chart: Option<OutFile>,
}

/// A curve of the file.
#[derive(Serialize)]
struct Judged {
    pair: String,
    method: String,
    curve: Curve,
    /// Whether it changes more than one attribute, and is left out of the means.
    control: bool,
}

impl JudgeArgs {
    /// Claims the places of the curves.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn claim(&self, existing: Existing) -> Result<Outs, BadInput> {
        let recipe = self.recipe.as_deref().map(|path| ("--recipe", path));
        let lora = self.lora.as_deref().map(|path| ("--lora", path));
        let mut claims = Claims::new(existing, recipe.into_iter().chain(lora));
        let chart = self.chart.as_deref();
        Ok(Outs {
            curves: claims.claim(&self.curves, Format::Json)?,
            chart: chart
                .map(|chart| claims.claim(chart, Format::Drawing))
                .transpose()?,
        })
    }

    /// Trains, draws, judges and tells.
    ///
    /// - `prompts`: that LoRAs are calibrated on; people are drawn of others
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(
        &self,
        (base, prompts): (&Base, &[String]),
        pairs: &[Pair],
        methods: &[Method],
        seeds: u32,
        outs: &Outs,
        report: &mut Report,
    ) -> anyhow::Result<Exit> {
        let pairs: Vec<&Pair> = pairs
            .iter()
            .filter(|pair| pair.held_out == self.held_out)
            .collect();
        if pairs.is_empty() {
            let why = match self.held_out {
                true => "none of the pairs is held out; name a folder of rendered ones.",
                false => "all of the pairs are held out; add --held-out to look at them.",
            };
            return Err(BadInput(why.to_owned()).into());
        }
        let lora = match &self.lora {
            Some(path) => {
                let file = lora::read(path).await?;
                // Here, because only here its path is known.
                lora::load(base, &file, path, report)?;
                Some(file)
            }
            None => None,
        };
        let recipes = self.recipes(base, methods).await?;
        let mut session = Session {
            base,
            judge: Judge::bundled().await?,
            people: serde_json::from_slice(mimeo_base::PEOPLE)?,
            drawn: BTreeMap::new(),
        };
        session.people.truncate(self.people as usize);

        let mut judged = Vec::new();
        let mut exit = Exit::Done;
        report.answer("columns", &table::COLUMNS, &table::head());
        'pairs: for pair in pairs {
            let control = pair.edited(session.judge.names()).len() > 1;
            let told = |method: String, curve: Curve, secs: f64, report: &mut Report| {
                let row = Row::new(&pair.name, &method, Merit::of(&curve, secs), control);
                report.answer("row", &row, &row.line());
                let judged = Judged {
                    pair: pair.name.clone(),
                    method,
                    curve,
                    control,
                };
                (row, judged)
            };
            if self.words {
                let curve = self.asked(&mut session, pair, report).await?;
                judged.push(told("words".to_owned(), curve, 0.0, report));
            }
            let runs: Vec<(String, Vec<Recipe>)> = match &lora {
                Some(_) => vec![("file".to_owned(), Vec::new())],
                None => recipes
                    .iter()
                    .map(|recipe| of_seeds(recipe, seeds))
                    .collect(),
            };
            for (method, recipes) in runs {
                let mut tallies = [Tally::default(); STRENGTHS.len()];
                let mut secs = 0.0;
                if let Some(lora) = &lora {
                    self.tally(&mut session, pair, lora, &mut tallies, report)
                        .await?;
                }
                for recipe in &recipes {
                    let job = pair.job(base, recipe.clone(), (prompts.to_vec(), false))?;
                    let trained = train(base, &job, report).await?;
                    let (Some(trained), false) = (trained, stopped()) else {
                        exit = Exit::Stopped;
                        break 'pairs;
                    };
                    secs += trained.secs / recipes.len() as f64;
                    self.tally(&mut session, pair, &trained.lora, &mut tallies, report)
                        .await?;
                }
                if stopped() {
                    exit = Exit::Stopped;
                    break 'pairs;
                }
                let points = STRENGTHS.iter().zip(&tallies);
                let curve =
                    Curve::new(points.map(|(strength, tally)| Point::new(*strength, tally)));
                judged.push(told(method, curve, secs, report));
            }
        }
        let (rows, judged): (Vec<Row>, Vec<Judged>) = judged.into_iter().unzip();
        for mean in Row::means(&rows) {
            report.answer("mean", &mean, &mean.lines());
        }
        if !judged.is_empty() {
            let mut out = vec![
                outs.curves
                    .save(&serde_json::to_vec_pretty(&judged)?, report)?,
            ];
            if let Some(chart) = &outs.chart {
                out.push(chart.save(chart::chart(&judged).as_bytes(), report)?);
            }
            #[derive(Serialize)]
            struct Saved {
                out: Vec<String>,
            }
            let lines: Vec<String> = out.iter().map(|name| format!("Saved {name:?}")).collect();
            report.result(&Saved { out }, &lines.join("\n"));
        }
        Ok(exit)
    }

    /// The recipe of each method.
    async fn recipes(&self, base: &Base, methods: &[Method]) -> anyhow::Result<Vec<Recipe>> {
        let size = base.model_size();
        let Some(path) = &self.recipe else {
            let presets = methods.iter().map(|method| Recipe::preset(*method, size));
            return Ok(presets.collect());
        };
        let file = RecipeFile::read(path).await?;
        // What the file says of the method goes before the flag's other methods.
        let own = file.method();
        let methods = methods
            .iter()
            .filter(|method| own.is_none_or(|own| own == **method));
        let recipes: Result<Vec<Recipe>, BadInput> =
            methods.map(|method| file.over(*method, size)).collect();
        let recipes = recipes?;
        if recipes.is_empty() {
            let why = "the recipe is for a method that --methods leaves out; add it there";
            return Err(file.refusal(why).into());
        }
        Ok(recipes)
    }

    /// Draws people with a LoRA of a pair, and counts what became of them.
    async fn tally(
        &self,
        session: &mut Session<'_>,
        pair: &Pair,
        lora: &LoraFile,
        tallies: &mut [Tally; STRENGTHS.len()],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let lora = LoadedLora::new(session.base, lora, &pair.name)?;
        let seen = self.without_lora(session, pair, report).await?;
        let total = total_steps(session.base, &seen.request)?;
        report.begin("Drawing", total * STRENGTHS.len() as u32);
        for (before, (strength, tally)) in (0..).zip(STRENGTHS.iter().zip(tallies)) {
            if stopped() {
                return Ok(());
            }
            let stack = LoraStack::none().with(&lora.network, *strength);
            let mut rest = Counted::new(|done| report.advance(before * total + done));
            let pictures = sample(session.base, &seen.request, &stack, &mut rest).await?;
            for (before, picture) in seen.people.iter().zip(&pictures) {
                let after = Seen {
                    attributes: session.judge.read(picture)?,
                    picture: picture.clone(),
                };
                count(&session.judge, pair, before, &after, tally)?;
            }
        }
        Ok(())
    }

    /// The people that the base draws by itself, for what a pair leaves to be said of them.
    async fn without_lora(
        &self,
        session: &mut Session<'_>,
        pair: &Pair,
        report: &mut Report,
    ) -> anyhow::Result<Rc<Drawn>> {
        let edited = pair.edited(session.judge.names());
        let edited: Vec<String> = edited.into_iter().map(str::to_owned).collect();
        if let Some(drawn) = session.drawn.get(&edited) {
            return Ok(drawn.clone());
        }
        let prompts = session
            .people
            .iter()
            .map(|tags| prompt(session.judge.names(), tags, &edited));
        let drawn = Rc::new(self.draw(session, prompts.collect(), report).await?);
        session.drawn.insert(edited, drawn.clone());
        Ok(drawn)
    }

    /// The same people where the base is asked for the change, in what B's caption says beyond A's: what can be
    /// expected of a LoRA on this base. One point, at strength 1.
    async fn asked(
        &self,
        session: &mut Session<'_>,
        pair: &Pair,
        report: &mut Report,
    ) -> anyhow::Result<Curve> {
        let without = self.without_lora(session, pair, report).await?;
        let edited = pair.edited(session.judge.names());
        let words = &pair.words;
        let prompts = session.people.iter().map(|tags| {
            let mut tags = tags.clone();
            // All of them in the place of the first: their order is that of the attributes.
            tags.retain(|name, _| !edited.contains(&name.as_str()));
            let first = edited
                .first()
                .map(|name| ((*name).to_owned(), words.clone()));
            tags.extend(first);
            prompt(session.judge.names(), &tags, &[])
        });
        let asked = self.draw(session, prompts.collect(), report).await?;
        let mut tally = Tally::default();
        for (before, after) in without.people.iter().zip(&asked.people) {
            count(&session.judge, pair, before, after, &mut tally)?;
        }
        Ok(Curve::new([Point::new(1.0, &tally)]))
    }

    /// Draws people without any LoRA and reads them, each with the next seed.
    async fn draw(
        &self,
        session: &Session<'_>,
        prompts: Vec<String>,
        report: &mut Report,
    ) -> anyhow::Result<Drawn> {
        let prompts = prompts.into_iter().zip(PEOPLE_SEED..).collect();
        let mut request = SampleRequest::new(session.base, prompts);
        request.steps = self.steps as usize;
        report.begin("Drawing", total_steps(session.base, &request)?);
        let mut rest = Counted::new(|done| report.advance(done));
        let pictures = sample(session.base, &request, &LoraStack::none(), &mut rest).await?;
        let people = pictures.into_iter().map(|picture| {
            let attributes = session.judge.read(&picture)?;
            Ok(Seen {
                attributes,
                picture,
            })
        });
        let people: Result<Vec<Seen>, BadInput> = people.collect();
        Ok(Drawn {
            request,
            people: people?,
        })
    }
}

/// What stays the same from pair to pair.
struct Session<'a> {
    base: &'a Base,
    judge: Judge,
    /// What is said of each person, by attribute.
    people: Vec<Attributes>,
    /// What the base draws by itself, by the attributes that are left unsaid.
    drawn: BTreeMap<Vec<String>, Rc<Drawn>>,
}

/// People without any LoRA.
struct Drawn {
    request: SampleRequest,
    people: Vec<Seen>,
}

/// Somebody who was drawn.
struct Seen {
    picture: Rgb,
    attributes: Attributes,
}

fn stopped() -> bool {
    interrupt::listen().load(Ordering::Relaxed)
}

/// The recipe of each training seed.
fn of_seeds(recipe: &Recipe, seeds: u32) -> (String, Vec<Recipe>) {
    let seeded = (0..u64::from(seeds)).map(|seed| Recipe {
        seed,
        ..recipe.clone()
    });
    (recipe.method.name().to_owned(), seeded.collect())
}

/// A caption in the base's own words, in the order of `names`, that says nothing of what is edited.
fn prompt<'a>(
    names: impl Iterator<Item = &'a str>,
    tags: &Attributes,
    edited: &[String],
) -> String {
    let said = |name: &str| {
        let unsaid = edited.iter().any(|edited| edited == name);
        tags.get(name).filter(|_| !unsaid).cloned()
    };
    let tags = names.filter_map(|name| match name {
        // One tag for both: a colour alone says nothing.
        "clothing" => {
            let colour = said("clothing_color").map(|colour| format!("{colour} "));
            said(name).map(|clothing| colour.unwrap_or_default() + &clothing)
        }
        "clothing_color" => None,
        _ => said(name),
    });
    tags.collect::<Vec<_>>().join(", ")
}

/// What cannot be seen any more of somebody who has `value`: the edit hides it, and does not change it.
/// Hair is under a hat and not on a bald head, and dark glasses lie over the eyes and most of the
/// eyebrows. Beards grow around the mouth, and a small head shows all that a large one does.
fn hidden_by(attribute: &str, value: &str) -> &'static [&'static str] {
    match (attribute, value) {
        ("top", "hat" | "winter_hat" | "bald") => &["hair_color"],
        ("accessories", "sunglasses") => &["eyes", "eyebrows"],
        _ => &[],
    }
}

/// Counts what a LoRA made of somebody.
fn count(
    judge: &Judge,
    pair: &Pair,
    before: &Seen,
    after: &Seen,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let edited = pair.edited(judge.names());
    let has = |seen: &Seen, who: &Attributes, name: &str| {
        who.get(name)
            .is_some_and(|value| seen.attributes.get(name) == Some(value))
    };
    let has_all = |seen: &Seen| edited.iter().all(|name| has(seen, &pair.target, name));
    if !has_all(before) {
        tally.gained.count(has_all(after));
    }
    let hidden = |name: &str| {
        edited.iter().any(|edited| {
            let value = pair.target.get(*edited);
            value.is_some_and(|value| hidden_by(edited, value).contains(&name))
        })
    };
    for name in judge.names() {
        if edited.contains(&name) || hidden(name) {
            continue;
        }
        tally
            .kept
            .count(after.attributes.get(name) == before.attributes.get(name));
        if pair.original.contains_key(name) && !has(before, &pair.original, name) {
            tally.pulled.count(has(after, &pair.original, name));
        }
    }
    let mask = pair.pictures.mask.as_ref();
    let outside = mask
        .map(mimeo_image::Mask::outside_weights)
        .unwrap_or_default();
    if outside.iter().any(|weight| *weight > 0.0) {
        let changed = mae_weighted(after.picture.pixels(), before.picture.pixels(), &outside)?;
        tally.elsewhere.add(changed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mimeo_engine::runtime::block_on;

    use super::*;

    #[test]
    fn a_prompt_says_nothing_of_the_edit() {
        let judge = block_on(Judge::bundled()).unwrap();
        let people: Vec<Attributes> = serde_json::from_slice(mimeo_base::PEOPLE).unwrap();
        assert!(people.len() >= 48, "{} people", people.len());
        let tags = [
            ("top", "long hair"),
            ("hair_color", "red hair"),
            ("mouth", "frown"),
            ("clothing", "hoodie"),
            ("clothing_color", "blue"),
            ("background", "pink background"),
        ];
        let tags = tags
            .map(|(name, tag)| (name.to_owned(), tag.to_owned()))
            .into();
        for (edited, expected) in [
            (
                "head",
                "long hair, red hair, frown, blue hoodie, pink background",
            ),
            ("mouth", "long hair, red hair, blue hoodie, pink background"),
            (
                "clothing_color",
                "long hair, red hair, frown, hoodie, pink background",
            ),
            ("clothing", "long hair, red hair, frown, pink background"),
        ] {
            let found = prompt(judge.names(), &tags, &[edited.to_owned()]);
            assert_eq!(found, expected, "{edited}");
        }
    }

    /// B as if a LoRA had made it of A, and A as if it had done nothing.
    #[test]
    fn the_change_itself_is_gained_and_keeps_all() {
        let judge = block_on(Judge::bundled()).unwrap();
        let pair = Pair::bundled(&mimeo_base::pairs()[0]).unwrap();
        let [a, b] = [&pair.pictures.original, &pair.pictures.target].map(|picture| Seen {
            attributes: judge.read(picture).unwrap(),
            picture: picture.clone(),
        });
        let mut tally = Tally::default();
        count(&judge, &pair, &a, &b, &mut tally).unwrap();
        let whole = Point::new(1.0, &tally);
        assert_eq!(
            (whole.gained, whole.kept, whole.pull),
            (1.0, 1.0, 0.0),
            "{whole:?}"
        );
        assert!(whole.elsewhere < 0.5, "{whole:?}");

        let mut tally = Tally::default();
        count(&judge, &pair, &a, &a, &mut tally).unwrap();
        let nothing = Point::new(1.0, &tally);
        assert_eq!((nothing.gained, nothing.kept), (0.0, 1.0), "{nothing:?}");
        assert_eq!(nothing.elsewhere, 0.0, "{nothing:?}");
    }
}
