//! What is said of a base counts for the job or the picture that says it, and for nothing beside.

use std::fs;

use mimeo_checkpoint::{Checkpoint as _, DiskFolder, LoraFile, MemoryFile};
use mimeo_engine::runtime::block_on;
use mimeo_protocol::{
    BaseId, BlobId, Canvas, ClientMessage, ClipSkip, GuidanceRescale, JobEventKind, JobState,
    Phase, Prediction, PreviewPlan, PreviewRequest, Rejection, Said, ServerMessage, Steps,
    Strength, VaeId, VaeInfo,
};
use tempfile::TempDir;

use crate::client::{Client, blob_id, portrait};
use crate::companion::Companion;

const VELOCITY: Said = Said {
    prediction_type: Some(Prediction::Velocity),
    zero_terminal_snr: None,
    clip_skip: None,
};

/// A program's models folder.
struct Models(TempDir);

impl Models {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, inner: &str, bytes: &[u8]) {
        let path = self.0.path().join(inner);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The bundled base as a folder, with another text in some of its files.
    fn write_base(&self, name: &str, change: impl Fn(&str, &[u8]) -> Option<Vec<u8>>) {
        for (path, bytes) in mimeo_base::files() {
            if let Some(bytes) = change(path, bytes) {
                self.write(&format!("Stable-diffusion/{name}/{path}"), &bytes);
            }
        }
    }

    fn start(&self) -> Companion {
        Companion::start(&format!("--models {}", self.0.path().display()))
    }
}

fn base(name: &str) -> BaseId {
    name.parse().unwrap()
}

fn vae(name: &str) -> Option<VaeId> {
    Some(name.parse().unwrap())
}

fn read(lora: Vec<u8>) -> LoraFile {
    block_on(LoraFile::read(Box::new(MemoryFile::new("lora", lora)))).unwrap()
}

#[tokio::test]
async fn a_job_that_says_what_the_base_predicts_is_as_on_a_base_that_says_it() {
    let models = Models::new();
    models.write_base("noise", |_, bytes| Some(bytes.to_vec()));
    models.write_base("velocity", |path, bytes| {
        let text = String::from_utf8_lossy(bytes);
        Some(match path.ends_with("scheduler_config.json") {
            true => text.replace("epsilon", "v_prediction").into_bytes(),
            false => bytes.to_vec(),
        })
    });
    let companion = models.start();
    let mut client = companion.client().await;
    let plain = PreviewRequest {
        base: base("noise"),
        ..portrait()
    };
    let said = PreviewRequest {
        said: VELOCITY,
        ..plain.clone()
    };
    let as_noise = client.draw(plain.clone()).await;
    let as_velocity = client.draw(said.clone()).await;
    assert_ne!(as_velocity, as_noise, "another arithmetic");
    let of_folder = PreviewRequest {
        base: base("velocity"),
        ..portrait()
    };
    let of_folder = client.draw(of_folder).await;
    assert_eq!(as_velocity, of_folder, "the same, bit for bit");

    let mut job = client.quick_job("said").await;
    job.recipe.prediction_type = VELOCITY.prediction_type;
    job.previews = Some(PreviewPlan {
        every: Steps::constant(3),
        prompt: portrait().prompt,
        seed: portrait().seed,
        strengths: vec![Strength::constant(0.0)],
    });
    let original = job.examples[0].original;
    let mut loras = Vec::new();
    for (name, prediction_type) in [
        ("noise", VELOCITY.prediction_type),
        ("velocity", None),
        ("noise", None),
    ] {
        job.base = base(name);
        job.recipe.prediction_type = prediction_type;
        let id = client.submit(job.clone()).await;
        // The playground beside it draws with the base as it is, and the base as it is said to be.
        client.until_phase(id, Phase::Training).await;
        if name == "noise" {
            assert_eq!(client.draw(plain.clone()).await, as_noise, "beside {name}");
            assert_eq!(client.draw(said.clone()).await, as_velocity, "as well");
        }
        assert_eq!(client.until_over(id).await, JobState::Finished, "{name}");
        let shown = client
            .events
            .iter()
            .rev()
            .find_map(|event| match &event.kind {
                JobEventKind::Preview { picture, .. } if event.job == id => Some(*picture),
                _ => None,
            });
        loras.push((read(client.lora(id).await), shown.unwrap()));
    }
    let [(said, shown_said), (told, shown_told), (noise, shown_noise)] = &loras[..] else {
        panic!("three");
    };
    assert_eq!(said.modules, told.modules, "bit for bit");
    assert_ne!(said.modules, noise.modules, "another LoRA");
    assert_eq!(shown_said, shown_told, "its previews");
    assert_ne!(shown_said, shown_noise, "are its own");
    let like = PreviewRequest {
        canvas: Canvas::Like {
            picture: original,
            resolution: None,
        },
        ..plain
    };
    assert_eq!(client.draw(like).await, *shown_noise, "the base alone");
    let mark = |lora: &LoraFile, key: &str| lora.metadata.get(key).cloned();
    for (lora, is_velocity) in [(said, true), (told, true), (noise, false)] {
        let expected = is_velocity.then(|| "True".to_owned());
        assert_eq!(mark(lora, "ss_v_parameterization"), expected, "as it was");
    }
    let recipe = mark(said, "mimeo.recipe").unwrap();
    assert!(
        recipe.contains("\"prediction_type\":\"v_prediction\""),
        "{recipe}"
    );
    let recipe = mark(told, "mimeo.recipe").unwrap();
    assert!(!recipe.contains("prediction_type"), "{recipe}");
}

#[tokio::test]
async fn clip_skip_and_guidance_rescale_are_of_the_picture_that_asks_for_them() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let skipping = |layer: u32| PreviewRequest {
        said: Said {
            clip_skip: Some(ClipSkip::constant(layer)),
            ..Said::default()
        },
        ..portrait()
    };
    let drawn = client.draw(portrait()).await;
    assert_eq!(client.draw(skipping(1)).await, drawn, "the last layer");
    assert_ne!(client.draw(skipping(2)).await, drawn, "the one before");
    assert_eq!(client.draw(portrait()).await, drawn, "and back");
    let rescaled = PreviewRequest {
        guidance_rescale: Some(GuidanceRescale::constant(0.7)),
        ..portrait()
    };
    assert_ne!(client.draw(rescaled).await, drawn, "less contrast");
    let off = PreviewRequest {
        guidance_rescale: Some(GuidanceRescale::constant(0.0)),
        ..portrait()
    };
    assert_eq!(client.draw(off).await, drawn, "what suits this base");
    let refused = client.try_draw(skipping(3)).await;
    let ServerMessage::Rejected { reason, .. } = refused else {
        panic!("it has two layers: {refused:?}");
    };
    assert!(reason.to_string().contains("from 1 to 2"), "{reason}");
    let mut job = client.quick_job("deep").await;
    job.recipe.clip_skip = Some(ClipSkip::constant(3));
    let refused = client.try_submit(job).await;
    assert!(
        matches!(refused, ServerMessage::Rejected { .. }),
        "before it waits: {refused:?}"
    );
}

/// The refusal of a picture.
async fn refused(client: &mut Client, preview: PreviewRequest) -> String {
    match client.try_draw(preview).await {
        ServerMessage::Rejected { reason, .. } => reason.to_string(),
        other => panic!("refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_base_without_a_vae_takes_one_of_the_models_folders() {
    let models = Models::new();
    models.write_base("whole", |_, bytes| Some(bytes.to_vec()));
    let is_vae = |path: &str| path.starts_with("vae/");
    models.write_base("bare", |path, bytes| {
        (!is_vae(path)).then(|| bytes.to_vec())
    });
    let weights = mimeo_base::files()
        .iter()
        .find(|(path, _)| is_vae(path) && path.ends_with(".safetensors"));
    let (_, weights) = weights.unwrap();
    models.write("VAE/anime/Own.safetensors", weights);
    models.write("VAE/page.safetensors", b"<!DOCTYPE html><html>");
    let companion = models.start();
    let mut client = companion.client().await;
    let vaes: Vec<VaeInfo> = client.snapshot.vaes.clone();
    let [page, own] = &vaes[..] else {
        panic!("both: {vaes:?}");
    };
    assert_eq!((own.id.as_str(), &*own.title), ("anime-own", "anime/Own"));
    assert_eq!(own.unusable, None, "it is one");
    let why = page.unusable.clone().unwrap_or_default();
    assert!(why.contains("web page"), "{why}");
    let listed = client.snapshot.checkpoints.clone();
    let bare = listed.iter().find(|info| info.id.as_str() == "bare");
    let bare = bare.unwrap();
    assert!(bare.needs_vae && bare.unusable.is_none(), "{bare:?}");
    assert_eq!(bare.side_multiple, 32, "what its UNet says");

    let drawing = |name: &str, vae: Option<VaeId>| PreviewRequest {
        base: base(name),
        vae,
        ..portrait()
    };
    let own = client.draw(drawing("whole", None)).await;
    let other = client.draw(drawing("whole", vae("anime-own"))).await;
    assert_ne!(other, own, "another scale of its latents");
    assert_eq!(
        client.draw(drawing("whole", None)).await,
        own,
        "and its own again"
    );
    let of_bare = client.draw(drawing("bare", vae("anime-own"))).await;
    assert_eq!(of_bare, other, "the same model");
    let why = refused(&mut client, drawing("bare", None)).await;
    assert!(why.contains("has no VAE of its own. Choose one"), "{why}");
    let why = refused(&mut client, drawing("bare", vae("gone"))).await;
    assert!(why.contains("the VAE gone is not here"), "{why}");

    let mut job = client.quick_job("with-vae").await;
    job.base = base("bare");
    let refusal = client.try_submit(job.clone()).await;
    let ServerMessage::Rejected { reason, .. } = refusal else {
        panic!("nothing encodes its pictures: {refusal:?}");
    };
    assert!(matches!(reason, Rejection::Failed { .. }), "{reason:?}");
    job.vae = vae("anime-own");
    let id = client.submit(job).await;
    assert_eq!(client.until_over(id).await, JobState::Finished, "with it");
    let lora = read(client.lora(id).await);
    let hash: BlobId = blob_id(weights);
    for (key, value) in [
        ("ss_vae_name", "Own.safetensors".to_owned()),
        ("ss_new_vae_hash", hash.to_string()),
    ] {
        assert_eq!(lora.metadata[key], value, "{key}");
    }
}

#[tokio::test]
async fn what_identifies_a_base_is_read_once() {
    let models = Models::new();
    models.write_base("mine", |_, bytes| Some(bytes.to_vec()));
    let companion = models.start();
    let mut client = companion.client().await;
    let mine = || PreviewRequest {
        base: base("mine"),
        ..portrait()
    };
    let weights = models.0.path().join("Stable-diffusion/mine");
    let folder = DiskFolder::new(&weights).unwrap();
    let unet = weights.join("unet/diffusion_pytorch_model.safetensors");
    let unet_bytes = fs::metadata(&unet).unwrap().len();
    let list = |request| ClientMessage::ListCheckpoints { request };
    let mut loaded = Vec::new();
    for _ in 0..2 {
        let before = companion.bytes_read();
        client.draw(mine()).await;
        loaded.push(companion.bytes_read() - before);
        // So that the other one has to be loaded again.
        client.draw(portrait()).await;
    }
    let once = loaded[0].saturating_sub(loaded[1]);
    assert!(
        once >= unet_bytes && once < unet_bytes * 3 / 2,
        "{loaded:?} bytes, and its UNet has {unet_bytes}"
    );
    // Other bytes of the same size at another time are read again, and are another base.
    let mut bytes = fs::read(&unet).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&unet, bytes).unwrap();
    client.ask(list).await;
    let before = companion.bytes_read();
    client.draw(mine()).await;
    let again = companion.bytes_read() - before;
    assert!(again + unet_bytes / 2 > loaded[0], "{again} of {loaded:?}");

    let job = client.quick_job("hashed").await;
    let job = mimeo_protocol::TrainJob {
        base: base("mine"),
        ..job
    };
    let id = client.submit(job).await;
    client.until_over(id).await;
    let lora = read(client.lora(id).await);
    let hash = block_on(folder.hash()).unwrap();
    assert_eq!(lora.metadata["mimeo.base_hash"], hash, "of what was loaded");
}
