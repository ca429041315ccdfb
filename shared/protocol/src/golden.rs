//! The bytes of every message, as they were when this version of the protocol was made.
//!
//! A test that fails here says: old pages and old companions will not understand each other any
//! more. Then raise `PROTOCOL_VERSION` and write the files again with `MIMEO_WRITE_GOLDEN=1`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::codec::{decode, encode};

fn blob(digit: u8) -> BlobId {
    BlobId::from_sha256([digit; 32])
}

fn name(text: &str) -> JobName {
    text.parse().expect("a name")
}

fn job() -> TrainJob {
    let preset = Recipe::preset(Method::Copier, ModelSize::Small);
    TrainJob {
        format: JobFormat::default(),
        name: name("眼鏡"),
        base: BaseId::bundled(),
        vae: None,
        examples: vec![Example {
            mask: Some(blob(0xc)),
            ..Example::new(blob(0xa), blob(0xb))
        }],
        // From before recipes said how prompts are read, what scores may take, and how strength is found.
        recipe: Recipe {
            prompt_syntax: PromptSyntax::Cut,
            score_budget: None,
            calibrate_guided: false,
            addift: AddiftRecipe {
                loss: AddiftLoss::Prediction,
                ..preset.addift
            },
            ..preset
        },
        copier: CopierChoice::Given(CopierId(3)),
        previews: Some(PreviewPlan {
            every: Steps::constant(50),
            prompt: "a girl".to_owned(),
            seed: 1 << 60,
            strengths: PreviewPlan::STRENGTHS.to_vec(),
        }),
        scores: true,
    }
}

fn file() -> ResultFile {
    ResultFile {
        id: FileId(9),
        kind: FileKind::Step {
            phase: Phase::Copier,
            step: 50,
        },
        name: "眼鏡.safetensors".to_owned(),
        bytes: 123_456,
        sha256: blob(0xf),
    }
}

fn scores() -> Scores {
    Scores {
        edit_gain: 0.86,
        spill: 0.03,
        held_out: HeldOut {
            pictures: 8,
            gained: 0.75,
            progress: 0.6,
            elsewhere: 5.5,
            consistency: None,
        },
        linearity: Linearity {
            edit_gain: vec![-0.5, 0.0, 0.5],
            progress: vec![-0.4, 0.0, 1.0],
            monotone: true,
            correlation: 0.97,
            valid: None,
            unevenness: None,
        },
        copy_fidelity: Some(0.93),
        calibrated_strength: 1.25,
        graded: None,
        style: None,
    }
}

fn progress() -> JobProgress {
    JobProgress {
        job: JobId(7),
        phase: Phase::Training,
        done: 12,
        total: Some(300),
        secs_per_unit: Some(0.08),
        left_secs: Some(23.0),
    }
}

fn copier() -> CopierInfo {
    CopierInfo {
        id: CopierId(3),
        name: name("anna"),
        original: Some(blob(0xa)),
        kind: CopierKind::Identical,
        base: BaseId::bundled(),
        fidelity: Some(0.93),
        steps: 250,
        file: file(),
        finished_millis: 1_790_000_000_000,
    }
}

fn device() -> DeviceInfo {
    DeviceInfo {
        name: "CPU, 2 threads".to_owned(),
        reason: "as asked".to_owned(),
        memory_bytes: Some(24 << 30),
        is_gpu: false,
        in_use: true,
    }
}

fn base() -> BaseInfo {
    BaseInfo {
        id: BaseId::bundled(),
        title: "Mimeo avatars".to_owned(),
        family: "Stable Diffusion 1.x".to_owned(),
        size: Some(ModelSize::Small),
        native_side: Some(128),
        side_multiple: 32,
        prompts: vec!["smile, brown hair".to_owned()],
        unusable: Some("no".to_owned()),
        needs_vae: false,
        // From before bases told more of themselves.
        prediction: None,
        precision: None,
        bytes: None,
        preview: None,
    }
}

fn base_on_disk() -> BaseInfo {
    BaseInfo {
        id: BaseId::try_from("anime-v2".to_owned()).expect("an id"),
        prediction: Some("v, ztSNR".to_owned()),
        precision: Some("F16".to_owned()),
        bytes: Some(6_938_040_682),
        preview: Some(0xfeed_beef),
        ..base()
    }
}

fn vae() -> VaeInfo {
    VaeInfo {
        id: "vae-ft-mse".parse().expect("an id"),
        title: "vae-ft-mse".to_owned(),
        unusable: Some("no".to_owned()),
    }
}

fn pace() -> Pace {
    Pace {
        base: BaseId::bundled(),
        method: Method::Addift,
        phase: Phase::Training,
        batch_size: 4,
        accumulation: 1,
        rank: 8,
        pixels: 128 * 128,
        secs_per_step: 0.125,
    }
}

fn summary(state: JobState) -> JobSummary {
    JobSummary {
        id: JobId(7),
        job: job(),
        state,
        seq: 17,
        submitted_millis: 1_790_000_000_000,
        files: vec![file()],
        scores: Some(scores()),
        progress: Some(progress()),
    }
}

fn event(kind: JobEventKind) -> ServerMessage {
    ServerMessage::Event(JobEvent {
        job: JobId(7),
        seq: 18,
        at_millis: 1_790_000_000_123,
        kind,
    })
}

fn client_messages() -> Vec<(&'static str, ClientMessage)> {
    let request = RequestId(5);
    let (job_id, before) = (JobId(7), Some(JobId(4)));
    let control = |control| ClientMessage::Control {
        request,
        job: job_id,
        control,
    };
    let preview = |canvas| ClientMessage::Preview {
        request,
        preview: PreviewRequest {
            canvas,
            loras: vec![
                (LoraRef::File { file: FileId(9) }, Strength::constant(-0.5)),
                (
                    LoraRef::Uploaded { lora: blob(0xe) },
                    Strength::constant(1.0),
                ),
            ],
            negative_prompt: "a hat".to_owned(),
            ..PreviewRequest::new(BaseId::bundled(), "a boy".to_owned(), 3)
        },
    };
    let like = |resolution| {
        preview(Canvas::Like {
            picture: blob(0xa),
            resolution,
        })
    };
    let mut comfy = preview(Canvas::Native);
    if let ClientMessage::Preview { preview, .. } = &mut comfy {
        preview.prompt_syntax = PromptSyntax::Comfy;
    }
    let mut with_syntax = job();
    with_syntax.recipe.prompt_syntax = PromptSyntax::USUAL;
    let mut with_budget = with_syntax.clone();
    with_budget.recipe.score_budget = Some(ScoreBudget::constant(0.3));
    let mut with_resolution = job();
    with_resolution.recipe.resolution = Some(Resolution::constant(768));
    let mut with_held_out = job();
    with_held_out.recipe.held_out_prompts = vec!["a girl".to_owned(), "a cat".to_owned()];
    let mut with_said = with_budget.clone();
    with_said.vae = Some(vae().id);
    with_said.recipe.prediction_type = Some(Prediction::Velocity);
    with_said.recipe.zero_terminal_snr = Some(true);
    with_said.recipe.clip_skip = Some(ClipSkip::constant(2));
    let mut of_prompts = with_budget.clone();
    of_prompts.examples.clear();
    of_prompts.recipe.method = Method::Slider;
    of_prompts.recipe.slider = SliderRecipe {
        original: "hat".to_owned(),
        target: "glasses".to_owned(),
        neutral: "a girl".to_owned(),
        keep: vec!["a boy".to_owned()],
        guidance: Guidance::constant(4.0),
    };
    let mut watched = with_budget.clone();
    watched.recipe.auto_timesteps = true;
    watched.recipe.leak = LeakRecipe {
        every: Some(Steps::constant(20)),
        stop_at_best: true,
    };
    let mut held = with_budget.clone();
    held.recipe.hold = HoldRecipe {
        weight: Weight::constant(2.0),
        prompts: vec!["a girl".to_owned(), String::new()],
    };
    let mut as_used = with_budget.clone();
    as_used.recipe.calibrate_guided = true;
    as_used.recipe.addift.loss = AddiftLoss::Picture;
    let mut said = preview(Canvas::Native);
    if let ClientMessage::Preview { preview, .. } = &mut said {
        preview.vae.clone_from(&with_said.vae);
        preview.said = with_said.recipe.said();
        preview.guidance_rescale = Some(GuidanceRescale::constant(0.7));
    }
    vec![
        (
            "hello",
            ClientMessage::Hello {
                protocol: 1,
                app: "Mimeo 0.1.0".to_owned(),
                token: "secret".to_owned(),
            },
        ),
        (
            "submit",
            ClientMessage::Submit {
                request,
                job: Box::new(job()),
            },
        ),
        (
            "submit_syntax",
            ClientMessage::Submit {
                request,
                job: Box::new(with_syntax),
            },
        ),
        (
            "submit_budget",
            ClientMessage::Submit {
                request,
                job: Box::new(with_budget),
            },
        ),
        (
            "submit_resolution",
            ClientMessage::Submit {
                request,
                job: Box::new(with_resolution),
            },
        ),
        (
            "submit_held_out",
            ClientMessage::Submit {
                request,
                job: Box::new(with_held_out),
            },
        ),
        (
            "submit_said",
            ClientMessage::Submit {
                request,
                job: Box::new(with_said),
            },
        ),
        (
            "submit_slider",
            ClientMessage::Submit {
                request,
                job: Box::new(of_prompts),
            },
        ),
        (
            "submit_watched",
            ClientMessage::Submit {
                request,
                job: Box::new(watched),
            },
        ),
        (
            "submit_held",
            ClientMessage::Submit {
                request,
                job: Box::new(held),
            },
        ),
        (
            "submit_as_used",
            ClientMessage::Submit {
                request,
                job: Box::new(as_used),
            },
        ),
        ("control_pause", control(JobControl::Pause)),
        ("control_resume", control(JobControl::Resume)),
        ("control_stop_and_keep", control(JobControl::StopAndKeep)),
        ("control_discard", control(JobControl::Discard)),
        ("control_save_now", control(JobControl::SaveNow)),
        ("control_preview_now", control(JobControl::PreviewNow)),
        ("control_retry", control(JobControl::Retry)),
        (
            "reorder",
            ClientMessage::Reorder {
                request,
                job: job_id,
                before,
            },
        ),
        (
            "delete",
            ClientMessage::Delete {
                request,
                job: job_id,
            },
        ),
        ("preview_native", preview(Canvas::Native)),
        ("preview_syntax", comfy),
        ("preview_said", said),
        ("preview_like", like(None)),
        (
            "preview_like_resolution",
            like(Some(Resolution::constant(768))),
        ),
        (
            "preview_inpaint",
            preview(Canvas::Inpaint {
                picture: blob(0xa),
                mask: blob(0xc),
            }),
        ),
        (
            "score",
            ClientMessage::Score {
                request,
                file: FileId(9),
            },
        ),
        (
            "plan",
            ClientMessage::Plan {
                request,
                job: Box::new(job()),
            },
        ),
        (
            "list_checkpoints",
            ClientMessage::ListCheckpoints { request },
        ),
        ("devices", ClientMessage::Devices { request }),
        (
            "rename_copier",
            ClientMessage::RenameCopier {
                request,
                copier: CopierId(3),
                name: name("bea"),
            },
        ),
        (
            "delete_copier",
            ClientMessage::DeleteCopier {
                request,
                copier: CopierId(3),
            },
        ),
        (
            "import_copier",
            ClientMessage::ImportCopier {
                request,
                lora: blob(0xe),
                name: name("anna"),
                kind: CopierKind::Style,
                base: BaseId::bundled(),
                vae: None,
            },
        ),
        (
            "reveal",
            ClientMessage::Reveal {
                request,
                file: FileId(9),
            },
        ),
        (
            "resync",
            ClientMessage::Resync {
                request,
                job: job_id,
                after: 17,
            },
        ),
    ]
}

fn rejections() -> Vec<(&'static str, Rejection)> {
    let message = "the queue is full.".to_owned();
    vec![
        (
            "rejected_version",
            Rejection::Version {
                client: "page".to_owned(),
                client_protocol: 2,
                server: "Mimeo 0.1.0".to_owned(),
                server_protocol: 1,
            },
        ),
        ("rejected_no_hello", Rejection::NoHello { secs: 5 }),
        ("rejected_token", Rejection::Token),
        (
            "rejected_undecodable",
            Rejection::Undecodable {
                what: "no".to_owned(),
            },
        ),
        (
            "rejected_too_large",
            Rejection::TooLarge { bytes: 9, limit: 8 },
        ),
        (
            "rejected_missing",
            Rejection::Missing {
                what: "job 7".to_owned(),
                remedy: "Reload.".to_owned(),
            },
        ),
        (
            "rejected_state",
            Rejection::State {
                message: message.clone(),
            },
        ),
        (
            "rejected_full",
            Rejection::Full {
                message: message.clone(),
            },
        ),
        (
            "rejected_memory",
            Rejection::Memory {
                message: message.clone(),
            },
        ),
        ("rejected_failed", Rejection::Failed { message }),
    ]
}

fn events() -> Vec<(&'static str, ServerMessage)> {
    let phase = Phase::Training;
    let state = |state| event(JobEventKind::State { state });
    vec![
        ("event_state_queued", state(JobState::Queued)),
        ("event_state_running", state(JobState::Running { phase })),
        (
            "event_state_paused",
            state(JobState::Paused {
                phase,
                reason: PauseReason::User,
            }),
        ),
        (
            "event_state_disk_full",
            state(JobState::Paused {
                phase,
                reason: PauseReason::DiskFull {
                    message: "full".to_owned(),
                },
            }),
        ),
        ("event_state_finished", state(JobState::Finished)),
        ("event_state_stopped", state(JobState::Stopped)),
        (
            "event_state_failed",
            state(JobState::Failed {
                message: "no".to_owned(),
            }),
        ),
        (
            "event_resumed",
            event(JobEventKind::Resumed { phase, step: 40 }),
        ),
        (
            "event_losses",
            event(JobEventKind::Losses {
                phase,
                points: vec![
                    LossPoint {
                        step: 41,
                        loss: 0.125,
                    },
                    LossPoint {
                        step: 42,
                        loss: 0.5,
                    },
                ],
            }),
        ),
        (
            "event_copy_fidelity",
            event(JobEventKind::CopyFidelity {
                step: 50,
                fidelity: 0.9,
            }),
        ),
        (
            "event_response",
            event(JobEventKind::Response {
                curve: ResponseCurve {
                    timesteps: vec![100, 900],
                    response: vec![0.75, 0.125],
                    window: TimestepRange::new(340, 1000).expect("a window"),
                },
            }),
        ),
        (
            "event_leak",
            event(JobEventKind::Leak {
                point: LeakPoint {
                    step: 50,
                    intended: 0.5,
                    unintended: 0.125,
                },
            }),
        ),
        (
            "event_preview",
            event(JobEventKind::Preview {
                phase,
                step: 50,
                strength: Strength::constant(-1.0),
                prompt: "a girl".to_owned(),
                seed: 1,
                picture: blob(0xd),
            }),
        ),
        ("event_file", event(JobEventKind::File { file: file() })),
        (
            "event_scores",
            event(JobEventKind::Scores { scores: scores() }),
        ),
        (
            "event_note",
            event(JobEventKind::Note {
                text: "No mask.".to_owned(),
            }),
        ),
    ]
}

fn server_messages() -> Vec<(&'static str, ServerMessage)> {
    let request = RequestId(5);
    let rejected = rejections().into_iter().map(|(name, reason)| {
        let request = Some(request);
        (name, ServerMessage::Rejected { request, reason })
    });
    let mut messages: Vec<_> = rejected.chain(events()).collect();
    messages.extend([
        (
            "welcome",
            ServerMessage::Welcome {
                protocol: 1,
                app: "Mimeo 0.1.0".to_owned(),
                snapshot: Snapshot {
                    jobs: vec![summary(JobState::Running {
                        phase: Phase::Training,
                    })],
                    queue: vec![JobId(8)],
                    copiers: vec![copier()],
                    device: device(),
                    checkpoints: vec![base()],
                    vaes: Vec::new(),
                    paces: vec![pace()],
                    unreadable: vec![],
                },
            },
        ),
        (
            "welcome_unreadable",
            ServerMessage::Welcome {
                protocol: 1,
                app: "Mimeo 0.1.0".to_owned(),
                snapshot: Snapshot {
                    jobs: vec![],
                    queue: vec![],
                    copiers: vec![],
                    device: device(),
                    checkpoints: vec![],
                    vaes: Vec::new(),
                    paces: vec![],
                    unreadable: vec![UnreadableJob {
                        id: JobId(3),
                        submitted_millis: Some(1_790_000_000_000),
                        message: "this run cannot be read.".to_owned(),
                    }],
                },
            },
        ),
        (
            "accepted",
            ServerMessage::Accepted {
                request,
                job: JobId(7),
            },
        ),
        ("done", ServerMessage::Done { request }),
        (
            "added",
            ServerMessage::Added {
                job: Box::new(summary(JobState::Queued)),
            },
        ),
        ("removed", ServerMessage::Removed { job: JobId(7) }),
        ("progress", ServerMessage::Progress(progress())),
        (
            "queue",
            ServerMessage::Queue {
                order: vec![JobId(8), JobId(7)],
            },
        ),
        (
            "copiers",
            ServerMessage::Copiers {
                copiers: vec![copier()],
            },
        ),
        (
            "preview",
            ServerMessage::Preview {
                request,
                picture: blob(0xd),
            },
        ),
        (
            "scored",
            ServerMessage::Scored {
                request,
                scores: scores(),
            },
        ),
        (
            "checkpoints",
            ServerMessage::Checkpoints {
                request,
                checkpoints: vec![base()],
                vaes: Vec::new(),
            },
        ),
        (
            "checkpoints_on_disk",
            ServerMessage::Checkpoints {
                request,
                checkpoints: vec![base_on_disk()],
                vaes: Vec::new(),
            },
        ),
        (
            "checkpoints_vaes",
            ServerMessage::Checkpoints {
                request,
                checkpoints: vec![BaseInfo {
                    needs_vae: true,
                    ..base_on_disk()
                }],
                vaes: vec![vae()],
            },
        ),
        (
            "devices",
            ServerMessage::Devices {
                request,
                devices: vec![device()],
            },
        ),
        (
            "plan",
            ServerMessage::Plan {
                request,
                plan: MemoryPlan {
                    weights_bytes: 1,
                    activations_bytes: 2,
                    optimizer_bytes: 3,
                    file_bytes: 5,
                    available_bytes: Some(4),
                    remedy: Some("Lower the batch size to 2.".to_owned()),
                    recompute: None,
                },
            },
        ),
        (
            "goodbye",
            ServerMessage::Goodbye {
                message: "bye.".to_owned(),
            },
        ),
    ]);
    messages
}

fn folder(side: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(side)
}

fn check<T>(side: &str, messages: Vec<(&'static str, T)>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let write = std::env::var_os("MIMEO_WRITE_GOLDEN").is_some();
    let mut names = Vec::new();
    for (name, message) in messages {
        let path = folder(side).join(format!("{name}.msgpack"));
        let bytes = encode(&message);
        if write {
            std::fs::write(&path, &bytes).expect("the golden folder can be written");
        }
        let golden = std::fs::read(&path).unwrap_or_default();
        assert_eq!(
            bytes, golden,
            "{side}/{name}: the bytes are not those of PROTOCOL_VERSION {PROTOCOL_VERSION}"
        );
        let back: T = decode(&golden, MAX_SERVER_FRAME).expect("what was written can be read");
        assert_eq!(back, message, "{side}/{name} changed on its way");
        names.push(format!("{name}.msgpack"));
    }
    names.sort();
    let files = std::fs::read_dir(folder(side)).expect("the golden folder");
    let mut files: Vec<String> = files
        .map(|file| {
            file.expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    files.sort();
    assert_eq!(files, names, "{side}: a file without a message");
}

/// Which variants a message and all that is in it has: read from the bytes, so that a new variant
/// without a golden message fails [`every_variant_has_a_golden_message`].
fn variants<T: Serialize>(messages: &[(&'static str, T)]) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for (_, message) in messages {
        let json = serde_json::to_value(message).expect("plain data");
        let variant = match &json {
            serde_json::Value::Object(map) => map.keys().next().cloned(),
            serde_json::Value::String(name) => Some(name.clone()),
            _ => None,
        };
        *seen.entry(variant.unwrap_or_default()).or_insert(0) += 1;
    }
    seen
}

#[test]
fn client_messages_keep_their_bytes() {
    check("client", client_messages());
}

#[test]
fn server_messages_keep_their_bytes() {
    check("server", server_messages());
}

/// Serde tells every name it would have accepted, so the list of variants cannot be forgotten.
fn names_that_serde_knows<T: DeserializeOwned + Debug>() -> Vec<String> {
    let unknown = serde_json::from_str::<T>(r#"{"no such variant": {}}"#);
    let text = unknown.expect_err("there is no such variant").to_string();
    let (_, names) = text.split_once("expected").expect("serde lists them");
    let names = names.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_variant_has_a_golden_message() {
    let names = |seen: BTreeMap<String, usize>| seen.into_keys().collect::<Vec<_>>();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(
        names(variants(&client_messages())),
        sorted(names_that_serde_knows::<ClientMessage>()),
        "client messages"
    );
    assert_eq!(
        names(variants(&server_messages())),
        sorted(names_that_serde_knows::<ServerMessage>()),
        "server messages"
    );
    assert_eq!(
        names(variants(&rejections())),
        sorted(names_that_serde_knows::<Rejection>()),
        "rejections"
    );
    let kinds: Vec<_> = events()
        .into_iter()
        .filter_map(|(name, message)| match message {
            ServerMessage::Event(event) => Some((name, event.kind)),
            _ => None,
        })
        .collect();
    assert_eq!(
        names(variants(&kinds)),
        sorted(names_that_serde_knows::<JobEventKind>()),
        "events"
    );
}

#[test]
fn a_picture_of_the_base_alone_needs_no_loras_and_no_negative_prompt() {
    let json = serde_json::json!({
        "base": "bundled", "canvas": "native", "prompt": "a girl", "seed": 1
    });
    let request: PreviewRequest = serde_json::from_value(json).expect("they have defaults");
    assert!(request.loras.is_empty(), "{request:?}");
    assert!(request.negative_prompt.is_empty(), "{request:?}");
}

#[test]
fn a_field_that_a_newer_program_adds_is_ignored() {
    let mut json = serde_json::to_value(ClientMessage::Devices {
        request: RequestId(1),
    })
    .expect("plain data");
    json["devices"]["colour"] = "blue".into();
    let frame = encode(&json);
    let back: ClientMessage = decode(&frame, MAX_CLIENT_FRAME).expect("an additive change");
    assert_eq!(back.request(), Some(RequestId(1)), "the rest is understood");
}

#[test]
fn half_a_frame_garbage_and_a_tail_are_refused() {
    let whole = encode(&client_messages()[1].1);
    for length in 0..whole.len() {
        let half = decode::<ClientMessage>(&whole[..length], MAX_CLIENT_FRAME);
        assert!(half.is_err(), "{length} of {} bytes", whole.len());
    }
    let tail = [whole.as_slice(), &[0xc0]].concat();
    assert!(
        decode::<ClientMessage>(&tail, MAX_CLIENT_FRAME).is_err(),
        "a message and more"
    );
    let large = decode::<ClientMessage>(&vec![0; MAX_CLIENT_FRAME + 1], MAX_CLIENT_FRAME);
    assert!(
        matches!(large, Err(DecodeError::TooLarge { .. })),
        "{large:?}"
    );
    // An array of 4 G elements that are not there must not be allocated.
    let bomb = decode::<ClientMessage>(&[0xdd, 0xff, 0xff, 0xff, 0xff], MAX_CLIENT_FRAME);
    assert!(bomb.is_err(), "{bomb:?}");
}
