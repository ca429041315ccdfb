//! Where people keep models, and which files and folders there are bases.
//!
//! ComfyUI keeps whole checkpoints in `models/checkpoints`, A1111 and Forge in
//! `models/Stable-diffusion`, both diffusers folders in `models/diffusers` (ComfyUI's
//! `folder_paths.py`, A1111's `modules/sd_models.py`), and VAEs in files of their own in `models/vae`
//! and `models/VAE`; what lies beside those is something else. Everybody else has folders of their own, with sub-folders.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::printable;

use crate::base::is_diffusers_folder;

/// Folders inside folders; nobody sorts models deeper.
const MAX_DEPTH: usize = 8;
/// Files and folders that are looked at, in all: far more than a disk of models has.
const MAX_ENTRIES: usize = 20_000;
/// Bases that are listed: what a list can still be searched for.
pub const MAX_BASES: usize = 1000;
/// Characters of a title.
const MAX_TITLE: usize = 100;

/// How checkpoints in one file are called; those that cannot be read are listed with the reason.
const FILES: [&str; 4] = ["safetensors", "sft", "ckpt", "gguf"];

/// Folders of a program's models folder that checkpoints lie in, spelled plainly; the first two tell
/// such a folder.
const HOMES: [&str; 3] = ["checkpoints", "stablediffusion", "diffusers"];

/// The folder for VAEs in files of their own, spelled plainly, in a models folder or any other.
const VAES: &str = "vae";

/// Folders in which everything is something else, as ComfyUI, A1111, Forge and people call them;
/// spelled plainly.
const OTHERS: [&str; 35] = [
    "adetailer",
    "animatediffmodels",
    "audioencoders",
    "clip",
    "clipvision",
    "codeformer",
    "configs",
    "controlnet",
    "diffusionmodels",
    "embedding",
    "embeddings",
    "esrgan",
    "facerestoremodels",
    "gfpgan",
    "gligen",
    "hypernetwork",
    "hypernetworks",
    "insightface",
    "ipadapter",
    "latentupscalemodels",
    "locon",
    "lora",
    "loras",
    "lycoris",
    "modelpatches",
    "photomaker",
    "realesrgan",
    "stylemodels",
    "t2iadapter",
    "textencoder",
    "textencoders",
    "textualinversion",
    "upscalemodels",
    "upscalers",
    "vaeapprox",
];

/// What was found, in the order to list it.
#[derive(Debug, Default)]
pub struct Walk {
    /// Bases, and what looks like one.
    pub bases: Vec<Found>,
    /// Files of VAEs, and what lies among them.
    pub vaes: Vec<Found>,
    /// Folders that cannot be read, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Whether there is more than is listed.
    pub is_cut: bool,
}

/// A file or a folder that is a base, or looks like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its name for people, with the sub-folders that it lies in.
    pub title: String,
}

/// Looks through folders for bases.
pub fn walk(roots: &[PathBuf]) -> Walk {
    let mut walker = Walker::default();
    for root in roots {
        walker.root(root);
    }
    tell_apart(&mut walker.walk.bases);
    tell_apart(&mut walker.walk.vaes);
    walker.walk
}

/// Bases of one title are called as their files are, with the folder that those lie in.
fn tell_apart(bases: &mut [Found]) {
    let mut count = HashMap::<String, usize>::new();
    for base in &*bases {
        *count.entry(base.title.clone()).or_default() += 1;
    }
    for base in bases.iter_mut().filter(|base| count[&base.title] > 1) {
        let folder = base.path.parent().map(name).unwrap_or_default();
        base.title = printable(&format!("{folder}/{}", name(&base.path)), MAX_TITLE);
    }
}

#[derive(Default)]
struct Walker {
    walk: Walk,
    /// What was looked at, without links: so none is followed twice, and none in a circle.
    seen: HashSet<PathBuf>,
    entries: usize,
}

/// A folder that is to be looked at.
struct Level {
    path: PathBuf,
    /// What stands before the names in it.
    prefix: String,
    depth: usize,
    holds: Holds,
}

/// What a folder is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Bases,
    Vaes,
}

impl Holds {
    fn of(folder: &Path) -> Self {
        match &*plain_name(&name(folder)) {
            VAES => Self::Vaes,
            _ => Self::Bases,
        }
    }
}

impl Walker {
    fn root(&mut self, root: &Path) {
        if !self.is_new(root) {
            return;
        }
        if is_diffusers_folder(root) {
            // `.` has no name of its own.
            let place = fs::canonicalize(root).unwrap_or_else(|_gone| root.to_path_buf());
            return self.add(root.to_path_buf(), &name(&place), Holds::Bases);
        }
        // Of a whole program only its models: it has thousands of other files.
        let models = child(root, "models").filter(|models| has_home(models));
        let path = models.unwrap_or_else(|| root.to_path_buf());
        let is_program = has_home(&path);
        let top = Level {
            holds: Holds::of(&path),
            path,
            prefix: String::new(),
            depth: 0,
        };
        let mut queue = VecDeque::from(self.level(&top));
        if is_program {
            queue.retain(|folder| {
                let is_home = HOMES.contains(&&*plain_name(&name(&folder.path)));
                is_home || folder.holds == Holds::Vaes
            });
            for home in &mut queue {
                home.prefix.clear();
            }
        }
        while let Some(level) = queue.pop_front() {
            queue.extend(self.level(&level));
        }
    }

    /// Adds what is in a folder; the folders in it that are none.
    fn level(&mut self, level: &Level) -> Vec<Level> {
        let mut paths: Vec<PathBuf> = match fs::read_dir(&level.path) {
            // One more than is looked at, so that it is known that there is more.
            Ok(entries) => {
                let entries = entries.flatten().take(MAX_ENTRIES + 1);
                entries.map(|entry| entry.path()).collect()
            }
            Err(error) => {
                self.walk.unreadable.push((level.path.clone(), error));
                return Vec::new();
            }
        };
        paths.sort();
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for path in paths {
            if self.entries >= MAX_ENTRIES {
                self.walk.is_cut = true;
                break;
            }
            self.entries += 1;
            let name = name(&path);
            if name.starts_with('.') {
                continue;
            }
            let title = format!("{}{name}", level.prefix);
            if !path.is_dir() {
                // A link that leads nowhere as well: it is listed with the reason.
                if has_ending(&path) {
                    files.push((path, title));
                }
            } else if !self.is_new(&path) {
                // Somewhere else it is listed already.
            } else if level.holds == Holds::Bases && is_diffusers_folder(&path) {
                self.add(path, &title, Holds::Bases);
            } else if !is_other(&path, &name) && level.depth < MAX_DEPTH {
                let (holds, prefix) = match (level.holds, Holds::of(&path)) {
                    // There it begins anew: what lies in it is called as it is called there.
                    (Holds::Bases, Holds::Vaes) => (Holds::Vaes, String::new()),
                    (holds, _) => (holds, format!("{title}/")),
                };
                folders.push(Level {
                    path,
                    prefix,
                    depth: level.depth + 1,
                    holds,
                });
            }
        }
        // After the folders, which had their ids before single files were listed.
        for (path, title) in files {
            if self.is_new(&path) {
                let title = title.rsplit_once('.').map_or(&*title, |(stem, _)| stem);
                let holds = match is_vae_file(&path) {
                    true => Holds::Vaes,
                    false => level.holds,
                };
                self.add(path, title, holds);
            }
        }
        folders
    }

    fn add(&mut self, path: PathBuf, title: &str, holds: Holds) {
        let list = match holds {
            Holds::Bases => &mut self.walk.bases,
            Holds::Vaes => &mut self.walk.vaes,
        };
        if list.len() >= MAX_BASES {
            self.walk.is_cut = true;
            return;
        }
        let title = printable(title, MAX_TITLE);
        list.push(Found { path, title });
    }

    fn is_new(&mut self, path: &Path) -> bool {
        // What leads nowhere leads in no circle.
        let place = fs::canonicalize(path).unwrap_or_else(|_nowhere| path.to_path_buf());
        self.seen.insert(place)
    }
}

/// Whether a folder is the models folder of a program.
fn has_home(folder: &Path) -> bool {
    HOMES[..2].iter().any(|home| child(folder, home).is_some())
}

/// A folder in a folder, however its name is spelled.
fn child(folder: &Path, plain: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.take(MAX_ENTRIES).map(|entry| entry.path());
    paths.find(|path| plain_name(&name(path)) == plain && path.is_dir())
}

/// Whether a file's name ends as that of a checkpoint or a VAE does.
fn has_ending(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    // Neither a pipe nor a device, whose reading may not end.
    let is_special = || fs::metadata(path).is_ok_and(|info| !info.is_file());
    FILES.contains(&&*extension.to_ascii_lowercase()) && !is_special()
}

/// `name.vae.safetensors` is what A1111 loads beside `name.safetensors`.
fn is_vae_file(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.to_ascii_lowercase().ends_with(".vae")
}

/// Whether a folder holds something else, LoRAs for one.
fn is_other(folder: &Path, name: &str) -> bool {
    OTHERS.contains(&&*plain_name(name)) || folder.join("adapter_config.json").is_file()
}

/// "Stable-diffusion", "stable_diffusion" and "Stable Diffusion" as one.
fn plain_name(name: &str) -> String {
    let letters = name
        .chars()
        .filter(|letter| !matches!(letter, '-' | '_' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// What a base is called, or a folder: by itself, without the ending of a file.
pub fn name_of(path: &Path) -> String {
    let name = name(path);
    match has_ending(path).then(|| name.rsplit_once('.')).flatten() {
        Some((stem, _)) => stem.to_owned(),
        None => name,
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes empty files, with the folders that they lie in.
    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn titles(walk: &Walk) -> Vec<&str> {
        walk.bases.iter().map(|found| &*found.title).collect()
    }

    fn vaes(folder: &Path) -> Vec<String> {
        let walk = walk(&[folder.to_path_buf()]);
        walk.vaes.into_iter().map(|found| found.title).collect()
    }

    fn walked(folder: &Path) -> Vec<String> {
        let walk = walk(&[folder.to_path_buf()]);
        titles(&walk).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn comfyui_keeps_them_in_checkpoints_and_diffusers() {
        let comfy = tree(&[
            "main.py",
            "output/picture.safetensors",
            "custom_nodes/pack/weights.safetensors",
            "models/checkpoints/b.safetensors",
            "models/checkpoints/xl/a.safetensors",
            "models/checkpoints/put_checkpoints_here",
            "models/diffusers/sd/model_index.json",
            "models/diffusers/sd/unet/diffusion_pytorch_model.safetensors",
            "models/loras/c.safetensors",
            "models/vae/d.safetensors",
            "models/some_node/e.safetensors",
        ]);
        let expected = ["b", "sd", "xl/a"];
        assert_eq!(walked(comfy.path()), expected, "of the program's folder");
        let models = comfy.path().join("models");
        assert_eq!(walked(&models), expected, "of its models folder");
        let checkpoints = models.join("checkpoints");
        assert_eq!(walked(&checkpoints), ["b", "xl/a"], "of the folder itself");
        assert_eq!(vaes(comfy.path()), ["d"], "of the program's folder");
        assert_eq!(vaes(&models.join("vae")), ["d"], "of the folder itself");
        assert_eq!(walked(&models.join("vae")), [""; 0], "which holds no base");
    }

    #[test]
    fn a1111_keeps_them_in_stable_diffusion() {
        let forge = tree(&[
            "webui.py",
            "venv/lib/weights.safetensors",
            "models/Stable-diffusion/a.safetensors",
            "models/Stable-diffusion/a.vae.safetensors",
            "models/Stable-diffusion/old/b.ckpt",
            "models/Lora/c.safetensors",
            "models/ESRGAN/d.pth",
            "models/VAE/sub/e.safetensors",
            "models/VAE-approx/f.safetensors",
        ]);
        assert_eq!(walked(forge.path()), ["a", "old/b"], "no VAE, no LoRA");
        let expected = ["a.vae", "sub/e"];
        assert_eq!(vaes(forge.path()), expected, "beside its base, and apart");
    }

    #[test]
    fn plain_folders_are_walked_but_for_what_is_something_else() {
        let plain = tree(&[
            "v1.5.safetensors",
            "anime/one.SAFETENSORS",
            "anime/two/unet/config.json",
            "anime/two/text_encoder/model.safetensors",
            "anime/.cache/hidden.safetensors",
            "Loras/l.safetensors",
            "trained/adapter_config.json",
            "trained/adapter_model.safetensors",
            "vae/v.safetensors",
            "text encoders/t.safetensors",
            "flux.gguf",
            "notes.txt",
            "._v1.5.safetensors",
        ]);
        let expected = ["flux", "v1.5", "anime/two", "anime/one"];
        assert_eq!(
            walked(plain.path()),
            expected,
            "and no folder is walked into twice"
        );
        assert_eq!(vaes(plain.path()), ["v"], "in a folder that is called so");
    }

    #[test]
    fn a_folder_that_is_a_base_itself_is_listed() {
        let folder = tree(&["sd15/model_index.json", "sd15/unet/config.json"]);
        assert_eq!(walked(&folder.path().join("sd15")), ["sd15"], "by its name");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once() {
        use std::os::unix::fs::symlink;
        let disk = tree(&["a.safetensors", "deep/b.safetensors"]);
        let folder = tree(&["c.safetensors"]);
        let link = |to: &Path, name: &str| symlink(to, folder.path().join(name)).unwrap();
        link(disk.path(), "disk");
        link(disk.path(), "disk-again");
        link(folder.path(), "circle");
        link(&disk.path().join("a.safetensors"), "z.safetensors");
        link(Path::new("nowhere"), "broken.safetensors");
        let found = walked(folder.path());
        let expected = ["broken", "c", "z", "disk/deep/b"];
        assert_eq!(
            found, expected,
            "each file once, under the first of its names"
        );
        let roots = [folder.path().to_path_buf(), disk.path().to_path_buf()];
        assert_eq!(titles(&walk(&roots)), expected, "of several folders too");
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let far = "x/".repeat(MAX_DEPTH) + "in.safetensors";
        let too_far = "x/".repeat(MAX_DEPTH + 1) + "out.safetensors";
        let deep = walked(tree(&[&far, &too_far]).path());
        assert_eq!(deep.len(), 1, "as far as it goes: {deep:?}");
        assert!(deep[0].ends_with("x/in"), "{deep:?}");

        let names: Vec<String> = (0..=MAX_BASES)
            .map(|at| format!("{at}.safetensors"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let many = tree(&names);
        let walk = walk(&[many.path().to_path_buf()]);
        assert_eq!(walk.bases.len(), MAX_BASES, "and no more");
        assert!(walk.is_cut, "which is known");
    }

    #[test]
    fn what_is_called_the_same_can_be_told_apart() {
        let folder = tree(&["a/one.ckpt", "a/one.safetensors", "b/one.safetensors"]);
        let roots = ["a", "b"].map(|root| folder.path().join(root));
        let walk = walk(&roots);
        let expected = ["a/one.ckpt", "a/one.safetensors", "b/one.safetensors"];
        assert_eq!(titles(&walk), expected, "by folder and ending");
    }

    #[test]
    fn a_folder_that_is_gone_is_told() {
        let folder = tree(&[]);
        let walk = walk(&[folder.path().join("gone")]);
        assert_eq!(walk.unreadable.len(), 1, "{walk:?}");
        assert!(walk.bases.is_empty(), "{walk:?}");
    }
}
