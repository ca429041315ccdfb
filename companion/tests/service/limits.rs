//! Limits: sockets, pictures, memory, and what a job may name.

use std::collections::BTreeMap;

use mimeo_checkpoint::Array;
use mimeo_checkpoint::safetensors::write_f32;
use mimeo_image::{Rgb, encode_png};
use mimeo_protocol::{
    BaseId, BatchSize, ClientMessage, CopierChoice, CopierId, JobEventKind, JobState, LearningRate,
    LrSchedule, MemoryPlan, Multiplier, Precision, Rank, Rejection, ServerMessage, Steps, TrainJob,
};

use crate::client::{Client, blob_id, previews};
use crate::companion::Companion;
use crate::http;

/// The mask of the glasses pair, the wrong way round.
fn inverted_mask() -> Vec<u8> {
    include_bytes!("../../../tests/cases/masks/M_inverted.png").to_vec()
}

async fn refused(client: &mut Client, job: TrainJob) -> Rejection {
    match client.try_submit(job).await {
        ServerMessage::Rejected { reason, .. } => reason,
        other => panic!("refused: {other:?}"),
    }
}

#[tokio::test]
async fn fifty_pages_are_served_and_sixty_five_are_not() {
    let companion = Companion::start("");
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(companion.client().await);
    }
    let job = clients[0].quick_job("many").await;
    let id = clients[0].submit(job).await;
    for client in &mut clients[..50] {
        client.until_over(id).await;
    }
    let refused = tokio_tungstenite::connect_async(format!("{}/ws", companion.ws())).await;
    assert!(refused.is_err(), "one too many");
    clients.truncate(60);
    // The server sees at once that they went; this only gives it the time to.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    companion.client().await;
}

#[tokio::test]
async fn only_pictures_are_taken_and_only_under_their_own_hash() {
    let companion = Companion::start("");
    let client = companion.client().await;
    let picture = mimeo_base::pairs()[0].original_png;
    assert_eq!(
        client.put(blob_id(b"other"), picture).await.status,
        422,
        "the hash of something else"
    );
    for junk in [
        &b"<script>alert(1)</script>"[..],
        b"",
        &picture[..picture.len() / 2],
    ] {
        let answer = client.put(blob_id(junk), junk).await;
        assert_eq!(answer.status, 422, "{:.20}", String::from_utf8_lossy(junk));
    }
    let bomb = decompression_bomb();
    let answer = client.put(blob_id(&bomb), &bomb).await;
    assert_eq!(answer.status, 422, "a small file of huge sides");
    let said = answer.text();
    assert!(
        said.contains("megapixel") || said.contains("16384"),
        "the limit: {said}"
    );
    let large = vec![0; (64 << 20) + 1];
    let answer = client.put(blob_id(&large), &large).await;
    assert_eq!(answer.status, 413, "too many bytes");
    let files = std::fs::read_dir(companion.data().join("blobs")).unwrap();
    assert_eq!(files.count(), 0, "nothing of it is kept");
}

/// A PNG that says it is 60 000 x 60 000; checksums are right, the data is missing.
fn decompression_bomb() -> Vec<u8> {
    let mut png = mimeo_image::encode_png(&mimeo_image::Rgb::filled(1, 1, [0; 3])).unwrap();
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = png[12..29].iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    });
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

#[tokio::test]
async fn only_loras_are_taken_as_such_and_only_under_their_own_hash() {
    let companion = Companion::start("");
    let client = companion.client().await;
    let picture = mimeo_base::pairs()[0].original_png;
    let own = blob_id(picture);
    for (id, what) in [
        (own, "This is a picture"),
        (blob_id(b"other"), "not the LoRA"),
    ] {
        let answer = client.put_lora(id, picture).await;
        assert_eq!(answer.status, 422, "{what}");
        let said = answer.text();
        assert!(said.contains(what) && !said.contains("tmp"), "why: {said}");
    }
    // It is one, and nothing would come of it.
    let tensor = |name: &str, shape: [usize; 2]| {
        let data = vec![0.5; shape.iter().product()];
        let shape = shape.to_vec();
        (
            format!("lora_unet_conv_norm_out.{name}.weight"),
            Array { shape, data },
        )
    };
    let norm = [tensor("lora_down", [1, 3]), tensor("lora_up", [3, 1])];
    let norm = write_f32(norm.into(), &BTreeMap::new());
    let answer = client.put_lora(blob_id(&norm), &norm).await;
    assert_eq!(answer.status, 422, "of a norm alone");
    let said = answer.text();
    assert!(said.contains("norm layers 1"), "why: {said}");
    let groups = std::fs::read_dir(companion.data().join("loras")).unwrap();
    let kept = groups.flat_map(|group| std::fs::read_dir(group.unwrap().path()).unwrap());
    assert_eq!(kept.count(), 0, "nothing of it is kept");

    let url = companion.http(&format!("/loras/{own}"));
    let put = http::put(&url, &[], b"x").await;
    assert_eq!(put.status, 401, "only with the token");
    let full = Companion::start("--max-blobs 0");
    let answer = full.client().await.put_lora(own, picture).await;
    assert_eq!(answer.status, 507, "no room");
}

#[tokio::test]
async fn pictures_take_only_the_room_they_are_given() {
    let companion = Companion::start("--max-blobs 0");
    let client = companion.client().await;
    let picture = mimeo_base::pairs()[0].original_png;
    let answer = client.put(blob_id(picture), picture).await;
    assert_eq!(answer.status, 507, "no room");
    assert!(answer.text().contains("--max-blobs"), "what to do");
}

#[tokio::test]
async fn without_room_for_previews_a_job_still_comes_to_its_result() {
    let companion = Companion::start("--max-blobs 1");
    let mut client = companion.client().await;
    let mut job = client.quick_job("full").await;
    let pair = mimeo_base::pairs()
        .iter()
        .find(|pair| pair.edit == "glasses");
    let pair = pair.expect("glasses are bundled");
    let taken = pair.original_png.len() + pair.target_png.len() + pair.mask_png.len();
    // All but less than a preview takes.
    let filler = noise((1 << 20) - taken - 4000);
    client.upload(&filler).await;
    job.previews = Some(previews());
    let id = client.submit(job).await;
    assert_eq!(
        client.until_over(id).await,
        JobState::Finished,
        "all the same"
    );
    assert!(!client.lora(id).await.is_empty(), "with its result");
    let notes = client.events.iter().filter(|event| {
        matches!(&event.kind, JobEventKind::Note { text } if text.contains("no room for previews"))
    });
    assert_eq!(notes.count(), 1, "said once");
}

/// A picture that takes not much less than so many bytes, and not more.
fn noise(bytes: usize) -> Vec<u8> {
    const WIDTH: u32 = 64;
    let mut height = bytes / (3 * WIDTH as usize);
    loop {
        let mut state = 1_u32;
        let pixels = (0..height * 3 * WIDTH as usize).map(|_| {
            // Xorshift (Marsaglia 2003): nothing that a PNG could make smaller.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        });
        let picture = Rgb::new(WIDTH, height as u32, pixels.collect()).unwrap();
        let png = encode_png(&picture).unwrap();
        if png.len() <= bytes {
            return png;
        }
        // In proportion, and a row less for what the file has besides.
        height = height * bytes / png.len() - 1;
    }
}

#[tokio::test]
async fn a_job_that_explodes_at_once_fails_and_leaves_no_file() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.bundled_job("exploded").await;
    job.recipe.pass.steps = Steps::constant(20);
    job.recipe.pass.learning_rate = LearningRate::constant(1.0);
    job.recipe.pass.clip_norm = None;
    job.recipe.pass.schedule = LrSchedule::Constant;
    let id = client.submit(job).await;
    let JobState::Failed { message } = client.until_over(id).await else {
        panic!("it explodes");
    };
    assert!(
        message.contains("nothing was trained that is worth keeping"),
        "{message}"
    );
    let files = client.files(id);
    assert!(
        files.is_empty(),
        "nothing is offered as a result: {files:?}"
    );
}

#[tokio::test]
async fn a_multiplier_of_zero_is_refused_by_name_when_it_is_submitted() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("still").await;
    job.recipe.addift.multiplier = Multiplier::constant(0.0);
    let sentence = refused(&mut client, job).await.to_string();
    assert!(
        sentence.contains("Multiplier must be between 0.01 and 8"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_job_that_cannot_be_done_is_refused_when_it_is_submitted() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let good = client.quick_job("good").await;

    let mut job = good.clone();
    job.examples[0].target = job.examples[0].original;
    let reason = refused(&mut client, job).await;
    assert!(
        matches!(reason, Rejection::Failed { .. }),
        "the same picture twice: {reason:?}"
    );
    let mut job = good.clone();
    job.examples[0].original = blob_id(b"never uploaded");
    let reason = refused(&mut client, job).await;
    assert!(
        matches!(reason, Rejection::Missing { .. }),
        "no such picture: {reason:?}"
    );
    let mut job = good.clone();
    job.base = BaseId::try_from("sdxl".to_owned()).unwrap();
    let reason = refused(&mut client, job).await;
    assert!(
        matches!(reason, Rejection::Missing { .. }),
        "no such base: {reason:?}"
    );
    let mut job = good.clone();
    job.copier = CopierChoice::Given(CopierId(7));
    let reason = refused(&mut client, job).await;
    assert!(
        matches!(reason, Rejection::Missing { .. }),
        "no such copier: {reason:?}"
    );
    let mut job = good.clone();
    job.examples[0].mask = Some(client.upload(&inverted_mask()).await);
    let reason = refused(&mut client, job).await;
    assert!(
        matches!(&reason, Rejection::Failed { message } if message.contains("looks inverted")),
        "a mask that leaves the change out: {reason:?}"
    );
    let mut job = good.clone();
    job.examples[0].mask = Some(job.examples[0].original);
    client.submit(job).await;
    let mut job = good;
    job.recipe.prompt = "x".repeat(10_000);
    let reason = refused(&mut client, job).await;
    assert!(
        matches!(reason, Rejection::Failed { .. }),
        "an endless prompt: {reason:?}"
    );
}

#[tokio::test]
async fn a_job_that_does_not_fit_is_refused_with_the_number_to_lower() {
    // Nothing is left that could be computed twice.
    let plenty = Companion::start("--recompute on");
    let mut client = plenty.client().await;
    let mut job = client.bundled_job("large").await;
    let small = plan(&mut client, &job).await;
    assert_eq!(small.remedy, None, "it fits: {small:?}");
    job.recipe.pass.batch_size = BatchSize::constant(64);
    let large = plan(&mut client, &job).await;
    let between = (small.needed_bytes() + large.needed_bytes()) / 2;

    // Nine tenths of a device are given to a job.
    let mib = (between as f64 / 0.9) as u64 >> 20;
    let companion = Companion::start(&format!("--recompute on --device-memory {mib}"));
    let mut client = companion.client().await;
    client.quick_job("its pictures").await;
    let reason = refused(&mut client, job.clone()).await;
    let Rejection::Memory { message } = reason else {
        panic!("memory: {reason:?}");
    };
    assert!(message.contains("batch size from 64 to 1"), "{message}");
    job.recipe.pass.batch_size = BatchSize::constant(1);
    let id = client.submit(job).await;
    assert_eq!(
        client.until_over(id).await,
        JobState::Finished,
        "as advised"
    );
}

async fn plan(client: &mut Client, job: &TrainJob) -> MemoryPlan {
    let job = Box::new(job.clone());
    let answer = client
        .ask(|request| ClientMessage::Plan { request, job })
        .await;
    match answer {
        ServerMessage::Plan { plan, .. } => plan,
        other => panic!("a plan: {other:?}"),
    }
}

#[tokio::test]
async fn the_plan_knows_how_large_the_file_will_be() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    for (rank, precision) in [
        (1, Precision::F16),
        (8, Precision::F16),
        (32, Precision::F32),
    ] {
        let mut job = client.quick_job("weighed").await;
        job.recipe.pass.rank = Rank::constant(rank);
        job.recipe.precision = precision;
        let planned = plan(&mut client, &job).await.file_bytes as f64;
        let id = client.submit(job).await;
        client.until_over(id).await;
        let written = client.files(id)[0].bytes as f64;
        // Recipe, thumbnail and the digits of offsets are only guessed.
        let off = (planned - written).abs() / written;
        assert!(
            off < 0.05,
            "rank {rank}: {planned} bytes planned, {written} written"
        );
    }
}

#[tokio::test]
async fn bases_and_devices_are_listed() {
    let companion = Companion::start("");
    std::fs::create_dir_all(companion.data().join("models/broken one/unet")).unwrap();
    let mut client = companion.client().await;
    let list = |request| ClientMessage::ListCheckpoints { request };
    let ServerMessage::Checkpoints { checkpoints, .. } = client.ask(list).await else {
        panic!("the bases");
    };
    let ids: Vec<_> = checkpoints.iter().map(|info| info.id.as_str()).collect();
    assert_eq!(ids, ["bundled", "broken-one", "micro"], "all of them");
    assert_eq!(checkpoints[0].native_side, Some(128), "what it is");
    assert_eq!(checkpoints[0].side_multiple, 32, "what it can draw");
    assert_eq!(checkpoints[0].unusable, None, "usable");
    assert!(
        checkpoints[1].unusable.is_some(),
        "and why the other is not"
    );
    let snapshot = companion.client().await.snapshot;
    assert_eq!(snapshot.checkpoints, checkpoints, "known at once");

    let devices = |request| ClientMessage::Devices { request };
    let ServerMessage::Devices { devices, .. } = client.ask(devices).await else {
        panic!("the devices");
    };
    assert!(
        devices[0].in_use && devices[0].name.starts_with("CPU"),
        "{devices:?}"
    );
    assert!(
        devices[0].memory_bytes > Some(1 << 30),
        "its memory: {devices:?}"
    );
}
