//! Pictures that are drawn on demand.

use mimeo_image::{Rgb, decode, decode_mask};
use mimeo_protocol::{
    BaseId, BlobId, Canvas, JobControl, JobEventKind, JobState, LoraRef, Method, Phase,
    PreviewPlan, PreviewRequest, PromptSyntax, Rejection, ServerMessage, Steps, Strength,
};

use crate::client::{Client, blob_id, portrait, previews};
use crate::companion::Companion;

async fn picture(client: &Client, id: BlobId) -> Rgb {
    let answer = client.get(&format!("/blobs/{id}")).await;
    decode(&answer.body).unwrap().picture
}

async fn refused(client: &mut Client, preview: PreviewRequest) -> Rejection {
    match client.try_draw(preview).await {
        ServerMessage::Rejected { reason, .. } => reason,
        other => panic!("refused: {other:?}"),
    }
}

/// With this LoRA at full strength.
fn with(lora: LoraRef) -> PreviewRequest {
    PreviewRequest {
        loras: vec![(lora, Strength::constant(1.0))],
        ..portrait()
    }
}

#[tokio::test]
async fn a_base_draws_without_any_job() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let drawn = client.draw(portrait()).await;
    assert_eq!(
        client.draw(portrait()).await,
        drawn,
        "the same wish, the same picture"
    );
    let size = picture(&client, drawn).await;
    assert_eq!((size.width(), size.height()), (128, 128), "its own size");

    let without = PreviewRequest {
        negative_prompt: "short hair".to_owned(),
        ..portrait()
    };
    assert_ne!(
        client.draw(without).await,
        drawn,
        "kept away from something"
    );
    let prompt = "(hair bun:1.8), frown".to_owned();
    let mut read = Vec::new();
    for prompt_syntax in [
        PromptSyntax::A1111,
        PromptSyntax::Comfy,
        PromptSyntax::Plain,
    ] {
        let preview = PreviewRequest {
            prompt: prompt.clone(),
            prompt_syntax,
            ..portrait()
        };
        let drawn = client.draw(preview).await;
        assert!(
            !read.contains(&drawn),
            "another picture in {prompt_syntax:?}"
        );
        read.push(drawn);
    }
    let wide = Rgb::filled(300, 150, [200, 180, 160]);
    let wide = client
        .upload(&mimeo_image::encode_png(&wide).unwrap())
        .await;
    let like = PreviewRequest {
        canvas: Canvas::Like {
            picture: wide,
            resolution: None,
        },
        ..portrait()
    };
    let size = client.draw(like).await;
    let size = picture(&client, size).await;
    assert_eq!((size.width(), size.height()), (128, 64), "as it is trained");
}

#[tokio::test]
async fn an_uploaded_lora_draws_what_the_same_one_of_a_job_draws() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.bundled_job("small").await;
    let job = client.submit(job).await;
    client.until_over(job).await;
    let file = client.files(job)[0].id;
    let bytes = client.lora(job).await;
    let lora = blob_id(&bytes);
    let missing = refused(&mut client, with(LoraRef::Uploaded { lora })).await;
    assert!(matches!(missing, Rejection::Missing { .. }), "{missing:?}");

    for time in ["first", "second"] {
        let answer = client.put_lora(lora, &bytes).await;
        assert_eq!(answer.status, 204, "sent for the {time} time");
    }
    let drawn = client.draw(with(LoraRef::Uploaded { lora })).await;
    let of_job = client.draw(with(LoraRef::File { file })).await;
    assert_eq!(drawn, of_job, "the same file");
    assert_ne!(drawn, client.draw(portrait()).await, "it does something");
}

#[tokio::test]
async fn inpainting_leaves_what_is_not_masked_alone() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut pairs = mimeo_base::pairs().iter();
    let pair = pairs.find(|pair| pair.edit == "glasses").unwrap();
    let canvas = Canvas::Inpaint {
        picture: client.upload(pair.original_png).await,
        mask: client.upload(pair.mask_png).await,
    };
    let request = PreviewRequest {
        canvas,
        prompt: pair.target_caption.to_owned(),
        ..portrait()
    };
    let id = client.draw(request.clone()).await;
    assert_eq!(
        client.draw(request).await,
        id,
        "the same wish, the same picture"
    );

    let drawn = picture(&client, id).await;
    let original = decode(pair.original_png).unwrap().picture;
    let mask = decode_mask(pair.mask_png).unwrap();
    let rows = |from: usize, to: usize| 128 * 3 * from..128 * 3 * to;
    let painted: Vec<usize> = (0..128)
        .filter(|row| {
            mask.values()[128 * row..128 * (row + 1)]
                .iter()
                .any(|value| *value > 0)
        })
        .collect();
    let (first, last) = (painted[0], painted[painted.len() - 1]);
    // Beyond the soft edge of two pixels.
    for rows in [rows(0, first - 2), rows(last + 3, 128)] {
        assert!(
            drawn.pixels()[rows.clone()] == original.pixels()[rows],
            "above and below the mask"
        );
    }
    let inside = rows(first, last + 1);
    assert!(
        drawn.pixels()[inside.clone()] != original.pixels()[inside],
        "the glasses"
    );
}

#[tokio::test]
async fn what_cannot_be_drawn_is_refused_in_a_sentence() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let large = Rgb::filled(512, 512, [9; 3]);
    let large = client
        .upload(&mimeo_image::encode_png(&large).unwrap())
        .await;
    let on = |canvas| PreviewRequest {
        canvas,
        ..portrait()
    };
    let reason = refused(
        &mut client,
        on(Canvas::Inpaint {
            picture: large,
            mask: large,
        }),
    )
    .await;
    assert!(reason.to_string().contains("at most 256"), "{reason}");
    let picture = blob_id(b"never uploaded");
    let reason = refused(
        &mut client,
        on(Canvas::Like {
            picture,
            resolution: None,
        }),
    )
    .await;
    assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");

    let base = BaseId::try_from("sdxl".to_owned()).unwrap();
    let reason = refused(&mut client, PreviewRequest { base, ..portrait() }).await;
    assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
    let mut many = with(LoraRef::File {
        file: mimeo_protocol::FileId(1),
    });
    let reason = refused(&mut client, many.clone()).await;
    assert!(reason.to_string().contains("file 1"), "{reason}");
    many.loras = many.loras.repeat(PreviewRequest::MAX_LORAS + 1);
    let reason = refused(&mut client, many).await;
    assert!(reason.to_string().contains("9 LoRAs"), "{reason}");
    let strange = client.upload_strange_lora().await;
    let reason = refused(&mut client, with(LoraRef::Uploaded { lora: strange })).await;
    assert!(
        reason.to_string().contains("0 of its 1 modules"),
        "{reason}"
    );
    let negative_prompt = "x".repeat(10_000);
    let endless = PreviewRequest {
        negative_prompt,
        ..portrait()
    };
    let reason = refused(&mut client, endless).await;
    assert!(reason.to_string().contains("Shorten"), "{reason}");
}

#[tokio::test]
async fn a_preview_that_cannot_be_read_ends_a_job_before_it_trains() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("endless").await;
    job.previews = Some(PreviewPlan {
        prompt: "BREAK ".repeat(30),
        ..previews()
    });
    let job = client.submit(job).await;
    let JobState::Failed { message } = client.until_over(job).await else {
        panic!("it cannot be drawn");
    };
    assert!(message.contains("Shorten it"), "{message}");
    let is_step = |kind: &JobEventKind| matches!(kind, JobEventKind::Losses { .. });
    let trained = client.events.iter().any(|event| is_step(&event.kind));
    assert!(!trained, "nothing was trained in vain");
}

#[tokio::test]
async fn a_picture_of_another_base_is_drawn_when_the_running_job_is_over() {
    let companion = Companion::start("");
    put_twin(&companion);
    let mut client = companion.client().await;
    let mut watcher = companion.client().await;
    let mut job = client.bundled_job("long").await;
    job.recipe.pass.steps = Steps::constant(100_000);
    let job = client.submit(job).await;
    client.until_phase(job, Phase::Training).await;

    let preview = PreviewRequest {
        base: BaseId::try_from("twin".to_owned()).unwrap(),
        ..portrait()
    };
    let waiting = tokio::spawn(async move { watcher.draw(preview).await });
    let own = client.draw(portrait()).await;
    assert!(!waiting.is_finished(), "the running job keeps its base");
    client.control(job, JobControl::Discard).await;
    assert_eq!(client.until_over(job).await, JobState::Stopped, "discarded");
    assert_eq!(waiting.await.unwrap(), own, "answered, by its twin");
}

#[tokio::test]
async fn a_picture_of_another_base_does_not_wait_for_a_paused_job() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    put_twin(&companion);
    let twin = PreviewRequest {
        base: BaseId::try_from("twin".to_owned()).unwrap(),
        ..portrait()
    };
    let mut job = client.bundled_job("long").await;
    job.recipe.pass.steps = Steps::constant(100_000);
    let job = client.submit(job).await;
    client.until_phase(job, Phase::Training).await;
    let mut watcher = companion.client().await;
    let asked = twin.clone();
    let waiting = tokio::spawn(async move { refused(&mut watcher, asked).await });
    // By then the other one waits, as a rule; it is refused either way.
    client.draw(portrait()).await;

    client.control(job, JobControl::Pause).await;
    for reason in [
        waiting.await.unwrap(),
        refused(&mut client, twin.clone()).await,
    ] {
        assert!(reason.to_string().contains("Resume or end"), "{reason}");
    }
    let own = client.draw(portrait()).await;
    client.control(job, JobControl::Discard).await;
    assert_eq!(client.until_over(job).await, JobState::Stopped, "discarded");
    assert_eq!(client.draw(twin).await, own, "and then the twin draws");
}

/// The bundled base again, under another name.
fn put_twin(companion: &Companion) {
    let twin = companion.data().join("models/twin");
    for (path, bytes) in mimeo_base::files() {
        let path = twin.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[tokio::test]
async fn the_pace_of_a_job_is_remembered() {
    let mut companion = Companion::start("");
    let mut client = companion.client().await;
    assert!(client.snapshot.paces.is_empty(), "nothing was trained yet");
    let job = client.quick_copier_job("both passes").await;
    let batch = job.recipe.pass.batch_size.get();
    let job = client.submit(job).await;
    client.until_over(job).await;

    companion.kill_and_restart();
    let paces = companion.client().await.snapshot.paces;
    let mut phases: Vec<_> = paces.iter().map(|pace| pace.phase).collect();
    phases.sort();
    assert_eq!(phases, [Phase::Copier, Phase::Training], "{paces:?}");
    for pace in paces {
        assert_eq!(pace.method, Method::Copier, "{pace:?}");
        assert_eq!((pace.pixels, pace.batch_size), (64 * 64, batch), "{pace:?}");
        assert!(pace.secs_per_step > 0.0, "{pace:?}");
    }
}
