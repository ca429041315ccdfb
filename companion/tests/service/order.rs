//! The queue: many jobs, moved, discarded, and remembered.

use mimeo_protocol::{
    ClientMessage, JobControl, JobEventKind, JobId, JobState, Rejection, ServerMessage,
};

use crate::client::Client;
use crate::companion::Companion;

/// A client with one job that runs on and on, so that the others wait.
async fn busy(companion: &Companion) -> (Client, JobId) {
    let mut client = companion.client().await;
    let job = client.long_job("long").await;
    let long = client.submit(job).await;
    client
        .until(long, |kind| matches!(kind, JobEventKind::Losses { .. }))
        .await;
    (client, long)
}

async fn submit(client: &mut Client, count: usize) -> Vec<JobId> {
    let job = client.quick_job("waiting").await;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.submit(job.clone()).await);
    }
    ids
}

async fn order(companion: &Companion) -> Vec<JobId> {
    companion.client().await.snapshot.queue
}

#[tokio::test]
async fn waiting_jobs_are_done_in_the_order_that_the_user_wants() {
    let companion = Companion::start("");
    let (mut client, long) = busy(&companion).await;
    let ids = submit(&mut client, 4).await;
    assert_eq!(order(&companion).await, ids, "as submitted");
    for (job, before) in [(ids[3], Some(ids[0])), (ids[0], None)] {
        let moved = client
            .ask(|request| ClientMessage::Reorder {
                request,
                job,
                before,
            })
            .await;
        assert!(matches!(moved, ServerMessage::Done { .. }), "{moved:?}");
    }
    let expected = [ids[3], ids[1], ids[2], ids[0]];
    assert_eq!(order(&companion).await, expected, "as moved");
    let told = ServerMessage::Queue {
        order: expected.to_vec(),
    };
    while !client.others.contains(&told) {
        client.next().await;
    }

    client.control(ids[2], JobControl::Discard).await;
    client.control(long, JobControl::Discard).await;
    let mut begun = Vec::new();
    for id in [ids[3], ids[1], ids[0]] {
        assert_eq!(client.until_over(id).await, JobState::Finished);
    }
    for event in &client.events {
        if let JobEventKind::State {
            state: JobState::Running { .. },
        } = event.kind
            && !begun.contains(&event.job)
        {
            begun.push(event.job);
        }
    }
    assert_eq!(
        begun,
        [long, ids[3], ids[1], ids[0]],
        "in that order, without the discarded one"
    );
}

#[tokio::test]
async fn two_hundred_jobs_wait_and_are_remembered() {
    let mut companion = Companion::start("");
    let (mut client, _) = busy(&companion).await;
    let mut ids = submit(&mut client, 200).await;
    assert_eq!(order(&companion).await, ids, "all wait");
    let more = submit(&mut client, 300).await;
    let one_more = client.quick_job("one too many").await;
    let refused = client.try_submit(one_more).await;
    assert!(
        matches!(
            refused,
            ServerMessage::Rejected {
                reason: Rejection::Full { .. },
                ..
            }
        ),
        "five hundred wait: {refused:?}"
    );
    for id in more {
        client.control(id, JobControl::Discard).await;
    }
    companion.kill_and_restart();
    // The running one went first, and is again the first of all.
    let mut client = companion.client().await;
    ids.insert(
        0,
        client.snapshot.queue.first().copied().unwrap_or(JobId(1)),
    );
    ids.dedup();
    let waiting: Vec<JobId> = order(&companion).await;
    assert!(
        ids.ends_with(&waiting) && waiting.len() >= 200,
        "{} wait",
        waiting.len()
    );
    for id in ids.iter().rev() {
        let answer = client.control(*id, JobControl::Discard).await;
        assert!(
            matches!(answer, ServerMessage::Done { .. }),
            "{id}: {answer:?}"
        );
    }
    client.control(JobId(1), JobControl::Discard).await;
    for id in ids {
        assert_eq!(client.until_over(id).await, JobState::Stopped, "job {id}");
    }
    assert_eq!(order(&companion).await, [], "none waits");
}

#[tokio::test]
async fn a_job_that_is_over_can_be_deleted_and_one_that_is_not_cannot() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.quick_job("deleted").await;
    let id = client.submit(job).await;
    client.until_over(id).await;
    let (mut busy, long) = busy(&companion).await;
    let delete = |job| move |request| ClientMessage::Delete { request, job };
    let refused = busy.ask(delete(long)).await;
    assert!(
        matches!(
            refused,
            ServerMessage::Rejected {
                reason: Rejection::State { .. },
                ..
            }
        ),
        "{refused:?}"
    );
    let deleted = client.ask(delete(id)).await;
    assert!(matches!(deleted, ServerMessage::Done { .. }), "{deleted:?}");
    while !busy.others.contains(&ServerMessage::Removed { job: id }) {
        busy.next().await;
    }
    assert!(
        !companion.data().join(format!("results/{id}")).exists(),
        "no files"
    );
    let again = companion.client().await;
    assert!(
        again.snapshot.jobs.iter().all(|job| job.id != id),
        "not listed"
    );
}
