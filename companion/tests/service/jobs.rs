//! Whole jobs, seen by one client, by two, and by one that was away.

use std::process::Command;

use mimeo_protocol::{
    BaseId, ClientMessage, CopierKind, FileKind, JobEventKind, JobState, LoraRef, LossPoint, Phase,
    PreviewRequest, ServerMessage, Steps, Strength,
};

use crate::client::{Client, assert_gapless, blob_id, portrait, previews};
use crate::companion::Companion;

#[tokio::test]
async fn a_whole_job_with_previews_scores_and_files() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_copier_job("眼鏡").await;
    job.base = BaseId::bundled();
    job.scores = true;
    // By every picture that there is.
    job.recipe.score_budget = None;
    job.previews = Some(previews());
    let id = client.submit(job).await;
    assert_eq!(client.until_over(id).await, JobState::Finished);
    assert_gapless(&client.events, id, 1);

    let phases: Vec<Phase> = client
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            JobEventKind::State {
                state: JobState::Running { phase },
            } => Some(*phase),
            _ => None,
        })
        .collect();
    use Phase as P;
    let expected = [
        P::Loading,
        P::Encoding,
        P::Copier,
        P::Training,
        P::Scoring,
        P::Saving,
    ];
    assert_eq!(phases, expected, "in the order of a job's life");

    let mut steps = Vec::new();
    let mut previews = Vec::new();
    let mut scored = false;
    for event in &client.events {
        match &event.kind {
            JobEventKind::Losses { phase, points } => {
                assert!(points.iter().all(|LossPoint { loss, .. }| loss.is_finite()));
                steps.extend(points.iter().map(|point| (*phase, point.step)));
            }
            JobEventKind::Preview {
                phase,
                step,
                strength,
                picture,
                ..
            } => previews.push((*phase, *step, strength.get(), *picture)),
            JobEventKind::Scores { scores } => {
                scored = scores.copy_fidelity.is_some() && scores.held_out.pictures == 8;
            }
            _ => {}
        }
    }
    let passes = [P::Copier, P::Training].map(|phase| (1..=6).map(move |step| (phase, step)));
    let all: Vec<_> = passes.into_iter().flatten().collect();
    assert_eq!(steps, all, "the loss of every step, once");
    assert!(scored, "measured");

    // After steps 3 of both passes and of the finished LoRA, at three strengths each.
    let places: Vec<_> = previews
        .iter()
        .map(|(phase, step, ..)| (*phase, *step))
        .collect();
    let expected = [(P::Copier, 3), (P::Training, 3), (P::Saving, 6)];
    let expected: Vec<_> = expected.into_iter().flat_map(|place| [place; 3]).collect();
    assert_eq!(places, expected, "when");
    for three in previews.chunks(3) {
        let strengths: Vec<f64> = three.iter().map(|(_, _, strength, _)| *strength).collect();
        assert_eq!(strengths, [-1.0, 0.0, 1.0], "at which strengths");
        assert!(
            three[0].3 != three[1].3 && three[1].3 != three[2].3,
            "each is another picture"
        );
    }
    let picture = client.get(&format!("/blobs/{}", previews[0].3)).await;
    assert_eq!(picture.headers["content-type"], "image/png", "a preview");
    let picture = mimeo_image::decode(&picture.body).unwrap().picture;
    assert_eq!(
        (picture.width(), picture.height()),
        (128, 128),
        "of the job's size"
    );

    let kinds: Vec<_> = client
        .files(id)
        .iter()
        .map(|file| (file.kind, file.name.clone()))
        .collect();
    let step = |phase| FileKind::Step { phase, step: 3 };
    let expected = [
        (step(P::Copier), "眼鏡_copy-000003.safetensors"),
        (step(P::Training), "眼鏡-000003.safetensors"),
        (FileKind::Copier, "眼鏡_copy.safetensors"),
        (FileKind::Lora, "眼鏡.safetensors"),
    ];
    assert_eq!(
        kinds,
        expected.map(|(kind, name)| (kind, name.to_owned())),
        "files"
    );
    for file in client.files(id) {
        client.download(&file).await;
    }

    let again = companion.client().await;
    let [summary] = &again.snapshot.jobs[..] else {
        panic!("one job: {:?}", again.snapshot.jobs);
    };
    assert_eq!(summary.state, JobState::Finished, "remembered");
    assert_eq!(summary.files.len(), 4, "with its files");
    assert!(summary.scores.is_some(), "and scores");
    assert_eq!(
        summary.seq,
        client.events.last().unwrap().seq,
        "and the last number"
    );
}

#[tokio::test]
async fn the_command_line_makes_the_same_file_with_and_without_a_companion() {
    let companion = Companion::start("");
    let folder = tempfile::tempdir().unwrap();
    let pair = mimeo_base::pairs()
        .iter()
        .find(|pair| pair.edit == "glasses")
        .unwrap();
    for (name, bytes) in [("a.png", pair.original_png), ("b.png", pair.target_png)] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let train = |pictures: &str, more: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args("train --method addift --steps 5".split(' '))
            .args(pictures.split(' '))
            .args([
                "--no-score",
                "--no-calibrate",
                "--overwrite",
                "--json",
                "--out",
                "x.safetensors",
            ])
            .args(more)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let file = std::fs::read(folder.path().join("x.safetensors")).unwrap();
        (file, String::from_utf8(ran.stdout).unwrap())
    };
    let one = "--original a.png --target b.png";
    let (local, _) = train(one, &["--device", "cpu"]);
    let (remote, told) = train(one, &["--remote", &companion.ws()]);
    assert!(local == remote, "the same bytes");
    let steps = told
        .lines()
        .filter(|line| line.contains(r#""event":"step""#))
        .count();
    assert_eq!(steps, 5, "each step is told: {told}");

    std::fs::create_dir(folder.path().join("set")).unwrap();
    for (pair, name) in mimeo_base::pairs().iter().zip(["x", "y", "z"]) {
        let put = |what: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(format!("set/{name}_{what}")), bytes).unwrap();
        };
        put("a.png", pair.original_png);
        put("b.png", pair.target_png);
        put("mask.png", pair.mask_png);
        put("a.txt", pair.original_caption.as_bytes());
    }
    let (local, _) = train("--set set", &["--device", "cpu"]);
    let (remote, told) = train("--set set", &["--remote", &companion.ws()]);
    assert!(local == remote, "the same bytes from a folder");
    assert!(told.contains(r#""event":"set""#), "which is told: {told}");

    let refused = Command::new(env!("CARGO_BIN_EXE_mimeo"))
        .args("train --original a.png --target a.png --out y.safetensors --remote".split(' '))
        .arg(companion.ws())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "A and B are the same");
    let nobody = Command::new(env!("CARGO_BIN_EXE_mimeo"))
        .args("train --original a.png --target b.png --out y.safetensors".split(' '))
        .args(["--remote", "ws://127.0.0.1:1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(said.contains("mimeo serve"), "how to start one: {said}");
}

#[tokio::test]
async fn a_copier_in_a_file_is_built_upon_with_and_without_a_companion() {
    let companion = Companion::start("");
    let folder = tempfile::tempdir().unwrap();
    let pair = &mimeo_base::pairs()[0];
    for (name, bytes) in [("a.png", pair.original_png), ("b.png", pair.target_png)] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let run = |command: &str, out: &str, more: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args(command.split(' '))
            .args(["--json", "--overwrite", "--out", out])
            .args(more)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{told}");
        let file = std::fs::read(folder.path().join(out)).unwrap();
        (file, String::from_utf8(ran.stdout).unwrap())
    };
    let copier = "copier --original a.png --steps 4 --kind style";
    let (copier, _) = run(copier, "inks.safetensors", &["--device", "cpu"]);
    let train = "train --original a.png --target b.png --steps 4 --no-score --no-calibrate --copier inks.safetensors";
    let (local, _) = run(train, "x.safetensors", &["--device", "cpu"]);
    for time in ["is brought", "is there"] {
        let (remote, told) = run(train, "x.safetensors", &["--remote", &companion.ws()]);
        assert!(local == remote, "the same bytes where it {time}");
        let copying = told.contains(r#""phase":"copier""#);
        assert!(!copying, "none was trained: {told}");
    }
    let client = companion.client().await;
    let [known] = &client.snapshot.copiers[..] else {
        panic!("once: {:?}", client.snapshot.copiers);
    };
    let told = (known.name.as_str(), known.kind);
    assert_eq!(told, ("inks", CopierKind::Style), "as its file says");
    assert_eq!(known.file.sha256, blob_id(&copier), "these bytes");
}

#[tokio::test]
async fn two_prompts_make_the_same_file_with_and_without_a_companion() {
    let companion = Companion::start("");
    let folder = tempfile::tempdir().unwrap();
    let slide = |more: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args(
                "slider --target glasses --keep hat --steps 4 --size 64 --leak-every 2".split(' '),
            )
            .args("--no-score --overwrite --json --out x.safetensors".split(' '))
            .args(more)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{told}");
        let file = std::fs::read(folder.path().join("x.safetensors")).unwrap();
        (file, String::from_utf8(ran.stdout).unwrap())
    };
    let (local, _) = slide(&["--device", "cpu"]);
    let (remote, told) = slide(&["--remote", &companion.ws()]);
    assert!(local == remote, "the same bytes");
    let leaks = told
        .lines()
        .filter(|line| line.contains(r#""event":"leak""#));
    assert_eq!(leaks.count(), 2, "each reading is told: {told}");
    let client = companion.client().await;
    let [summary] = &client.snapshot.jobs[..] else {
        panic!("one job: {:?}", client.snapshot.jobs);
    };
    assert!(summary.job.examples.is_empty(), "kept without pictures");
}

#[tokio::test]
async fn two_clients_see_the_same() {
    let companion = Companion::start("");
    let (mut first, mut second) = (companion.client().await, companion.client().await);
    let job = first.quick_job("two").await;
    let id = first.submit(job).await;
    first.until_over(id).await;
    second.until_over(id).await;
    assert_eq!(
        first.events, second.events,
        "the same events in the same order"
    );
    let added = |client: &Client| {
        let added = client.others.iter();
        added
            .filter(|message| matches!(message, ServerMessage::Added { .. }))
            .count()
    };
    assert_eq!(
        (added(&first), added(&second)),
        (1, 1),
        "told of the new job once"
    );
}

#[tokio::test]
async fn a_client_that_was_away_misses_nothing() {
    let companion = Companion::start("");
    let mut watcher = companion.client().await;
    let mut client = companion.client().await;
    let mut job = client.quick_job("away").await;
    job.recipe.pass.steps = Steps::constant(40);
    let id = client.submit(job).await;
    client
        .until(id, |kind| matches!(kind, JobEventKind::Losses { .. }))
        .await;
    let mut seen = client.events.clone();
    drop(client);
    // Away for a while, and back while it still runs.
    let after = seen.last().unwrap().seq;
    while watcher
        .events
        .last()
        .is_none_or(|event| event.seq < after + 5)
    {
        watcher.next().await;
    }
    let mut client = companion.client().await;
    assert_eq!(client.snapshot.jobs[0].id, id, "the job is known");
    let done = client
        .ask(|request| ClientMessage::Resync {
            request,
            job: id,
            after,
        })
        .await;
    assert!(matches!(done, ServerMessage::Done { .. }), "{done:?}");
    assert!(
        client.events.len() >= 5,
        "what was missed: {:?}",
        client.events
    );
    client.until_over(id).await;
    watcher.until_over(id).await;
    seen.extend(client.events.iter().cloned());
    // What came by itself and as the answer came twice.
    seen.sort_by_key(|event| event.seq);
    seen.dedup();
    assert_gapless(&seen, id, 1);
    assert_eq!(seen, watcher.events, "what the one saw who stayed");
}

#[tokio::test]
async fn the_command_line_waits_for_a_companion_that_is_started_again() {
    let mut companion = Companion::start("");
    let folder = tempfile::tempdir().unwrap();
    let pair = &mimeo_base::pairs()[0];
    for (name, bytes) in [("a.png", pair.original_png), ("b.png", pair.target_png)] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let train = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mimeo"));
        command
            .args("train --original a.png --target b.png --method addift --steps 40".split(' '))
            .args(["--no-score", "--no-calibrate", "--json", "--out", out])
            .args(["--remote", &companion.ws()])
            .current_dir(folder.path());
        command
    };
    assert!(
        train("x.safetensors").status().unwrap().success(),
        "undisturbed"
    );
    let whole = std::fs::read(folder.path().join("x.safetensors")).unwrap();
    std::fs::remove_file(folder.path().join("x.safetensors")).unwrap();

    let mut watcher = companion.client().await;
    let mut running = train("x.safetensors").spawn().unwrap();
    let job = mimeo_protocol::JobId(2);
    watcher
        .until(job, |kind| matches!(kind, JobEventKind::Losses { .. }))
        .await;
    companion.kill_and_restart_here();
    assert!(running.wait().unwrap().success(), "it went on by itself");
    let file = std::fs::read(folder.path().join("x.safetensors")).unwrap();
    assert!(file == whole, "the same file");
}

#[tokio::test]
async fn pictures_and_scores_on_demand_while_another_job_trains() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.bundled_job("small").await;
    let small = client.submit(job.clone()).await;
    client.until_over(small).await;
    let mut long = job;
    long.recipe.pass.steps = Steps::constant(100_000);
    let long = client.submit(long).await;
    client
        .until(long, |kind| matches!(kind, JobEventKind::Losses { .. }))
        .await;

    let file = client.files(small)[0].clone();
    let drawn_with = |strength: f64| PreviewRequest {
        loras: vec![(
            LoraRef::File { file: file.id },
            Strength::try_from(strength).unwrap(),
        )],
        ..portrait()
    };
    let mut pictures = Vec::new();
    for strength in [1.0, -2.0, 1.0] {
        pictures.push(client.draw(drawn_with(strength)).await);
    }
    assert_eq!(pictures[0], pictures[2], "the same wish, the same picture");
    assert_ne!(
        pictures[0], pictures[1],
        "another strength, another picture"
    );

    let scored = client
        .ask(|request| ClientMessage::Score {
            request,
            file: file.id,
        })
        .await;
    let ServerMessage::Scored { scores, .. } = scored else {
        panic!("scores: {scored:?}");
    };
    assert_eq!(
        scores.held_out.pictures, 8,
        "measured on eight unseen pictures"
    );
}
