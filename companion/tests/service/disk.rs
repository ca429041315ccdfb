//! A full disk, and a damaged database.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mimeo_protocol::{JobEventKind, JobState, PauseReason, ServerMessage, Steps};

use crate::client::portrait;
use crate::companion::{Companion, command, put_micro, spawn};

#[tokio::test]
async fn a_full_disk_pauses_the_job_and_room_lets_it_go_on() {
    // A disk of its own, in a namespace of its own: no rights are needed where the kernel allows.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let serve = command(&data, &["--save-every".to_owned(), "0".to_owned()]);
    let mut small_disk = Command::new("unshare");
    small_disk.args(["--map-root-user", "--mount", "sh", "-c"]);
    small_disk.arg(r#"mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@""#);
    small_disk
        .arg(&data)
        .arg(serve.get_program())
        .args(serve.get_args());
    let possible = Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("SKIPPED: this system gives no disk of its own to a test");
        return;
    }
    let (process, address) = spawn(&mut small_disk);
    let inside = PathBuf::from(format!("/proc/{}/root", process.id()));
    let companion = Companion::adopt(process, address, &data);
    let mut client = companion.client().await;
    let mut job = client.bundled_job("full").await;
    job.recipe.pass.steps = Steps::constant(60);
    let undisturbed = client.submit(job.clone()).await;
    client.until_over(undisturbed).await;

    let id = client.submit(job).await;
    client
        .until(id, |kind| matches!(kind, JobEventKind::Losses { .. }))
        .await;
    let filler = inside.join(data.strip_prefix("/").unwrap()).join("filler");
    let filled = std::fs::write(&filler, vec![1; 32 << 20]);
    assert!(filled.is_err(), "the disk is full now");
    let paused = client
        .until(id, |kind| {
            matches!(
                kind,
                JobEventKind::State {
                    state: JobState::Paused { .. }
                }
            )
        })
        .await;
    let JobEventKind::State {
        state:
            JobState::Paused {
                reason: PauseReason::DiskFull { message },
                ..
            },
    } = paused
    else {
        panic!("paused by the disk: {paused:?}");
    };
    assert!(message.contains("Free some space"), "what to do: {message}");
    for time in ["at once", "and again"] {
        let refused = client.try_draw(portrait()).await;
        let ServerMessage::Rejected { reason, .. } = refused else {
            panic!("no room for a picture either, {time}: {refused:?}");
        };
        assert!(reason.to_string().contains("Free some space"), "{reason}");
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(client.until_over(id).await, JobState::Finished, "by itself");
    assert!(
        client.lora(id).await == client.lora(undisturbed).await,
        "the same file as on a disk with room"
    );
}

#[tokio::test]
async fn a_damaged_database_is_told_and_results_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    put_micro(&data);
    let result = {
        let mut companion = Companion::on(&data, "");
        let mut client = companion.client().await;
        let job = client.quick_job("kept").await;
        let id = client.submit(job).await;
        client.until_over(id).await;
        companion.interrupt();
        data.join(format!("results/{id}/kept.safetensors"))
    };
    let kept = std::fs::read(&result).unwrap();
    let database = data.join("mimeo.db");
    let sound = std::fs::read(&database).unwrap();
    let mut holes = sound.clone();
    // The second page and the last third: somewhere in the tables.
    holes[4096..8192].fill(0xa5);
    let third = holes.len() / 3;
    let length = holes.len();
    holes[length - third..].fill(0x5a);
    for damaged in [b"this is no database, but text".to_vec(), holes] {
        std::fs::write(&database, &damaged).unwrap();
        let ran = command(&data, &[]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success(), "it does not start");
        let sentence = said.lines().find(|line| line.starts_with("error:"));
        let sentence = sentence.unwrap_or_else(|| panic!("one sentence: {said}"));
        assert!(
            sentence.contains("damaged") && sentence.contains("mimeo.db"),
            "what and where: {sentence}"
        );
        assert_eq!(
            std::fs::read(&database).unwrap(),
            damaged,
            "nothing was mended or emptied"
        );
        assert_eq!(
            std::fs::read(&result).unwrap(),
            kept,
            "the result is untouched"
        );
    }
    std::fs::write(&database, sound).unwrap();
    Companion::on(&data, "").client().await;
}

#[tokio::test]
async fn a_database_of_a_newer_mimeo_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    Companion::on(&data, "").interrupt();
    let database = format!("sqlite:{}", data.join("mimeo.db").display());
    let pool = sqlx::SqlitePool::connect(&database).await.unwrap();
    sqlx::query(
        "INSERT INTO mimeo_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, X'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let ran = command(&data, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success(), "it does not start");
    assert!(
        said.contains("newer Mimeo") && said.contains("Update"),
        "{said}"
    );
}

#[test]
fn one_data_folder_one_companion() {
    let folder = tempfile::tempdir().unwrap();
    let companion = Companion::on(&folder.path().join("data"), "");
    let second = command(companion.data(), &[]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("another Mimeo uses this data folder"),
        "{said}"
    );
}

#[test]
fn a_taken_port_is_told_with_who_has_it() {
    let companion = Companion::start("");
    let folder = tempfile::tempdir().unwrap();
    let serve = |port: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args(["serve", "--no-open", "--port", port, "--data"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "port {port}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    let said = serve(companion.address.rsplit(':').next().unwrap());
    assert!(
        said.contains("Mimeo 0.1.0 is running at this port"),
        "{said}"
    );
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = serve(&other.local_addr().unwrap().port().to_string());
    assert!(said.contains("is taken"), "{said}");
    if cfg!(target_os = "linux") {
        let id = std::process::id().to_string();
        assert!(
            said.contains(&format!("(process {id})")),
            "by this test: {said}"
        );
    }
}
