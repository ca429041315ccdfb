//! Models folders as people have them: a hundred files of all kinds, most of them large.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mimeo_image::{Rgb, decode, encode_png};
use mimeo_protocol::{BaseInfo, ClientMessage, PreviewRequest, ServerMessage};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::client::{Client, portrait};
use crate::companion::Companion;
use crate::http::{self, bearer};

/// What a start reads beside headers: its own libraries and database.
const OWN_BYTES: u64 = 4 << 20;
/// What a list reads that reads no file.
const NO_FILE_BYTES: u64 = 512 << 10;

/// Tensors of a UNet of one block, as many as a header of an usual length has.
const TENSORS: usize = 700;
/// Numbers of the largest tensor: nobody reads it.
const LARGE: usize = 1 << 29;

const FIRST: &str = "model.diffusion_model.input_blocks.0.0.weight";
const KEYS: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";

/// A program's folder with models in it, and what their headers weigh.
struct Models {
    folder: TempDir,
    header_bytes: u64,
}

impl Models {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            header_bytes: 0,
        }
    }

    fn path(&self, inner: &str) -> PathBuf {
        let path = self.folder.path().join("models").join(inner);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, inner: &str, bytes: &[u8]) {
        fs::write(self.path(inner), bytes).unwrap();
    }

    /// A .safetensors file of a gigabyte, of which nothing but the header is on the disk.
    fn write_large(&mut self, inner: &str, dtype: &str, tensors: &[(&str, &[usize])]) -> u64 {
        let size = if dtype == "F32" { 4 } else { 2 };
        let (mut header, mut end) = (Map::<String, Value>::new(), 0);
        let names = (0..TENSORS).map(|at| format!("cond_stage_model.layer.{at}.weight"));
        let others = names.map(|name| (name, vec![1]));
        let large = ("first_stage_model.large".to_owned(), vec![LARGE]);
        let own = tensors
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()));
        for (name, shape) in own.chain(others).chain([large]) {
            let start = end;
            end += shape.iter().product::<usize>() * size;
            let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
            header.insert(name, entry);
        }
        let header = serde_json::to_vec(&header).unwrap();
        let mut file = File::create(self.path(inner)).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes())
            .unwrap();
        file.write_all(&header).unwrap();
        let bytes = (8 + header.len() + end) as u64;
        file.set_len(bytes).unwrap();
        self.header_bytes += header.len() as u64;
        bytes
    }

    /// A hundred files that are listed, and some that are not.
    fn fill(&mut self) {
        let sd1: [(&str, &[usize]); 2] = [(FIRST, &[320, 4, 3, 3]), (KEYS, &[320, 768])];
        let sd2: [(&str, &[usize]); 2] = [(FIRST, &[320, 4, 3, 3]), (KEYS, &[320, 1024])];
        let inpainting: [(&str, &[usize]); 2] = [(FIRST, &[320, 9, 3, 3]), (KEYS, &[320, 768])];
        let label = "model.diffusion_model.label_emb.0.0.weight";
        let xl: [(&str, &[usize]); 5] = [
            (FIRST, &[320, 4, 3, 3]),
            (KEYS, &[640, 2048]),
            (label, &[1280, 2816]),
            ("v_pred", &[1]),
            ("ztsnr", &[1]),
        ];
        let lora: [(&str, &[usize]); 1] = [("lora_unet_x.lora_down.weight", &[4, 320])];
        for at in 0..30 {
            self.write_large(&format!("checkpoints/sd1-{at}.safetensors"), "F16", &sd1);
        }
        for at in 0..20 {
            self.write_large(
                &format!("checkpoints/xl/noob-{at}.safetensors"),
                "BF16",
                &xl,
            );
        }
        for at in 0..5 {
            self.write_large(
                &format!("checkpoints/old/sd2-{at}.safetensors"),
                "F32",
                &sd2,
            );
            self.write_large(
                &format!("checkpoints/inpaint-{at}.safetensors"),
                "F16",
                &inpainting,
            );
            self.write_large(
                &format!("checkpoints/mislaid-{at}.safetensors"),
                "F16",
                &lora,
            );
            let cut = format!("checkpoints/cut-{at}.safetensors");
            let whole = self.write_large(&cut, "F16", &sd1);
            File::options()
                .write(true)
                .open(self.path(&cut))
                .unwrap()
                .set_len(whole / 2)
                .unwrap();
            self.write(
                &format!("checkpoints/page-{at}.safetensors"),
                b"<!DOCTYPE html><html>",
            );
            self.write(&format!("checkpoints/gguf-{at}.gguf"), b"GGUF\x03\0\0\0");
            self.write(&format!("checkpoints/pickle-{at}.ckpt"), b"\x80\x02}q\x00.");
            self.write(&format!("checkpoints/empty-{at}.safetensors"), b"");
            self.write(&format!("diffusers/sd-{at}/unet/config.json"), b"{}");
            let flux = br#"{"_class_name": "FluxPipeline"}"#;
            self.write(&format!("diffusers/flux-{at}/model_index.json"), flux);
            self.write(&format!("loras/lora-{at}.safetensors"), b"never read");
            self.write(
                &format!("checkpoints/vae/vae-{at}.safetensors"),
                b"never read",
            );
            self.write(
                &format!("checkpoints/.cache/part-{at}.safetensors"),
                b"never read",
            );
        }
    }
}

async fn list(client: &mut Client) -> Vec<BaseInfo> {
    let ask = |request| ClientMessage::ListCheckpoints { request };
    let ServerMessage::Checkpoints { checkpoints, .. } = client.ask(ask).await else {
        panic!("the bases");
    };
    checkpoints
}

fn base<'a>(list: &'a [BaseInfo], id: &str) -> &'a BaseInfo {
    let found = list.iter().find(|base| base.id.as_str() == id);
    found.unwrap_or_else(|| panic!("{id} is listed: {list:?}"))
}

fn models_of(folder: &Path) -> String {
    format!("--models {}", folder.display())
}

#[tokio::test]
async fn a_hundred_files_are_listed_by_their_headers_and_read_once() {
    let mut models = Models::new();
    models.fill();
    let mut companion = Companion::start(&models_of(models.folder.path()));
    let since = (companion.bytes_read(), Instant::now());
    let mut client = companion.client().await;
    let first = (companion.bytes_read() - since.0, since.1.elapsed());
    let listed = client.snapshot.checkpoints.clone();
    assert_eq!(listed.len(), 1 + 100, "beside the bundled one: {listed:?}");
    for (id, family, prediction, precision) in [
        ("sd1-7", "Stable Diffusion 1.x", "ε", "F16"),
        ("noob-19", "Stable Diffusion XL", "v, ztSNR", "BF16"),
        ("sd2-0", "Stable Diffusion 2.x", "ε", "F32"),
        ("inpaint-4", "Stable Diffusion 1.x", "ε", "F16"),
    ] {
        let base = base(&listed, id);
        assert_eq!(base.family, family, "{base:?}");
        assert_eq!(base.prediction.as_deref(), Some(prediction), "{base:?}");
        assert_eq!(base.precision.as_deref(), Some(precision), "{base:?}");
        assert!(base.bytes > Some(LARGE as u64), "{base:?}");
    }
    assert_eq!(
        base(&listed, "noob-3").title,
        "xl/noob-3",
        "with its folder"
    );
    for (id, why) in [
        ("inpaint-0", "inpainting"),
        ("mislaid-0", "LoRA"),
        ("cut-0", "ends early"),
        ("page-0", "web page"),
        ("gguf-0", "GGUF"),
        ("pickle-0", "pickle"),
        ("empty-0", "empty"),
        ("flux-0", "FluxPipeline"),
        ("sd-0", "lacks"),
    ] {
        let reason = base(&listed, id).unusable.clone().unwrap_or_default();
        assert!(reason.contains(why), "{id}: {reason}");
    }
    let never =
        |base: &&BaseInfo| base.id.as_str().contains("lora-") || base.id.as_str().contains("vae");
    assert_eq!(
        listed.iter().find(never),
        None,
        "by its folder it is something else"
    );
    assert!(
        first.0 < 2 * models.header_bytes + NO_FILE_BYTES,
        "{} bytes of {} in headers, of more than 60 GB",
        first.0,
        models.header_bytes
    );

    let since = (companion.bytes_read(), Instant::now());
    assert_eq!(list(&mut client).await, listed, "the same");
    let second = (companion.bytes_read() - since.0, since.1.elapsed());
    assert!(
        second.0 < NO_FILE_BYTES,
        "{} bytes for nothing new",
        second.0
    );
    println!("101 bases: {first:?}, the second time {second:?} (bytes, time)");

    companion.kill_and_restart();
    let mut client = companion.client().await;
    assert_eq!(client.snapshot.checkpoints, listed, "after a start too");
    let read = companion.bytes_read();
    assert!(
        read < OWN_BYTES.min(models.header_bytes),
        "{read} bytes, with the start itself"
    );

    fs::remove_file(models.path("checkpoints/sd1-7.safetensors")).unwrap();
    models.write("checkpoints/new/late.ckpt", b"\x80\x02}q\x00.");
    let changed = list(&mut client).await;
    assert!(
        changed.iter().all(|base| base.id.as_str() != "sd1-7"),
        "gone"
    );
    assert_eq!(base(&changed, "late").title, "new/late", "new");
    assert_eq!(changed.len(), listed.len(), "and no other");
}

#[tokio::test]
async fn several_folders_are_walked_and_a_base_in_one_of_them_draws() {
    let (first, second) = (Models::new(), Models::new());
    for (path, bytes) in mimeo_base::files() {
        second.write(&format!("Stable-diffusion/mine/{path}"), bytes);
    }
    first.write("checkpoints/old.ckpt", b"\x80\x02}q\x00.");
    let flags = [&first, &second].map(|models| models_of(models.folder.path()));
    let companion = Companion::start(&flags.join(" "));
    let mut client = companion.client().await;
    let listed = client.snapshot.checkpoints.clone();
    let ids: Vec<_> = listed.iter().map(|base| base.id.as_str()).collect();
    assert_eq!(ids, ["bundled", "old", "mine"], "of both");
    assert_eq!(listed[2].unusable, None, "a diffusers folder is a base");
    assert_eq!(
        listed[2].precision, listed[0].precision,
        "the same as the bundled one"
    );

    let draw = || PreviewRequest {
        base: "mine".parse().unwrap(),
        ..portrait()
    };
    let preview = draw();
    let answer = client
        .ask(|request| ClientMessage::Preview { request, preview })
        .await;
    assert!(
        matches!(answer, ServerMessage::Preview { .. }),
        "{answer:?}"
    );
    // It was read, so it is known wherever it is, and by whatever name.
    let moved = second.path("Stable-diffusion/sorted/renamed");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(second.path("Stable-diffusion/mine"), &moved).unwrap();
    let listed = list(&mut client).await;
    assert_eq!(
        base(&listed, "mine").title,
        "sorted/renamed",
        "found by its hash"
    );
    fs::remove_dir_all(&moved).unwrap();
    let preview = draw();
    let answer = client
        .ask(|request| ClientMessage::Preview { request, preview })
        .await;
    let ServerMessage::Rejected { reason, .. } = answer else {
        panic!("it is gone: {answer:?}");
    };
    let reason = reason.to_string();
    assert!(reason.contains("Put \"renamed\" back"), "{reason}");
}

#[tokio::test]
async fn the_picture_beside_a_base_is_shown_in_small_and_no_other_file() {
    let models = Models::new();
    models.write("checkpoints/seen.ckpt", b"\x80\x02}q\x00.");
    models.write("checkpoints/blind.ckpt", b"\x80\x02}q\x00.");
    let png = encode_png(&Rgb::filled(400, 200, [9, 99, 200])).unwrap();
    models.write("checkpoints/seen.preview.png", &png);
    models.write("checkpoints/secret.png", &png);
    let companion = Companion::start(&models_of(models.folder.path()));
    let client = companion.client().await;
    let listed = &client.snapshot.checkpoints;
    assert!(base(listed, "seen").preview.is_some(), "it has one");
    assert_eq!(base(listed, "blind").preview, None, "it has none");

    let token = companion.token().await;
    let get = async |path: &str, headers: &[http::Header]| {
        http::get(&companion.http(path), headers).await
    };
    let small = get("/previews/seen", &[bearer(&token)]).await;
    assert_eq!(small.headers["content-type"], "image/jpeg", "a picture");
    let small = decode(&small.body).unwrap().picture;
    assert_eq!((small.width(), small.height()), (128, 64), "in small");
    assert_eq!(
        get("/previews/seen", &[]).await.status,
        401,
        "with the token only"
    );
    for path in [
        "blind",
        "bundled",
        "secret",
        "secret.png",
        "..%2Fsecret",
        "seen%2F..%2Fsecret",
    ] {
        let answer = get(&format!("/previews/{path}"), &[bearer(&token)]).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}
