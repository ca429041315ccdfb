//! The copier library: finished copiers, what each kind is for, and the one that a run builds upon.

use mimeo_protocol::{BaseId, BlobId, CopierInfo, CopierKind, JobName};
use serde::{Deserialize, Serialize};

use crate::words;

/// The copier that the next run builds upon, in place of one of its own.
///
/// By its bytes: its number is that of one server, and the page turns from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenCopier {
    /// SHA-256 of its file.
    pub file: BlobId,
    /// What it was called when it was taken.
    pub name: JobName,
    /// What it draws; the recipe says the same.
    pub kind: CopierKind,
    /// What the recipe said before.
    pub before: CopierKind,
}

impl GivenCopier {
    /// The copier itself, if the server has it for this base.
    #[must_use]
    pub fn find<'a>(&self, copiers: &'a [CopierInfo], base: &BaseId) -> Option<&'a CopierInfo> {
        let mut copiers = copiers.iter();
        copiers.find(|copier| copier.file.sha256 == self.file && copier.base == *base)
    }
}

/// The kinds, in the order of the page.
pub const KINDS: [CopierKind; 3] = [
    CopierKind::Identical,
    CopierKind::Framing,
    CopierKind::Style,
];

/// What a kind is called, and what it is for, in one sentence.
#[must_use]
pub const fn explain(kind: CopierKind) -> (&'static str, &'static str) {
    match kind {
        CopierKind::Identical => (
            "Identical",
            "Draws one picture whatever the prompt: for one pair.",
        ),
        CopierKind::Framing => (
            "Framing",
            "Draws one subject as the caption frames it: for changes of shape and size, seen from near and far.",
        ),
        CopierKind::Style => (
            "Style",
            "Draws anything in one style: for a character that is to be free of the style of its pictures.",
        ),
    }
}

/// "93 % faithful · 300 steps · 2 days ago"; of one that was imported only when.
#[must_use]
pub fn facts(copier: &CopierInfo, now_millis: u64) -> String {
    let mut facts = Vec::new();
    if let Some(fidelity) = copier.fidelity {
        facts.push(format!("{} faithful", words::percent(fidelity)));
    }
    match copier.steps {
        0 => facts.push("imported".to_owned()),
        steps => facts.push(format!("{steps} steps")),
    }
    facts.push(words::ago(copier.finished_millis, now_millis));
    facts.join(" \u{b7} ")
}

/// What to call a LoRA that is imported, by the name of its file.
#[must_use]
pub fn name_of(file: &str) -> Option<JobName> {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let short: String = stem.chars().take(60).collect();
    let named = short.trim_matches([' ', '.']).parse();
    named.or_else(|_strange| "imported".parse()).ok()
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{CopierChoice, CopierId, FileId, FileKind, Method, ResultFile};

    use super::*;
    use crate::cost;
    use crate::preflight::{Fix, LinkState, PreflightFacts, problems, to_job};
    use crate::workbench::examples::pair;
    use crate::workbench::{Command, Setting, Workbench};

    fn copier(id: u64, kind: CopierKind) -> CopierInfo {
        CopierInfo {
            id: CopierId(id),
            name: format!("copier {id}").parse().unwrap(),
            original: None,
            kind,
            base: BaseId::bundled(),
            fidelity: Some(0.93),
            steps: 300,
            file: ResultFile {
                id: FileId(id),
                kind: FileKind::Copier,
                name: "x_copy.safetensors".to_owned(),
                bytes: 4,
                sha256: BlobId::from_sha256([id as u8; 32]),
            },
            finished_millis: 0,
        }
    }

    fn using(copier: &CopierInfo) -> Workbench {
        let mut bench = pair();
        let set = Setting::Copier(Some(Box::new(copier.clone())));
        bench.apply(Command::Set(set)).unwrap();
        bench
    }

    fn kind(bench: &Workbench) -> CopierKind {
        bench.settings().recipe.copier.kind
    }

    #[test]
    fn a_copier_is_used_and_taken_back_with_its_kind() {
        let framing = copier(3, CopierKind::Framing);
        let mut bench = using(&framing);
        assert_eq!(kind(&bench), CopierKind::Framing, "the recipe follows");
        bench.apply(Command::Undo).unwrap();
        assert_eq!(
            (bench.settings().copier.as_ref(), kind(&bench)),
            (None, CopierKind::Identical),
            "one step"
        );
        bench.apply(Command::Redo).unwrap();
        let own = Command::Set(Setting::Copier(None));
        bench.apply(own).unwrap();
        assert_eq!(
            (bench.settings().copier.as_ref(), kind(&bench)),
            (None, CopierKind::Identical),
            "as before"
        );

        let mut bench = using(&framing);
        let field = mimeo_protocol::fields::Field::at("/copier/kind").unwrap();
        let style = Setting::Field(field, "style".into());
        bench.apply(Command::Set(style)).unwrap();
        assert_eq!(bench.settings().copier, None, "it is none of that kind");

        let mut bench = using(&framing);
        let addift = Setting::Method(Method::Addift);
        bench.apply(Command::Set(addift)).unwrap();
        let facts = PreflightFacts {
            copiers: std::slice::from_ref(&framing),
            ..PreflightFacts::default()
        };
        let found = problems(&bench, facts);
        assert!(
            !found.iter().any(|it| it.fix == Some(Fix::OwnCopier)),
            "another method builds upon none: {found:?}"
        );
    }

    #[test]
    fn the_job_is_given_the_copier_that_the_server_has() {
        let (mine, other) = (
            copier(3, CopierKind::Identical),
            copier(4, CopierKind::Identical),
        );
        let base = crate::workbench::examples::base();
        // Elsewhere it has another number.
        let mut there = mine.clone();
        there.id = CopierId(9);
        let copiers = [other.clone(), there];
        let facts = |copiers| PreflightFacts {
            line: LinkState::Ready,
            base: Some(&base),
            copiers,
            ..PreflightFacts::default()
        };
        let job = to_job(&using(&mine), facts(&copiers)).unwrap().job;
        assert_eq!(job.copier, CopierChoice::Given(CopierId(9)), "by its bytes");
        let job = to_job(&pair(), facts(&copiers)).unwrap().job;
        assert_eq!(job.copier, CopierChoice::Cached, "whichever there is");

        let found = to_job(&using(&mine), facts(&[other])).unwrap_err();
        let [problem] = &found[..] else {
            panic!("one problem: {found:?}");
        };
        assert!(problem.sentence.contains("copier 3"), "{problem:?}");
        assert_eq!(problem.fix, Some(Fix::OwnCopier), "a way on");
    }

    #[test]
    fn a_given_copier_costs_no_steps() {
        let pace = |phase| mimeo_protocol::Pace {
            base: BaseId::bundled(),
            method: Method::Copier,
            phase,
            batch_size: 4,
            accumulation: 1,
            rank: 8,
            pixels: 128 * 128,
            secs_per_step: 0.1,
        };
        let paces = [
            mimeo_protocol::Phase::Training,
            mimeo_protocol::Phase::Copier,
        ]
        .map(pace);
        let secs = |bench: &Workbench| cost::training_secs(bench.settings(), 128 * 128, &paces);
        let given = secs(&using(&copier(3, CopierKind::Identical))).unwrap();
        assert_eq!(secs(&pair()), Some(2.0 * given), "half of two passes");
    }

    #[test]
    fn files_name_what_they_become() {
        let name = |file| name_of(file).unwrap().to_string();
        assert_eq!(name("flat style.safetensors"), "flat style", "its stem");
        assert_eq!(name("nul.safetensors"), "imported", "no file name");
        assert_eq!(name(&"x".repeat(99)).len(), 60, "short");
        let told = facts(&copier(1, CopierKind::Style), 60_000);
        assert!(told.starts_with("93 % faithful · 300 steps · "), "{told}");
    }
}
