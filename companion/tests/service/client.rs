//! A client that shows every message and can also misbehave.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use mimeo_checkpoint::{Array, LoraFile, LoraModule, Precision};
use mimeo_protocol::{
    BaseId, BlobId, ClientMessage, Example, FileKind, JobControl, JobEvent, JobEventKind, JobId,
    JobState, MAX_SERVER_FRAME, Method, ModelSize, PROTOCOL_VERSION, Phase, PreviewPlan,
    PreviewRequest, Recipe, RequestId, ResultFile, ScoreBudget, ServerMessage, Share, Snapshot,
    Steps, TrainJob, codec,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::companion::Companion;
use crate::http::{self, Response};

/// Far beyond what anything takes, scores on a busy machine too; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub snapshot: Snapshot,
    base: String,
    token: String,
    requests: u32,
    /// Every event that came, in order.
    pub events: Vec<JobEvent>,
    /// Everything else that answers nothing.
    pub others: Vec<ServerMessage>,
}

impl Client {
    pub async fn connect(companion: &Companion) -> Self {
        let token = companion.token().await;
        let (mut socket, _) = connect_async(format!("{}/ws", companion.ws()))
            .await
            .unwrap();
        socket.send(frame(&hello(&token))).await.unwrap();
        let welcome = receive(&mut socket).await.unwrap();
        let ServerMessage::Welcome { snapshot, .. } = welcome else {
            panic!("let in: {welcome:?}");
        };
        Self {
            socket,
            snapshot,
            base: companion.http(""),
            token,
            requests: 0,
            events: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, message: impl FnOnce(RequestId) -> ClientMessage) -> ServerMessage {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.socket.send(frame(&message(request))).await.unwrap();
        loop {
            let answer = self.next().await;
            if answer.request() == Some(request) {
                return answer;
            }
        }
    }

    /// Asks for all events of a job so far.
    pub async fn catch_up(&mut self, job: JobId) {
        let resync = |request| ClientMessage::Resync {
            request,
            job,
            after: 0,
        };
        let done = self.ask(resync).await;
        assert!(matches!(done, ServerMessage::Done { .. }), "{done:?}");
        // Some came by themselves before they came as the answer.
        self.events.sort_by_key(|event| (event.job, event.seq));
        self.events.dedup();
    }

    /// The next message; events are remembered as well.
    pub async fn next(&mut self) -> ServerMessage {
        let message = receive(&mut self.socket).await.expect("still connected");
        match &message {
            ServerMessage::Event(event) => self.events.push(event.clone()),
            other if other.request().is_none() => self.others.push(message.clone()),
            _ => {}
        }
        message
    }

    /// Reads until an event of the job is as wanted, and answers it.
    pub async fn until(
        &mut self,
        job: JobId,
        wanted: impl Fn(&JobEventKind) -> bool,
    ) -> JobEventKind {
        let mut seen = 0;
        loop {
            let new = self.events[seen..].iter();
            let found = new
                .filter(|event| event.job == job)
                .find(|event| wanted(&event.kind));
            if let Some(event) = found {
                return event.kind.clone();
            }
            seen = self.events.len();
            while self.events.len() == seen {
                self.next().await;
            }
        }
    }

    /// Reads until the job is over.
    pub async fn until_over(&mut self, job: JobId) -> JobState {
        let is_over =
            |kind: &JobEventKind| matches!(kind, JobEventKind::State { state } if state.is_over());
        match self.until(job, is_over).await {
            JobEventKind::State { state } => state,
            other => panic!("a state: {other:?}"),
        }
    }

    /// Reads until the job is in a phase.
    pub async fn until_phase(&mut self, job: JobId, phase: Phase) {
        let wanted = JobState::Running { phase };
        self.until(
            job,
            |kind| matches!(kind, JobEventKind::State { state } if *state == wanted),
        )
        .await;
    }

    pub async fn submit(&mut self, job: TrainJob) -> JobId {
        match self.try_submit(job).await {
            ServerMessage::Accepted { job, .. } => job,
            other => panic!("accepted: {other:?}"),
        }
    }

    pub async fn try_submit(&mut self, job: TrainJob) -> ServerMessage {
        let job = Box::new(job);
        self.ask(|request| ClientMessage::Submit { request, job })
            .await
    }

    pub async fn control(&mut self, job: JobId, control: JobControl) -> ServerMessage {
        self.ask(|request| ClientMessage::Control {
            request,
            job,
            control,
        })
        .await
    }

    pub async fn upload(&self, bytes: &[u8]) -> BlobId {
        let id = blob_id(bytes);
        let answer = self.put(id, bytes).await;
        assert_eq!(answer.status, 204, "{:?}", answer.text());
        id
    }

    pub async fn put(&self, id: BlobId, bytes: &[u8]) -> Response {
        let url = format!("{}/blobs/{id}", self.base);
        http::put(&url, &[http::bearer(&self.token)], bytes).await
    }

    pub async fn put_lora(&self, id: BlobId, bytes: &[u8]) -> Response {
        let url = format!("{}/loras/{id}", self.base);
        http::put(&url, &[http::bearer(&self.token)], bytes).await
    }

    /// A sound LoRA for a model that has nothing in common with any base here.
    pub async fn upload_strange_lora(&self) -> BlobId {
        let array = |shape: [usize; 2]| Array {
            shape: shape.to_vec(),
            data: vec![0.5; shape.iter().product()],
        };
        let module = LoraModule {
            mid: None,
            down: array([1, 3]),
            up: array([3, 1]),
            alpha: 1.0,
        };
        let mut file = LoraFile::default();
        file.modules
            .insert("lora_unet_engine_room".to_owned(), module);
        let bytes = file.write(Precision::F32).unwrap();
        let answer = self.put_lora(blob_id(&bytes), &bytes).await;
        assert_eq!(answer.status, 204, "{:?}", answer.text());
        blob_id(&bytes)
    }

    pub async fn try_draw(&mut self, preview: PreviewRequest) -> ServerMessage {
        self.ask(|request| ClientMessage::Preview { request, preview })
            .await
    }

    /// The picture that was asked for.
    pub async fn draw(&mut self, preview: PreviewRequest) -> BlobId {
        match self.try_draw(preview).await {
            ServerMessage::Preview { picture, .. } => picture,
            other => panic!("a picture: {other:?}"),
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.base);
        http::get(&url, &[http::bearer(&self.token)]).await
    }

    pub async fn download(&self, file: &ResultFile) -> Vec<u8> {
        let answer = self.get(&format!("/files/{}", file.id)).await;
        assert_eq!(answer.status, 200, "{file:?}");
        assert_eq!(
            blob_id(&answer.body),
            file.sha256,
            "the bytes that were announced"
        );
        answer.body
    }

    /// Files of a job that came so far.
    pub fn files(&self, job: JobId) -> Vec<ResultFile> {
        let events = self.events.iter().filter(|event| event.job == job);
        let mut files: Vec<ResultFile> = Vec::new();
        for event in events {
            if let JobEventKind::File { file } = &event.kind {
                // A job that goes on from an older state writes it again, and tells so.
                files.retain(|known| known.id != file.id);
                files.push(file.clone());
            }
        }
        files
    }

    /// The finished LoRA of a job.
    pub async fn lora(&self, job: JobId) -> Vec<u8> {
        let files = self.files(job);
        let lora = files.iter().find(|file| file.kind == FileKind::Lora);
        self.download(lora.expect("a LoRA")).await
    }

    /// Uploads the glasses pair, and describes a job of a moment on it, upon the base in miniature.
    pub async fn quick_job(&self, name: &str) -> TrainJob {
        let pair = mimeo_base::pairs()
            .iter()
            .find(|pair| pair.edit == "glasses");
        let pair = pair.expect("glasses are bundled");
        let mut recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        recipe.pass.steps = Steps::constant(6);
        recipe.calibrate = false;
        // The preset's share of so few steps would be too little for anything.
        recipe.score_budget = Some(ScoreBudget::constant(3.0));
        let original = self.upload(pair.original_png).await;
        let target = self.upload(pair.target_png).await;
        let example = Example {
            mask: Some(self.upload(pair.mask_png).await),
            ..Example::new(original, target)
        };
        TrainJob {
            scores: false,
            ..TrainJob::new(name.parse().unwrap(), micro(), example, recipe)
        }
    }

    /// The same with copy machine learning: both passes a few steps.
    pub async fn quick_copier_job(&self, name: &str) -> TrainJob {
        let mut job = self.quick_job(name).await;
        job.recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        job.recipe.copier.pass.steps = Steps::constant(6);
        job.recipe.copier.check_every = Steps::constant(3);
        job.recipe.copier.fidelity_goal = Share::constant(1.0);
        job.recipe.pass.steps = Steps::constant(6);
        job.recipe.calibrate = false;
        job.recipe.score_budget = Some(ScoreBudget::constant(0.8));
        job
    }

    /// The same upon the bundled base, whose pictures show what was trained.
    pub async fn bundled_job(&self, name: &str) -> TrainJob {
        TrainJob {
            base: BaseId::bundled(),
            ..self.quick_job(name).await
        }
    }

    /// A job that does not end by itself within a test.
    pub async fn long_job(&self, name: &str) -> TrainJob {
        let mut job = self.quick_job(name).await;
        job.recipe.pass.steps = Steps::constant(100_000);
        job
    }
}

pub fn hello(token: &str) -> ClientMessage {
    ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        app: "test".to_owned(),
        token: token.to_owned(),
    }
}

pub fn frame(message: &ClientMessage) -> Message {
    Message::Binary(codec::encode(message).into())
}

/// The next message; none once the connection is closed.
pub async fn receive(
    socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
) -> Option<ServerMessage> {
    let message = async {
        loop {
            match socket.next().await? {
                Ok(Message::Binary(frame)) => {
                    return Some(codec::decode(&frame, MAX_SERVER_FRAME).unwrap());
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                // Signs of life are no messages.
                Ok(_) => {}
            }
        }
    };
    timeout(PATIENCE, message).await.expect("something comes")
}

pub fn blob_id(bytes: &[u8]) -> BlobId {
    BlobId::from_sha256(Sha256::digest(bytes).into())
}

/// Previews at every third step, at all strengths.
pub fn previews() -> PreviewPlan {
    PreviewPlan {
        every: Steps::constant(3),
        prompt: "a girl".to_owned(),
        seed: 7,
        strengths: PreviewPlan::STRENGTHS.to_vec(),
    }
}

/// The base in miniature ([`crate::companion::put_micro`]): its steps take milliseconds.
pub fn micro() -> BaseId {
    BaseId::try_from("micro".to_owned()).unwrap()
}

/// A picture of somebody, by the bundled base alone.
pub fn portrait() -> PreviewRequest {
    let prompt = mimeo_base::prompts()[0];
    PreviewRequest::new(BaseId::bundled(), prompt.to_owned(), 3)
}

/// Whether the events of each job are numbered from `first` on without a gap.
pub fn assert_gapless(events: &[JobEvent], job: JobId, first: u64) {
    let numbers: Vec<u64> = events
        .iter()
        .filter(|event| event.job == job)
        .map(|event| event.seq)
        .collect();
    let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert!(numbers == expected, "events of job {job}: {numbers:?}");
}
