//! The data folder: everything that outlives the service.
//!
//! ```text
//! mimeo.db            jobs, events, queue (SQLite)
//! blobs/ab/abcd…      pictures and previews, by their SHA-256
//! results/7/x.safetensors
//! loras/ab/abcd…      uploaded LoRAs, by their SHA-256
//! copiers/x_copy-<start of its fingerprint>.safetensors
//! states/7.safetensors       from where an interrupted job goes on
//! reserve             room that is given up when the disk is full
//! models/             bases, unless others are chosen
//! bases               what is known of them; can be deleted, then they are read again
//! lock                held while a service uses the folder
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use mimeo_protocol::{BlobId, JobId};

use crate::exit::BadInput;
use crate::output;

/// Enough for the database to note that a job is paused, several times over.
const RESERVE_BYTES: usize = 2 << 20;

/// A data folder that this process has for itself.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Where data belongs if the user does not say.
    pub fn default_root() -> PathBuf {
        use etcetera::BaseStrategy as _;
        let places = etcetera::base_strategy::choose_native_strategy();
        // Without a home folder, as in some containers.
        let root = places.map_or_else(|_| std::env::temp_dir(), |places| places.data_dir());
        root.join("mimeo")
    }

    /// Takes the folder, creating what is missing.
    ///
    /// # Errors
    /// When it cannot be written to, or another Mimeo uses it.
    pub fn open(root: &Path) -> Result<Self, BadInput> {
        let unusable = |error: io::Error| {
            let why =
                format!("this data folder cannot be used ({error}); choose another with --data");
            BadInput::file(why, root)
        };
        create_private(root).map_err(unusable)?;
        let mut options = File::options();
        let lock = options.create(true).append(true).open(root.join("lock"));
        let lock = lock.map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => BadInput::file(
                "another Mimeo uses this data folder; use that one, or choose another with --data",
                root,
            ),
            TryLockError::Error(error) => unusable(error),
        })?;
        for part in ["blobs", "loras", "results", "copiers", "states", "models"] {
            fs::create_dir_all(root.join(part)).map_err(unusable)?;
        }
        let folder = Self {
            root: root.to_path_buf(),
            _lock: lock,
        };
        // Not fatal: a disk that is full already is told when it matters.
        _ = folder.take_reserve();
        Ok(folder)
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("mimeo.db")
    }

    /// Where bases are looked for if the user does not say.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Where it is kept what is known of bases.
    pub fn bases(&self) -> PathBuf {
        self.root.join("bases")
    }

    /// Where pictures are.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The place of a picture.
    pub fn blob(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.blobs().join(&name[..2]).join(name)
    }

    /// Where uploaded LoRAs are.
    pub fn loras(&self) -> PathBuf {
        self.root.join("loras")
    }

    /// The place of an uploaded LoRA.
    pub fn lora(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.loras().join(&name[..2]).join(name)
    }

    /// A file by its place below the folder, as the database knows it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where the results of a job are.
    pub fn results(&self, job: JobId) -> PathBuf {
        self.root.join("results").join(job.to_string())
    }

    /// Where an interrupted job's state is.
    pub fn state(&self, job: JobId) -> PathBuf {
        self.root.join("states").join(format!("{job}.safetensors"))
    }

    /// Writes a file, whole or not at all, creating its folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        output::replace(path, bytes)
    }

    /// Gives up the reserve, so that the database can still note that the disk is full.
    pub fn release_reserve(&self) {
        // If it is gone already, there is nothing to give up.
        _ = fs::remove_file(self.root.join("reserve"));
    }

    /// Takes the reserve again: there is room only if this succeeds.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_reserve(&self) -> io::Result<()> {
        let path = self.root.join("reserve");
        let length = fs::metadata(&path).map_or(0, |info| info.len());
        if length == RESERVE_BYTES as u64 {
            return Ok(());
        }
        // Written, not only made long: a sparse file reserves nothing.
        Self::write(&path, &vec![0x4d; RESERVE_BYTES])
    }
}

/// Pictures and prompts are nobody else's business.
fn create_private(root: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(root)
}
