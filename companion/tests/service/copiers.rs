//! Finished copiers are used again, listed, renamed, exported and deleted, and LoRAs become copiers.

use mimeo_protocol::{
    BaseId, BlobId, ClientMessage, CopierChoice, CopierId, CopierKind, JobControl, JobEventKind,
    JobId, JobState, Phase, PromptSyntax, Rejection, ServerMessage, Steps, Strength,
};

use crate::client::{Client, blob_id};
use crate::companion::Companion;

fn trained_a_copier(client: &Client, job: JobId) -> bool {
    client.events.iter().any(|event| {
        event.job == job
            && matches!(
                event.kind,
                JobEventKind::State {
                    state: JobState::Running {
                        phase: Phase::Copier
                    }
                }
            )
    })
}

#[tokio::test]
async fn the_same_copier_is_trained_once() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.quick_copier_job("first").await;
    let first = client.submit(job.clone()).await;
    client.until_over(first).await;
    assert!(trained_a_copier(&client, first), "there was none");
    let [copier] = &companion.client().await.snapshot.copiers[..] else {
        panic!("one copier is kept");
    };
    assert_eq!(copier.name.as_str(), "first", "called as its job");
    assert!(copier.fidelity.is_some(), "measured");
    client.download(&copier.file).await;

    let again = client.submit(job.clone()).await;
    assert_eq!(client.until_over(again).await, JobState::Finished);
    assert!(!trained_a_copier(&client, again), "used again");
    assert!(
        client.lora(again).await == client.lora(first).await,
        "the same file as with a copier of its own"
    );

    let mut fresh = job.clone();
    fresh.copier = CopierChoice::New;
    let fresh = client.submit(fresh).await;
    client.until_over(fresh).await;
    assert!(trained_a_copier(&client, fresh), "as asked");

    let mut other = job;
    other.recipe.copier.pass.steps = Steps::constant(5);
    let other = client.submit(other).await;
    client.until_over(other).await;
    assert!(
        trained_a_copier(&client, other),
        "another recipe, another copier"
    );
    assert_eq!(
        companion.client().await.snapshot.copiers.len(),
        2,
        "both are kept"
    );
}

#[tokio::test]
async fn a_copier_from_before_prompts_had_a_syntax_is_found_by_prompts_without_signs() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_copier_job("old").await;
    job.recipe.prompt = "smile, hat".to_owned();
    job.recipe.prompt_syntax = PromptSyntax::Cut;
    let old = client.submit(job.clone()).await;
    client.until_over(old).await;
    assert!(trained_a_copier(&client, old), "there was none");

    for (prompt, syntax, is_new) in [
        ("smile, hat", PromptSyntax::A1111, false),
        ("smile, hat", PromptSyntax::Comfy, false),
        ("(smile:1.5), hat", PromptSyntax::Cut, true),
        ("(smile:1.5), hat", PromptSyntax::Plain, false),
        ("(smile:1.5), hat", PromptSyntax::A1111, true),
        ("(smile:1.5), hat", PromptSyntax::Comfy, true),
        ("(smile:1.5), hat", PromptSyntax::A1111, false),
    ] {
        job.recipe.prompt = prompt.to_owned();
        job.recipe.prompt_syntax = syntax;
        let job = client.submit(job.clone()).await;
        assert_eq!(client.until_over(job).await, JobState::Finished);
        let trained = trained_a_copier(&client, job);
        assert_eq!(trained, is_new, "{prompt} in {syntax:?}");
    }
}

#[tokio::test]
async fn copiers_are_renamed_and_deleted_but_not_under_a_job() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_copier_job("anna").await;
    let first = client.submit(job.clone()).await;
    client.until_over(first).await;
    let copier = companion.client().await.snapshot.copiers[0].id;
    let renamed = client
        .ask(|request| ClientMessage::RenameCopier {
            request,
            copier,
            name: "bea".parse().unwrap(),
        })
        .await;
    assert!(matches!(renamed, ServerMessage::Done { .. }), "{renamed:?}");
    assert_eq!(
        companion.client().await.snapshot.copiers[0].name.as_str(),
        "bea",
        "renamed"
    );

    job.recipe.pass.steps = Steps::constant(100_000);
    job.copier = CopierChoice::Given(copier);
    let user = client.submit(job).await;
    client.until_phase(user, Phase::Training).await;
    let delete = |copier| move |request| ClientMessage::DeleteCopier { request, copier };
    let refused = client.ask(delete(copier)).await;
    let ServerMessage::Rejected {
        reason: Rejection::State { message },
        ..
    } = refused
    else {
        panic!("in use: {refused:?}");
    };
    assert!(
        message.contains(&format!("job {user}")),
        "by whom: {message}"
    );
    client.control(user, JobControl::Discard).await;
    client.until_over(user).await;
    let deleted = client.ask(delete(copier)).await;
    assert!(matches!(deleted, ServerMessage::Done { .. }), "{deleted:?}");
    assert_eq!(companion.client().await.snapshot.copiers, [], "gone");
    let files = std::fs::read_dir(companion.data().join("copiers")).unwrap();
    assert_eq!(files.count(), 0, "its file as well");
    let missing = client.ask(delete(CopierId(99))).await;
    assert!(
        matches!(
            missing,
            ServerMessage::Rejected {
                reason: Rejection::Missing { .. },
                ..
            }
        ),
        "{missing:?}"
    );
}

async fn import(client: &mut Client, lora: BlobId, name: &str) -> ServerMessage {
    client
        .ask(|request| ClientMessage::ImportCopier {
            request,
            lora,
            name: name.parse().unwrap(),
            kind: CopierKind::Style,
            base: BaseId::bundled(),
            vae: None,
        })
        .await
}

#[tokio::test]
async fn a_foreign_lora_becomes_a_copier_that_jobs_build_upon() {
    let mut companion = Companion::start("");
    let mut client = companion.client().await;
    let plain = client.bundled_job("flat").await;
    let plain = client.submit(plain).await;
    client.until_over(plain).await;
    let bytes = client.lora(plain).await;
    let lora = blob_id(&bytes);
    let missing = import(&mut client, lora, "flat").await;
    assert!(
        matches!(
            missing,
            ServerMessage::Rejected {
                reason: Rejection::Missing { .. },
                ..
            }
        ),
        "it is not here yet: {missing:?}"
    );
    let strange = client.upload_strange_lora().await;
    let refused = import(&mut client, strange, "strange").await;
    let ServerMessage::Rejected { reason, .. } = refused else {
        panic!("it does not fit: {refused:?}");
    };
    let reason = reason.to_string();
    assert!(reason.contains("0 of its 1 modules"), "{reason}");

    assert_eq!(client.put_lora(lora, &bytes).await.status, 204, "taken");
    let imported = import(&mut client, lora, "flat").await;
    assert!(
        matches!(imported, ServerMessage::Done { .. }),
        "{imported:?}"
    );
    let again = import(&mut client, lora, "twice").await;
    let ServerMessage::Rejected { reason, .. } = again else {
        panic!("it is there: {again:?}");
    };
    assert!(reason.to_string().contains("as flat"), "{reason}");

    companion.kill_and_restart();
    let mut client = companion.client().await;
    let [copier] = &client.snapshot.copiers[..] else {
        panic!("it stays: {:?}", client.snapshot.copiers);
    };
    let copier = copier.clone();
    assert_eq!(
        (
            copier.name.as_str(),
            copier.kind,
            copier.original,
            copier.steps
        ),
        ("flat", CopierKind::Style, None, 0),
        "as it was imported"
    );
    assert!(
        client.download(&copier.file).await == bytes,
        "exported whole"
    );
    let renamed = client
        .ask(|request| ClientMessage::RenameCopier {
            request,
            copier: copier.id,
            name: "inks".parse().unwrap(),
        })
        .await;
    assert!(matches!(renamed, ServerMessage::Done { .. }), "{renamed:?}");

    let mut job = client.quick_copier_job("upon").await;
    job.base = BaseId::bundled();
    job.copier = CopierChoice::Given(copier.id);
    job.recipe.copier.kind = CopierKind::Style;
    let mut loras = Vec::new();
    for strength in [1.0, 0.5] {
        job.recipe.copier.strength = Strength::constant(strength);
        let upon = client.submit(job.clone()).await;
        assert_eq!(client.until_over(upon).await, JobState::Finished);
        assert!(!trained_a_copier(&client, upon), "it was given one");
        loras.push(client.lora(upon).await);
    }
    assert!(loras[0] != loras[1], "it acts as strongly as is said");

    let deleted = client
        .ask(|request| ClientMessage::DeleteCopier {
            request,
            copier: copier.id,
        })
        .await;
    assert!(matches!(deleted, ServerMessage::Done { .. }), "{deleted:?}");
    let imported = import(&mut client, lora, "flat").await;
    assert!(
        matches!(imported, ServerMessage::Done { .. }),
        "the upload is still there: {imported:?}"
    );
}
