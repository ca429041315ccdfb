//! What must be true of a server on every store, as tests for whoever has one: see
//! [`every_store`](crate::every_store).
//!
//! What the server decides is the same everywhere; that it comes out the same depends on how a store
//! keeps what it is told, also over a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use mimeo_checkpoint::EmbeddedFolder;
use mimeo_engine::memory::BaseShape;
use mimeo_engine::{ArithmeticChoice, Compute, DeviceChoice};
use mimeo_image::{Rgb, encode_png};
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, Canvas, ClientMessage, ClipSkip, CopierChoice, CopierId, CopierKind,
    DeviceInfo, Example, FileId, JobControl, JobEvent, JobEventKind, JobId, JobProgress, JobState,
    LoraRef, Method, ModelSize, PROTOCOL_VERSION, PauseReason, Phase, PreviewRequest, Recipe,
    Rejection, RequestId, ServerMessage, Snapshot, Strength, TrainJob, Transition, VaeId, VaeInfo,
};

use crate::blob;
use crate::host::{Answer, Host, Program};
use crate::plan::Room;
use crate::rules::{MAX_DEATHS, MAX_QUEUE};
use crate::server::{Reply, Server, check_version};
use crate::steering::Steering;
use crate::store::{KeptJob, Store, StoredJob};
use crate::task::Task;

/// A store of somebody's, and what only its owner can do with it.
pub trait Rig {
    /// The store.
    type Store: Store;

    /// Opens what is kept, as the next process does once this one was killed. At first, nothing is.
    fn open(&mut self) -> impl Future<Output = Self::Store>;

    /// Damages what is kept of a job, while no store has it open.
    fn damage(&mut self, job: JobId) -> impl Future<Output = ()>;

    /// Keeps a file of a job, as a run does.
    fn keep_file(&mut self, store: &Self::Store, job: JobId) -> impl Future<Output = FileId>;

    /// Keeps a copier, as a run does.
    fn keep_copier(&mut self, store: &Self::Store) -> impl Future<Output = (CopierId, FileId)>;

    /// Keeps a LoRA, as an upload does.
    fn keep_lora(&mut self, store: &Self::Store, lora: &[u8]) -> impl Future<Output = ()>;

    /// Whether a file that was kept is on disk.
    fn has_file(&self, file: FileId) -> impl Future<Output = bool>;
}

/// Makes a test of each of these, on a store of one's own.
///
/// - `$rig`: a fresh [`Rig`]
/// - `$wait`: a function that runs a future to its end
#[macro_export]
macro_rules! every_store {
    ($rig:expr, $wait:expr) => {
        $crate::every_store! { @ $rig, $wait;
            a_paused_job_comes_back_paused_however_often
            a_wish_to_wait_or_to_go_on_is_kept_when_it_is_answered
            a_job_that_always_takes_the_server_down_is_given_up
            what_was_under_way_goes_on_before_what_waits
            waiting_jobs_are_moved_and_others_are_not
            the_events_of_a_job_have_no_gaps
            what_cannot_be_read_is_listed_and_can_be_deleted
            a_copier_in_use_stays
            a_lora_becomes_a_copier_once
            a_full_queue_takes_no_more
            a_wish_is_granted_as_the_state_allows
            what_is_deleted_is_gone_with_its_files
            a_hello_is_said_once
            what_is_not_here_is_refused_before_it_is_begun
        }
    };
    (@ $rig:expr, $wait:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $wait($crate::conformance::$name($rig));
            }
        )*
    };
}

/// A computer on which nothing is computed. It has two pictures that make a pair, and a LoRA that fits
/// the base.
#[derive(Debug)]
pub struct Pretended {
    device: DeviceInfo,
    compute: Compute,
    shape: Arc<BaseShape>,
    pictures: BTreeMap<BlobId, Vec<u8>>,
}

const PICTURE: BlobId = BlobId::from_sha256([7; 32]);
const REQUEST: RequestId = RequestId(5);
const LORA: &[u8] = b"a LoRA";

impl Pretended {
    /// One.
    pub async fn new() -> Self {
        let compute = Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto)
            .await
            .unwrap();
        let folder = EmbeddedFolder {
            name: mimeo_base::NAME,
            files: mimeo_base::files(),
        };
        let shape = BaseShape::read(&folder).await.unwrap();
        let pair =
            [[10; 3], [200; 3]].map(|color| encode_png(&Rgb::filled(64, 64, color)).unwrap());
        Self {
            device: DeviceInfo {
                name: compute.name.clone(),
                reason: String::new(),
                memory_bytes: None,
                is_gpu: false,
                in_use: true,
            },
            compute,
            shape: Arc::new(shape),
            pictures: pair.map(|png| (blob::id_of(&png), png)).into(),
        }
    }

    /// A job that can be done.
    fn job(&self) -> TrainJob {
        let mut pictures = self.pictures.keys().copied();
        let [original, target] = [(); 2].map(|()| pictures.next().unwrap());
        let recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        let example = Example::new(original, target);
        TrainJob {
            scores: false,
            ..TrainJob::new("job".parse().unwrap(), BaseId::bundled(), example, recipe)
        }
    }
}

impl Host for Pretended {
    const PROGRAM: Program = Program {
        app: "pretended 1",
        title: "the pretended server",
        elsewhere: "nowhere",
    };

    fn device(&self) -> &DeviceInfo {
        &self.device
    }
    async fn devices(&self) -> Vec<DeviceInfo> {
        vec![self.device.clone()]
    }
    fn compute(&self) -> &Compute {
        &self.compute
    }
    fn room(&self) -> Room {
        Room::default()
    }
    async fn bases(&self) -> Answer<Vec<BaseInfo>> {
        Ok(Vec::new())
    }
    fn check_base(&self, id: &BaseId) -> Answer<()> {
        match *id == BaseId::bundled() {
            true => Ok(()),
            false => Err(crate::rules::missing_base(id)),
        }
    }
    async fn vaes(&self) -> Answer<Vec<VaeInfo>> {
        Ok(Vec::new())
    }
    async fn check_vae(&self, id: &VaeId) -> Answer<()> {
        Err(crate::rules::missing_vae(id))
    }
    async fn shape(&self, _: &BaseId, _: Option<&VaeId>) -> Answer<Arc<BaseShape>> {
        Ok(Arc::clone(&self.shape))
    }
    async fn has_picture(&self, id: BlobId) -> bool {
        self.pictures.contains_key(&id)
    }
    async fn picture(&self, id: BlobId) -> Answer<Vec<u8>> {
        Ok(self.pictures[&id].clone())
    }
    async fn picture_size(&self, _: BlobId) -> Option<(u32, u32)> {
        None
    }
    async fn has_lora(&self, id: BlobId) -> bool {
        id == blob::id_of(LORA)
    }
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        Ok(work())
    }
    async fn perform(&self, task: Task) -> Answer<ServerMessage> {
        match task {
            Task::Preview { request, .. } => Ok(ServerMessage::Preview {
                request,
                picture: PICTURE,
            }),
            Task::Score { job, .. } => Err(Rejection::Failed {
                message: format!("job {} is not measured.", job.id),
            }),
            Task::Fit { request, name, .. } if name.as_str() == "strange" => {
                let reason = Rejection::Failed {
                    message: "it does not fit.".to_owned(),
                };
                let request = Some(request);
                Ok(ServerMessage::Rejected { request, reason })
            }
            Task::Fit { request, .. } => Ok(ServerMessage::Done { request }),
        }
    }
    async fn reveal(&self, file: FileId) -> Answer<()> {
        Err(crate::rules::missing_file(file))
    }
    fn progress(&self) -> Option<JobProgress> {
        None
    }
    fn wake(&self) {}
    fn nudge(&self) {}
}

type Pretending<R> = Server<<R as Rig>::Store, Pretended>;

/// A server after a start.
async fn start<R: Rig>(rig: &mut R) -> Pretending<R>
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = Server::new(rig.open().await, Pretended::new().await);
    server.recover().await.unwrap();
    server
}

/// The next start, after a crash.
async fn crash<R: Rig>(rig: &mut R, server: Pretending<R>) -> Pretending<R>
where
    Rejection: From<<R::Store as Store>::Error>,
{
    server.store.flush().await;
    kill(rig, server).await
}

/// The next start, after a crash that left nothing time to be written but what was promised.
async fn kill<R: Rig>(rig: &mut R, server: Pretending<R>) -> Pretending<R>
where
    Rejection: From<<R::Store as Store>::Error>,
{
    drop(server);
    start(rig).await
}

async fn ask<S: Store>(server: &Server<S, Pretended>, message: ClientMessage) -> ServerMessage
where
    Rejection: From<S::Error>,
{
    match server.answer(message).await {
        Reply::Message(answer) => *answer,
        Reply::Events { .. } => panic!("an answer, and no events"),
    }
}

/// Asks for what is granted.
async fn done<S: Store>(server: &Server<S, Pretended>, message: ClientMessage)
where
    Rejection: From<S::Error>,
{
    let answer = ask(server, message).await;
    let expected = ServerMessage::Done { request: REQUEST };
    assert_eq!(answer, expected, "it is granted");
}

/// Asks for what is refused, and why it is.
async fn refused<S: Store>(server: &Server<S, Pretended>, message: ClientMessage) -> Rejection
where
    Rejection: From<S::Error>,
{
    match ask(server, message).await {
        ServerMessage::Rejected { reason, .. } => reason,
        other => panic!("refused: {other:?}"),
    }
}

async fn submit<S: Store>(server: &Server<S, Pretended>, job: TrainJob) -> JobId
where
    Rejection: From<S::Error>,
{
    let job = Box::new(job);
    let request = REQUEST;
    match ask(server, ClientMessage::Submit { request, job }).await {
        ServerMessage::Accepted { job, .. } => job,
        other => panic!("accepted: {other:?}"),
    }
}

/// Submits a job that can be done.
async fn queued<S: Store>(server: &Server<S, Pretended>) -> JobId
where
    Rejection: From<S::Error>,
{
    submit(server, server.host.job()).await
}

/// Lets a job go through changes of its state, beginning with the one that takes it out of the queue.
async fn change<S: Store>(server: &Server<S, Pretended>, id: JobId, transitions: &[Transition])
where
    Rejection: From<S::Error>,
{
    server.store.unqueue(id).await.map_err(told).unwrap();
    for transition in transitions {
        let changed = server.store.change_state(id, transition.clone()).await;
        changed.map_err(told).unwrap();
    }
}

fn told<E>(error: E) -> Rejection
where
    Rejection: From<E>,
{
    error.into()
}

async fn state<S: Store>(server: &Server<S, Pretended>, id: JobId) -> JobState
where
    Rejection: From<S::Error>,
{
    job(server, id).await.state
}

async fn job<S: Store>(server: &Server<S, Pretended>, id: JobId) -> StoredJob
where
    Rejection: From<S::Error>,
{
    match server.store.job(id).await.map_err(told).unwrap() {
        Some(KeptJob::Readable(job)) => *job,
        other => panic!("job {id} can be read: {other:?}"),
    }
}

/// Begins a job, as the device does; what is wanted of it.
async fn begin<S: Store>(server: &Server<S, Pretended>, id: JobId) -> Arc<Steering>
where
    Rejection: From<S::Error>,
{
    server.running.begin(&job(server, id).await)
}

async fn snapshot<S: Store>(server: &Server<S, Pretended>) -> Snapshot
where
    Rejection: From<S::Error>,
{
    match server.welcome().await.unwrap() {
        (ServerMessage::Welcome { snapshot, .. }, _) => snapshot,
        (other, _) => panic!("a welcome: {other:?}"),
    }
}

async fn order<S: Store>(server: &Server<S, Pretended>) -> Vec<JobId>
where
    Rejection: From<S::Error>,
{
    snapshot(server).await.queue
}

const fn control(job: JobId, control: JobControl) -> ClientMessage {
    ClientMessage::Control {
        request: REQUEST,
        job,
        control,
    }
}

const fn reorder(job: JobId, before: Option<JobId>) -> ClientMessage {
    ClientMessage::Reorder {
        request: REQUEST,
        job,
        before,
    }
}

const fn delete(job: JobId) -> ClientMessage {
    let request = REQUEST;
    ClientMessage::Delete { request, job }
}

const TRAIN: Transition = Transition::Enter(Phase::Training);
const PAUSE: Transition = Transition::Pause(PauseReason::User);

/// A run that its user paused waits for its user, after however many restarts.
pub async fn a_paused_job_comes_back_paused_however_often<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let mut server = start(&mut rig).await;
    let id = queued(&server).await;
    for restart in 1..=2 * MAX_DEATHS {
        change(&server, id, &[TRAIN, PAUSE]).await;
        server = crash(&mut rig, server).await;
        assert_eq!(state(&server, id).await, JobState::Queued, "{restart}");
        assert_eq!(order(&server).await, [id], "it is taken up, {restart}");
        let wishes = begin(&server, id).await.wishes();
        assert!(wishes.pause, "and waits there, {restart}");
        server.running.end(id);
    }
    begin(&server, id).await;
    change(&server, id, &[TRAIN]).await;
    done(&server, control(id, JobControl::Resume)).await;
    server.running.end(id);
    let message = "no room".to_owned();
    let full = Transition::Pause(PauseReason::DiskFull { message });
    change(&server, id, &[full]).await;
    server = crash(&mut rig, server).await;
    assert!(
        !begin(&server, id).await.wishes().pause,
        "what waited for room goes on"
    );
    server.running.end(id);
    change(&server, id, &[TRAIN, PAUSE]).await;
    server = crash(&mut rig, server).await;
    done(&server, control(id, JobControl::StopAndKeep)).await;
    done(&server, control(id, JobControl::Retry)).await;
    assert!(
        !begin(&server, id).await.wishes().pause,
        "what its user begins again begins"
    );
}

/// Also if the server is killed at this moment, and again before the run has noted it.
pub async fn a_wish_to_wait_or_to_go_on_is_kept_when_it_is_answered<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let mut server = start(&mut rig).await;
    for (before, wish) in [
        (&[TRAIN][..], JobControl::Pause),
        (&[TRAIN, PAUSE], JobControl::Resume),
    ] {
        let id = queued(&server).await;
        begin(&server, id).await;
        change(&server, id, before).await;
        done(&server, control(id, wish)).await;
        for life in 1..MAX_DEATHS {
            server = kill(&mut rig, server).await;
            let wishes = begin(&server, id).await.wishes();
            assert_eq!(wishes.pause, wish == JobControl::Pause, "{wish:?}, {life}");
            change(&server, id, &[TRAIN]).await;
        }
        done(&server, control(id, JobControl::Pause)).await;
        change(&server, id, &[Transition::Stop]).await;
        server.running.end(id);
        done(&server, control(id, JobControl::Retry)).await;
        let wishes = begin(&server, id).await.wishes();
        assert!(!wishes.pause, "what its user begins again begins");
        change(&server, id, &[TRAIN, Transition::Stop]).await;
    }
}

/// It waits again until it has taken the server down so often, and then says what to do.
pub async fn a_job_that_always_takes_the_server_down_is_given_up<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let mut server = start(&mut rig).await;
    let id = queued(&server).await;
    for life in 1..=2 {
        for death in 1..=MAX_DEATHS {
            assert_eq!(order(&server).await, [id], "life {life}, start {death}");
            change(&server, id, &[TRAIN]).await;
            server = crash(&mut rig, server).await;
        }
        assert_eq!(order(&server).await, [], "not once more");
        let JobState::Failed { message } = state(&server, id).await else {
            panic!("failed: {:?}", state(&server, id).await);
        };
        assert!(
            message.starts_with("the pretended server ended 3 times")
                && message.ends_with("smaller batch size or picture, or nowhere."),
            "why, and what to do: {message}"
        );
        // Its user insists, and then it has as many tries as at first.
        done(&server, control(id, JobControl::Retry)).await;
    }
}

/// What ran when the server ended is the first, whatever waits; what waits keeps its order.
pub async fn what_was_under_way_goes_on_before_what_waits<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let [a, b, c, d] = [
        queued(&server).await,
        queued(&server).await,
        queued(&server).await,
        queued(&server).await,
    ];
    done(&server, reorder(d, Some(b))).await;
    change(&server, c, &[TRAIN]).await;
    change(&server, a, &[TRAIN, Transition::Finish]).await;
    let server = crash(&mut rig, server).await;
    assert_eq!(order(&server).await, [c, d, b], "as it was, behind c");
    let server = crash(&mut rig, server).await;
    assert_eq!(order(&server).await, [c, d, b], "and again");
}

/// A job is moved among those that wait.
pub async fn waiting_jobs_are_moved_and_others_are_not<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let [a, b, c] = [
        queued(&server).await,
        queued(&server).await,
        queued(&server).await,
    ];
    assert_eq!(order(&server).await, [a, b, c], "as submitted");
    done(&server, reorder(c, Some(a))).await;
    assert_eq!(order(&server).await, [c, a, b], "to the front");
    done(&server, reorder(c, None)).await;
    assert_eq!(order(&server).await, [a, b, c], "to the end");
    change(&server, a, &[TRAIN]).await;
    for (job, before) in [(b, Some(b)), (a, None), (b, Some(a)), (JobId(99), None)] {
        let reason = refused(&server, reorder(job, before)).await;
        assert!(
            matches!(&reason, Rejection::State { message } if message.contains("only waiting jobs")),
            "{job} before {before:?}: {reason:?}"
        );
    }
    let server = crash(&mut rig, server).await;
    assert_eq!(order(&server).await, [a, b, c], "nothing else was moved");
}

/// They come again from any of them on, in order, however many they are.
pub async fn the_events_of_a_job_have_no_gaps<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    const NOTES: u64 = 600;
    let server = start(&mut rig).await;
    let [id, other] = [queued(&server).await, queued(&server).await];
    for number in 0..NOTES {
        let kind = JobEventKind::Note {
            text: format!("{number}"),
        };
        for job in [id, other] {
            server.store.record(job, &kind).await.map_err(told).unwrap();
        }
    }
    let server = crash(&mut rig, server).await;
    let resync = |job, after| ClientMessage::Resync {
        request: REQUEST,
        job,
        after,
    };
    for from in [0, 1, 300, NOTES, NOTES + 1, u64::MAX] {
        let reply = server.answer(resync(id, from)).await;
        let Reply::Events { job, mut after, .. } = reply else {
            panic!("events: {reply:?}");
        };
        let until = server.store.list().await.map_err(told).unwrap().mark;
        let mut events: Vec<JobEvent> = Vec::new();
        loop {
            let more = server.events(job, after, &until).await.unwrap();
            let Some(last) = more.last() else { break };
            after = last.seq;
            events.extend(more);
        }
        let found: Vec<u64> = events.iter().map(|event| event.seq).collect();
        // The first is its state when it was submitted.
        let expected: Vec<u64> = (1..=NOTES + 1).filter(|seq| *seq > from).collect();
        assert_eq!(found, expected, "after {from}");
        assert!(
            events.iter().all(|event| event.job == id),
            "of no other job"
        );
    }
    assert_eq!(
        snapshot(&server).await.jobs[1].seq,
        NOTES + 1,
        "the last one is told"
    );
    let reason = refused(&server, resync(JobId(99), 0)).await;
    assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
}

/// It is one job in the list with its sentence, does not run, and leaves its files when it goes.
pub async fn what_cannot_be_read_is_listed_and_can_be_deleted<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let [over, waiting, sound] = [
        queued(&server).await,
        queued(&server).await,
        queued(&server).await,
    ];
    change(&server, over, &[TRAIN]).await;
    let file = rig.keep_file(&server.store, over).await;
    change(&server, over, &[Transition::Finish]).await;
    server.store.flush().await;
    drop(server);
    rig.damage(over).await;
    rig.damage(waiting).await;

    let server = start(&mut rig).await;
    let Snapshot {
        jobs,
        unreadable,
        queue,
        ..
    } = snapshot(&server).await;
    let readable: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(readable, [sound], "the others are");
    let ids: Vec<JobId> = unreadable.iter().map(|job| job.id).collect();
    assert_eq!(ids, [waiting, over], "the newest first");
    assert_eq!(queue, [sound], "only what can be read runs");
    let sentence = unreadable[1].message.clone();
    assert!(sentence.contains("cannot be read"), "{sentence}");
    let reason = refused(&server, control(over, JobControl::Retry)).await;
    assert_eq!(reason.to_string(), sentence, "why nothing is done with it");

    done(&server, delete(over)).await;
    let server = crash(&mut rig, server).await;
    let left = snapshot(&server).await.unreadable;
    assert_eq!(left.len(), 1, "the one that nobody deleted: {left:?}");
    assert_eq!(left[0].id, waiting, "until somebody does");
    assert!(rig.has_file(file).await, "what it made may be all there is");
}

/// It is tried on its base first, and outlives its upload.
pub async fn a_lora_becomes_a_copier_once<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    rig.keep_lora(&server.store, LORA).await;
    let lora = blob::id_of(LORA);
    let import = |lora, name: &str, base| ClientMessage::ImportCopier {
        request: REQUEST,
        lora,
        name: name.parse().unwrap(),
        kind: CopierKind::Style,
        base,
        vae: None,
    };
    let other = BaseId::try_from("other".to_owned()).unwrap();
    for message in [
        import(PICTURE, "flat", BaseId::bundled()),
        import(lora, "flat", other.clone()),
    ] {
        let reason = refused(&server, message).await;
        assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
    }
    let reason = refused(&server, import(lora, "strange", BaseId::bundled())).await;
    assert_eq!(reason.to_string(), "it does not fit.", "as it was tried");
    assert_eq!(snapshot(&server).await.copiers, [], "nothing of it stays");

    done(&server, import(lora, "flat", BaseId::bundled())).await;
    let reason = refused(&server, import(lora, "again", BaseId::bundled())).await;
    assert!(reason.to_string().contains("as flat"), "{reason}");
    let server = kill(&mut rig, server).await;
    let [copier] = &snapshot(&server).await.copiers[..] else {
        panic!("there is one");
    };
    let told = (copier.name.as_str(), copier.kind, copier.original);
    assert_eq!(told, ("flat", CopierKind::Style, None), "{copier:?}");
    assert_eq!(copier.file.sha256, lora, "these bytes");
    assert_eq!(copier.file.bytes, LORA.len() as u64, "all of them");

    let mut job = server.host.job();
    job.copier = CopierChoice::Given(copier.id);
    submit(&server, job.clone()).await;
    job.base = other;
    let submit = ClientMessage::Submit {
        request: REQUEST,
        job: Box::new(job),
    };
    let reason = refused(&server, submit).await.to_string();
    assert!(reason.contains("flat is for the base bundled"), "{reason}");
}

/// Whether its job has begun or waits.
pub async fn a_copier_in_use_stays<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let (copier, file) = rig.keep_copier(&server.store).await;
    server.store.tell_copiers().await.map_err(told).unwrap();
    let mut job = server.host.job();
    job.copier = CopierChoice::Given(copier);
    let id = submit(&server, job.clone()).await;
    let delete = |copier| ClientMessage::DeleteCopier {
        request: REQUEST,
        copier,
    };
    for begun in [&[][..], &[TRAIN]] {
        change(&server, id, begun).await;
        let reason = refused(&server, delete(copier)).await;
        let user = format!("job {id} builds upon this copier");
        assert!(
            matches!(&reason, Rejection::State { message } if message.contains(&user)),
            "{reason:?}"
        );
    }
    let rename = ClientMessage::RenameCopier {
        request: REQUEST,
        copier,
        name: "other".parse().unwrap(),
    };
    done(&server, rename).await;
    change(&server, id, &[Transition::Finish]).await;
    let server = crash(&mut rig, server).await;
    let copiers = snapshot(&server).await.copiers;
    assert_eq!(copiers.len(), 1, "it is there: {copiers:?}");
    assert_eq!(copiers[0].name.as_str(), "other", "under its new name");
    let file_name = &copiers[0].file.name;
    assert_eq!(file_name, "other_copy.safetensors", "as it is exported");
    assert!(rig.has_file(file).await, "with its file");

    done(&server, delete(copier)).await;
    assert!(!rig.has_file(file).await, "its file too");
    let server = crash(&mut rig, server).await;
    assert_eq!(snapshot(&server).await.copiers, [], "nobody needs it");
    for reason in [
        refused(&server, delete(copier)).await,
        refused(
            &server,
            ClientMessage::Submit {
                request: REQUEST,
                job: Box::new(job),
            },
        )
        .await,
    ] {
        assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
    }
}

/// The limit is that of those that wait.
pub async fn a_full_queue_takes_no_more<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let job = server.host.job();
    let mut last = None;
    for _ in 0..MAX_QUEUE {
        last = Some(server.store.add(&job).await.map_err(told).unwrap());
    }
    let full = ClientMessage::Submit {
        request: REQUEST,
        job: Box::new(job),
    };
    let reason = refused(&server, full).await;
    assert!(matches!(reason, Rejection::Full { .. }), "{reason:?}");
    done(&server, control(last.unwrap(), JobControl::Discard)).await;
    queued(&server).await;
}

/// Of a waiting job the queue, of a running one its run; of one that is over, nothing but a retry.
pub async fn a_wish_is_granted_as_the_state_allows<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    use JobControl as C;
    let every = [
        C::Pause,
        C::Resume,
        C::StopAndKeep,
        C::Discard,
        C::SaveNow,
        C::PreviewNow,
        C::Retry,
    ];
    let failed = Transition::Fail {
        message: "broken".to_owned(),
    };
    let score = Transition::Enter(Phase::Scoring);
    let steered = [
        C::Pause,
        C::Resume,
        C::StopAndKeep,
        C::Discard,
        C::SaveNow,
        C::PreviewNow,
    ];
    let measured = [C::Pause, C::Resume, C::StopAndKeep, C::Discard];
    let server = start(&mut rig).await;
    for (name, transitions, granted) in [
        ("waiting", &[][..], &[C::StopAndKeep, C::Discard][..]),
        ("running", &[TRAIN], &steered),
        ("measured", &[TRAIN, score], &measured),
        ("paused", &[TRAIN, PAUSE], &steered),
        ("finished", &[TRAIN, Transition::Finish], &[]),
        ("stopped", &[TRAIN, Transition::Stop], &[C::Retry]),
        ("failed", &[TRAIN, failed], &[C::Retry]),
    ] {
        for wish in every {
            let id = queued(&server).await;
            if !transitions.is_empty() {
                change(&server, id, transitions).await;
            }
            let is_under_way = ["running", "measured", "paused"].contains(&name);
            if is_under_way && granted.contains(&wish) {
                let reason = refused(&server, control(id, wish)).await;
                assert!(
                    reason.to_string().contains("ended at this moment"),
                    "{wish:?} of a run that is not there: {reason}"
                );
                begin(&server, id).await;
            }
            let before = state(&server, id).await;
            let answer = ask(&server, control(id, wish)).await;
            let is_granted = matches!(answer, ServerMessage::Done { .. });
            assert_eq!(
                is_granted,
                granted.contains(&wish),
                "{wish:?} of a job that is {name}: {answer:?}"
            );
            let after = state(&server, id).await;
            match (is_granted, name) {
                (true, "waiting") => assert_eq!(after, JobState::Stopped, "{wish:?}"),
                (true, "stopped" | "failed") => assert_eq!(after, JobState::Queued, "{wish:?}"),
                _ => assert_eq!(after, before, "{wish:?} changes the state by the run alone"),
            }
            let waits = order(&server).await.contains(&id);
            assert_eq!(waits, after == JobState::Queued, "{wish:?} of {name}");
        }
    }
    let reason = refused(&server, control(JobId(999), C::Pause)).await;
    assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
}

/// Nothing that is under way can be deleted, and of what was deleted nothing is left.
pub async fn what_is_deleted_is_gone_with_its_files<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let [kept, id] = [queued(&server).await, queued(&server).await];
    for begun in [&[][..], &[TRAIN]] {
        change(&server, id, begun).await;
        let reason = refused(&server, delete(id)).await;
        assert!(matches!(reason, Rejection::State { .. }), "{reason:?}");
    }
    let file = rig.keep_file(&server.store, id).await;
    server.store.flush().await;
    assert!(rig.has_file(file).await, "its result");
    let score = |file| ClientMessage::Score {
        request: REQUEST,
        file,
    };
    let reason = refused(&server, score(file)).await;
    let measured = format!("job {id} is not measured.");
    assert_eq!(
        reason.to_string(),
        measured,
        "the job that made it is found"
    );
    change(&server, id, &[Transition::Stop]).await;
    done(&server, delete(id)).await;
    let server = crash(&mut rig, server).await;
    assert!(!rig.has_file(file).await, "its result too");
    let jobs = snapshot(&server).await.jobs;
    let left: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(left, [kept], "the other");
    for message in [delete(id), control(id, JobControl::Retry), score(file)] {
        let reason = refused(&server, message).await;
        assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
    }
    assert_ne!(queued(&server).await, id, "its number is not used again");
}

/// A client that was let in says what it wants, and who speaks another version is told both.
pub async fn a_hello_is_said_once<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        app: "page".to_owned(),
        token: String::new(),
    };
    let answer = ask(&server, hello).await;
    let ServerMessage::Rejected { request, reason } = answer else {
        panic!("refused: {answer:?}");
    };
    assert_eq!(request, None, "a hello has no number");
    assert!(
        matches!(&reason, Rejection::Undecodable { what } if what.contains("said already")),
        "{reason:?}"
    );
    let version = |protocol| check_version(Pretended::PROGRAM, protocol, &"p".repeat(999));
    assert_eq!(version(PROTOCOL_VERSION), Ok(()), "ours");
    let Err(Rejection::Version { client, server, .. }) = version(PROTOCOL_VERSION + 1) else {
        panic!("refused: {:?}", version(PROTOCOL_VERSION + 1));
    };
    assert_eq!((client.len(), &*server), (80, "pretended 1"), "not endless");
}

/// Pictures, bases, LoRAs and copiers.
pub async fn what_is_not_here_is_refused_before_it_is_begun<R: Rig>(mut rig: R)
where
    Rejection: From<<R::Store as Store>::Error>,
{
    let server = start(&mut rig).await;
    let sound = server.host.job();
    let original = sound.examples[0].original;
    let on = |examples| TrainJob {
        examples,
        ..sound.clone()
    };
    let lost = on(vec![Example::new(original, PICTURE)]);
    let mut alike = on(vec![Example::new(original, original)]);
    alike.recipe.method = Method::Addift;
    let mut missing_second = sound.examples.clone();
    missing_second.push(Example::new(original, PICTURE));
    let missing_second = on(missing_second);
    let mut alike_second = sound.examples.clone();
    alike_second.push(Example::new(original, original));
    let mut alike_second = on(alike_second);
    alike_second.recipe.method = Method::Addift;
    let nothing = on(Vec::new());
    let copier = TrainJob {
        copier: CopierChoice::Given(CopierId(9)),
        ..sound.clone()
    };
    let preview = PreviewRequest {
        prompt_syntax: sound.recipe.prompt_syntax,
        ..PreviewRequest::new(BaseId::bundled(), "a girl".to_owned(), 1)
    };
    let vae: Option<VaeId> = Some("other".parse().unwrap());
    let with_vae = TrainJob {
        vae: vae.clone(),
        ..sound.clone()
    };
    let vae = PreviewRequest {
        vae,
        ..preview.clone()
    };
    let base = PreviewRequest {
        base: BaseId::try_from("other".to_owned()).unwrap(),
        ..preview.clone()
    };
    let like = PreviewRequest {
        canvas: Canvas::Like {
            picture: PICTURE,
            resolution: None,
        },
        ..preview.clone()
    };
    let lora = (LoraRef::Uploaded { lora: PICTURE }, Strength::constant(1.0));
    let lora = PreviewRequest {
        loras: vec![lora],
        ..preview.clone()
    };
    let submit = |job: TrainJob| ClientMessage::Submit {
        request: REQUEST,
        job: Box::new(job),
    };
    let draw = |preview| ClientMessage::Preview {
        request: REQUEST,
        preview,
    };
    for (name, message) in [
        ("a picture", submit(lost)),
        ("a picture of the second example", submit(missing_second)),
        ("a copier", submit(copier)),
        ("a VAE", submit(with_vae)),
        ("a VAE to draw with", draw(vae)),
        ("a base", draw(base)),
        ("a canvas", draw(like)),
        ("a LoRA", draw(lora)),
    ] {
        let reason = refused(&server, message).await;
        assert!(
            matches!(reason, Rejection::Missing { .. }),
            "{name}: {reason:?}"
        );
    }
    let reason = refused(&server, submit(alike)).await;
    assert!(
        matches!(reason, Rejection::Failed { .. }),
        "no pair: {reason:?}"
    );
    for (job, sentence) in [
        (
            alike_second,
            "example 2 is one picture, and method addift learns from pairs",
        ),
        (nothing, "there are no pictures to train on"),
    ] {
        let reason = refused(&server, submit(job)).await.to_string();
        assert!(reason.contains(sentence), "{reason}");
    }
    // The bundled base's text encoder is not as deep as CLIP's.
    let mut too_deep = sound.clone();
    too_deep.recipe.clip_skip = Some(ClipSkip::constant(12));
    let drawn_too_deep = PreviewRequest {
        said: too_deep.recipe.said(),
        ..preview.clone()
    };
    for message in [submit(too_deep), draw(drawn_too_deep)] {
        let reason = refused(&server, message).await.to_string();
        assert!(
            reason.contains("clip skip 12 leaves nothing"),
            "no such layer: {reason}"
        );
    }
    let mut slider = sound.clone();
    slider.recipe = Recipe::preset(Method::Slider, ModelSize::Small);
    slider.recipe.slider.target = "glasses".to_owned();
    let of_prompts = TrainJob {
        examples: Vec::new(),
        ..slider.clone()
    };
    let mut same = of_prompts.clone();
    same.recipe.slider.original = "glasses".to_owned();
    let mut long = of_prompts.clone();
    long.recipe.slider.keep = vec!["hat ".repeat(9999)];
    for (job, words) in [
        (slider, "takes no pictures"),
        (same, "no difference to learn"),
        (long, "a prompt has at most"),
    ] {
        let reason = refused(&server, submit(job)).await.to_string();
        assert!(reason.contains(words), "{words}: {reason}");
    }
    assert_eq!(snapshot(&server).await.jobs, [], "none of them waits");
    let planned = ClientMessage::Plan {
        request: REQUEST,
        job: Box::new(of_prompts.clone()),
    };
    let answer = ask(&server, planned).await;
    assert!(matches!(answer, ServerMessage::Plan { .. }), "{answer:?}");
    let answer = ask(&server, submit(of_prompts)).await;
    assert!(
        matches!(answer, ServerMessage::Accepted { .. }),
        "prompts are enough: {answer:?}"
    );
    let drawn = ServerMessage::Preview {
        request: REQUEST,
        picture: PICTURE,
    };
    assert_eq!(ask(&server, draw(preview)).await, drawn, "what is here");
}
