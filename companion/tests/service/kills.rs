//! `kill -9` at any moment: nothing that was finished is lost, and the running job goes on from its
//! saved state to the same file, bit for bit.
//!
//! `MIMEO_KILLS` sets how often; `cargo xtask soak` sets it high.

use std::time::Duration;

use mimeo_protocol::{CopierChoice, JobEventKind, JobId, JobState, Phase, Steps, TrainJob};
use rand::{RngExt as _, SeedableRng as _};

use crate::client::{Client, assert_gapless};
use crate::companion::Companion;

/// Every phase that the bundled base goes through.
async fn job(client: &Client) -> TrainJob {
    let mut job = client.quick_copier_job("killed").await;
    job.recipe.copier.pass.steps = Steps::constant(10);
    job.recipe.pass.steps = Steps::constant(12);
    job.recipe.calibrate = true;
    job.scores = true;
    // One that is there already would leave out the first pass.
    job.copier = CopierChoice::New;
    job
}

/// What an undisturbed companion makes of the job: LoRA and copier.
async fn undisturbed() -> Vec<Vec<u8>> {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = job(&client).await;
    let id = client.submit(job).await;
    assert_eq!(client.until_over(id).await, JobState::Finished);
    files(&client, id).await
}

async fn files(client: &Client, id: JobId) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for file in client.files(id) {
        files.push(client.download(&file).await);
    }
    files
}

#[tokio::test]
async fn a_job_survives_kill_in_every_phase() {
    let expected = undisturbed().await;
    let mut companion = Companion::start("--save-every 0");
    let mut client = companion.client().await;
    let job = job(&client).await;
    let mut finished = Vec::new();
    for phase in Phase::ALL {
        let id = client.submit(job.clone()).await;
        client.until_phase(id, phase).await;
        companion.kill_and_restart();
        client = companion.follower(id).await;
        assert_eq!(client.until_over(id).await, JobState::Finished, "{phase:?}");
        assert_gapless(&client.events, id, 1);
        assert!(
            files(&client, id).await == expected,
            "another file after a kill in {phase:?}"
        );
        finished.push(id);
    }
    for id in finished {
        client.catch_up(id).await;
        assert!(files(&client, id).await == expected, "job {id} was finished and is there");
    }
}

#[tokio::test]
async fn a_job_survives_kills_at_random_moments() {
    let kills: u32 = std::env::var("MIMEO_KILLS").map_or(20, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("MIMEO_SEED").map_or(1, |text| text.parse().unwrap());
    let expected = undisturbed().await;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut companion = Companion::start("--save-every 0");
    let mut killed = 0;
    let mut rounds = 0;
    while killed < kills {
        rounds += 1;
        let mut client = companion.client().await;
        let job = job(&client).await;
        let id = client.submit(job).await;
        loop {
            let wait = Duration::from_millis(rng.random_range(1..1500));
            let over = tokio::time::timeout(wait, client.until_over(id)).await;
            if over.is_ok() {
                break;
            }
            companion.kill_and_restart();
            killed += 1;
            client = companion.follower(id).await;
        }
        assert_gapless(&client.events, id, 1);
        let last = client.events.last().map(|event| event.kind.clone());
        let finished = JobEventKind::State {
            state: JobState::Finished,
        };
        assert_eq!(last, Some(finished), "after {killed} kills");
        assert!(
            files(&client, id).await == expected,
            "another file after {killed} kills (seed {seed})"
        );
    }
    println!("{killed} kills over {rounds} jobs, each the same file (seed {seed})");
}
