//! `kill -9` at any moment: nothing that was finished is lost, and the running job goes on from its
//! saved state to the same file, bit for bit.
//!
//! `MIMEO_KILLS` sets how often; `cargo xtask soak` sets it high.

use std::time::{Duration, Instant};

use mimeo_protocol::{CopierChoice, JobControl, JobId, JobState, Phase, Steps, TrainJob};
use rand::{RngExt as _, SeedableRng as _};

use crate::client::{Client, assert_gapless};
use crate::companion::Companion;

/// A short job that goes through this phase, and as few others that take their time.
async fn job(client: &Client, phase: Phase) -> TrainJob {
    let mut job = match phase {
        Phase::Calibrating | Phase::Scoring => client.quick_job("killed").await,
        _ => client.quick_copier_job("killed").await,
    };
    // Measuring the copier takes longer than all steps together.
    job.recipe.copier.check_every = Steps::constant(6);
    job.recipe.calibrate = phase == Phase::Calibrating;
    job.scores = phase == Phase::Scoring;
    // One that is there already would leave out the first pass.
    job.copier = CopierChoice::New;
    job
}

/// What an undisturbed companion makes of a job: LoRA, and copier if it trains one.
async fn undisturbed(phase: Phase) -> Vec<Vec<u8>> {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = job(&client, phase).await;
    let id = client.submit(job).await;
    let state = client.until_over(id).await;
    assert_eq!(state, JobState::Finished, "undisturbed");
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
    // Before a client is connected: one that hears nothing for so long is let go.
    let unmeasured = undisturbed(Phase::Training).await;
    let calibrated = undisturbed(Phase::Calibrating).await;
    let scored = undisturbed(Phase::Scoring).await;
    let mut companion = Companion::start("--save-every 0");
    let mut client = companion.client().await;
    let mut finished = Vec::new();
    // Only a browser's GPU compiles in a phase of its own.
    for phase in Phase::ALL
        .into_iter()
        .filter(|phase| *phase != Phase::Compiling)
    {
        let expected = match phase {
            Phase::Calibrating => calibrated.clone(),
            Phase::Scoring => scored.clone(),
            _ => unmeasured.clone(),
        };
        let job = job(&client, phase).await;
        let id = client.submit(job).await;
        client.until_phase(id, phase).await;
        companion.kill_and_restart();
        client = companion.follower(id).await;
        assert_eq!(client.until_over(id).await, JobState::Finished, "{phase:?}");
        assert_gapless(&client.events, id, 1);
        assert!(
            files(&client, id).await == expected,
            "another file after a kill in {phase:?}"
        );
        finished.push((id, expected));
    }
    for (id, expected) in finished {
        client.catch_up(id).await;
        assert!(
            files(&client, id).await == expected,
            "job {id} was finished and is there"
        );
    }
}

#[tokio::test]
async fn a_job_that_always_takes_the_companion_down_fails_at_last() {
    let mut companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.long_job("deadly").await;
    let id = client.submit(job).await;
    for life in 1..=3 {
        client.until_phase(id, Phase::Training).await;
        companion.kill_and_restart();
        client = companion.client().await;
        if life < 3 {
            // Its events of this life may have come before the client did.
            while !matches!(phase(&companion, id).await, Some(Phase::Training)) {}
            client.catch_up(id).await;
        }
    }
    let state = client.snapshot.jobs[0].state.clone();
    let JobState::Failed { message } = state else {
        panic!("not once more: {state:?}");
    };
    assert!(
        message.contains("smaller batch size"),
        "what to do: {message}"
    );
}

/// The phase that a job is in now.
async fn phase(companion: &Companion, id: JobId) -> Option<Phase> {
    let client = companion.client().await;
    let job = client.snapshot.jobs.iter().find(|job| job.id == id)?;
    match job.state {
        JobState::Running { phase } => Some(phase),
        _ => None,
    }
}

#[tokio::test]
async fn a_job_survives_kills_at_random_moments() {
    let kills: u32 = std::env::var("MIMEO_KILLS").map_or(20, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("MIMEO_SEED").map_or(1, |text| text.parse().unwrap());
    let since = Instant::now();
    let expected = undisturbed(Phase::Training).await;
    // On a slow machine everything takes longer, and the moments are to lie within the job.
    let longest = since.elapsed().as_millis() as u64;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut companion = Companion::start("--save-every 0");
    let (mut killed, mut rounds) = (0, 0);
    while killed < kills {
        rounds += 1;
        let mut client = companion.client().await;
        let job = job(&client, Phase::Training).await;
        let id = client.submit(job).await;
        let state = loop {
            let wait = Duration::from_millis(rng.random_range(1..longest));
            match tokio::time::timeout(wait, client.until_over(id)).await {
                Ok(JobState::Failed { message }) if message.contains("ended 3 times") => {
                    // Killed three times before its first saved step: its user insists.
                    client.events.clear();
                    client.control(id, JobControl::Retry).await;
                }
                Ok(state) => break state,
                Err(_running) => {
                    companion.kill_and_restart();
                    killed += 1;
                    client = companion.follower(id).await;
                }
            }
        };
        client.catch_up(id).await;
        assert_gapless(&client.events, id, 1);
        assert_eq!(state, JobState::Finished, "after {killed} kills");
        let files = files(&client, id).await;
        let sizes = |files: &[Vec<u8>]| files.iter().map(Vec::len).collect::<Vec<_>>();
        assert!(
            files == expected,
            "other files after {killed} kills (seed {seed}), of {:?} bytes instead of {:?}",
            sizes(&files),
            sizes(&expected)
        );
    }
    println!("{killed} kills over {rounds} jobs, each the same file (seed {seed})");
}
