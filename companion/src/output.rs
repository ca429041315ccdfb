//! Files the program writes: claimed before the work starts, whole or not there at all.

use std::collections::HashSet;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::exit::BadInput;
use crate::progress::Report;
use crate::{interrupt, writing};

/// What to do about a file that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and say so.
    Refuse,
    /// Replace it, once the new one is complete.
    Replace,
}

impl From<bool> for Existing {
    /// From the flag `--overwrite`.
    fn from(overwrite: bool) -> Self {
        if overwrite {
            Self::Replace
        } else {
            Self::Refuse
        }
    }
}

/// What is written, which its name has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A LoRA or a copier.
    Lora,
    /// A picture or a sheet of them.
    Picture,
    /// Numbers for other programs.
    Json,
    /// Lines and letters.
    Drawing,
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Self::Lora => "safetensors",
            Self::Picture => "png",
            Self::Json => "json",
            Self::Drawing => "svg",
        }
    }

    /// Other programs go by the name: a LoRA without its ending is not even listed.
    fn check(self, path: &Path) -> Result<(), BadInput> {
        let wanted = self.extension();
        if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
        {
            return Ok(());
        }
        let what = match self {
            Self::Lora => "LoRAs are written as safetensors",
            Self::Picture => "pictures are written as PNG",
            Self::Json => "numbers are written as JSON",
            Self::Drawing => "charts are written as SVG",
        };
        let why = format!("{what}; choose a name that ends in .{wanted}");
        Err(BadInput::file(why, path))
    }
}

/// A file or folder that a command reads, and the flag that names it.
pub type Input<'a> = (&'static str, &'a Path);

/// The places of all files that a command writes: none of them is one of its inputs, and no two are
/// the same.
#[derive(Debug)]
pub struct Claims<'a> {
    existing: Existing,
    inputs: Vec<Input<'a>>,
    claimed: HashSet<PathBuf>,
}

impl<'a> Claims<'a> {
    /// Nothing is claimed yet.
    pub fn new(existing: Existing, inputs: impl IntoIterator<Item = Input<'a>>) -> Self {
        Self {
            existing,
            inputs: inputs.into_iter().collect(),
            claimed: HashSet::new(),
        }
    }

    /// Checks, before any work is done, that a file can be written at `path`.
    ///
    /// # Errors
    /// When an input or something else is there that must stay, the name has another ending than
    /// the format, another result goes there, the folder is missing, or it cannot be written to.
    pub fn claim(&mut self, path: &Path, format: Format) -> Result<OutFile, BadInput> {
        // First: that a file is read is more than that it exists.
        if let Some((flag, _)) = self.inputs.iter().find(|(_, input)| is_of(path, input)) {
            let why = format!(
                "{flag} reads this, and what is read is never written over; choose another name"
            );
            return Err(BadInput::file(why, path));
        }
        let claimed = OutFile::claim(path, format, self.existing)?;
        if !self.claimed.insert(claimed.identity()) {
            let why = "two results would go to this file, and one would be lost; choose two names";
            return Err(BadInput::file(why, path));
        }
        Ok(claimed)
    }
}

/// Whether a place is that of an input, under whatever name, or inside one that is a folder.
fn is_of(place: &Path, input: &Path) -> bool {
    // What is not there yet cannot be read. Only files are opened: a named pipe would wait.
    if !place.is_file() {
        return false;
    }
    if input.is_dir() {
        let folder = fs::canonicalize(input);
        let inside = fs::canonicalize(place);
        return folder
            .ok()
            .zip(inside.ok())
            .is_some_and(|(folder, inside)| inside.starts_with(folder));
    }
    // An input that cannot be opened cannot be read either, which is said later.
    input.is_file() && same_file::is_same_file(place, input).unwrap_or(false)
}

/// A place for a file, checked to be writable.
#[derive(Debug, Clone)]
pub struct OutFile {
    path: PathBuf,
    format: Format,
    existing: Existing,
}

/// A finished result that could not be put where it belongs, and is safe elsewhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "{reason}, so the result lies in {kept:?}; move it from there once the place you asked for can take it: {file:?}"
)]
pub struct KeptElsewhere {
    /// Why not there.
    reason: String,
    /// Where instead.
    kept: String,
    /// Where it should be.
    file: String,
}

/// While a result waits for room.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(2);

impl OutFile {
    fn claim(path: &Path, format: Format, existing: Existing) -> Result<Self, BadInput> {
        let refuse = |why: &str| Err(BadInput::file(why, path));
        let ends_as_folder = path.as_os_str().as_encoded_bytes().last();
        let ends_as_folder =
            ends_as_folder.is_some_and(|last| std::path::is_separator(char::from(*last)));
        if path.file_name().is_none() || ends_as_folder {
            return refuse("this names a folder; put a file's name behind it");
        }
        let mut place = path.to_path_buf();
        // Not `exists()`, which a broken link passes.
        match fs::symlink_metadata(&place) {
            Ok(info) => {
                if info.is_symlink() {
                    place = fs::canonicalize(&place).map_err(|error| {
                        let why = format!("the link leads nowhere ({error}); remove it");
                        BadInput::file(why, path)
                    })?;
                }
                if place.is_dir() {
                    return refuse("this is a folder; put a file's name behind it");
                }
                if !place.is_file() {
                    return refuse("there is something else than a file here; choose another name");
                }
                format.check(path)?;
                if existing == Existing::Refuse {
                    return refuse(
                        "this file exists already; choose another name or add --overwrite",
                    );
                }
            }
            Err(error) if is_free(&error) => format.check(path)?,
            Err(error) => {
                let why = format!("this name cannot be used ({error}); choose another one");
                return Err(BadInput::file(why, path));
            }
        }
        let claimed = Self {
            path: place,
            format,
            existing,
        };
        let folder = claimed.folder();
        if !folder.is_dir() {
            let why = "there is no such folder; create it or choose another one";
            return Err(BadInput::file(why, folder));
        }
        claimed.temporary().map_err(|error| {
            let why =
                format!("nothing can be written to this folder ({error}); choose another one");
            BadInput::file(why, folder)
        })?;
        Ok(claimed)
    }

    /// A free name beside this one: `x.safetensors` and `_copy` give `x_copy.safetensors`, or
    /// `x_copy_2.safetensors` if that exists.
    pub fn beside(&self, suffix: &str) -> Self {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = self.format.extension();
        let name = |count: u32| match count {
            1 => format!("{stem}{suffix}.{extension}"),
            _ => format!("{stem}{suffix}_{count}.{extension}"),
        };
        let free = (1..1000)
            .map(|count| self.path.with_file_name(name(count)))
            .find(|path| fs::symlink_metadata(path).is_err());
        Self {
            path: free.unwrap_or_else(|| self.path.with_file_name(name(1000))),
            format: self.format,
            existing: Existing::Refuse,
        }
    }

    /// For what a run has left that broke down: the place itself while it is free, else a free one
    /// beside it. What was whole is not replaced by a part.
    pub fn or_beside(self, suffix: &str) -> Self {
        if self.path.exists() {
            self.beside(suffix)
        } else {
            self
        }
    }

    /// The same for people and machines; JSON could not hold a path that is no Unicode.
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What two names of one place have in common.
    fn identity(&self) -> PathBuf {
        let folder = fs::canonicalize(self.folder());
        let folder = folder.unwrap_or_else(|_| self.folder().to_path_buf());
        // Where capitals make no difference, as on Windows and macOS, they do not save the first.
        let name = self.path.file_name().unwrap_or_default();
        folder.join(name.to_string_lossy().to_lowercase())
    }

    /// Puts the whole file there, or nothing, and tells where it lies. If its place cannot take it,
    /// it goes to the system's temporary folder; if that cannot either, it waits in memory until
    /// there is room, or the user types another place.
    ///
    /// # Errors
    /// [`KeptElsewhere`], which says where the result is instead.
    pub fn save(&self, bytes: &[u8], report: &mut Report) -> Result<String, KeptElsewhere> {
        let full = match self.try_save(bytes) {
            Err(NotSaved::Nowhere { reason }) => reason,
            Err(NotSaved::Elsewhere(kept)) => return Err(kept),
            Ok(()) => return Ok(self.name()),
        };
        // Before it is said that this is possible.
        interrupt::end_at_the_next();
        let typed = typed_lines();
        let remedy = match typed {
            Some(_) => {
                "Free some space and it is written by itself, or type another name and press Enter"
            }
            None => "Free some space and it is written by itself",
        };
        report.waiting(&format!(
            "{full}, and the system's temporary folder cannot take the result either, so it waits in memory. {remedy}; Ctrl+C gives it up: {:?}",
            self.name()
        ));
        let mut place = self.clone();
        loop {
            let line = wait_for_line(typed).unwrap_or_default();
            let name = line.trim();
            if !name.is_empty() {
                match Self::claim(Path::new(name), self.format, Existing::Refuse) {
                    Ok(other) => place = other,
                    Err(error) => report.waiting(&error.to_string()),
                }
            }
            match place.try_save(bytes) {
                Err(NotSaved::Nowhere { .. }) => {}
                Err(NotSaved::Elsewhere(kept)) => return Err(kept),
                Ok(()) => return Ok(place.name()),
            }
        }
    }

    fn try_save(&self, bytes: &[u8]) -> Result<(), NotSaved> {
        let _writing = writing::begin();
        let Err(error) = self.write(bytes) else {
            return Ok(());
        };
        let reason = reason(&error);
        Err(match self.rescue(bytes) {
            Ok(kept) => NotSaved::Elsewhere(KeptElsewhere {
                reason,
                kept: kept.display().to_string(),
                file: self.name(),
            }),
            Err(_) => NotSaved::Nowhere { reason },
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        write(&self.path, self.existing, bytes)
    }

    fn rescue(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let temporary = tempfile::Builder::new()
            .prefix("mimeo-")
            .suffix(&format!(".{}", self.format.extension()))
            .tempfile()?;
        let (_, path) = filled(temporary, bytes)?
            .keep()
            .map_err(|error| error.error)?;
        Ok(path)
    }

    fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        temporary_in(self.folder())
    }
}

/// Why a result is not in its place.
enum NotSaved {
    /// It is elsewhere.
    Elsewhere(KeptElsewhere),
    /// It is in memory only.
    Nowhere {
        /// Why its place cannot take it.
        reason: String,
    },
}

/// Whether a name is one of nothing yet. A folder that is missing, or is none, is told as such.
fn is_free(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Lines that a person types, from the first call on; none where nobody can. A pipe is no person:
/// what it holds is meant for somebody else.
fn typed_lines() -> Option<&'static Mutex<Receiver<String>>> {
    static TYPED: LazyLock<Option<Mutex<Receiver<String>>>> = LazyLock::new(|| {
        if !io::stdin().is_terminal() {
            return None;
        }
        let (tell, lines) = sync_channel(1);
        let read = move || {
            for line in io::stdin().lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        };
        let reader = thread::Builder::new().name("stdin".to_owned());
        reader.spawn(read).ok().map(|_detached| Mutex::new(lines))
    });
    TYPED.as_ref()
}

/// Waits for the next look for room; less long if a line is typed meanwhile.
fn wait_for_line(typed: Option<&Mutex<Receiver<String>>>) -> Option<String> {
    let lines = typed.map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner));
    match lines.map(|lines| lines.recv_timeout(LOOK_FOR_ROOM_EVERY)) {
        Some(Ok(line)) => Some(line),
        Some(Err(RecvTimeoutError::Timeout)) => None,
        // Nobody types, or not any more (Ctrl+D).
        Some(Err(RecvTimeoutError::Disconnected)) | None => {
            thread::sleep(LOOK_FOR_ROOM_EVERY);
            None
        }
    }
}

/// The folder that a file is in, also of a name without one.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// In the same folder, so that the final rename is atomic; it goes away when dropped.
fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mimeo-");
    // Otherwise only the owner could read the result; the user's umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn write(path: &Path, existing: Existing, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let temporary = filled(temporary_in(folder)?, bytes)?;
    match existing {
        Existing::Replace => temporary.persist(path),
        Existing::Refuse => temporary.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Writes a file whole or not at all, over one that is there.
///
/// # Errors
/// What the system says; the old file is unharmed then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, Existing::Replace, bytes)
}

fn filled(mut file: NamedTempFile, bytes: &[u8]) -> io::Result<NamedTempFile> {
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Without this the new name may be gone after a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "your disk quota is used up".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "another program created a file of this name meanwhile".to_owned()
        }
        _ => format!("the file could not be written ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claims a LoRA's place for a command without inputs.
    fn claim(path: &Path, existing: Existing) -> Result<OutFile, BadInput> {
        Claims::new(existing, []).claim(path, Format::Lora)
    }

    fn report() -> Report {
        Report::new(false)
    }

    #[test]
    fn a_saved_file_is_whole_and_alone_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let out = claim(&path, Existing::Refuse).unwrap();
        assert!(!path.exists(), "claiming creates nothing");
        let place = out.save(b"whole", &mut report()).unwrap();
        assert_eq!(place, path.display().to_string(), "where it lies");
        assert_eq!(fs::read(&path).unwrap(), b"whole", "the content");
        let entries = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(entries, 1, "no temporary file is left");
    }

    #[test]
    fn an_existing_file_is_refused_or_replaced_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        fs::write(&path, "old").unwrap();
        let error = claim(&path, Existing::Refuse).unwrap_err();
        assert!(error.to_string().contains("--overwrite"), "{error}");
        let out = claim(&path, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old", "kept until the new one");
        out.save(b"new", &mut report()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new", "replaced");
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept_and_so_is_the_result() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let out = claim(&path, Existing::Refuse).unwrap();
        fs::write(&path, "theirs").unwrap();
        let KeptElsewhere { kept, .. } = out.save(b"ours", &mut report()).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"theirs", "not overwritten");
        assert_eq!(fs::read(&kept).unwrap(), b"ours", "nothing is lost");
        fs::remove_file(kept).unwrap();
    }

    #[test]
    fn a_free_name_is_found_beside_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let out = claim(&path, Existing::Refuse).unwrap();
        let first = out.beside("_copy");
        assert!(first.path.ends_with("x_copy.safetensors"), "{first:?}");
        first.save(b"", &mut report()).unwrap();
        let second = out.beside("_copy");
        assert!(second.path.ends_with("x_copy_2.safetensors"), "{second:?}");
    }

    #[test]
    fn what_broke_down_takes_a_place_only_while_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let out = claim(&path, Existing::Replace).unwrap();
        assert_eq!(out.clone().or_beside("_part").path, path, "free");
        fs::write(&path, "whole").unwrap();
        let beside = out.or_beside("_part").path;
        assert!(beside.ends_with("x_part.safetensors"), "{beside:?}");
    }

    #[test]
    fn a_name_has_the_ending_of_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for (name, format, is_right) in [
            ("x.safetensors", Format::Lora, true),
            ("X.SafeTensors", Format::Lora, true),
            ("x", Format::Lora, false),
            ("x.ckpt", Format::Lora, false),
            ("x.png", Format::Lora, false),
            (".safetensors", Format::Lora, false),
            ("x.safetensors/", Format::Lora, false),
            ("x.png", Format::Picture, true),
            ("x.PNG", Format::Picture, true),
            ("x.jpg", Format::Picture, false),
            ("x.safetensors", Format::Picture, false),
        ] {
            let path = folder.path().join(name);
            let claimed = Claims::new(Existing::Refuse, []).claim(&path, format);
            assert_eq!(claimed.is_ok(), is_right, "{name}: {claimed:?}");
        }
        let long = folder
            .path()
            .join(format!("{}.safetensors", "x".repeat(300)));
        let error = claim(&long, Existing::Refuse).unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
    }

    #[test]
    fn an_input_is_no_output_under_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let input = at("input.safetensors");
        fs::write(&input, "precious").unwrap();
        fs::create_dir_all(at("base/unet")).unwrap();
        fs::write(at("base/unet/weights.safetensors"), "precious").unwrap();
        fs::write(at("other.safetensors"), "old").unwrap();
        fs::hard_link(&input, at("hard.safetensors")).unwrap();
        let base = at("base");
        let inputs = [("--recipe", &*input), ("--base", &*base)];
        let mut claims = Claims::new(Existing::Replace, inputs);
        let mut same = vec![
            "input.safetensors",
            "./base/../input.safetensors",
            "hard.safetensors",
            "base/unet/weights.safetensors",
        ];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&input, at("link.safetensors")).unwrap();
            std::os::unix::fs::symlink(&base, at("linked")).unwrap();
            same.extend(["link.safetensors", "linked/unet/weights.safetensors"]);
        }
        for name in same {
            let error = claims.claim(&at(name), Format::Lora).unwrap_err();
            assert!(
                error.to_string().contains("never written over"),
                "{name}: {error}"
            );
        }
        claims
            .claim(&at("other.safetensors"), Format::Lora)
            .unwrap();
        claims
            .claim(&at("base/new.safetensors"), Format::Lora)
            .unwrap();
    }

    #[test]
    fn two_results_have_two_places() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        let mut claims = Claims::new(Existing::Replace, []);
        let mut claim = |name: &str| claims.claim(&folder.path().join(name), Format::Lora);
        claim("x.safetensors").unwrap();
        for name in ["x.safetensors", "in/../x.safetensors", "X.safetensors"] {
            let error = claim(name).unwrap_err();
            assert!(error.to_string().contains("two results"), "{error}");
        }
        claim("in/x.safetensors").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_instead_of_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (real, link) = (at("real.safetensors"), at("link.safetensors"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let out = claim(&link, Existing::Replace).unwrap();
        out.save(b"new", &mut report()).unwrap();
        assert!(link.is_symlink(), "still a link");
        assert_eq!(fs::read(&real).unwrap(), b"new", "its file was replaced");
    }
}
