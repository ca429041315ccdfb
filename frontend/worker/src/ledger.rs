//! What the worker remembers: jobs, their events and files, the queue, copiers, paces.
//!
//! Plain data that changes in memory, as a tab has one trainer. What changed is noted, so that only
//! that is written again: each job is a file of its own, and all the rest is one.

use std::collections::{BTreeMap, BTreeSet};

use mimeo_protocol::format::{Format, Kind};
use mimeo_protocol::{
    BlobId, CopierId, CopierInfo, DecodeError, FileId, IllegalTransition, JobEvent, JobEventKind,
    JobId, JobName, JobState, JobSummary, Pace, ResultFile, Scores, Snapshot, TrainJob, Transition,
    UnreadableJob, codec,
};
use serde::{Deserialize, Serialize};

/// Larger files are none of ours.
const MAX_BYTES: usize = 64 << 20;

/// A job and all that happened to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What was asked for.
    pub job: TrainJob,
    /// Where it is.
    pub state: JobState,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_millis: u64,
    /// From the first on, without gaps.
    pub events: Vec<JobEvent>,
    /// What it made.
    pub files: Vec<ResultFile>,
    /// What its LoRA does, once measured.
    pub scores: Option<Scores>,
    /// The finished copier that it builds upon, once it has begun.
    pub copier: Option<CopierId>,
    /// How often the worker ended in it since its state was saved.
    pub deaths: u32,
    /// Whether its user wants it to wait, once anybody said so; see
    /// [`StoredJob`](mimeo_service::StoredJob::held).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
}

impl Entry {
    fn summary(&self, id: JobId) -> JobSummary {
        JobSummary {
            id,
            job: self.job.clone(),
            state: self.state.clone(),
            seq: self.events.len() as u64,
            submitted_millis: self.submitted_millis,
            files: self.files.clone(),
            scores: self.scores.clone(),
            progress: None,
        }
    }
}

/// A copier that other jobs can build upon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopierEntry {
    /// What the page knows of it.
    pub info: CopierInfo,
    /// Of base, picture and recipe.
    pub fingerprint: String,
}

/// Of the stored index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OfIndex;

impl Kind for OfIndex {
    const NAME: &'static str = "the list of runs";
    const NEWEST: u32 = 1;
}

/// Everything but the jobs, which carry formats of their own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Index {
    #[serde(default)]
    format: Format<OfIndex>,
    jobs: BTreeSet<JobId>,
    last_job: u64,
    last_file: u64,
    last_copier: u64,
    queue: Vec<JobId>,
    copiers: Vec<CopierEntry>,
    /// By the device that they were measured on, the newest last.
    paces: Vec<(String, Pace)>,
    pipelines: u32,
}

/// A file to write, or to remove where it has no bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: String,
    /// What.
    pub bytes: Option<Vec<u8>>,
}

/// What is on the disk beside the index: of that the index can be made again.
#[derive(Debug, Default)]
pub struct Found {
    jobs: BTreeSet<JobId>,
    last_file: u64,
}

impl Found {
    /// - `ledger`: the names in the ledger's folder
    /// - `files`: those of the results
    #[must_use]
    pub fn new(ledger: &[String], files: &[String]) -> Self {
        // What is no number is no job, such as the index.
        let numbers = |names: &[String]| -> BTreeSet<u64> {
            let names = names.iter();
            names.filter_map(|name| name.parse().ok()).collect()
        };
        Self {
            jobs: numbers(ledger).into_iter().map(JobId).collect(),
            last_file: numbers(files).last().copied().unwrap_or_default(),
        }
    }
}

/// The worker's memory.
#[derive(Debug, Default)]
pub struct Ledger {
    index: Index,
    jobs: BTreeMap<JobId, Entry>,
    /// Jobs whose files cannot be read, with the sentence about each. The files stay.
    unreadable: BTreeMap<JobId, String>,
    /// What was lost with the index, in one sentence.
    lost: Option<String>,
    changed: BTreeSet<JobId>,
    index_changed: bool,
}

impl Ledger {
    /// Where all but the jobs is kept.
    pub const INDEX: &str = "ledger/index";
    /// Where an index is put that cannot be read.
    pub const ASIDE: &str = "ledger/unreadable-index";

    /// Where a job is kept.
    #[must_use]
    pub fn path(job: JobId) -> String {
        format!("ledger/{job}")
    }

    /// From the index file. In the place of one that cannot be read comes one of what is there.
    #[must_use]
    pub fn open(index: Option<&[u8]>, found: Found) -> Self {
        let read = match index {
            Some(bytes) => codec::decode(bytes, MAX_BYTES).map_err(DecodeError::reason),
            None if found.jobs.is_empty() => Ok(Index::default()),
            None => Err("its file is missing".to_owned()),
        };
        match read {
            Ok(index) => Self {
                index,
                ..Self::default()
            },
            Err(reason) => Self {
                index: Index {
                    last_job: found.jobs.last().map_or(0, |id| id.0),
                    last_file: found.last_file,
                    jobs: found.jobs,
                    ..Index::default()
                },
                lost: Some(format!(
                    "The list of runs could not be read ({reason}) and was made again from the runs: finished copiers and the order of what waits are lost."
                )),
                index_changed: true,
                ..Self::default()
            },
        }
    }

    /// What was lost with the index, in one sentence.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Whether everything could be read: else nobody knows what all is still needed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unreadable.is_empty() && self.lost.is_none()
    }

    /// The sentence about a job that cannot be read.
    #[must_use]
    pub fn unreadable(&self, id: JobId) -> Option<&str> {
        self.unreadable.get(&id).map(String::as_str)
    }

    /// The jobs whose files are to be read next.
    #[must_use]
    pub fn known(&self) -> Vec<JobId> {
        self.index.jobs.iter().copied().collect()
    }

    /// Takes in a job's file. One that is missing or cannot be read stays known as such, until the
    /// user deletes it.
    pub fn load(&mut self, id: JobId, bytes: Option<&[u8]>) {
        let missing = || Err("its file is missing".to_owned());
        let read = bytes.map_or_else(missing, |bytes| {
            codec::decode::<Entry>(bytes, MAX_BYTES).map_err(DecodeError::reason)
        });
        match read {
            Ok(entry) => {
                // An index that was made again does not know how far copiers were numbered.
                let copier = entry.copier.map_or(0, |id| id.0);
                self.index.last_copier = self.index.last_copier.max(copier);
                self.jobs.insert(id, entry);
            }
            Err(reason) => {
                let sentence = UnreadableJob::sentence(&reason, "in this browser's storage");
                self.unreadable.insert(id, sentence);
            }
        }
    }

    /// The jobs that are not over. Of one that cannot be read nobody knows.
    #[must_use]
    pub fn under_way(&self) -> Vec<JobId> {
        let jobs = self.jobs.iter();
        let under_way = jobs.filter(|(_, entry)| !entry.state.is_over());
        under_way.map(|(id, _)| *id).collect()
    }

    /// Notes whether a job is to wait.
    pub fn hold(&mut self, id: JobId, is_held: bool) {
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.held = Some(is_held);
            self.changed.insert(id);
        }
    }

    /// The worker ended in this job; how often it did since the job's state was saved.
    pub fn count_death(&mut self, id: JobId) -> u32 {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return 0;
        };
        entry.deaths += 1;
        self.changed.insert(id);
        entry.deaths
    }

    /// A new job, last in the queue, and its first event.
    pub fn add_job(&mut self, job: TrainJob, now_millis: u64) -> (JobId, JobEvent) {
        self.index.last_job += 1;
        let id = JobId(self.index.last_job);
        let state = JobState::Queued;
        let entry = Entry {
            job,
            state: state.clone(),
            submitted_millis: now_millis,
            events: Vec::new(),
            files: Vec::new(),
            scores: None,
            copier: None,
            deaths: 0,
            held: None,
        };
        self.index.jobs.insert(id);
        self.index.queue.push(id);
        self.index_changed = true;
        self.jobs.insert(id, entry);
        let event = self.append(id, JobEventKind::State { state }, now_millis);
        (id, event)
    }

    /// A job, if it is there.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Entry> {
        self.jobs.get(&id)
    }

    /// Adds a fact about a job.
    pub fn record(&mut self, id: JobId, kind: JobEventKind, now_millis: u64) -> JobEvent {
        if let Some(entry) = self.jobs.get_mut(&id) {
            match &kind {
                JobEventKind::Scores { scores } => entry.scores = Some(scores.clone()),
                JobEventKind::File { file } => {
                    entry.files.retain(|known| known.id != file.id);
                    entry.files.push(file.clone());
                }
                _ => {}
            }
        }
        self.append(id, kind, now_millis)
    }

    /// Changes a job's state, as the one table of transitions allows.
    ///
    /// # Errors
    /// [`IllegalTransition`], and nothing changes.
    pub fn change_state(
        &mut self,
        id: JobId,
        transition: Transition,
        now_millis: u64,
    ) -> Result<JobEvent, IllegalTransition> {
        let is_retry = transition == Transition::Retry;
        let state = match self.jobs.get(&id) {
            Some(entry) => entry.state.after(transition)?,
            // It was deleted at this moment: nobody will see the event.
            None => JobState::Stopped,
        };
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.state = state.clone();
            if is_retry {
                entry.deaths = 0;
                entry.held = None;
            }
        }
        if is_retry {
            self.index.queue.push(id);
            self.index_changed = true;
        }
        Ok(self.append(id, JobEventKind::State { state }, now_millis))
    }

    fn append(&mut self, id: JobId, kind: JobEventKind, at_millis: u64) -> JobEvent {
        let entry = self.jobs.get_mut(&id);
        let seq = entry.as_ref().map_or(0, |entry| entry.events.len()) as u64 + 1;
        let event = JobEvent {
            job: id,
            seq,
            at_millis,
            kind,
        };
        if let Some(entry) = entry {
            entry.events.push(event.clone());
            self.changed.insert(id);
        }
        event
    }

    /// A job's state was saved: what follows is lost at most.
    pub fn state_saved(&mut self, id: JobId) {
        if let Some(entry) = self.jobs.get_mut(&id).filter(|entry| entry.deaths > 0) {
            entry.deaths = 0;
            self.changed.insert(id);
        }
    }

    /// Notes the copier that a job builds upon.
    pub fn set_copier(&mut self, id: JobId, copier: CopierId) {
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.copier = Some(copier);
            self.changed.insert(id);
        }
    }

    /// Forgets what a discarded job made.
    pub fn forget_files(&mut self, id: JobId) {
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.files.clear();
            entry.scores = None;
            self.changed.insert(id);
        }
    }

    /// Forgets a job.
    pub fn forget(&mut self, id: JobId) {
        self.jobs.remove(&id);
        self.unreadable.remove(&id);
        self.index.jobs.remove(&id);
        self.index.queue.retain(|waiting| *waiting != id);
        self.index_changed = true;
        self.changed.insert(id);
    }

    /// Every picture that a job, an event or a copier names.
    #[must_use]
    pub fn pictures(&self) -> BTreeSet<BlobId> {
        let of_jobs = self.jobs.values().flat_map(|entry| {
            let drawn = entry.events.iter().filter_map(|event| match &event.kind {
                JobEventKind::Preview { picture, .. } => Some(*picture),
                _ => None,
            });
            entry.job.pictures().chain(drawn)
        });
        let copiers = self.index.copiers.iter();
        let of_copiers = copiers.filter_map(|copier| copier.info.original);
        of_jobs.chain(of_copiers).collect()
    }

    /// The waiting jobs, the next one first.
    #[must_use]
    pub fn queue(&self) -> &[JobId] {
        &self.index.queue
    }

    /// Takes the next job out of the queue.
    ///
    /// - `can_run`: whether a job's base and VAE are here; others wait for theirs
    pub fn take_next(&mut self, can_run: impl Fn(&TrainJob) -> bool) -> Option<JobId> {
        let can_run = |id: &JobId| self.job(*id).is_none_or(|entry| can_run(&entry.job));
        let at = self.index.queue.iter().position(can_run)?;
        self.index_changed = true;
        Some(self.index.queue.remove(at))
    }

    /// Puts a job that does not wait before all that do.
    pub fn requeue(&mut self, id: JobId) {
        if !self.index.queue.contains(&id) {
            self.index.queue.insert(0, id);
            self.index_changed = true;
        }
    }

    /// Takes a waiting job out of the queue.
    pub fn unqueue(&mut self, id: JobId) {
        self.index.queue.retain(|waiting| *waiting != id);
        self.index_changed = true;
    }

    /// Moves a waiting job before another one, or to the end; whether both wait.
    pub fn reorder(&mut self, id: JobId, before: Option<JobId>) -> bool {
        let queue = &mut self.index.queue;
        let waits = |id: JobId| queue.contains(&id);
        if !waits(id) || before.is_some_and(|before| !waits(before) || before == id) {
            return false;
        }
        queue.retain(|waiting| *waiting != id);
        let at = before.and_then(|before| queue.iter().position(|waiting| *waiting == before));
        queue.insert(at.unwrap_or(queue.len()), id);
        self.index_changed = true;
        true
    }

    /// A number for a new file.
    pub const fn new_file(&mut self) -> FileId {
        self.index.last_file += 1;
        self.index_changed = true;
        FileId(self.index.last_file)
    }

    /// A file and the job that made it; none: a copier's.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<(Option<JobId>, &ResultFile)> {
        let of_jobs = self.jobs.iter().find_map(|(job, entry)| {
            let file = entry.files.iter().find(|file| file.id == id)?;
            Some((Some(*job), file))
        });
        let copiers = || self.index.copiers.iter().map(|copier| &copier.info.file);
        of_jobs.or_else(|| {
            copiers()
                .find(|file| file.id == id)
                .map(|file| (None, file))
        })
    }

    /// A number for a new copier.
    pub const fn new_copier(&mut self) -> CopierId {
        self.index.last_copier += 1;
        self.index_changed = true;
        CopierId(self.index.last_copier)
    }

    /// The finished copiers, the newest first.
    #[must_use]
    pub fn copiers(&self) -> Vec<CopierInfo> {
        let copiers = self.index.copiers.iter().rev();
        copiers.map(|copier| copier.info.clone()).collect()
    }

    /// The copier of a fingerprint.
    #[must_use]
    pub fn copier_of(&self, fingerprint: &str) -> Option<CopierId> {
        let mut copiers = self.index.copiers.iter();
        let found = copiers.find(|copier| copier.fingerprint == fingerprint);
        found.map(|copier| copier.info.id)
    }

    /// Adds a finished copier.
    pub fn add_copier(&mut self, copier: CopierEntry) {
        self.index.copiers.push(copier);
        self.index_changed = true;
    }

    /// Calls a copier something else.
    pub fn rename_copier(&mut self, id: CopierId, name: &JobName) {
        let mut copiers = self.index.copiers.iter_mut();
        if let Some(copier) = copiers.find(|copier| copier.info.id == id) {
            copier.info.name.clone_from(name);
            copier.info.file.name = mimeo_service::copier_file_name(name);
            self.index_changed = true;
        }
    }

    /// Forgets a copier; its file, if it was there.
    pub fn forget_copier(&mut self, id: CopierId) -> Option<FileId> {
        let mut copiers = self.index.copiers.iter();
        let at = copiers.position(|copier| copier.info.id == id)?;
        self.index_changed = true;
        Some(self.index.copiers.remove(at).info.file.id)
    }

    /// A job that is under way and builds upon this copier.
    #[must_use]
    pub fn user_of_copier(&self, id: CopierId) -> Option<JobId> {
        let given = mimeo_protocol::CopierChoice::Given(id);
        let mut jobs = self.jobs.iter();
        let uses = |entry: &Entry| entry.copier == Some(id) || entry.job.copier == given;
        jobs.find(|(_, entry)| !entry.state.is_over() && uses(entry))
            .map(|(job, _)| *job)
    }

    /// Remembers how fast steps went on a device, in the place of an older measurement.
    pub fn keep_pace(&mut self, device: &str, pace: &Pace) {
        let same = |known: &Pace| {
            (&known.base, known.method, known.phase) == (&pace.base, pace.method, pace.phase)
        };
        self.index
            .paces
            .retain(|(on, known)| on != device || !same(known));
        self.index.paces.push((device.to_owned(), pace.clone()));
        self.index_changed = true;
    }

    /// How many pipelines the GPU needed last time.
    #[must_use]
    pub const fn pipelines(&self) -> u32 {
        self.index.pipelines
    }

    /// Remembers how many pipelines the GPU needed.
    pub const fn keep_pipelines(&mut self, pipelines: u32) {
        self.index.pipelines = pipelines;
        self.index_changed = true;
    }

    /// How fast steps went on a device.
    #[must_use]
    pub fn paces(&self, device: &str) -> Vec<Pace> {
        let paces = self.index.paces.iter().filter(|(on, _)| on == device);
        paces.map(|(_, pace)| pace.clone()).collect()
    }

    /// The newest jobs in short, the newest first.
    #[must_use]
    pub fn summaries(&self) -> Vec<JobSummary> {
        let newest = self.jobs.iter().rev().take(Snapshot::MAX_JOBS);
        newest.map(|(id, entry)| entry.summary(*id)).collect()
    }

    /// The newest jobs that cannot be read, the newest first.
    #[must_use]
    pub fn unreadable_jobs(&self) -> Vec<UnreadableJob> {
        let newest = self.unreadable.iter().rev().take(Snapshot::MAX_JOBS);
        let unreadable = newest.map(|(id, message)| UnreadableJob {
            id: *id,
            submitted_millis: None,
            message: message.clone(),
        });
        unreadable.collect()
    }

    /// A job in short.
    #[must_use]
    pub fn summary(&self, id: JobId) -> Option<JobSummary> {
        self.jobs.get(&id).map(|entry| entry.summary(id))
    }

    /// Takes what is to be written since the last call: jobs before the index that names them, and
    /// deleted ones after the index that does not, or a tab that is closed between the two would
    /// leave a job without its file.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        let changes = changed.into_iter().map(|id| Change {
            path: Self::path(id),
            bytes: self.jobs.get(&id).map(codec::encode),
        });
        let (mut changes, deleted): (Vec<_>, Vec<_>) =
            changes.partition(|change| change.bytes.is_some());
        if std::mem::take(&mut self.index_changed) {
            changes.push(Change {
                path: Self::INDEX.to_owned(),
                bytes: Some(codec::encode(&self.index)),
            });
        }
        changes.extend(deleted);
        changes
    }

    /// Says that changes could not be written: they are handed out again.
    pub fn give_back(&mut self) {
        self.changed.extend(self.jobs.keys());
        self.index_changed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use mimeo_protocol::{
        BaseId, CopierKind, Example, FileKind, HeldOut, Linearity, LossPoint, Method, ModelSize,
        PauseReason, Phase, Recipe, Strength,
    };

    use mimeo_service::rules::MAX_DEATHS;

    use super::*;
    use crate::tests::recover;

    fn job() -> TrainJob {
        let picture = BlobId::from_sha256([0; 32]);
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let example = Example::new(picture, picture);
        TrainJob {
            scores: false,
            ..TrainJob::new("job".parse().unwrap(), BaseId::bundled(), example, recipe)
        }
    }

    /// What a new worker finds of what this one wrote.
    fn reopened(ledger: &mut Ledger, disk: &mut BTreeMap<String, Vec<u8>>) -> Ledger {
        for Change { path, bytes } in ledger.take_changes() {
            match bytes {
                Some(bytes) => _ = disk.insert(path, bytes),
                None => _ = disk.remove(&path),
            }
        }
        let names: Vec<String> = disk
            .keys()
            .filter_map(|path| path.strip_prefix("ledger/"))
            .map(str::to_owned)
            .collect();
        let found = Found::new(&names, &["12".to_owned()]);
        let mut next = Ledger::open(disk.get(Ledger::INDEX).map(Vec::as_slice), found);
        for id in next.known() {
            next.load(id, disk.get(&Ledger::path(id)).map(Vec::as_slice));
        }
        next
    }

    /// What a browser's storage held when this format was new.
    fn stored() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stored/format-1/browser")
    }

    /// The files of the ledger that was stored, by path.
    fn stored_files() -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(stored().join("ledger")).unwrap();
        let files = files.map(|file| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (format!("ledger/{name}"), fs::read(file.path()).unwrap())
        });
        files.collect()
    }

    fn picture(digit: u8) -> BlobId {
        BlobId::from_sha256([digit; 32])
    }

    fn lora(ledger: &mut Ledger, kind: FileKind, name: &str) -> ResultFile {
        ResultFile {
            id: ledger.new_file(),
            kind,
            name: format!("{name}.safetensors"),
            bytes: 1000,
            sha256: picture(9),
        }
    }

    /// A ledger with a job in every state, and one of everything that it remembers.
    fn full_ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let mut now = 1_790_000_000_000;
        let mut named = |ledger: &mut Ledger, name: &str, method| {
            now += 1000;
            let mut job = job();
            job.name = name.parse().unwrap();
            job.examples = vec![Example {
                mask: Some(picture(3)),
                ..Example::new(picture(1), picture(2))
            }];
            job.recipe = Recipe::preset(method, ModelSize::Small);
            ledger.add_job(job, now).0
        };
        let enter = |ledger: &mut Ledger, id, phase| {
            ledger.unqueue(id);
            let enter = Transition::Enter(phase);
            ledger.change_state(id, enter, 1_790_000_100_000).unwrap();
        };
        let change = |ledger: &mut Ledger, id, transition| {
            ledger
                .change_state(id, transition, 1_790_000_200_000)
                .unwrap();
        };
        let record = |ledger: &mut Ledger, id, kind| {
            ledger.record(id, kind, 1_790_000_150_000);
        };

        let finished = named(&mut ledger, "finished", Method::Copier);
        enter(&mut ledger, finished, Phase::Loading);
        enter(&mut ledger, finished, Phase::Copier);
        let points = vec![LossPoint { step: 1, loss: 0.5 }];
        let phase = Phase::Copier;
        record(
            &mut ledger,
            finished,
            JobEventKind::Losses { phase, points },
        );
        let copied = JobEventKind::CopyFidelity {
            step: 50,
            fidelity: 0.9,
        };
        record(&mut ledger, finished, copied);
        enter(&mut ledger, finished, Phase::Training);
        let (phase, step) = (Phase::Training, 50);
        record(&mut ledger, finished, JobEventKind::Resumed { phase, step });
        let preview = JobEventKind::Preview {
            phase,
            step,
            strength: Strength::constant(1.0),
            prompt: "a girl".to_owned(),
            seed: 7,
            picture: picture(4),
        };
        record(&mut ledger, finished, preview);
        let note = "No mask.".to_owned();
        record(&mut ledger, finished, JobEventKind::Note { text: note });
        for (kind, name) in [
            (FileKind::Step { phase, step }, "finished-000050"),
            (FileKind::Copier, "finished_copy"),
            (FileKind::Lora, "finished"),
        ] {
            let file = lora(&mut ledger, kind, name);
            record(&mut ledger, finished, JobEventKind::File { file });
        }
        let scores = Scores {
            edit_gain: 0.9,
            spill: 0.02,
            held_out: HeldOut {
                pictures: 8,
                gained: 0.75,
                progress: 0.6,
                elsewhere: 4.5,
                consistency: None,
            },
            linearity: Linearity {
                edit_gain: vec![0.0, 1.0],
                progress: vec![0.0, 1.0],
                monotone: true,
                correlation: 0.98,
                valid: None,
                unevenness: None,
            },
            copy_fidelity: Some(0.9),
            calibrated_strength: 1.25,
            graded: None,
            style: None,
        };
        record(&mut ledger, finished, JobEventKind::Scores { scores });
        change(&mut ledger, finished, Transition::Finish);
        let info = CopierInfo {
            id: ledger.new_copier(),
            name: "finished".parse().unwrap(),
            original: Some(picture(1)),
            kind: CopierKind::Identical,
            base: BaseId::bundled(),
            fidelity: Some(0.9),
            steps: 300,
            file: lora(&mut ledger, FileKind::Copier, "finished_copy"),
            finished_millis: 1_790_000_160_000,
        };
        let copier = info.id;
        let fingerprint = "0123456789abcdef".repeat(4);
        ledger.add_copier(CopierEntry { info, fingerprint });
        let pace = Pace {
            base: BaseId::bundled(),
            method: Method::Copier,
            phase: Phase::Training,
            batch_size: 4,
            accumulation: 1,
            rank: 8,
            pixels: 128 * 128,
            secs_per_step: 0.125,
        };
        ledger.keep_pace("CPU", &pace);
        ledger.keep_pipelines(120);

        let stopped = named(&mut ledger, "stopped", Method::Addift);
        enter(&mut ledger, stopped, Phase::Training);
        let file = lora(&mut ledger, FileKind::Lora, "stopped");
        record(&mut ledger, stopped, JobEventKind::File { file });
        change(&mut ledger, stopped, Transition::Stop);
        let discarded = named(&mut ledger, "discarded", Method::Plain);
        ledger.unqueue(discarded);
        change(&mut ledger, discarded, Transition::Stop);
        let failed = named(&mut ledger, "failed", Method::Plain);
        enter(&mut ledger, failed, Phase::Encoding);
        let message = "the picture is gone.".to_owned();
        change(&mut ledger, failed, Transition::Fail { message });
        let paused = named(&mut ledger, "paused", Method::Copier);
        enter(&mut ledger, paused, Phase::Training);
        ledger.set_copier(paused, copier);
        change(&mut ledger, paused, Transition::Pause(PauseReason::User));
        let running = named(&mut ledger, "running", Method::Copier);
        enter(&mut ledger, running, Phase::Copier);
        let waiting = named(&mut ledger, "waiting", Method::Addift);
        let first = named(&mut ledger, "first", Method::Plain);
        ledger.reorder(first, Some(waiting));
        ledger
    }

    #[test]
    fn the_ledger_of_format_1_opens_whole() {
        if std::env::var_os("MIMEO_WRITE_STORED").is_some() {
            assert!(
                !stored().exists(),
                "what was stored once is not written again"
            );
            for Change { path, bytes } in full_ledger().take_changes() {
                let path = stored().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes.unwrap()).unwrap();
            }
        }
        let mut ledger = Ledger::default();
        let stored = reopened(&mut ledger, &mut stored_files());
        let mut expected = full_ledger();
        assert_eq!(
            stored.index, expected.index,
            "queue, copiers, paces and the rest"
        );
        for (id, entry) in &mut expected.jobs {
            let (recipe, preset) = (&stored.jobs[id].job.recipe, &mut entry.job.recipe);
            assert_eq!(recipe.method, preset.method, "of job {id}");
            // Presets may change; what was stored does not.
            preset.clone_from(recipe);
        }
        assert_eq!(
            stored.jobs, expected.jobs,
            "jobs, with all that happened to them"
        );

        let ledger = stored;
        let ledger = recover(ledger);
        let name = |id: &JobId| ledger.job(*id).unwrap().job.name.to_string();
        let queue: Vec<String> = ledger.queue().iter().map(name).collect();
        let expected = ["running", "paused", "first", "waiting"];
        assert_eq!(
            queue, expected,
            "what was under way goes on before what waits"
        );
    }

    #[test]
    fn what_was_written_is_found_again() {
        let (mut ledger, mut disk) = (Ledger::default(), BTreeMap::new());
        let (first, event) = ledger.add_job(job(), 1);
        assert_eq!((first, event.seq), (JobId(1), 1), "numbers begin at 1");
        let (second, _) = ledger.add_job(job(), 2);
        ledger.forget(first);
        let note = JobEventKind::Note {
            text: "told".to_owned(),
        };
        assert_eq!(ledger.record(second, note, 3).seq, 2, "without gaps");

        let mut next = reopened(&mut ledger, &mut disk);
        assert_eq!(next.known(), [second], "the deleted one is gone");
        assert_eq!(
            next.job(second),
            ledger.job(second),
            "the other is as it was"
        );
        let (third, _) = next.add_job(job(), 4);
        assert_eq!(third, JobId(3), "a deleted job's number is not used again");
        assert_eq!(disk.len(), 2, "an index and a job: {:?}", disk.keys());
        assert!(ledger.take_changes().is_empty(), "nothing is written twice");
    }

    #[test]
    fn a_run_that_broke_off_goes_on_first_and_not_for_ever() {
        let (mut ledger, mut disk) = (Ledger::default(), BTreeMap::new());
        let (run, _) = ledger.add_job(job(), 1);
        let (waiting, _) = ledger.add_job(job(), 1);
        for death in 1..=MAX_DEATHS {
            assert_eq!(ledger.take_next(|_| true), Some(run), "start {death}");
            let enter = Transition::Enter(Phase::Training);
            ledger.change_state(run, enter, 2).unwrap();
            ledger = recover(reopened(&mut ledger, &mut disk));
            if death < MAX_DEATHS {
                assert_eq!(ledger.queue(), [run, waiting], "after death {death}");
            }
        }
        let state = ledger.job(run).map(|entry| entry.state.clone());
        assert!(matches!(state, Some(JobState::Failed { .. })), "{state:?}");
        assert_eq!(ledger.queue(), [waiting], "the others go on");

        ledger.change_state(run, Transition::Retry, 5).unwrap();
        assert_eq!(ledger.queue(), [waiting, run], "after all, and last");
    }

    #[test]
    fn a_saved_state_forgives_earlier_deaths() {
        let (mut ledger, mut disk) = (Ledger::default(), BTreeMap::new());
        let (run, _) = ledger.add_job(job(), 1);
        for _ in 0..3 * MAX_DEATHS {
            assert_eq!(ledger.take_next(|_| true), Some(run), "it is begun again");
            let enter = Transition::Enter(Phase::Training);
            ledger.change_state(run, enter, 2).unwrap();
            ledger.state_saved(run);
            ledger = recover(reopened(&mut ledger, &mut disk));
        }
        assert_eq!(ledger.queue(), [run], "it gets somewhere each time");
    }

    #[test]
    fn waiting_jobs_are_moved_and_others_are_not() {
        let mut ledger = Ledger::default();
        let [a, b, c] = [1, 2, 3].map(|at| ledger.add_job(job(), at).0);
        assert!(ledger.reorder(c, Some(a)), "to the front");
        assert_eq!(ledger.queue(), [c, a, b], "in the new order");
        assert!(ledger.reorder(c, None), "to the end");
        assert_eq!(ledger.queue(), [a, b, c], "as before");
        assert!(!ledger.reorder(a, Some(a)), "not before itself");
        assert_eq!(ledger.take_next(|_| true), Some(a), "the first");
        assert!(!ledger.reorder(a, None), "it does not wait any more");
        assert!(!ledger.reorder(b, Some(a)), "nor before such a one");
        assert_eq!(ledger.queue(), [b, c], "nothing changed");
    }

    #[test]
    fn a_job_waits_for_its_base_while_others_are_done() {
        let mut ledger = Ledger::default();
        let picked: BaseId = "anime".parse().unwrap();
        let on_picked = TrainJob {
            base: picked.clone(),
            ..job()
        };
        let [a, b, c] = [on_picked.clone(), on_picked, job()].map(|job| ledger.add_job(job, 1).0);
        let without = |job: &TrainJob| job.base != picked;
        assert_eq!(ledger.take_next(without), Some(c), "its base is here");
        assert_eq!(ledger.take_next(without), None, "theirs is not");
        assert_eq!(ledger.queue(), [a, b], "they stay where they were");
        assert_eq!(ledger.take_next(|_| true), Some(a), "once it is here");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_run_that_is_told_and_stays() {
        let (mut ledger, mut disk) = (Ledger::default(), BTreeMap::new());
        let [sound, damaged, newer, lost] = [1, 2, 3, 4].map(|at| ledger.add_job(job(), at).0);
        reopened(&mut ledger, &mut disk);
        disk.insert(Ledger::path(damaged), b"no job".to_vec());
        let mut entry: serde_json::Value =
            codec::decode(&disk[&Ledger::path(newer)], MAX_BYTES).unwrap();
        entry["job"]["recipe"]["format"] = 2.into();
        disk.insert(Ledger::path(newer), codec::encode(&entry));
        disk.remove(&Ledger::path(lost));
        let before = disk.clone();

        let mut ledger = recover(reopened(&mut ledger, &mut disk));
        ledger.give_back();
        let mut ledger = reopened(&mut ledger, &mut disk);
        assert_eq!(
            ledger.known(),
            [sound, damaged, newer, lost],
            "none is forgotten"
        );
        assert!(!ledger.is_whole(), "which pictures they need is not known");
        assert_eq!(ledger.queue(), [sound], "only this one can run");
        for id in [damaged, newer] {
            assert_eq!(
                disk[&Ledger::path(id)],
                before[&Ledger::path(id)],
                "as it was"
            );
        }
        let readable: Vec<JobId> = ledger.summaries().iter().map(|job| job.id).collect();
        assert_eq!(readable, [sound], "in the list");
        let told = |id: JobId| {
            let mut jobs = ledger.unreadable_jobs().into_iter();
            jobs.find(|job| job.id == id).unwrap().message
        };
        assert!(
            told(newer).contains("the recipe has format 2 of a newer Mimeo"),
            "{}",
            told(newer)
        );
        assert!(told(lost).contains("its file is missing"), "{}", told(lost));
        assert!(
            told(damaged).contains("what it made stays"),
            "{}",
            told(damaged)
        );

        ledger.forget(damaged);
        let ledger = reopened(&mut ledger, &mut disk);
        assert_eq!(ledger.known(), [sound, newer, lost], "deleted by the user");
        assert!(!disk.contains_key(&Ledger::path(damaged)), "its file too");
    }

    #[test]
    fn a_damaged_index_is_made_again_and_told() {
        let (mut ledger, mut disk) = (full_ledger(), BTreeMap::new());
        reopened(&mut ledger, &mut disk);
        for index in [Some(b"no index".to_vec()), None] {
            let mut disk = disk.clone();
            match index {
                Some(index) => disk.insert(Ledger::INDEX.to_owned(), index),
                None => disk.remove(Ledger::INDEX),
            };
            let mut again = recover(reopened(&mut Ledger::default(), &mut disk));
            assert_eq!(again.known(), ledger.known(), "every run is there");
            assert_eq!(again.queue().len(), 4, "what was to be done is done");
            let told = again.lost().unwrap_or_default();
            assert!(told.contains("finished copiers"), "what is lost: {told}");
            assert!(!again.is_whole(), "so that nothing is tidied away");
            let (next, _) = again.add_job(job(), 6);
            assert_eq!(next, JobId(9), "numbers go on");
            assert_eq!(
                again.new_file(),
                FileId(13),
                "after every file that is there"
            );
            assert_eq!(
                again.new_copier(),
                CopierId(2),
                "and after every copier that is used"
            );
            let again = reopened(&mut again, &mut disk);
            assert_eq!(again.lost(), None, "told once");
        }
        let nothing = Ledger::open(None, Found::default());
        assert!(nothing.is_whole(), "a first visit has lost nothing");
    }
}
