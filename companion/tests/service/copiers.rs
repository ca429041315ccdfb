//! Finished copiers are used again, listed, renamed, exported and deleted.

use mimeo_protocol::{
    ClientMessage, CopierChoice, CopierId, JobControl, JobEventKind, JobId, JobState, Phase,
    PromptSyntax, Rejection, ServerMessage, Steps,
};

use crate::client::Client;
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
