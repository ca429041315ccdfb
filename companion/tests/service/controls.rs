//! Pause, resume, stop, discard, save, preview, retry, and the end of the service.

use std::time::Duration;

use mimeo_protocol::{
    FileKind, JobControl, JobEventKind, JobState, PauseReason, Phase, Rejection, ServerMessage,
    Steps,
};

use crate::client::{Client, assert_gapless};
use crate::companion::Companion;

fn is_done(answer: &ServerMessage) -> bool {
    matches!(answer, ServerMessage::Done { .. })
}

fn is_paused(kind: &JobEventKind) -> bool {
    matches!(
        kind,
        JobEventKind::State {
            state: JobState::Paused {
                reason: PauseReason::User,
                ..
            }
        }
    )
}

fn has_losses(kind: &JobEventKind) -> bool {
    matches!(kind, JobEventKind::Losses { .. })
}

fn last_step(client: &Client) -> u32 {
    let mut steps = client.events.iter().filter_map(|event| match &event.kind {
        JobEventKind::Losses { points, .. } => points.last().map(|point| point.step),
        _ => None,
    });
    steps.next_back().unwrap_or(0)
}

#[tokio::test]
async fn a_paused_job_waits_and_makes_the_same_file() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("paused").await;
    job.recipe.pass.steps = Steps::constant(30);
    let undisturbed = client.submit(job.clone()).await;
    client.until_over(undisturbed).await;

    let id = client.submit(job).await;
    client.until(id, has_losses).await;
    assert!(is_done(&client.control(id, JobControl::Pause).await));
    client.until(id, is_paused).await;
    let step = last_step(&client);
    // Nothing happens meanwhile.
    let silence = tokio::time::timeout(Duration::from_millis(700), client.next()).await;
    if let Ok(ServerMessage::Event(event)) = &silence {
        panic!("a paused job reports: {event:?}");
    }
    assert_eq!(last_step(&client), step, "no step while paused");
    assert!(is_done(&client.control(id, JobControl::Resume).await));
    assert_eq!(client.until_over(id).await, JobState::Finished);
    assert_gapless(&client.events, id, 1);
    assert!(
        client.lora(id).await == client.lora(undisturbed).await,
        "the pause changes no bit"
    );
}

#[tokio::test]
async fn stop_keeps_what_was_trained_and_retry_goes_on_from_there() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("stopped").await;
    job.recipe.pass.steps = Steps::constant(60);
    let whole = client.submit(job.clone()).await;
    client.until_over(whole).await;
    let whole = client.lora(whole).await;

    let id = client.submit(job).await;
    client.until(id, has_losses).await;
    assert!(is_done(&client.control(id, JobControl::StopAndKeep).await));
    assert_eq!(client.until_over(id).await, JobState::Stopped);
    assert!(client.lora(id).await != whole, "fewer steps");

    client.events.clear();
    assert!(is_done(&client.control(id, JobControl::Retry).await));
    assert_eq!(client.until_over(id).await, JobState::Finished);
    let resumed = client.events.iter().find_map(|event| match event.kind {
        JobEventKind::Resumed { step, .. } => Some(step),
        _ => None,
    });
    assert!(
        resumed.is_some_and(|step| step > 0),
        "not from the start: {resumed:?}"
    );
    assert!(
        client.lora(id).await == whole,
        "the same file as without the stop"
    );
}

#[tokio::test]
async fn discard_keeps_nothing() {
    let companion = Companion::start("--save-every 0");
    let mut client = companion.client().await;
    let job = client.long_job("discarded").await;
    let id = client.submit(job).await;
    client.until(id, has_losses).await;
    assert!(is_done(&client.control(id, JobControl::SaveNow).await));
    client
        .until(id, |kind| matches!(kind, JobEventKind::File { .. }))
        .await;
    assert!(is_done(&client.control(id, JobControl::Discard).await));
    assert_eq!(client.until_over(id).await, JobState::Stopped);
    let data = companion.data();
    assert!(!data.join(format!("results/{id}")).exists(), "no results");
    assert!(
        !data.join(format!("states/{id}.safetensors")).exists(),
        "no state"
    );
    let again = companion.client().await;
    assert_eq!(again.snapshot.jobs[0].files, [], "no files are listed");
}

#[tokio::test]
async fn save_and_preview_now() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.long_job("now").await;
    let id = client.submit(job).await;
    client.until(id, has_losses).await;
    assert!(is_done(&client.control(id, JobControl::SaveNow).await));
    let file = client
        .until(id, |kind| matches!(kind, JobEventKind::File { .. }))
        .await;
    let JobEventKind::File { file } = file else {
        panic!("a file");
    };
    assert!(
        matches!(file.kind, FileKind::Step { phase: Phase::Training, step } if step > 0),
        "{file:?}"
    );
    client.download(&file).await;
    assert!(is_done(&client.control(id, JobControl::PreviewNow).await));
    let preview = |kind: &JobEventKind| matches!(kind, JobEventKind::Preview { strength, .. } if strength.get() == 1.0);
    client.until(id, preview).await;
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_in_a_sentence() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.quick_job("over").await;
    let id = client.submit(job).await;
    client.until_over(id).await;
    let answer = client.control(id, JobControl::Pause).await;
    let ServerMessage::Rejected { reason, .. } = answer else {
        panic!("rejected: {answer:?}");
    };
    assert_eq!(
        reason.to_string(),
        "a job that is finished cannot be paused.",
        "in words"
    );
    let answer = client
        .control(mimeo_protocol::JobId(999), JobControl::Pause)
        .await;
    assert!(
        matches!(
            answer,
            ServerMessage::Rejected {
                reason: Rejection::Missing { .. },
                ..
            }
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_end_of_the_service_saves_the_running_job() {
    let mut companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("ended").await;
    job.recipe.pass.steps = Steps::constant(60);
    let whole = client.submit(job.clone()).await;
    client.until_over(whole).await;
    let whole = client.lora(whole).await;
    let id = client.submit(job).await;
    client.until(id, has_losses).await;
    let took = companion.interrupt();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    loop {
        // Everything that was sent, then the goodbye.
        if let ServerMessage::Goodbye { .. } = client.next().await {
            break;
        }
    }

    companion.restart();
    let mut client = companion.follower(id).await;
    client.until_over(id).await;
    let resumed = client.events.iter().find_map(|event| match event.kind {
        JobEventKind::Resumed { step, .. } => Some(step),
        _ => None,
    });
    assert!(
        resumed.is_some_and(|step| step > 0),
        "from its last step: {resumed:?}"
    );
    assert!(client.lora(id).await == whole, "the same file");
}

#[tokio::test]
async fn a_paused_job_comes_back_paused() {
    let mut companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("paused").await;
    job.recipe.pass.steps = Steps::constant(40);
    let id = client.submit(job).await;
    client.until(id, has_losses).await;
    client.control(id, JobControl::Pause).await;
    client.until(id, is_paused).await;
    // Once killed, once ended in good order.
    for is_killed in [true, false] {
        if is_killed {
            companion.kill();
        } else {
            companion.interrupt();
        }
        companion.restart();
        client = companion.client().await;
        let resumed = |kind: &JobEventKind| matches!(kind, JobEventKind::Resumed { .. });
        client.until(id, resumed).await;
        client.until(id, is_paused).await;
    }
    client.control(id, JobControl::Resume).await;
    assert_eq!(client.until_over(id).await, JobState::Finished);
}
