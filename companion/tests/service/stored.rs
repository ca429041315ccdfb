//! What older versions stored opens in this one: `tests/stored`.
//!
//! A folder there is named for the newest format in it and is never written again. When a format is
//! raised, its first folder is made by `MIMEO_WRITE_STORED=1` with these tests before anything else
//! changes.

use std::fs;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::metadata::RECIPE;
use mimeo_checkpoint::{LoraFile, LoraModule, MemoryFile};
use mimeo_protocol::{
    Alpha, ClientMessage, FileKind, JobControl, JobEvent, JobEventKind, JobId, JobState,
    JobSummary, PauseReason, Phase, PreviewPlan, Rank, Recipe, ServerMessage, Steps, Strength,
    TrainJob, codec,
};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::client::{Client, assert_gapless, previews};
use crate::companion::Companion;

/// Jobs by name, in the order of their numbers.
const NAMES: [&str; 8] = [
    "finished",
    "addift",
    "stopped",
    "discarded",
    "failed",
    "paused",
    "waiting",
    "first",
];

/// Of the stored folder: with it the paused job went on, where it was stored.
const EXPECTED: &str = "expected.safetensors";

/// Largest distance from the file that the storing machine made of the paused job, as a share of its
/// largest number: other processors add in another order, and half precision is coarse. On the
/// storing machine itself there is none.
const TOLERANCE: f32 = 2e-2;

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stored/format-1/companion")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (
            entry.as_ref().unwrap(),
            to.join(entry.as_ref().unwrap().file_name()),
        );
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A data folder as it was stored: killed while "paused" was paused, or in it.
fn data(moment: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&stored().join("paused"), folder.path());
    copy(&stored().join(moment), folder.path());
    folder
}

fn is_paused(kind: &JobEventKind) -> bool {
    let paused = |state: &JobState| {
        let by_user = PauseReason::User;
        matches!(state, JobState::Paused { reason, .. } if *reason == by_user)
    };
    matches!(kind, JobEventKind::State { state } if paused(state))
}

fn job_named<'a>(jobs: &'a [JobSummary], name: &str) -> &'a JobSummary {
    let mut found = jobs.iter().filter(|job| job.job.name.as_str() == name);
    found
        .next()
        .unwrap_or_else(|| panic!("{name:?} in {jobs:?}"))
}

async fn read(bytes: Vec<u8>) -> LoraFile {
    LoraFile::read(Box::new(MemoryFile::new("stored", bytes)))
        .await
        .unwrap()
}

/// Largest distance between the numbers of two files, as a share of the largest number.
fn distance(found: &LoraFile, expected: &LoraFile) -> f32 {
    let names = |file: &LoraFile| file.modules.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "the same modules");
    let numbers = |file: &LoraFile| {
        let of = |module: &LoraModule| [module.down.data.clone(), module.up.data.clone()].concat();
        file.modules.values().flat_map(of).collect::<Vec<f32>>()
    };
    let (found, expected) = (numbers(found), numbers(expected));
    let largest = expected
        .iter()
        .fold(0_f32, |most, number| most.max(number.abs()));
    let distances = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    distances.fold(0_f32, f32::max) / largest
}

/// Follows "paused" until it is finished, and compares its LoRA with that of the storing machine.
async fn assert_goes_on(client: &mut Client, id: JobId, moment: &str) {
    assert_eq!(client.until_over(id).await, JobState::Finished, "{moment}");
    client.catch_up(id).await;
    assert_gapless(&client.events, id, 1);
    let resumed = |kind: &JobEventKind| matches!(kind, JobEventKind::Resumed { .. });
    let events = client.events.iter().filter(|event| event.job == id);
    let resumed = events.filter(|event| resumed(&event.kind)).count();
    assert!(resumed > 0, "{moment}: from its saved state and not anew");
    let lora = client.lora(id).await;
    let expected = fs::read(stored().join(EXPECTED)).unwrap();
    if lora == expected {
        println!("{moment}: the file of the storing machine, bit for bit");
    }
    let distance = distance(&read(lora).await, &read(expected).await);
    println!("{moment}: {distance:e} from the file of the storing machine");
    assert!(distance <= TOLERANCE, "{moment}: {distance:e}");
}

#[tokio::test]
async fn a_data_folder_of_format_1_opens_whole() {
    let folder = data("paused");
    let companion = Companion::on(folder.path(), "--save-every 0");
    let mut client = companion.client().await;
    let snapshot = client.snapshot.clone();
    let jobs = &snapshot.jobs;
    let mut by_id: Vec<_> = jobs
        .iter()
        .map(|job| (job.id, job.job.name.as_str()))
        .collect();
    by_id.sort();
    let names: Vec<&str> = by_id.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, NAMES, "every job, under its name");

    let files = |name| job_named(jobs, name).files.len();
    for (name, state, made) in [
        ("finished", JobState::Finished, 4),
        ("stopped", JobState::Stopped, 1),
        ("discarded", JobState::Stopped, 0),
        ("waiting", JobState::Queued, 0),
        ("first", JobState::Queued, 0),
        ("addift", JobState::Finished, 1),
    ] {
        assert_eq!(job_named(jobs, name).state, state, "{name}");
        assert_eq!(files(name), made, "files of {name}");
    }
    let failed = &job_named(jobs, "failed").state;
    let JobState::Failed { message } = failed else {
        panic!("failed: {failed:?}");
    };
    assert!(
        message.contains("cannot be read"),
        "its picture is gone: {message}"
    );
    let scores = job_named(jobs, "finished").scores.as_ref();
    assert!(
        scores.is_some_and(|scores| scores.held_out.pictures == 8),
        "{scores:?}"
    );
    let waiting = ["first", "waiting"].map(|name| job_named(jobs, name).id);
    let order: Vec<_> = snapshot
        .queue
        .iter()
        .filter(|id| waiting.contains(id))
        .collect();
    assert_eq!(
        order,
        waiting.iter().collect::<Vec<_>>(),
        "as they were moved"
    );
    let [copier] = &snapshot.copiers[..] else {
        panic!("one copier: {:?}", snapshot.copiers);
    };
    assert_eq!(copier.name.as_str(), "finished", "of the first job");
    client.download(&copier.file).await;

    // The events, previews and files of the first, and of each LoRA the recipe that made it.
    let finished = job_named(jobs, "finished").id;
    client.catch_up(finished).await;
    assert_gapless(&client.events, finished, 1);
    let pictures: Vec<_> = client
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            JobEventKind::Preview { picture, .. } => Some(*picture),
            _ => None,
        })
        .collect();
    assert_eq!(pictures.len(), 3, "drawn at three moments");
    for picture in pictures {
        let answer = client.get(&format!("/blobs/{picture}")).await;
        assert_eq!(answer.status, 200, "{picture}");
    }
    for name in ["finished", "stopped", "addift"] {
        let summary = job_named(jobs, name);
        let loras = summary
            .files
            .iter()
            .filter(|file| file.kind == FileKind::Lora);
        for file in loras {
            let lora = read(client.download(file).await).await;
            let recipe: Recipe = serde_json::from_str(&lora.metadata[RECIPE]).unwrap();
            assert_eq!(recipe, summary.job.recipe, "in the LoRA of {name}");
        }
    }

    let paused = job_named(jobs, "paused").id;
    client.catch_up(paused).await;
    let mut follower = companion.client().await;
    // It may wait for the user already, from before the kill or from after it.
    while !matches!(
        job_named(&follower.snapshot.jobs, "paused").state,
        JobState::Paused { .. }
    ) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        follower = companion.client().await;
    }
    follower.control(paused, JobControl::Resume).await;
    assert_goes_on(&mut follower, paused, "paused").await;
}

#[tokio::test]
async fn a_job_of_format_1_that_was_running_goes_on() {
    let folder = data("running");
    let companion = Companion::on(folder.path(), "--save-every 0");
    let mut client = companion.client().await;
    let id = job_named(&client.snapshot.jobs, "paused").id;
    assert_goes_on(&mut client, id, "running").await;
    let waiting = ["first", "waiting"];
    for name in waiting {
        let id = job_named(&client.snapshot.jobs, name).id;
        assert_eq!(client.until_over(id).await, JobState::Finished, "{name}");
    }
}

/// Changes a column of a job's row; the companion is not running.
async fn tamper(data: &Path, statement: &'static str, value: Vec<u8>, name: &str) {
    let mut connection = open(data).await;
    let changed = sqlx::query(statement)
        .bind(value)
        .bind(id_of(name).0 as i64);
    let changed = changed.execute(&mut connection).await.unwrap();
    assert!(changed.rows_affected() > 0, "there is something of {name}");
    connection.close().await.unwrap();
}

/// The number that a job has in the stored folder.
fn id_of(name: &str) -> JobId {
    let place = NAMES.iter().position(|known| *known == name).unwrap();
    JobId(place as u64 + 1)
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_one_job_in_the_list_and_harms_no_other() {
    let folder = data("paused");
    let job = "UPDATE train_jobs SET job = ?1 WHERE id = ?2";
    let stored: Vec<u8> = {
        let mut connection = open(folder.path()).await;
        let bytes = sqlx::query_scalar("SELECT job FROM train_jobs WHERE id = ?1");
        let bytes = bytes.bind(id_of("paused").0 as i64);
        bytes.fetch_one(&mut connection).await.unwrap()
    };
    let mut newer: serde_json::Value = codec::decode(&stored, stored.len()).unwrap();
    newer["recipe"]["format"] = 2.into();
    for (statement, value, name) in [
        (job, b"no job".to_vec(), "stopped"),
        (job, codec::encode(&newer), "paused"),
        (
            "UPDATE train_jobs SET state = ?1 WHERE id = ?2",
            vec![0xc1],
            "waiting",
        ),
        (
            "UPDATE files SET kind = ?1 WHERE job = ?2",
            vec![0xc1],
            "addift",
        ),
        (
            "UPDATE events SET kind = ?1 WHERE job = ?2 AND seq = 3",
            vec![0xc1],
            "finished",
        ),
    ] {
        tamper(folder.path(), statement, value, name).await;
    }
    let mut companion = Companion::on(folder.path(), "");
    let mut client = companion.client().await;
    let listed = |client: &Client| {
        let unreadable = client.snapshot.unreadable.iter();
        unreadable.map(|job| job.id).collect::<Vec<_>>()
    };
    let unreadable = ["waiting", "paused", "stopped", "addift"].map(id_of);
    assert_eq!(listed(&client), unreadable, "the newest first");
    assert_eq!(
        client.snapshot.jobs.len(),
        NAMES.len() - 4,
        "and the others"
    );
    let sentence = client.snapshot.unreadable[1].message.clone();
    for part in [
        "this run cannot be read (the recipe has format 2 of a newer Mimeo",
        "update Mimeo",
        "in the folder results/6 of the companion's data",
    ] {
        assert!(sentence.contains(part), "{part:?} in: {sentence}");
    }
    assert!(
        client.snapshot.unreadable[0].submitted_millis.is_some(),
        "its age"
    );

    // What waits is done, and the log of the first has a note where an entry was.
    let first = id_of("first");
    assert_eq!(client.until_over(first).await, JobState::Finished);
    let finished = id_of("finished");
    client.catch_up(finished).await;
    assert_gapless(&client.events, finished, 1);
    let note = |event: &JobEvent| match &event.kind {
        JobEventKind::Note { text } => event.seq == 3 && text.contains("cannot be read"),
        _ => false,
    };
    assert!(
        client.events.iter().any(note),
        "in the place of the damaged one"
    );

    let paused = id_of("paused");
    let refused = client.control(paused, JobControl::Resume).await;
    let ServerMessage::Rejected { reason, .. } = refused else {
        panic!("it cannot be resumed: {refused:?}");
    };
    assert_eq!(reason.to_string(), sentence, "and is told why");
    for name in ["stopped", "waiting"] {
        let job = id_of(name);
        let done = client.ask(|request| ClientMessage::Delete { request, job });
        let done = done.await;
        assert!(
            matches!(done, ServerMessage::Done { .. }),
            "{name}: {done:?}"
        );
    }
    let lora = folder.path().join("results/3/stopped.safetensors");
    assert!(lora.is_file(), "what a deleted one made stays");

    companion.kill_and_restart();
    let client = companion.client().await;
    assert_eq!(
        listed(&client),
        [paused, id_of("addift")],
        "until they are deleted"
    );
    let state = folder.path().join(format!("states/{paused}.safetensors"));
    assert!(state.is_file(), "a newer Mimeo can go on with it");
}

/// The smallest LoRA that there is.
fn small(mut job: TrainJob) -> TrainJob {
    for pass in [&mut job.recipe.pass, &mut job.recipe.copier.pass] {
        pass.rank = Rank::constant(1);
        pass.alpha = Alpha::constant(1.0);
    }
    job
}

async fn open(data: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}", data.join("mimeo.db").display());
    SqliteConnection::connect(&url).await.unwrap()
}

/// Writes everything that is in the journal into the database, which then stands alone.
async fn settle(data: &Path) {
    let mut connection = open(data).await;
    for tidy in ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"] {
        sqlx::query(tidy).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Keeps these parts of a data folder, which nobody uses any more.
async fn keep(data: &Path, parts: &[&str], moment: &str) {
    settle(data).await;
    for part in parts {
        let (from, to) = (data.join(part), stored().join(moment).join(part));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_this_version_stores_is_written_if_asked_for() {
    if std::env::var_os("MIMEO_WRITE_STORED").is_none() {
        println!("SKIPPED: MIMEO_WRITE_STORED=1 writes tests/stored, for a new format only");
        return;
    }
    assert!(
        !stored().exists(),
        "what was stored once is not written again"
    );
    let folder = tempfile::tempdir().unwrap();
    let mut companion = Companion::on(folder.path(), "--save-every 0");
    let mut client = companion.client().await;

    let mut job = small(client.quick_copier_job("finished").await);
    job.scores = true;
    job.previews = Some(PreviewPlan {
        strengths: vec![Strength::constant(1.0)],
        ..previews()
    });
    let finished = client.submit(job.clone()).await;
    assert_eq!(client.until_over(finished).await, JobState::Finished);
    let addift = small(client.quick_job("addift").await);
    let addift = client.submit(addift).await;
    assert_eq!(client.until_over(addift).await, JobState::Finished);

    let long = |name: &str, job: TrainJob| TrainJob {
        name: name.parse().unwrap(),
        ..small(job)
    };
    let losses = |kind: &JobEventKind| matches!(kind, JobEventKind::Losses { .. });
    let endless = client.long_job("stopped").await;
    let stopped = client.submit(long("stopped", endless.clone())).await;
    client.until(stopped, losses).await;
    client.control(stopped, JobControl::StopAndKeep).await;
    client.until_over(stopped).await;

    let discarded = client.submit(long("discarded", endless)).await;
    let mut broken = small(client.quick_job("failed").await);
    let other = mimeo_base::pairs().iter().find(|pair| pair.edit == "smile");
    broken.examples[0].target = client.upload(other.unwrap().target_png).await;
    let gone = broken.examples[0].target.to_string();
    let failed = client.submit(broken).await;
    fs::remove_file(folder.path().join("blobs").join(&gone[..2]).join(&gone)).unwrap();
    client.until(discarded, losses).await;
    client.control(discarded, JobControl::Discard).await;
    client.until_over(discarded).await;
    let state = client.until_over(failed).await;
    assert!(matches!(state, JobState::Failed { .. }), "{state:?}");

    // On the finished copier of the first.
    let mut slow = job.clone();
    (slow.name, slow.previews, slow.scores) = ("paused".parse().unwrap(), None, false);
    slow.recipe.pass.steps = Steps::constant(60);
    let paused = client.submit(slow).await;
    client.until_phase(paused, Phase::Training).await;
    client.until(paused, losses).await;
    client.control(paused, JobControl::Pause).await;
    client.until(paused, is_paused).await;
    let waiting = small(client.quick_job("waiting").await);
    let waiting = client.submit(waiting).await;
    let first = small(client.quick_job("first").await);
    let first = client.submit(first).await;
    let to_the_front = |request| ClientMessage::Reorder {
        request,
        job: first,
        before: Some(waiting),
    };
    let moved = client.ask(to_the_front).await;
    assert!(matches!(moved, ServerMessage::Done { .. }), "{moved:?}");
    companion.kill();
    // `blobs` also has the pictures that the jobs name, `results` what they made.
    let all = ["mimeo.db", "blobs", "copiers", "results", "states"];
    keep(folder.path(), &all, "paused").await;

    companion.restart();
    client = companion.follower(paused).await;
    while !matches!(
        job_named(&client.snapshot.jobs, "paused").state,
        JobState::Paused { .. }
    ) {
        client = companion.follower(paused).await;
    }
    client.control(paused, JobControl::Resume).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    companion.kill();
    let state = format!("states/{paused}.safetensors");
    keep(folder.path(), &["mimeo.db", &state], "running").await;

    companion.restart();
    client = companion.follower(paused).await;
    assert_eq!(client.until_over(paused).await, JobState::Finished);
    client.catch_up(paused).await;
    fs::write(stored().join(EXPECTED), client.lora(paused).await).unwrap();
}
