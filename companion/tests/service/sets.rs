//! Jobs of several examples, and of pictures alone.

use mimeo_checkpoint::metadata::{EXAMPLES, PAIR};
use mimeo_checkpoint::{MemoryFile, SafetensorsFile};
use mimeo_image::{Rgb, decode, encode_png};
use mimeo_protocol::{
    CopierChoice, CopierKind, Example, FileKind, JobEventKind, JobState, Level, Method, Phase,
    Rejection, ScoreBudget, ServerMessage, Share, TrainJob, Weight,
};

use crate::client::Client;
use crate::companion::Companion;

/// The upper part of a picture, as a file.
fn upper(png: &[u8], rows: u32) -> Vec<u8> {
    let whole = decode(png).unwrap().picture;
    let pixels = whole.pixels()[..(whole.width() * rows * 3) as usize].to_vec();
    encode_png(&Rgb::new(whole.width(), rows, pixels).unwrap()).unwrap()
}

/// Two pairs, of two sizes.
async fn set(client: &Client) -> Vec<Example> {
    let mut examples = Vec::new();
    for (index, pair) in mimeo_base::pairs()[..2].iter().enumerate() {
        let rows = [128, 64][index];
        let original = client.upload(&upper(pair.original_png, rows)).await;
        let target = client.upload(&upper(pair.target_png, rows)).await;
        examples.push(Example {
            caption: format!("person {index}"),
            weight: Weight::constant(1.0 + index as f64),
            level: Level::constant(1.0 - 2.0 * index as f64),
            ..Example::new(original, target)
        });
    }
    examples
}

#[tokio::test]
async fn a_job_of_two_examples_is_trained_measured_and_named_in_its_file() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    for method in Method::OF_PICTURES {
        let mut job = match method {
            Method::Copier => client.quick_copier_job("set").await,
            _ => client.quick_job("set").await,
        };
        job.recipe.method = method;
        job.recipe.trigger = "mimeo".to_owned();
        job.recipe.caption_dropout = Share::constant(0.5);
        job.recipe.calibrate = true;
        job.scores = true;
        job.recipe.score_budget = Some(ScoreBudget::constant(8.0));
        job.examples = set(&client).await;
        let id = client.submit(job.clone()).await;
        assert_eq!(client.until_over(id).await, JobState::Finished, "{method}");
        let scores = client.events.iter().find_map(|event| match &event.kind {
            JobEventKind::Scores { scores } if event.job == id => Some(scores.clone()),
            _ => None,
        });
        let graded = scores.expect("measured").graded.expect("two levels");
        assert_eq!(graded.levels, [-1.0, 1.0], "{method}: {graded:?}");
        assert_eq!(graded.held_out, None, "each level has another size");
        let file = client.lora(id).await;
        let file = SafetensorsFile::open(Box::new(MemoryFile::new("set", file)));
        let file = file.await.unwrap();
        let metadata = file.metadata();
        let named: Vec<Example> = serde_json::from_str(&metadata[EXAMPLES]).unwrap();
        assert_eq!(named, job.examples, "{method}");
        assert!(!metadata.contains_key(PAIR), "no single one");
        assert_eq!(metadata["modelspec.trigger_phrase"], "mimeo", "{method}");
    }
}

#[tokio::test]
async fn of_graded_levels_unseen_pictures_are_measured_at_each() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("graded").await;
    job.scores = true;
    // By every picture that there is.
    job.recipe.score_budget = None;
    let usual = job.examples[0].clone();
    let half = Example {
        level: Level::constant(0.5),
        ..usual.clone()
    };
    job.examples = vec![usual.clone(), half, usual];
    let id = client.submit(job).await;
    assert_eq!(client.until_over(id).await, JobState::Finished);
    let scores = client.events.iter().find_map(|event| match &event.kind {
        JobEventKind::Scores { scores } => Some(scores.clone()),
        _ => None,
    });
    let scores = scores.expect("measured");
    let graded = scores.graded.expect("two levels");
    assert_eq!(graded.levels, [0.5, 1.0], "the lowest first");
    let unseen = graded.held_out.expect("of eight pictures");
    assert_eq!(unseen.progress.len(), 2, "at each level: {unseen:?}");
    let shown = scores.held_out.progress;
    assert_eq!(unseen.progress[1], shown, "level 1 is what is told first");
}

fn phases(client: &Client, id: mimeo_protocol::JobId) -> Vec<Phase> {
    let events = client.events.iter().filter(|event| event.job == id);
    let phases = events.filter_map(|event| match &event.kind {
        JobEventKind::State {
            state: JobState::Running { phase },
        } => Some(*phase),
        _ => None,
    });
    phases.collect()
}

#[tokio::test]
async fn pictures_alone_make_a_copier_and_what_is_trained_upon_it() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_copier_job("framings").await;
    job.recipe.copier.kind = CopierKind::Framing;
    job.scores = true;
    job.recipe.calibrate = true;
    let pairs = set(&client).await;
    let alone = pairs.iter().map(|pair| Example {
        target: pair.original,
        level: Level::constant(1.0),
        ..pair.clone()
    });
    job.examples = alone.collect();
    assert!(job.makes_copier(), "there is no pair");
    let id = client.submit(job.clone()).await;
    assert_eq!(client.until_over(id).await, JobState::Finished);
    let expected = [
        Phase::Loading,
        Phase::Encoding,
        Phase::Copier,
        Phase::Saving,
    ];
    assert_eq!(phases(&client, id), expected, "and nothing is measured");
    let kinds: Vec<FileKind> = client.files(id).iter().map(|file| file.kind).collect();
    assert_eq!(kinds, [FileKind::Copier], "its result");
    let copiers = companion.client().await.snapshot.copiers;
    let [copier] = &copiers[..] else {
        panic!("it is kept: {copiers:?}");
    };
    assert_eq!(
        copier.original,
        Some(job.examples[0].original),
        "of its first"
    );
    assert!(copier.fidelity.is_some(), "measured");
    assert_eq!(copier.kind, CopierKind::Framing, "told in the library");

    // A job upon it, though there is no pair.
    let upon = TrainJob {
        copier: CopierChoice::Given(copier.id),
        ..job.clone()
    };
    let upon = client.submit(upon).await;
    assert_eq!(client.until_over(upon).await, JobState::Finished);
    let kinds: Vec<FileKind> = client.files(upon).iter().map(|file| file.kind).collect();
    assert_eq!(kinds, [FileKind::Lora], "what the copier does not draw");

    // The pairs of the same pictures find it, whatever strength it is to have below.
    let mut pairs_upon = job.clone();
    pairs_upon.examples = set(&client).await;
    for example in &mut pairs_upon.examples {
        example.level = Level::constant(1.0);
    }
    pairs_upon.recipe.copier.strength = mimeo_protocol::Strength::constant(0.9);
    let found = client.submit(pairs_upon.clone()).await;
    assert_eq!(client.until_over(found).await, JobState::Finished);
    assert!(!phases(&client, found).contains(&Phase::Copier), "found");
    // Under another caption it is another one.
    pairs_upon.examples[1].caption = "somebody else".to_owned();
    let other = client.submit(pairs_upon).await;
    assert_eq!(client.until_over(other).await, JobState::Finished);
    assert!(phases(&client, other).contains(&Phase::Copier), "another");

    // The direct difference has nothing to learn from pictures alone.
    let mut addift = job;
    addift.recipe.method = Method::Addift;
    let submit = |request| mimeo_protocol::ClientMessage::Submit {
        request,
        job: Box::new(addift),
    };
    let answer = client.ask(submit).await;
    let ServerMessage::Rejected {
        reason: Rejection::Failed { message },
        ..
    } = answer
    else {
        panic!("refused: {answer:?}");
    };
    assert!(message.contains("example 1 is one picture"), "{message}");
}
