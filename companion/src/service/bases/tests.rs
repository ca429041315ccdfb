use std::fs::{self, File};

use super::*;

/// A models folder, and the bases in it.
struct Models {
    folder: tempfile::TempDir,
}

impl Models {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        Self { folder }
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.folder.path().join("models").join(inner)
    }

    /// As a companion finds them at its start.
    fn open(&self) -> Bases {
        Bases::open(vec![self.path("")], self.folder.path().join("bases"))
    }

    fn write(&self, inner: &str, bytes: &[u8]) {
        let path = self.path(inner);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A diffusers folder as far as its UNet's weights.
    fn write_folder(&self, inner: &str, weights: &[u8]) {
        let weights = [b"\x08\0\0\0\0\0\0\0{}      ", weights].concat();
        self.write(
            &format!("{inner}/unet/diffusion_pytorch_model.safetensors"),
            &weights,
        );
    }
}

fn ids(bases: &Bases) -> Vec<String> {
    let list = bases.list().into_iter();
    list.map(|base| base.id.to_string()).collect()
}

fn id(text: &str) -> BaseId {
    text.parse().unwrap()
}

/// The header of a checkpoint in one file, with nothing behind it but zeros.
fn single_file(context_width: usize, dtype: &str) -> Vec<u8> {
    let bytes = if dtype == "F32" { 4 } else { 2 };
    let shapes = [
        (
            "model.diffusion_model.input_blocks.0.0.weight",
            [320, 4, 3, 3].to_vec(),
        ),
        (
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
            vec![320, context_width],
        ),
    ];
    let mut end = 0;
    let mut header = serde_json::Map::new();
    for (name, shape) in shapes {
        let start = end;
        end += shape.iter().product::<usize>() * bytes;
        let entry =
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        header.insert(name.to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], &header, &vec![0; end]].concat()
}

#[test]
fn folders_become_ids_that_differ() {
    let models = Models::new();
    for folder in [
        "Anime v2/unet",
        "anime-v2/unet",
        "bundled/unet",
        "no base",
        "flux/transformer",
    ] {
        fs::create_dir_all(models.path(folder)).unwrap();
    }
    let index = br#"{"_class_name": "FluxPipeline"}"#;
    models.write("flux/model_index.json", index);
    let bases = models.open();
    assert_eq!(
        ids(&bases),
        ["bundled", "anime-v2", "anime-v2-2", "bundled-2", "flux"],
        "a folder of anything else is none"
    );
    let list = bases.list();
    let reason = list.last().and_then(|base| base.unusable.clone());
    let reason = reason.unwrap_or_default();
    assert!(reason.contains("FluxPipeline"), "what it is: {reason}");
    let unknown = id("other");
    assert_eq!(bases.find(&unknown), None, "only what is listed");
}

#[test]
fn a_base_is_read_once_until_the_list_is_looked_at() {
    let bases = Models::new().open();
    let shape = || bases.shape(&BaseId::bundled(), None).unwrap();
    let first = shape();
    assert!(Arc::ptr_eq(&first, &shape()), "what was read is kept");
    bases.list();
    assert!(!Arc::ptr_eq(&first, &shape()), "files may be others now");
    let refused = bases.shape(&id("other"), None).unwrap_err();
    assert!(matches!(refused, Rejection::Missing { .. }), "{refused:?}");
}

#[test]
fn what_cannot_be_trained_upon_is_listed_with_the_reason() {
    let models = Models::new();
    fs::create_dir_all(models.path("empty/unet")).unwrap();
    let list = models.open().list();
    assert_eq!(list[0].unusable, None, "the bundled base: {list:?}");
    assert_eq!(list[0].side_multiple, 32, "its UNet halves twice");
    assert_eq!(list[0].prediction.as_deref(), Some("ε"), "what it predicts");
    assert_eq!(
        list[0].precision.as_deref(),
        Some("F16"),
        "how it is stored"
    );
    assert!(!list[0].prompts.is_empty(), "its own language");
    assert!(list[1].unusable.is_some(), "an empty folder: {list:?}");
}

#[test]
fn single_files_are_listed_with_what_their_headers_say() {
    let models = Models::new();
    let sd15 = single_file(768, "F16");
    models.write("sd15.safetensors", &sd15);
    models.write("cut.safetensors", &sd15[..sd15.len() / 2]);
    models.write("old.ckpt", b"\x80\x02}q\x00.");
    models.write("page.safetensors", b"<!DOCTYPE html><html></html>");
    models.write("sd2.safetensors", &single_file(1024, "F32"));
    let list = models.open().list();
    let base = |id: &str| list.iter().find(|base| base.id.as_str() == id).unwrap();
    let reason = |id: &str| base(id).unusable.clone().unwrap();
    assert_eq!(base("sd15").family, "Stable Diffusion 1.x", "its family");
    assert_eq!(
        base("sd15").precision.as_deref(),
        Some("F16"),
        "its numbers"
    );
    assert_eq!(
        base("sd15").prediction.as_deref(),
        Some("ε"),
        "what it predicts"
    );
    assert_eq!(base("sd15").bytes, Some(sd15.len() as u64), "its size");
    assert_eq!(
        base("sd2").family,
        "Stable Diffusion 2.x",
        "of another kind too"
    );
    assert_eq!(base("sd2").precision.as_deref(), Some("F32"), "its numbers");
    assert!(reason("cut").contains("ends early"), "{}", reason("cut"));
    assert!(reason("old").contains("pickle"), "{}", reason("old"));
    assert!(
        reason("page").contains("not a safetensors"),
        "{}",
        reason("page")
    );
    for base in &list[1..] {
        let why = base.unusable.as_ref().unwrap();
        let folder = models.path("").display().to_string();
        assert!(!why.contains(&folder), "the list says where it is: {why}");
    }
}

#[test]
fn a_file_is_read_again_only_when_its_size_or_time_changes() {
    let models = Models::new();
    models.write("a.safetensors", &single_file(768, "F16"));
    let precision = |bases: &Bases| bases.list()[1].precision.clone().unwrap();
    assert_eq!(precision(&models.open()), "F16", "at first");
    let path = models.path("a.safetensors");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    // One letter of the header, which nobody sees who does not read.
    let mut other = single_file(768, "F16");
    let place = other.windows(3).position(|it| it == b"F16").unwrap();
    other[place..place + 3].copy_from_slice(b"I16");
    fs::write(&path, &other).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_eq!(
        precision(&models.open()),
        "F16",
        "kept from one start to the next"
    );
    fs::write(&path, single_file(768, "F32")).unwrap();
    assert_eq!(precision(&models.open()), "F32", "another size");
}

#[test]
fn an_id_means_the_same_base_whatever_comes_beside_it() {
    let models = Models::new();
    models.write_folder("b/anime", b"the first");
    let bases = models.open();
    assert_eq!(ids(&bases), ["bundled", "anime"], "by its name");
    models.write_folder("a/anime", b"another");
    assert_eq!(
        ids(&bases),
        ["bundled", "anime-2", "anime"],
        "in the order of the folders"
    );
    let first = BaseSource::Path(models.path("b/anime"));
    assert_eq!(
        models.open().find(&id("anime")),
        Some(first),
        "after a start too"
    );
    fs::remove_dir_all(models.path("b")).unwrap();
    assert_eq!(ids(&bases), ["bundled", "anime-2"], "and never another one");
    assert_eq!(bases.find(&id("anime")), None, "which was never read");
    let refused = bases.check(&id("anime")).unwrap_err().to_string();
    assert!(refused.contains("Put \"anime\" back"), "{refused}");
}

#[test]
fn a_base_that_moved_is_found_by_its_hash() {
    let models = Models::new();
    models.write_folder("anime", b"12345678");
    let bases = models.open();
    bases.list();
    let hash = hash_of(&models.path("anime")).unwrap();
    bases.note_hash(&id("anime"), &hash);
    // As a file manager moves.
    fs::create_dir(models.path("sorted")).unwrap();
    fs::rename(models.path("anime"), models.path("sorted/renamed")).unwrap();
    assert_eq!(ids(&models.open()), ["bundled", "anime"], "with its id");

    // As a copy from another disk comes: at another time.
    models.write_folder("copies/one", b"87654321");
    models.write_folder("copies/two", b"12345678");
    fs::remove_dir_all(models.path("sorted")).unwrap();
    let bases = models.open();
    assert_eq!(
        ids(&bases),
        ["bundled", "one", "two"],
        "nothing is read for a list"
    );
    bases.check(&id("anime")).unwrap();
    let two = BaseSource::Path(models.path("copies/two"));
    assert_eq!(
        bases.find(&id("anime")),
        Some(two.clone()),
        "the same bytes"
    );
    assert_eq!(bases.find(&id("two")), Some(two), "as it was listed");
    assert_eq!(
        ids(&models.open()),
        ["bundled", "one", "anime"],
        "from then on"
    );

    // As large, and another one.
    fs::remove_dir_all(models.path("copies/two")).unwrap();
    let bases = models.open();
    bases.list();
    assert_eq!(
        bases.find(&id("anime")),
        None,
        "by its hash, not by its size"
    );
}

#[test]
fn folders_that_cannot_be_read_are_listed() {
    let models = Models::new();
    let bases = models.open();
    fs::remove_dir_all(models.path("")).unwrap();
    let list = bases.list();
    let why = list[1].unusable.clone().unwrap();
    assert!(why.contains("cannot be read"), "{list:?}");
    assert!(bases.find(&list[1].id).is_none(), "and no base");
}
