//! Bases that were picked from disk for the trainer in this browser, and VAEs for them: the id of each,
//! what a reload keeps of them, and how they come back.
//!
//! A browser reads a picked file or folder for as long as the page is open. Some give a handle of it
//! that can be kept: after a reload it is read again, if need be once the user allows it. Elsewhere it
//! is picked again.

use mimeo_checkpoint::folder::astray::is_single_file;
use mimeo_checkpoint::printable;
use mimeo_protocol::{BaseId, BaseInfo, JobState, TrainJob, VaeInfo, codec};
use serde::{Deserialize, Serialize};

/// Characters of a name that are shown.
const SHOWN: usize = 100;
/// Bytes of a base as it is kept: far more than it has.
const MAX_KEPT: usize = 1 << 20;

/// What was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A checkpoint in one file, or a VAE.
    File,
    /// A folder in diffusers' layout.
    Folder,
}

/// What tells a file, or all files of a folder, from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Size.
    pub bytes: u64,
    /// When it was written last, in milliseconds since 1970.
    pub modified_millis: u64,
}

impl Stamp {
    /// Of several files: all of their bytes, and the newest time.
    #[must_use]
    pub fn of_all(files: impl IntoIterator<Item = Self>) -> Self {
        files.into_iter().fold(Self::default(), |all, file| Self {
            bytes: all.bytes + file.bytes,
            modified_millis: all.modified_millis.max(file.modified_millis),
        })
    }
}

/// What the trainer says of what was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PickedInfo {
    /// It is a base.
    Base(BaseInfo),
    /// It is a VAE, which goes with a base.
    Vae(VaeInfo),
}

impl PickedInfo {
    fn id(&self) -> &str {
        match self {
            Self::Base(base) => base.id.as_str(),
            Self::Vae(vae) => vae.id.as_str(),
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Base(base) => &base.title,
            Self::Vae(vae) => &vae.title,
        }
    }
}

/// A base or a VAE that was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickedBase {
    /// What the file or folder is called.
    pub name: String,
    /// Which of the two it is.
    pub kind: Kind,
    /// As it was when it was read last.
    pub stamp: Stamp,
    /// What the trainer says that it is.
    pub info: PickedInfo,
}

/// The same as it is kept: with either of the two infos.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    kind: Kind,
    stamp: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<BaseInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vae: Option<VaeInfo>,
}

impl PickedBase {
    /// What was kept; none of what another version kept and this one does not understand.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = codec::decode(bytes, MAX_KEPT).ok()?;
        let base = kept.info.map(PickedInfo::Base);
        Some(Self {
            name: kept.name,
            kind: kept.kind,
            stamp: kept.stamp,
            info: base.or(kept.vae.map(PickedInfo::Vae))?,
        })
    }

    /// As it is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (info, vae) = match self.info.clone() {
            PickedInfo::Base(base) => (Some(base), None),
            PickedInfo::Vae(vae) => (None, Some(vae)),
        };
        codec::encode(&Kept {
            name: self.name.clone(),
            kind: self.kind,
            stamp: self.stamp,
            info,
            vae,
        })
    }

    /// The id that the trainer has it under: no base has that of a VAE.
    #[must_use]
    pub fn id(&self) -> &str {
        self.info.id()
    }

    /// How it stands with it after a reload, by what its handle leads to now.
    ///
    /// - `found`: none if nothing is there, or nothing that can be read
    #[must_use]
    pub fn found(&self, found: Option<Stamp>) -> Standing {
        match found {
            None => Standing::Gone,
            Some(stamp) if stamp == self.stamp => Standing::Open,
            Some(_) => Standing::Changed,
        }
    }
}

/// How it stands with a base that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The trainer has it.
    Open,
    /// The browser asks the user before it is read again.
    Closed,
    /// The browser keeps no handles.
    Forgotten,
    /// It is another one now.
    Changed,
    /// It is not there any more, or cannot be read.
    Gone,
}

/// How a base comes back: what its button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By its handle, for which the browser may ask the user.
    Open,
    /// By its handle, whatever is there now.
    TakeAsItIs,
    /// The user picks it.
    Pick(Kind),
}

impl Way {
    /// What the button says.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "Open again",
            Self::TakeAsItIs => "Use it as it is now",
            Self::Pick(_) => "Pick it again…",
        }
    }
}

/// A base or a VAE that was picked, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// How it stands with it; of one that is closed, why, and what to do.
    pub sentence: String,
    /// How it comes back; none if it is open.
    pub way: Option<Way>,
}

/// All that was picked, and is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shelf {
    bases: Vec<(PickedBase, Standing)>,
}

impl Shelf {
    /// Puts back a base that was kept, unless it was picked meanwhile.
    pub fn restore(&mut self, base: PickedBase, standing: Standing) {
        if self.get(base.id()).is_none() {
            self.bases.push((base, standing));
        }
    }

    /// What was picked.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&PickedBase> {
        let found = self.bases.iter().find(|(base, _)| base.id() == id);
        found.map(|(base, _)| base)
    }

    /// The id and the title of what is picked now. It keeps those that it had: what is called the same
    /// is the same, unless that is open and another one.
    #[must_use]
    pub fn place(&self, name: &str, kind: Kind, stamp: Stamp) -> (BaseId, String) {
        let mut called_so = self
            .bases
            .iter()
            .filter(|(base, _)| base.kind == kind && base.name == name);
        let same = called_so.clone().find(|(base, _)| base.stamp == stamp);
        let same = same.or_else(|| called_so.find(|(_, standing)| *standing != Standing::Open));
        if let Some((base, _)) = same
            && let Ok(id) = base.id().parse()
        {
            return (id, base.info.title().to_owned());
        }
        let title = title(name, kind);
        let is_taken = |id: &BaseId| *id == BaseId::bundled() || self.get(id.as_str()).is_some();
        let id = BaseId::for_name(&title, is_taken).unwrap_or_else(BaseId::bundled);
        (id, self.apart(title))
    }

    /// A title that no other base has.
    fn apart(&self, title: String) -> String {
        let is_taken = |title: &String| {
            self.bases
                .iter()
                .any(|(base, _)| base.info.title() == title)
        };
        let mut numbered = (2..).map(|number| format!("{title} ({number})"));
        match is_taken(&title) {
            true => numbered.find(|title| !is_taken(title)).unwrap_or(title),
            false => title,
        }
    }

    /// Remembers a base that the trainer has now, in the place of what it was before.
    pub fn put(&mut self, base: PickedBase) {
        let at = self.bases.iter().position(|(it, _)| it.id() == base.id());
        let open = (base, Standing::Open);
        match at {
            Some(at) => self.bases[at] = open,
            None => self.bases.push(open),
        }
    }

    /// Notes how it stands with a base.
    pub fn note(&mut self, id: &str, now: Standing) {
        let found = self.bases.iter_mut().find(|(base, _)| base.id() == id);
        if let Some((_, standing)) = found {
            *standing = now;
        }
    }

    /// Forgets a base.
    pub fn forget(&mut self, id: &str) {
        self.bases.retain(|(base, _)| base.id() != id);
    }

    /// How it stands with a base that was picked.
    #[must_use]
    pub fn told(&self, id: &str) -> Option<Told> {
        let found = self.bases.iter().find(|(base, _)| base.id() == id);
        found.map(|(base, standing)| tell(base, *standing))
    }

    /// Those that are closed, and those that are chosen.
    ///
    /// - `chosen`: ids
    #[must_use]
    pub fn shown(&self, chosen: &[&str]) -> Vec<Told> {
        let is_shown = |(base, standing): &&(PickedBase, Standing)| {
            *standing != Standing::Open || chosen.contains(&base.id())
        };
        let shown = self.bases.iter().filter(is_shown);
        shown
            .map(|(base, standing)| tell(base, *standing))
            .collect()
    }

    /// How a base comes back that is closed.
    #[must_use]
    pub fn way_back(&self, id: &str) -> Option<Way> {
        self.told(id)?.way
    }

    /// What the trainer lists, and with it what is closed, with the reason.
    #[must_use]
    pub fn listed(
        &self,
        mut bases: Vec<BaseInfo>,
        mut vaes: Vec<VaeInfo>,
    ) -> (Vec<BaseInfo>, Vec<VaeInfo>) {
        for (picked, standing) in &self.bases {
            if *standing == Standing::Open {
                continue;
            }
            let unusable = Some(tell(picked, *standing).sentence);
            match &picked.info {
                PickedInfo::Base(base) => {
                    bases.retain(|it| it.id != base.id);
                    let base = base.clone();
                    bases.push(BaseInfo { unusable, ..base });
                }
                PickedInfo::Vae(vae) => {
                    vaes.retain(|it| it.id != vae.id);
                    let vae = vae.clone();
                    vaes.push(VaeInfo { unusable, ..vae });
                }
            }
        }
        (bases, vaes)
    }

    /// What a run waits for that does not begin although nothing is before it: its base or its VAE, or
    /// nothing.
    ///
    /// - `bases`, `vaes`: all that are listed; no bases while that is not known
    #[must_use]
    pub fn awaited(
        &self,
        state: &JobState,
        job: &TrainJob,
        bases: &[BaseInfo],
        vaes: &[VaeInfo],
    ) -> Option<Told> {
        if *state != JobState::Queued || bases.is_empty() {
            return None;
        }
        let is_listed = bases.iter().any(|base| base.id == job.base);
        let of_base = self.awaits("base", job.base.as_str(), is_listed);
        of_base.or_else(|| {
            let vae = job.vae.as_ref()?;
            let is_listed = vaes.iter().any(|it| it.id == *vae);
            self.awaits("VAE", vae.as_str(), is_listed)
        })
    }

    fn awaits(&self, noun: &str, id: &str, is_listed: bool) -> Option<Told> {
        let known = self.told(id);
        if known.is_none() && !is_listed {
            return Some(Told {
                id: id.to_owned(),
                title: id.to_owned(),
                sentence: format!(
                    "It waits for its {noun}, {id}, which this page does not know. Pick it from disk, or discard the run."
                ),
                way: None,
            });
        }
        let closed = known.filter(|told| told.way.is_some())?;
        let sentence = format!("It waits for its {noun}: {}", closed.sentence);
        Some(Told { sentence, ..closed })
    }
}

fn tell(base: &PickedBase, standing: Standing) -> Told {
    let name = printable(&base.name, SHOWN);
    let pick = Some(Way::Pick(base.kind));
    let (rest, way) = match standing {
        Standing::Open => ("is read where it is on your disk", None),
        Standing::Closed => (
            "is on your disk; open it again, so that the browser lets this page read it",
            Some(Way::Open),
        ),
        Standing::Forgotten => (
            "is on your disk, and this browser does not keep where; pick it again",
            pick,
        ),
        Standing::Changed => (
            "has changed since it was picked; use it as it is now, or put the other one back",
            Some(Way::TakeAsItIs),
        ),
        Standing::Gone => (
            "is not where it was picked any more, or cannot be read; pick it again",
            pick,
        ),
    };
    Told {
        id: base.id().to_owned(),
        title: base.info.title().to_owned(),
        sentence: format!("{name} {rest}."),
        way,
    }
}

/// What a base is called: a file without its ending.
fn title(name: &str, kind: Kind) -> String {
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if kind == Kind::File && is_single_file(name) => stem,
        _ => name,
    };
    printable(stem, SHOWN)
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{BlobId, Example, Method, ModelSize, Recipe};

    use super::*;
    use crate::workbench::examples;

    const OLD: Stamp = Stamp {
        bytes: 100,
        modified_millis: 1,
    };
    const NEW: Stamp = Stamp {
        bytes: 100,
        modified_millis: 2,
    };

    /// Picks a file, which the trainer takes.
    fn pick(shelf: &mut Shelf, name: &str, kind: Kind, stamp: Stamp) -> String {
        let (id, title) = shelf.place(name, kind, stamp);
        let told = id.to_string();
        let info = PickedInfo::Base(BaseInfo {
            id,
            title,
            ..examples::base()
        });
        shelf.put(PickedBase {
            name: name.to_owned(),
            kind,
            stamp,
            info,
        });
        told
    }

    fn with(standing: Standing) -> (Shelf, String) {
        let mut shelf = Shelf::default();
        let id = pick(&mut shelf, "Anime.safetensors", Kind::File, OLD);
        shelf.note(&id, standing);
        (shelf, id)
    }

    #[test]
    fn what_is_picked_again_keeps_its_id_and_another_one_gets_its_own() {
        let mut shelf = Shelf::default();
        let mut pick = |name, kind, stamp| pick(&mut shelf, name, kind, stamp);
        assert_eq!(pick("Anime.safetensors", Kind::File, OLD), "anime", "new");
        assert_eq!(pick("Anime.safetensors", Kind::File, OLD), "anime", "same");
        let other = pick("Anime.safetensors", Kind::File, NEW);
        assert_eq!(other, "anime-2", "another folder's");
        assert_eq!(pick("Anime", Kind::Folder, OLD), "anime-3", "no file");
        assert_eq!(
            pick("v1.5", Kind::Folder, OLD),
            "v1-5",
            "a folder has no ending"
        );
        assert_eq!(
            pick("bundled.sft", Kind::File, OLD),
            "bundled-2",
            "not ours"
        );
        let titles: Vec<_> = shelf.bases.iter().map(|(it, _)| it.info.title()).collect();
        let expected = ["Anime", "Anime (2)", "Anime (3)", "v1.5", "bundled"];
        assert_eq!(titles, expected, "people can tell them apart");
    }

    #[test]
    fn what_is_closed_may_have_changed_when_it_is_picked_again() {
        for standing in [
            Standing::Closed,
            Standing::Forgotten,
            Standing::Changed,
            Standing::Gone,
        ] {
            let (shelf, id) = with(standing);
            let (again, title) = shelf.place("Anime.safetensors", Kind::File, NEW);
            assert_eq!(again.as_str(), id, "{standing:?}: its runs go on");
            assert_eq!(title, "Anime", "{standing:?}");
        }
    }

    #[test]
    fn a_handle_leads_to_the_same_to_another_one_or_to_nothing() {
        let (shelf, id) = with(Standing::Closed);
        let base = shelf.get(&id).unwrap();
        for (found, standing) in [
            (Some(OLD), Standing::Open),
            (Some(NEW), Standing::Changed),
            (None, Standing::Gone),
        ] {
            assert_eq!(base.found(found), standing, "{found:?}");
        }
    }

    #[test]
    fn a_folder_is_as_new_as_its_newest_file() {
        let newer = Stamp {
            bytes: 20,
            modified_millis: 9,
        };
        let all = Stamp {
            bytes: 120,
            modified_millis: 9,
        };
        assert_eq!(Stamp::of_all([newer, OLD]), all, "in any order");
    }

    #[test]
    fn closed_bases_are_listed_with_the_reason_and_the_way_back() {
        for (standing, words, way) in [
            (Standing::Closed, "lets this page read it", Way::Open),
            (
                Standing::Forgotten,
                "does not keep where",
                Way::Pick(Kind::File),
            ),
            (Standing::Changed, "has changed", Way::TakeAsItIs),
            (Standing::Gone, "not where it was", Way::Pick(Kind::File)),
        ] {
            let (shelf, id) = with(standing);
            let told = shelf.told(&id).unwrap();
            let sentence = &told.sentence;
            assert!(sentence.contains(words), "{standing:?}: {sentence}");
            assert!(sentence.starts_with("Anime.safetensors "), "which one");
            assert_eq!(shelf.way_back(&id), Some(way), "{standing:?}");
            let shown = shelf.shown(&["bundled"]);
            assert_eq!(
                shown,
                std::slice::from_ref(&told),
                "{standing:?}: chosen or not"
            );
            // As it was listed while it was open, and as it is listed when it is closed.
            let (listed, vaes) = shelf.listed(vec![examples::base()], Vec::new());
            let (listed, _) = shelf.listed(listed, vaes);
            assert_eq!(listed.len(), 2, "{standing:?}: once");
            assert_eq!(listed[1].unusable, Some(told.sentence), "{standing:?}");
            assert_eq!(listed[1].family, examples::base().family, "what it is");
        }
        let (shelf, id) = with(Standing::Open);
        assert_eq!(shelf.way_back(&id), None, "the trainer has it");
        assert_eq!(
            shelf.listed(vec![examples::base()], Vec::new()).0.len(),
            1,
            "and lists it"
        );
        assert_eq!(shelf.shown(&[&id]).len(), 1, "it can be forgotten");
        assert_eq!(shelf.shown(&["bundled"]), [], "only if it is chosen");
    }

    fn job(base: &str) -> TrainJob {
        let example = Example::new(BlobId::from_sha256([0; 32]), BlobId::from_sha256([1; 32]));
        let recipe = Recipe::preset(Method::Addift, ModelSize::Sd1);
        TrainJob::new(
            "run".parse().unwrap(),
            base.parse().unwrap(),
            example,
            recipe,
        )
    }

    #[test]
    fn a_run_says_which_base_it_waits_for() {
        let (shelf, id) = with(Standing::Closed);
        let (listed, _) = shelf.listed(vec![examples::base()], Vec::new());
        let awaited = |state: &JobState, id: &str| shelf.awaited(state, &job(id), &listed, &[]);
        let told = awaited(&JobState::Queued, &id).unwrap();
        let words = "waits for its base: Anime.safetensors";
        assert!(told.sentence.contains(words), "{told:?}");
        assert_eq!(told.way, Some(Way::Open), "{told:?}");
        let told = awaited(&JobState::Queued, "elsewhere").unwrap();
        assert!(told.sentence.contains("elsewhere"), "{told:?}");
        assert_eq!(told.way, None, "nobody knows where it is");
        let bundled = examples::base().id;
        assert_eq!(awaited(&JobState::Queued, bundled.as_str()), None, "here");
        assert_eq!(awaited(&JobState::Stopped, &id), None, "over");
        let before = shelf.awaited(&JobState::Queued, &job(&id), &[], &[]);
        assert_eq!(before, None, "nothing is known yet");
        let (open, id) = with(Standing::Open);
        let listed = open.awaited(&JobState::Queued, &job(&id), &listed, &[]);
        assert_eq!(listed, None, "the trainer has it");
    }

    #[test]
    fn a_vae_comes_back_as_a_base_does_and_is_none() {
        let mut shelf = Shelf::default();
        let (id, title) = shelf.place("ft-mse.safetensors", Kind::File, OLD);
        let vae = VaeInfo {
            id: id.as_str().parse().unwrap(),
            title,
            unusable: None,
        };
        shelf.put(PickedBase {
            name: "ft-mse.safetensors".to_owned(),
            kind: Kind::File,
            stamp: OLD,
            info: PickedInfo::Vae(vae.clone()),
        });
        let kept = shelf.get("ft-mse").unwrap();
        let read = PickedBase::from_bytes(&kept.to_bytes()).unwrap();
        assert_eq!(read, *kept, "it is kept as what it is");
        let bases = || vec![examples::base()];
        let open = shelf.listed(bases(), vec![vae.clone()]);
        assert_eq!(open, (bases(), vec![vae.clone()]), "as the trainer says");
        let on_bundled = TrainJob {
            vae: Some(vae.id.clone()),
            ..job(examples::base().id.as_str())
        };
        let awaited = |shelf: &Shelf, vaes: &[VaeInfo]| {
            shelf.awaited(&JobState::Queued, &on_bundled, &bases(), vaes)
        };
        assert_eq!(awaited(&shelf, &[vae]), None, "both are here");

        shelf.note("ft-mse", Standing::Closed);
        let (listed, vaes) = shelf.listed(bases(), Vec::new());
        assert_eq!(listed, bases(), "it is no base");
        let why = vaes[0].unusable.as_ref().unwrap();
        assert!(why.contains("lets this page read it"), "{why}");
        let told = awaited(&shelf, &vaes).unwrap();
        let words = "waits for its VAE: ft-mse.safetensors is on your disk";
        assert!(told.sentence.contains(words), "{told:?}");
        assert_eq!(told.way, Some(Way::Open), "{told:?}");
        let told = awaited(&Shelf::default(), &[]).unwrap();
        assert!(told.sentence.contains("its VAE, ft-mse,"), "{told:?}");
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let (shelf, id) = with(Standing::Open);
        let kept = shelf.get(&id).unwrap().to_bytes();
        let read = PickedBase::from_bytes(&kept).unwrap();
        assert_eq!(Some(&read), shelf.get(&id), "all of it");
        assert_eq!(PickedBase::from_bytes(b"no base"), None, "nothing of ours");
        let mut restored = Shelf::default();
        restored.restore(read.clone(), Standing::Closed);
        assert_eq!(restored.way_back(&id), Some(Way::Open), "{restored:?}");
        restored.put(read.clone());
        restored.restore(read, Standing::Closed);
        assert_eq!(restored, shelf, "what was picked meanwhile stays");
    }

    #[test]
    fn a_base_that_was_kept_before_there_were_vaes_is_read() {
        #[derive(Serialize)]
        struct Before {
            name: String,
            kind: Kind,
            stamp: Stamp,
            info: BaseInfo,
        }
        let before = Before {
            name: "Anime".to_owned(),
            kind: Kind::Folder,
            stamp: OLD,
            info: examples::base(),
        };
        let read = PickedBase::from_bytes(&codec::encode(&before)).unwrap();
        assert_eq!(read.info, PickedInfo::Base(examples::base()), "as it was");
        assert_eq!(read.to_bytes(), codec::encode(&before), "and is kept so");
    }

    #[test]
    fn a_forgotten_base_is_not_listed() {
        let (mut shelf, id) = with(Standing::Gone);
        shelf.forget(&id);
        assert_eq!(shelf, Shelf::default(), "nothing is left of it");
    }
}
