//! What keeps a pair from being trained, and the job that it becomes.

use mimeo_image::{ImageError, MaskRemedy, encode_mask_png, encode_png};
use mimeo_protocol::{
    BaseInfo, BlobId, CopierChoice, CopierInfo, Example, InvalidRecipe, JobName, MemoryPlan,
    Method, PreviewPlan, Steps, TrainJob, VaeInfo,
};

use crate::frame::Frame;
use crate::from_disk::Way;
use crate::picture::{Slot, hash};
use crate::words;
use crate::workbench::{Pair, Workbench};

/// The four lines of the preflight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// A base to train upon, and something to train it on.
    Model,
    /// A and B.
    Pictures,
    /// Where to learn.
    Mask,
    /// Whether it fits.
    Memory,
}

impl Check {
    /// In the order of the page.
    pub const ALL: [Self; 4] = [Self::Model, Self::Pictures, Self::Mask, Self::Memory];
}

/// Whether there is somebody who trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkState {
    /// The companion does not answer.
    #[default]
    NoCompanion,
    /// It is being found out, or the trainer is on its way into this browser.
    Coming,
    /// Another tab of this browser trains.
    Elsewhere,
    /// The trainer in this browser ended, and does not start again by itself.
    Broken,
    /// There is.
    Ready,
}

/// What the server says, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreflightFacts<'a> {
    /// Whether there is a server.
    pub line: LinkState,
    /// The base that is chosen, if the server has it.
    pub base: Option<&'a BaseInfo>,
    /// The VAEs in files of their own that the server has.
    pub vaes: &'a [VaeInfo],
    /// The finished copiers that the server has.
    pub copiers: &'a [CopierInfo],
    /// How the base comes back, if it was picked from disk and is closed.
    pub way_back: Option<Way>,
    /// How the VAE that is chosen comes back, likewise.
    pub vae_way_back: Option<Way>,
    /// What the job would take, once the server answered.
    pub plan: Option<&'a MemoryPlan>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Good; this says what.
    Good(String),
    /// It can be trained, but this could be better.
    Note(String, Option<Fix>),
    /// It cannot be trained yet, and will be without anybody doing anything.
    Wait(String),
    /// It cannot be trained.
    Problem(Problem),
}

/// Something that keeps the pair from being trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Which check found it.
    pub check: Check,
    /// One sentence.
    pub sentence: String,
    /// What a click would do about it.
    pub fix: Option<Fix>,
}

/// What a click on *fix* does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Choose a file for a well.
    Pick(Slot),
    /// Bring a pair onto the stage.
    Show(usize),
    /// Suggest a mask wherever nothing is painted.
    SuggestAll,
    /// Put in the example.
    Example,
    /// Suggest a mask.
    Suggest,
    /// Mend the mask.
    MendMask(MaskRemedy),
    /// Connect again now.
    Reconnect,
    /// Take the training over from another tab.
    TakeOver,
    /// Start the trainer in this browser again.
    Restart,
    /// Put the focus on the choice of the base.
    ChooseBase,
    /// Put the focus on the choice of the VAE.
    ChooseVae,
    /// Let the run train a copier of its own.
    OwnCopier,
    /// Bring back the base, which is on disk.
    BringBack(Way),
    /// Bring the VAE back that is closed, likewise.
    BringBackVae(Way),
    /// Halve the batch size.
    HalveBatch,
    /// Put the focus on the target prompt.
    Prompts,
    /// Put the focus on the name.
    Name,
}

impl Fix {
    /// What its button says.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pick(Slot::Original) => "Choose A…",
            Self::Pick(Slot::Target) => "Choose B…",
            Self::Example => "Example",
            Self::Show(_) => "Show it",
            Self::Suggest => "Suggest",
            Self::SuggestAll => "Suggest all",
            Self::MendMask(MaskRemedy::Stretch) => "Stretch to white",
            Self::MendMask(MaskRemedy::Invert) => "Invert the mask",
            Self::MendMask(MaskRemedy::Grow) => "Grow the mask",
            Self::MendMask(MaskRemedy::MaskDifference) => "Mask what differs",
            Self::Reconnect => "Connect now",
            Self::TakeOver => "Train here",
            Self::Restart => "Start again",
            Self::ChooseBase => "Choose another",
            Self::ChooseVae => "Choose a VAE",
            Self::OwnCopier => "Train its own",
            Self::BringBack(way) | Self::BringBackVae(way) => way.label(),
            Self::HalveBatch => "Halve the batch size",
            Self::Prompts => "Write it",
            Self::Name => "Change the name",
        }
    }
}

/// A job and the pictures that it names.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The job.
    pub job: TrainJob,
    /// PNG files by their hash.
    pub pictures: Vec<(BlobId, Vec<u8>)>,
}

/// What each check finds.
#[must_use]
pub fn verdicts(bench: &Workbench, facts: PreflightFacts<'_>) -> [(Check, Verdict); 4] {
    Check::ALL.map(|check| {
        let verdict = match check {
            Check::Model => model(bench, facts),
            Check::Pictures if learns_from_prompts(bench) => prompts(bench),
            Check::Pictures => pictures(bench),
            Check::Mask if learns_from_prompts(bench) => {
                Verdict::Good("No mask needed: the change may show anywhere".to_owned())
            }
            Check::Mask => mask(bench),
            Check::Memory => memory(bench, facts),
        };
        (check, verdict)
    })
}

/// Everything that keeps the pair from being trained, the first to mend first.
#[must_use]
pub fn problems(bench: &Workbench, facts: PreflightFacts<'_>) -> Vec<Problem> {
    let problem = |verdict| match verdict {
        Verdict::Problem(problem) => Some(problem),
        Verdict::Wait(sentence) => Some(Problem {
            check: Check::Model,
            sentence,
            fix: None,
        }),
        Verdict::Good(_) | Verdict::Note(..) => None,
    };
    let found = verdicts(bench, facts).map(|(_, verdict)| problem(verdict));
    let name = job_name(&bench.settings().name).err();
    // What keeps two prompts from being trained stands in the place of the pictures.
    let is_told = found
        .iter()
        .flatten()
        .any(|it| it.fix == Some(Fix::Prompts));
    let recipe = recipe(bench).err().filter(|_| !is_told);
    found
        .into_iter()
        .flatten()
        .chain(name)
        .chain(recipe)
        .collect()
}

/// Whether it could be trained, if only what is on its way were here.
#[must_use]
pub fn only_waits(bench: &Workbench, facts: PreflightFacts<'_>) -> bool {
    let verdicts = verdicts(bench, facts).map(|(_, verdict)| verdict);
    let waits = verdicts.iter().any(|it| matches!(it, Verdict::Wait(_)));
    let fails = verdicts.iter().any(|it| matches!(it, Verdict::Problem(_)));
    waits && !fails && job_name(&bench.settings().name).is_ok() && recipe(bench).is_ok()
}

/// The job that the workbench becomes, with its pictures as they will be trained.
///
/// # Errors
/// What keeps it from being one.
pub fn to_job(bench: &Workbench, facts: PreflightFacts<'_>) -> Result<Submission, Vec<Problem>> {
    let found = problems(bench, facts);
    if !found.is_empty() {
        return Err(found);
    }
    let settings = bench.settings();
    let mut pictures = Vec::new();
    let mut examples = Vec::new();
    if settings.recipe.method.takes_pictures() {
        for pair in bench.set().pairs() {
            let example = example(pair, &mut pictures);
            examples.extend(example.map_err(|error| {
                vec![Problem {
                    check: Check::Pictures,
                    sentence: error.to_string(),
                    fix: None,
                }]
            })?);
        }
        if examples.is_empty() {
            return Err(problems(bench, PreflightFacts::default()));
        }
    }
    let name = job_name(&settings.name).map_err(|problem| vec![problem])?;
    let (base, recipe) = (settings.base.clone(), settings.recipe.clone());
    let given = settings.given_copier();
    let given = given.and_then(|given| given.find(facts.copiers, &base));
    let job = TrainJob {
        copier: given.map_or_else(CopierChoice::default, |copier| {
            CopierChoice::Given(copier.id)
        }),
        vae: settings.vae.clone(),
        previews: preview_plan(bench, facts.base),
        examples,
        ..TrainJob::of_prompts(name, base, recipe)
    };
    Ok(Submission { job, pictures })
}

/// What a pair is to the job, with its pictures as they will be trained; none for a pair that no
/// check let pass.
fn example(
    pair: &Pair,
    pictures: &mut Vec<(BlobId, Vec<u8>)>,
) -> Result<Option<Example>, ImageError> {
    let Some(frame) = pair.frame() else {
        return Ok(None);
    };
    let mut add = |png: Vec<u8>| {
        let id = hash(&png);
        if pictures.iter().all(|(there, _)| *there != id) {
            pictures.push((id, png));
        }
        id
    };
    let (original, target) = match (&frame.original, &frame.target) {
        (Some(original), Some(target)) => (add(encode_png(original)?), add(encode_png(target)?)),
        (Some(alone), None) | (None, Some(alone)) => {
            let alone = add(encode_png(alone)?);
            (alone, alone)
        }
        (None, None) => return Ok(None),
    };
    let mask = pair.painted().map(encode_mask_png).transpose()?;
    Ok(Some(Example {
        mask: mask.map(add),
        caption: pair.caption.clone(),
        weight: pair.weight,
        level: pair.level,
        ..Example::new(original, target)
    }))
}

/// The job as far as its memory goes, without pictures.
#[must_use]
pub fn job_to_plan(bench: &Workbench) -> Option<TrainJob> {
    let settings = bench.settings();
    let (base, recipe) = (settings.base.clone(), settings.recipe.clone());
    let examples: Vec<_> = match recipe.method.takes_pictures() {
        true => bench.set().pairs().iter().map(without_pictures).collect(),
        false => Vec::new(),
    };
    Some(TrainJob {
        vae: settings.vae.clone(),
        examples,
        ..TrainJob::of_prompts("plan".parse().ok()?, base, recipe)
    })
}

/// What a pair is to the job, whatever its pictures show.
fn without_pictures(pair: &Pair) -> Example {
    let [original, target] = [0, 1].map(|byte| BlobId::from_sha256([byte; 32]));
    let is_alone = pair.only_picture().is_some();
    Example {
        weight: pair.weight,
        level: pair.level,
        ..Example::new(original, if is_alone { original } else { target })
    }
}

fn preview_plan(bench: &Workbench, base: Option<&BaseInfo>) -> Option<PreviewPlan> {
    let settings = bench.settings();
    let previews = &settings.previews;
    // Zero steps between previews means none.
    let every = previews.interval(settings.recipe.pass.steps.get());
    let every = Steps::try_from(f64::from(every)).ok()?;
    Some(PreviewPlan {
        every,
        prompt: preview_prompt(&previews.prompt, base),
        seed: previews.seed,
        strengths: PreviewPlan::STRENGTHS.to_vec(),
    })
}

/// What previews show: without a wish, something that the base draws well.
#[must_use]
pub fn preview_prompt(wish: &str, base: Option<&BaseInfo>) -> String {
    let first = || base.and_then(|base| base.prompts.first()).cloned();
    if wish.is_empty() {
        first().unwrap_or_default()
    } else {
        wish.to_owned()
    }
}

/// The name that was typed, or ours where nothing was.
///
/// # Errors
/// Why it cannot be one.
pub fn job_name(typed: &str) -> Result<JobName, Problem> {
    let typed = typed.trim();
    let name = if typed.is_empty() { "mimeo" } else { typed };
    name.parse()
        .map_err(|error: mimeo_protocol::InvalidId| Problem {
            check: Check::Model,
            sentence: error.to_string(),
            fix: Some(Fix::Name),
        })
}

/// Whether the recipe can be trained: one that an older version kept may not be.
fn recipe(bench: &Workbench) -> Result<(), Problem> {
    bench.settings().recipe.check().map_err(|error| Problem {
        check: Check::Model,
        sentence: words::capitalised(&error.to_string()),
        fix: None,
    })
}

fn model(bench: &Workbench, facts: PreflightFacts<'_>) -> Verdict {
    let problem = |sentence: String, fix: Fix| {
        Verdict::Problem(Problem {
            check: Check::Model,
            sentence,
            fix: Some(fix),
        })
    };
    let (sentence, fix) = match facts.line {
        LinkState::Ready => return base(bench, facts, problem),
        LinkState::Coming => return Verdict::Wait("The trainer is on its way".to_owned()),
        LinkState::NoCompanion => (
            "The companion is not connected. Start it with `mimeo serve`; this page connects by itself.",
            Fix::Reconnect,
        ),
        LinkState::Elsewhere => (
            "Mimeo trains in another tab of this browser. Close it, or train here.",
            Fix::TakeOver,
        ),
        LinkState::Broken => (
            "The trainer in this browser has ended. Start it again, or train elsewhere.",
            Fix::Restart,
        ),
    };
    problem(sentence.to_owned(), fix)
}

fn base(
    bench: &Workbench,
    facts: PreflightFacts<'_>,
    problem: impl Fn(String, Fix) -> Verdict,
) -> Verdict {
    let Some(base) = facts.base else {
        let sentence = "The base that was chosen is not here any more. Choose another one.";
        return problem(sentence.to_owned(), Fix::ChooseBase);
    };
    match &base.unusable {
        Some(why) => {
            let fix = facts.way_back.map_or(Fix::ChooseBase, Fix::BringBack);
            problem(why.clone(), fix)
        }
        None => match vae(bench, base, facts) {
            Ok(vae) => {
                let mut says = base.title.clone();
                if let Some(vae) = vae {
                    says.extend([", with the VAE ", &*vae.title]);
                }
                copier(bench, facts.copiers, says, problem)
            }
            Err((sentence, fix)) => problem(sentence, fix),
        },
    }
}

/// Whether the copier is here that is built upon.
///
/// - `says`: of the base
fn copier(
    bench: &Workbench,
    copiers: &[CopierInfo],
    mut says: String,
    problem: impl Fn(String, Fix) -> Verdict,
) -> Verdict {
    let settings = bench.settings();
    let Some(given) = settings.given_copier() else {
        return Verdict::Good(says);
    };
    let Some(copier) = given.find(copiers, &settings.base) else {
        let sentence = format!(
            "The copier {} is not here. Use another one, or let the run train its own.",
            given.name
        );
        return problem(sentence, Fix::OwnCopier);
    };
    says.extend([", upon the copier ", copier.name.as_str()]);
    Verdict::Good(says)
}

/// The VAE that is chosen; none: the base's own.
fn vae<'a>(
    bench: &Workbench,
    base: &BaseInfo,
    facts: PreflightFacts<'a>,
) -> Result<Option<&'a VaeInfo>, (String, Fix)> {
    let fail = |sentence: &str, fix| Err((sentence.to_owned(), fix));
    let Some(id) = &bench.settings().vae else {
        return match (
            base.needs_vae,
            facts.vaes.iter().any(|vae| vae.unusable.is_none()),
        ) {
            (false, _) => Ok(None),
            (true, true) => fail(
                "This base has no VAE of its own. Choose one with it.",
                Fix::ChooseVae,
            ),
            (true, false) => fail(
                "This base has no VAE of its own, and there is none to choose. Put one into the VAE folder of a models folder of the companion, or pick one from disk where the browser trains; or choose another base.",
                Fix::ChooseBase,
            ),
        };
    };
    match facts.vaes.iter().find(|vae| vae.id == *id) {
        Some(vae) => match &vae.unusable {
            Some(why) => fail(
                why,
                facts.vae_way_back.map_or(Fix::ChooseVae, Fix::BringBackVae),
            ),
            None => Ok(Some(vae)),
        },
        None => fail(
            "The VAE that was chosen is not here any more. Choose another one.",
            Fix::ChooseVae,
        ),
    }
}

fn learns_from_prompts(bench: &Workbench) -> bool {
    !bench.settings().recipe.method.takes_pictures()
}

/// What stands in the place of the pictures.
fn prompts(bench: &Workbench) -> Verdict {
    let recipe = &bench.settings().recipe;
    match recipe.check() {
        Err(error @ InvalidRecipe::SamePrompts) => {
            let fix = Some(Fix::Prompts);
            let sentence = match recipe.slider.target.trim() {
                "" => "Say what the change leads to.".to_owned(),
                _ => words::capitalised(&error.to_string()),
            };
            let check = Check::Pictures;
            Verdict::Problem(Problem {
                check,
                sentence,
                fix,
            })
        }
        _ => Verdict::Good("No pictures needed: two prompts that differ".to_owned()),
    }
}

fn pictures(bench: &Workbench) -> Verdict {
    let set = bench.set();
    let takes_alone = takes_single_pictures(bench);
    let is_on_stage = |at| at == set.chosen();
    let wrong = set.pairs().iter().enumerate().filter_map(|(at, pair)| {
        let (sentence, fix) = wrong_with(pair, takes_alone)?;
        let fix = if is_on_stage(at) {
            fix
        } else {
            Some(Fix::Show(at))
        };
        Some((at, sentence, fix))
    });
    let mut wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() {
        let examples: Vec<_> = set.pairs().iter().map(without_pictures).collect();
        return match bench.settings().recipe.check_examples(&examples) {
            Ok(()) => Verdict::Good(size_of(set.pairs())),
            Err(error) => Verdict::Problem(Problem {
                check: Check::Pictures,
                sentence: error.to_string(),
                fix: None,
            }),
        };
    }
    // The one on the stage is the one that is being mended.
    let first = wrong.iter().position(|(at, ..)| is_on_stage(*at));
    let others = wrong.len() - 1;
    let (at, sentence, fix) = wrong.swap_remove(first.unwrap_or(0));
    let sentence = match (set.has_several(), others) {
        (false, _) => sentence,
        (true, 0) => format!("Pair {}: {sentence}", at + 1),
        (true, 1) => format!("Pair {}: {sentence} One more is not ready.", at + 1),
        (true, _) => format!("Pair {}: {sentence} {others} more are not ready.", at + 1),
    };
    Verdict::Problem(Problem {
        check: Check::Pictures,
        sentence,
        fix,
    })
}

/// What keeps one pair from being trained, and what a click does about it where it is on the stage.
///
/// - `takes_alone`: whether one picture is enough
fn wrong_with(pair: &Pair, takes_alone: bool) -> Option<(String, Option<Fix>)> {
    let say = |sentence: &str, fix| Some((sentence.to_owned(), fix));
    match Slot::ALL.map(|slot| pair.picture(slot).is_some()) {
        [false, false] => {
            return say("Add two pictures, or take the example.", Some(Fix::Example));
        }
        [true, false] | [false, true] if takes_alone => return None,
        [false, true] => return say("A is missing.", Some(Fix::Pick(Slot::Original))),
        [true, false] => return say("B is missing.", Some(Fix::Pick(Slot::Target))),
        [true, true] => {}
    }
    match pair.frame().map(|frame| &frame.difference) {
        Some(Some(Err(error))) => Some((error.to_string(), Some(Fix::Pick(Slot::Target)))),
        Some(Some(Ok(_))) => None,
        _ => say("A and B do not lie on each other. Choose B again.", None),
    }
}

/// Whether these are single pictures, from which an ordinary LoRA and copiers learn. Among pairs, one that
/// is alone lacks its other half.
fn takes_single_pictures(bench: &Workbench) -> bool {
    let set = bench.set();
    bench.settings().recipe.method != Method::Addift
        && set.has_several()
        && set.pairs().iter().all(|pair| pair.only_picture().is_some())
}

/// "128 × 128 px"; "12 pairs, 128 × 128 px"; "12 pairs in 3 sizes".
fn size_of(pairs: &[Pair]) -> String {
    let mut sizes: Vec<_> = pairs
        .iter()
        .filter_map(|pair| pair.frame().map(|frame| (frame.width(), frame.height())))
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    let size = match &sizes[..] {
        [(width, height)] => format!("{width} × {height} px"),
        sizes => format!("in {} sizes", sizes.len()),
    };
    let is_pair = pairs.iter().any(|pair| pair.only_picture().is_none());
    let what = if is_pair { "pairs" } else { "pictures" };
    match (pairs.len(), sizes.len()) {
        (1, _) => size,
        (count, 1) => format!("{count} {what}, {size}"),
        (count, _) => format!("{count} {what} {size}"),
    }
}

fn mask(bench: &Workbench) -> Verdict {
    if bench.set().has_several() {
        return masks(bench);
    }
    let pair = bench.pair();
    let has_pair = pair.frame().and_then(Frame::difference).is_some();
    if pair.masked_share().is_none() {
        return if has_pair {
            Verdict::Note(
                "Nothing is painted: it learns wherever A and B differ".to_owned(),
                Some(Fix::Suggest),
            )
        } else {
            Verdict::Note("No mask yet".to_owned(), None)
        };
    }
    mask_of(pair)
}

/// The masks of several pairs: the first that is wrong, else how many there are.
fn masks(bench: &Workbench) -> Verdict {
    let set = bench.set();
    let pairs = || set.pairs().iter().enumerate();
    let on_stage_first = pairs().skip(set.chosen()).take(1).chain(pairs());
    let mut noted = None;
    for (at, pair) in on_stage_first.filter(|(_, pair)| pair.masked_share().is_some()) {
        let named = |sentence| format!("Pair {}: {sentence}", at + 1);
        let mend = |fix| {
            if at == set.chosen() {
                fix
            } else {
                Some(Fix::Show(at))
            }
        };
        match mask_of(pair) {
            Verdict::Problem(problem) => {
                return Verdict::Problem(Problem {
                    sentence: named(problem.sentence),
                    fix: mend(problem.fix),
                    ..problem
                });
            }
            Verdict::Note(sentence, fix) if noted.is_none() => {
                noted = Some(Verdict::Note(named(sentence), mend(fix)));
            }
            _ => {}
        }
    }
    // Measured once for each mask, and not after every stroke on one of them.
    let masked = set
        .pairs()
        .iter()
        .filter(|pair| pair.masked_share().is_some());
    noted.unwrap_or_else(|| match (masked.count(), set.pairs().len()) {
        (0, _) => Verdict::Note(
            "Nothing is painted: it learns wherever A and B differ".to_owned(),
            Some(Fix::SuggestAll),
        ),
        (masked, all) if masked == all => Verdict::Good(format!("All {all} pairs are masked")),
        (masked, all) => Verdict::Note(
            format!("Masked: {masked} of {all} pairs; the others learn wherever A and B differ"),
            Some(Fix::SuggestAll),
        ),
    })
}

/// What the mask of a pair leaves out, where something is painted.
fn mask_of(pair: &Pair) -> Verdict {
    let share = pair.masked_share().unwrap_or_default();
    let masked = format!("{} masked", words::percent(share));
    // A mask lies on its frame, so without a view there is no pair yet.
    let Some(view) = pair.mask_view() else {
        return Verdict::Good(masked);
    };
    match (view.refusal(), view.warning()) {
        (Some(warning), _) => Verdict::Problem(Problem {
            check: Check::Mask,
            sentence: format!("{masked}. {warning}"),
            fix: Some(Fix::MendMask(warning.remedy())),
        }),
        (None, Some(warning)) => Verdict::Note(
            format!("{masked}. {warning}"),
            Some(Fix::MendMask(warning.remedy())),
        ),
        // What is less than half a percent is said to be nothing.
        (None, None) if view.left_out < 0.005 => {
            Verdict::Good(format!("{masked}, and all that differs is inside"))
        }
        (None, None) => {
            let left_out = words::percent(view.left_out);
            Verdict::Good(format!("{masked}; {left_out} of what differs lies outside"))
        }
    }
}

fn memory(bench: &Workbench, facts: PreflightFacts<'_>) -> Verdict {
    let Some(plan) = facts.plan else {
        let is_coming = matches!(facts.line, LinkState::Ready | LinkState::Coming);
        let is_whole = bench.frame().is_some() || learns_from_prompts(bench);
        let is_waiting = is_coming && is_whole;
        let when = if is_waiting {
            "being worked out"
        } else {
            "known once a pair is there"
        };
        return Verdict::Note(format!("Memory: {when}"), None);
    };
    if let Some(remedy) = &plan.remedy {
        let can_halve = bench.settings().recipe.pass.batch_size.get() > 1;
        return Verdict::Problem(Problem {
            check: Check::Memory,
            sentence: remedy.clone(),
            fix: can_halve.then_some(Fix::HalveBatch),
        });
    }
    let needed = words::bytes(plan.needed_bytes());
    let needed = match plan.available_bytes {
        Some(available) => format!("{needed} of {}", words::bytes(available)),
        None => needed,
    };
    Verdict::Good(match &plan.recompute {
        Some(recompute) => format!("{needed}. {recompute}"),
        None => needed,
    })
}

#[cfg(test)]
mod tests {
    use mimeo_image::{Mask, Rect};
    use mimeo_protocol::{Level, Multiplier, Recipe, Weight};

    use super::*;
    use crate::workbench::examples::{SIDE, base, pair, picture, square};
    use crate::workbench::{Command, MaskCommand, NewPair, PairsCommand, Setting};

    fn facts(base: &BaseInfo) -> PreflightFacts<'_> {
        PreflightFacts {
            line: LinkState::Ready,
            base: Some(base),
            ..PreflightFacts::default()
        }
    }

    #[test]
    fn a_base_without_a_vae_wants_one_to_be_chosen() {
        let bare = BaseInfo {
            needs_vae: true,
            ..base()
        };
        let vae = |id: &str, unusable: Option<&str>| VaeInfo {
            id: id.parse().unwrap(),
            title: id.to_owned(),
            unusable: unusable.map(str::to_owned),
        };
        let vaes = [vae("anime", None), vae("lora", Some("This is no VAE."))];
        let with = |vaes| PreflightFacts {
            vaes,
            ..facts(&bare)
        };
        let mut bench = pair();
        let found = |bench: &Workbench, vaes| {
            let found = problems(bench, with(vaes));
            found
                .first()
                .map(|problem| (problem.sentence.clone(), problem.fix))
        };
        let (sentence, fix) = found(&bench, &vaes).unwrap();
        assert!(sentence.contains("no VAE of its own"), "{sentence}");
        assert_eq!(fix, Some(Fix::ChooseVae), "the click that mends it");
        let (sentence, fix) = found(&bench, &vaes[1..]).unwrap();
        assert!(sentence.contains("none to choose"), "{sentence}");
        assert_eq!(fix, Some(Fix::ChooseBase), "what is left");

        let choose = |bench: &mut Workbench, id: &str| {
            let vae = Some(id.parse().unwrap());
            bench.apply(Command::Set(Setting::Vae(vae))).unwrap();
        };
        choose(&mut bench, "lora");
        let (sentence, _) = found(&bench, &vaes).unwrap();
        assert_eq!(sentence, "This is no VAE.", "why");
        choose(&mut bench, "gone");
        let (sentence, _) = found(&bench, &vaes).unwrap();
        assert!(sentence.contains("not here any more"), "{sentence}");
        choose(&mut bench, "anime");
        assert_eq!(found(&bench, &vaes), None, "now it trains");
        let job = to_job(&bench, with(&vaes)).unwrap().job;
        assert_eq!(job.vae, Some(vaes[0].id.clone()), "with it");
        let verdict = model(&bench, with(&vaes));
        let Verdict::Good(says) = verdict else {
            panic!("{verdict:?}");
        };
        assert!(says.ends_with("with the VAE anime"), "{says}");
    }

    #[test]
    fn an_empty_bench_asks_for_pictures_and_nothing_else() {
        let base = base();
        let found = problems(&Workbench::default(), facts(&base));
        let [problem] = &found[..] else {
            panic!("one at a time: {found:?}");
        };
        assert_eq!(problem.fix, Some(Fix::Example), "one click away");
    }

    #[test]
    fn two_prompts_are_trained_without_pictures() {
        let base = base();
        let mut bench = Workbench::default();
        let set = |bench: &mut Workbench, path: &str, text: &str| {
            let field = mimeo_protocol::fields::Field::at(path).unwrap();
            let setting = Setting::Field(field, text.into());
            bench.apply(Command::Set(setting)).map(drop)
        };
        bench
            .apply(Command::Set(Setting::Method(Method::Slider)))
            .unwrap();
        let found = problems(&bench, facts(&base));
        let [problem] = &found[..] else {
            panic!("one at a time: {found:?}");
        };
        assert_eq!(
            problem.sentence, "Say what the change leads to.",
            "not pictures"
        );
        assert_eq!(problem.fix, Some(Fix::Prompts), "where");
        set(&mut bench, "/slider/target", "glasses").unwrap();
        assert_eq!(problems(&bench, facts(&base)), [], "all of it");
        let submission = to_job(&bench, facts(&base)).unwrap();
        assert!(submission.pictures.is_empty(), "no picture is sent");
        assert!(submission.job.examples.is_empty(), "and none named");
        assert_eq!(submission.job.recipe.slider.target, "glasses", "as written");
        let planned = job_to_plan(&bench).unwrap();
        assert!(
            planned.examples.is_empty(),
            "its memory is asked for likewise"
        );
        set(&mut bench, "/slider/original", "hat").unwrap();
        let refusal = set(&mut bench, "/slider/target", "hat").unwrap_err();
        assert!(
            refusal.sentence.contains("are the same"),
            "{}",
            refusal.sentence
        );
    }

    #[test]
    fn without_a_companion_the_first_problem_is_that() {
        let found = problems(&pair(), PreflightFacts::default());
        assert_eq!(found[0].fix, Some(Fix::Reconnect), "{found:?}");
        assert!(found[0].sentence.contains("mimeo serve"), "what to do");
    }

    #[test]
    fn what_is_on_its_way_is_waited_for_and_nothing_else() {
        let coming = PreflightFacts {
            line: LinkState::Coming,
            ..PreflightFacts::default()
        };
        assert!(only_waits(&pair(), coming), "it trains once it is there");
        assert_eq!(problems(&pair(), coming)[0].fix, None, "nothing to do");
        assert!(
            !only_waits(&Workbench::default(), coming),
            "pictures do not come by themselves"
        );
        let base = base();
        assert!(!only_waits(&pair(), facts(&base)), "it is there");
        for (line, fix) in [
            (LinkState::Elsewhere, Fix::TakeOver),
            (LinkState::Broken, Fix::Restart),
        ] {
            let facts = PreflightFacts {
                line,
                ..PreflightFacts::default()
            };
            assert_eq!(problems(&pair(), facts)[0].fix, Some(fix), "{line:?}");
        }
    }

    #[test]
    fn a_base_that_cannot_be_used_says_why_and_one_on_disk_comes_back_by_a_click() {
        let base = BaseInfo {
            unusable: Some("It is on your disk.".to_owned()),
            ..base()
        };
        let (other, back) = (facts(&base), Some(Way::Open));
        let closed = PreflightFacts {
            way_back: back,
            ..other
        };
        for (facts, fix) in [
            (other, Fix::ChooseBase),
            (closed, Fix::BringBack(Way::Open)),
        ] {
            let found = problems(&pair(), facts);
            assert_eq!(found[0].sentence, "It is on your disk.", "{found:?}");
            assert_eq!(found[0].fix, Some(fix), "{found:?}");
        }
    }

    #[test]
    fn a_vae_on_disk_comes_back_by_a_click_too() {
        let vae = VaeInfo {
            id: "ft-mse".parse().unwrap(),
            title: "ft-mse".to_owned(),
            unusable: Some("It is on your disk.".to_owned()),
        };
        let mut bench = pair();
        let chosen = Setting::Vae(Some(vae.id.clone()));
        bench.apply(Command::Set(chosen)).unwrap();
        let base = base();
        let gone = facts(&base);
        let unusable = PreflightFacts {
            vaes: std::slice::from_ref(&vae),
            ..gone
        };
        let closed = PreflightFacts {
            vae_way_back: Some(Way::Open),
            ..unusable
        };
        for (facts, words, fix) in [
            (gone, "not here any more", Fix::ChooseVae),
            (unusable, "It is on your disk.", Fix::ChooseVae),
            (closed, "It is on your disk.", Fix::BringBackVae(Way::Open)),
        ] {
            let found = problems(&bench, facts);
            assert!(found[0].sentence.contains(words), "{found:?}");
            assert_eq!(found[0].fix, Some(fix), "{found:?}");
        }
    }

    #[test]
    fn a_kept_recipe_that_trains_nothing_is_refused_before_it_is_sent() {
        let mut state = pair().state().clone();
        state.settings.recipe = Recipe::preset(Method::Addift, state.settings.size);
        state.settings.recipe.addift.multiplier = Multiplier::constant(0.0);
        let bench = Workbench::with_state(state);
        let base = base();
        let found = problems(&bench, facts(&base));
        let [problem] = &found[..] else {
            panic!("one at a time: {found:?}");
        };
        assert!(
            problem.sentence.contains("Multiplier must be between"),
            "{}",
            problem.sentence
        );
        assert!(to_job(&bench, facts(&base)).is_err(), "it is not sent");
    }

    #[test]
    fn a_pair_becomes_a_job_with_the_pictures_as_they_are_trained() {
        let mut bench = pair();
        let base = base();
        bench.apply(Command::Mask(MaskCommand::Suggest)).unwrap();
        let submission = to_job(&bench, facts(&base)).unwrap();
        assert_eq!(submission.pictures.len(), 3, "A, B and the mask");
        let (id, png) = &submission.pictures[0];
        assert_eq!(*id, submission.job.examples[0].original, "A comes first");
        let decoded = mimeo_image::decode(png).unwrap().picture;
        let frame = bench.frame().unwrap();
        assert_eq!(
            Some(&decoded),
            frame.original.as_ref(),
            "at the frame's size"
        );
        assert_eq!(
            submission.job.name.as_str(),
            "mimeo",
            "a name that was not typed"
        );
    }

    #[test]
    fn without_paint_the_job_has_no_mask() {
        let base = base();
        let submission = to_job(&pair(), facts(&base)).unwrap();
        assert_eq!(
            submission.job.examples[0].mask, None,
            "it learns where they differ"
        );
        assert_eq!(submission.pictures.len(), 2, "A and B");
    }

    fn add(bench: &mut Workbench, target: Option<[u8; 3]>) {
        let new = NewPair {
            original: Some(picture("2a.png", None)),
            target: target.map(|colour| picture("2b.png", Some(colour))),
            caption: "a hat".to_owned(),
            numbers: Some((Weight::constant(0.5), Level::constant(-1.0))),
            ..NewPair::default()
        };
        let add = PairsCommand::Add(vec![new]);
        bench.apply(Command::Pairs(add)).unwrap();
    }

    #[test]
    fn several_pairs_become_examples_with_all_that_is_said_of_them() {
        let (mut bench, base) = (pair(), base());
        bench.apply(Command::Mask(MaskCommand::Suggest)).unwrap();
        add(&mut bench, Some([9, 250, 9]));
        let submission = to_job(&bench, facts(&base)).unwrap();
        let [first, second] = &submission.job.examples[..] else {
            panic!("two: {:?}", submission.job.examples);
        };
        assert!(first.mask.is_some() && second.mask.is_none(), "a mask each");
        assert_eq!(second.caption, "a hat", "a caption each");
        let numbers = (second.weight.get(), second.level.get());
        assert_eq!(numbers, (0.5, -1.0), "weight and level");
        assert_eq!(first.original, second.original, "A is the same");
        assert_eq!(submission.pictures.len(), 4, "and is sent once");
        let planned = job_to_plan(&bench).unwrap();
        assert_eq!(planned.examples.len(), 2, "so is the plan");
        let verdict = pictures(&bench);
        let Verdict::Good(says) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(says, "2 pairs, 128 × 128 px", "what there is");
        let Verdict::Note(says, fix) = super::mask(&bench) else {
            panic!("one is missing");
        };
        assert!(says.starts_with("Masked: 1 of 2 pairs"), "{says}");
        assert_eq!(fix, Some(Fix::SuggestAll), "a click");
    }

    #[test]
    fn what_a_pair_lacks_is_said_with_its_number_and_a_click_leads_there() {
        let (mut bench, base) = (pair(), base());
        add(&mut bench, None);
        let problem = |bench: &Workbench| problems(bench, facts(&base)).swap_remove(0);
        let found = problem(&bench);
        assert_eq!(found.sentence, "Pair 2: B is missing.", "which");
        assert_eq!(found.fix, Some(Fix::Pick(Slot::Target)), "on the stage");
        let choose = |at| Command::Pairs(PairsCommand::Choose(at));
        bench.apply(choose(0)).unwrap();
        assert_eq!(problem(&bench).fix, Some(Fix::Show(1)), "it leads there");
        add(&mut bench, None);
        bench.apply(choose(0)).unwrap();
        let found = problem(&bench).sentence;
        assert_eq!(
            found, "Pair 2: B is missing. One more is not ready.",
            "how many"
        );
        assert!(to_job(&bench, facts(&base)).is_err(), "nothing is sent");
    }

    #[test]
    fn a_level_at_which_a_lora_does_nothing_is_told_before_it_is_sent() {
        let (mut bench, base) = (pair(), base());
        add(&mut bench, Some([9, 250, 9]));
        let level = PairsCommand::LevelTyped(1, "0".to_owned());
        bench.apply(Command::Pairs(level)).unwrap();
        let found = problems(&bench, facts(&base));
        let [problem] = &found[..] else {
            panic!("one at a time: {found:?}");
        };
        let says = &problem.sentence;
        assert!(says.starts_with("example 2 has level 0"), "{says}");
    }

    #[test]
    fn single_pictures_are_enough_for_an_ordinary_lora_where_there_are_no_pairs() {
        let (mut bench, base) = (Workbench::default(), base());
        add(&mut bench, None);
        assert!(
            to_job(&bench, facts(&base)).is_err(),
            "one picture lacks its B"
        );
        add(&mut bench, None);
        let method = |bench: &mut Workbench, method| {
            bench.apply(Command::Set(Setting::Method(method))).unwrap();
        };
        method(&mut bench, Method::Addift);
        assert!(
            to_job(&bench, facts(&base)).is_err(),
            "it learns from pairs"
        );
        method(&mut bench, Method::Plain);
        let job = to_job(&bench, facts(&base)).unwrap().job;
        assert!(job.examples.iter().all(Example::is_alone), "each by itself");
        let verdict = pictures(&bench);
        let Verdict::Good(says) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(says, "2 pictures, 128 × 128 px", "what there is");
    }

    #[test]
    fn a_mask_that_is_wrong_is_said_with_the_number_of_its_pair() {
        let mut bench = pair();
        add(&mut bench, Some([9, 250, 9]));
        bench
            .apply(Command::Mask(MaskCommand::Import(meant().inverted())))
            .unwrap();
        let choose = Command::Pairs(PairsCommand::Choose(0));
        bench.apply(choose).unwrap();
        let verdict = super::mask(&bench);
        let Verdict::Problem(found) = verdict else {
            panic!("{verdict:?}");
        };
        assert!(found.sentence.starts_with("Pair 2: "), "{found:?}");
        assert_eq!(found.fix, Some(Fix::Show(1)), "{found:?}");
    }

    /// What the check of the mask says of a bench with this mask.
    fn mask_verdict(bench: &mut Workbench, mask: Mask) -> Verdict {
        let import = Command::Mask(MaskCommand::Import(mask));
        bench.apply(import).unwrap();
        super::mask(bench)
    }

    /// The example's change, with a little around it.
    fn meant() -> Mask {
        let mut mask = Mask::empty(SIDE, SIDE);
        mask.fill_rect(square(), 255);
        mask.grown(3)
    }

    #[test]
    fn a_mask_that_holds_what_differs_is_good_and_says_so() {
        let verdict = mask_verdict(&mut pair(), meant());
        let Verdict::Good(text) = &verdict else {
            panic!("{verdict:?}");
        };
        assert!(text.contains("all that differs is inside"), "{text}");
    }

    #[test]
    fn a_mask_that_leaves_out_what_differs_is_mended_by_a_click_and_taken_back_by_undo() {
        let faint = |value: u8| {
            let values = meant().values().iter().map(|&v| value & v).collect();
            Mask::new(SIDE, SIDE, values).unwrap()
        };
        for (wrong, remedy, says) in [
            (meant().inverted(), MaskRemedy::Invert, "looks inverted"),
            (faint(1), MaskRemedy::Stretch, "1 of 255"),
        ] {
            let mut bench = pair();
            let verdict = mask_verdict(&mut bench, wrong.clone());
            let Verdict::Problem(problem) = &verdict else {
                panic!("{verdict:?}");
            };
            assert!(problem.sentence.contains(says), "{problem:?}");
            assert_eq!(problem.fix, Some(Fix::MendMask(remedy)), "{problem:?}");
            let base = base();
            assert!(to_job(&bench, facts(&base)).is_err(), "no step is trained");
            bench
                .apply(Command::Mask(MaskCommand::Mend(remedy)))
                .unwrap();
            assert_eq!(bench.mask(), Some(&meant()), "as it was meant");
            assert!(to_job(&bench, facts(&base)).is_ok(), "and it trains");
            bench.apply(Command::Undo).unwrap();
            assert_eq!(bench.mask(), Some(&wrong), "one step to take back");
        }
    }

    #[test]
    fn what_a_mask_leaves_out_is_said_with_its_share_and_trained() {
        let mut half = Mask::empty(SIDE, SIDE);
        // A fifth of the change.
        let width = square().x + square().width / 5;
        half.fill_rect(Rect::whole(width, SIDE), 255);
        let mut bench = pair();
        let verdict = mask_verdict(&mut bench, half);
        let Verdict::Note(text, fix) = &verdict else {
            panic!("{verdict:?}");
        };
        assert!(text.contains("78 % of what differs lies outside"), "{text}");
        let remedy = MaskRemedy::MaskDifference;
        assert_eq!(*fix, Some(Fix::MendMask(remedy)), "a click covers it");
        let base = base();
        assert!(to_job(&bench, facts(&base)).is_ok(), "a part can be meant");
        bench
            .apply(Command::Mask(MaskCommand::Mend(remedy)))
            .unwrap();
        assert!(matches!(super::mask(&bench), Verdict::Good(_)), "mended");
    }

    #[test]
    fn four_times_in_a_run_it_is_seen_how_it_goes() {
        let (mut bench, base) = (pair(), base());
        let every = |bench: &Workbench| {
            let previews = to_job(bench, facts(&base)).unwrap().job.previews;
            previews.map(|plan| plan.every.get())
        };
        assert_eq!(every(&bench), Some(75), "a quarter of 300 steps");
        for (wish, planned) in [(Some(20), Some(20)), (Some(0), None)] {
            bench
                .apply(Command::Set(Setting::PreviewEvery(wish)))
                .unwrap();
            assert_eq!(every(&bench), planned, "as asked for");
        }
    }

    #[test]
    fn previews_show_something_that_the_base_draws_well() {
        let base = BaseInfo {
            prompts: vec!["a boy".to_owned()],
            ..base()
        };
        assert_eq!(preview_prompt("", Some(&base)), "a boy", "the base's own");
        assert_eq!(preview_prompt("a cat", Some(&base)), "a cat", "the user's");
        assert_eq!(preview_prompt("", None), "", "nothing is known");
    }

    #[test]
    fn a_name_that_is_no_file_name_is_said_before_the_server_does() {
        let mut bench = pair();
        bench
            .apply(Command::Set(Setting::Name("a/b".to_owned())))
            .unwrap();
        let base = base();
        let found = problems(&bench, facts(&base));
        assert_eq!(found[0].fix, Some(Fix::Name), "{found:?}");
    }

    #[test]
    fn what_does_not_fit_says_which_number_to_lower() {
        let base = base();
        let plan = MemoryPlan {
            weights_bytes: 1,
            activations_bytes: 2,
            optimizer_bytes: 3,
            file_bytes: 4,
            available_bytes: Some(4),
            remedy: Some("Lower the batch size to 2.".to_owned()),
            recompute: None,
        };
        let facts = PreflightFacts {
            plan: Some(&plan),
            ..facts(&base)
        };
        let found = problems(&pair(), facts);
        assert_eq!(found[0].check, Check::Memory, "{found:?}");
        assert_eq!(found[0].fix, Some(Fix::HalveBatch), "a click does it");

        let plan = MemoryPlan {
            remedy: None,
            available_bytes: Some(6),
            recompute: Some("A step computes the whole UNet twice.".to_owned()),
            ..plan.clone()
        };
        let facts = PreflightFacts {
            plan: Some(&plan),
            ..facts
        };
        let Verdict::Good(said) = memory(&pair(), facts) else {
            panic!("it fits");
        };
        assert!(
            said.ends_with(". A step computes the whole UNet twice."),
            "{said}"
        );
    }
}
