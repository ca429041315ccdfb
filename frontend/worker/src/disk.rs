//! Files that stay when the tab is closed: the origin's private file system (OPFS).
//!
//! <https://fs.spec.whatwg.org/>. A write goes to a copy that replaces the file when it is complete,
//! so what is there is whole, whenever the tab is closed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use futures_util::lock::Mutex;
use js_sys::{Array, Reflect, Uint8Array};
use mimeo_checkpoint::{AsyncReadAt, BoxFuture, CheckpointError};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemWritableFileStream, WorkerGlobalScope,
};

use crate::desk::Storage;

/// The folder of everything.
const ROOT: &str = "mimeo";

/// A file that could not be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiskError {
    /// The browser gives this page no more room.
    #[error("the browser gives this page no more room. Delete runs, or free some disk space.")]
    Full,
    /// The file is not the one that was opened any more.
    #[error("the file has changed, or is gone. Choose it again.")]
    Changed,
    /// Something else.
    #[error("the browser's storage failed ({reason}). Reload the page.")]
    Failed {
        /// What it says.
        reason: String,
    },
}

impl From<JsValue> for DiskError {
    fn from(error: JsValue) -> Self {
        let text = |key: &str| {
            let value = Reflect::get(&error, &key.into()).ok();
            value
                .and_then(|value| value.as_string())
                .unwrap_or_default()
        };
        match text("name").as_str() {
            "QuotaExceededError" => Self::Full,
            "NotReadableError" | "NotFoundError" => Self::Changed,
            name => Self::Failed {
                reason: format!("{name}: {}", text("message")),
            },
        }
    }
}

/// Files by path, with `/`.
pub struct Disk {
    /// None where the browser keeps nothing for this page, as in private windows.
    root: Option<FileSystemDirectoryHandle>,
    /// What is kept then, until the tab is closed.
    in_memory: RefCell<HashMap<String, Blob>>,
    /// Held while a file is read, takes another one's place or is removed: a browser stops reading a
    /// file that is not the one that was opened any more.
    in_place: Mutex<()>,
}

impl Disk {
    /// Opens the page's own files.
    pub async fn open() -> Self {
        let root = Self::root().await;
        Self {
            root: root.ok(),
            in_memory: RefCell::default(),
            in_place: Mutex::new(()),
        }
    }

    async fn root() -> Result<FileSystemDirectoryHandle, DiskError> {
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let all: FileSystemDirectoryHandle =
            JsFuture::from(scope.navigator().storage().get_directory())
                .await?
                .unchecked_into();
        let root = folder_in(&all, ROOT, true).await?;
        // Seen now, and not at the first write: some browsers have only the half of it.
        let probe = file_in(&root, "probe", true).await?;
        let writable = JsFuture::from(probe.create_writable()).await?;
        JsFuture::from(
            writable
                .unchecked_into::<FileSystemWritableFileStream>()
                .close(),
        )
        .await?;
        Ok(root)
    }

    /// Whether files stay when the tab is closed.
    pub const fn keeps(&self) -> bool {
        self.root.is_some()
    }

    /// The file at a path, if there is one. It cannot be read any more once another one is in its
    /// place: this is for files that stay as they are.
    pub async fn blob(&self, path: &str) -> Option<Blob> {
        let Some(root) = &self.root else {
            return self.in_memory.borrow().get(path).cloned();
        };
        let (folders, name) = split(path);
        let folder = open_folder(root, folders, false).await.ok()?;
        let handle = file_in(&folder, name, false).await.ok()?;
        let file = JsFuture::from(handle.get_file()).await.ok()?;
        Some(file.unchecked_into())
    }

    /// The bytes of the file at a path, if there is one: of one version, whatever is written
    /// meanwhile.
    pub async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let _one_version = self.in_place.lock().await;
        let blob = self.blob(path).await?;
        bytes_of(&blob).await.ok()
    }

    /// The same for the page: it reads whenever it wants, and finds what was here now. The bytes are
    /// the browser's to keep, in memory or on disk, and take nothing of this program's memory.
    pub async fn copy(&self, path: &str) -> Option<Blob> {
        let _one_version = self.in_place.lock().await;
        let blob = self.blob(path).await?;
        let bytes = JsFuture::from(blob.array_buffer()).await.ok()?;
        Blob::new_with_buffer_source_sequence(&Array::of1(&bytes)).ok()
    }

    /// Writes a file, or puts it in the place of the one that is there.
    pub async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.write_blob(path, &blob_of(bytes)?).await
    }

    /// The same from a file that the page sent.
    pub async fn write_blob(&self, path: &str, blob: &Blob) -> Result<(), DiskError> {
        let Some(root) = &self.root else {
            self.in_memory
                .borrow_mut()
                .insert(path.to_owned(), blob.clone());
            return Ok(());
        };
        let (folders, name) = split(path);
        let folder = open_folder(root, folders, true).await?;
        let handle = file_in(&folder, name, true).await?;
        let writable: FileSystemWritableFileStream = JsFuture::from(handle.create_writable())
            .await?
            .unchecked_into();
        JsFuture::from(writable.write_with_blob(blob)?).await?;
        let _nobody_reads = self.in_place.lock().await;
        JsFuture::from(writable.close()).await?;
        Ok(())
    }

    /// The names of the files of a folder that were here before this tab.
    pub async fn names(&self, path: &str) -> Vec<String> {
        let mut names = Vec::new();
        let Some(root) = &self.root else {
            return names;
        };
        let Ok(folder) = open_folder(root, path, false).await else {
            return names;
        };
        let iterator = folder.keys();
        while let Ok(next) = iterator.next() {
            let Ok(next) = JsFuture::from(next).await else {
                break;
            };
            let value = Reflect::get(&next, &"value".into()).ok();
            match value.and_then(|value| value.as_string()) {
                Some(name) => names.push(name),
                None => break,
            }
        }
        names
    }

    /// Removes the files of a folder but those of certain names.
    pub async fn retain(&self, path: &str, keeps: impl Fn(&str) -> bool) {
        let names = self.names(path).await;
        for name in names.iter().filter(|name| !keeps(name)) {
            self.remove(&format!("{path}/{name}")).await;
        }
    }

    /// Removes a file or a folder, if it is there.
    pub async fn remove(&self, path: &str) {
        let Some(root) = &self.root else {
            let below = format!("{path}/");
            self.in_memory
                .borrow_mut()
                .retain(|known, _| known != path && !known.starts_with(&below));
            return;
        };
        let (folders, name) = split(path);
        let Ok(folder) = open_folder(root, folders, false).await else {
            return;
        };
        let options = web_sys::FileSystemRemoveOptions::new();
        options.set_recursive(true);
        let _nobody_reads = self.in_place.lock().await;
        // What is not there need not be removed.
        _ = JsFuture::from(folder.remove_entry_with_options(name, &options)).await;
    }
}

impl Storage for Rc<Disk> {
    type Error = DiskError;

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        Disk::read(self, path).await
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        Disk::write(self, path, bytes).await
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        Disk::names(self, folder).await
    }

    async fn remove(&self, path: &str) {
        Disk::remove(self, path).await;
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

async fn open_folder(
    root: &FileSystemDirectoryHandle,
    path: &str,
    create: bool,
) -> Result<FileSystemDirectoryHandle, DiskError> {
    let mut folder = root.clone();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        folder = folder_in(&folder, name, create).await?;
    }
    Ok(folder)
}

async fn folder_in(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    create: bool,
) -> Result<FileSystemDirectoryHandle, DiskError> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(create);
    let handle = folder.get_directory_handle_with_options(name, &options);
    Ok(JsFuture::from(handle).await?.unchecked_into())
}

async fn file_in(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    create: bool,
) -> Result<FileSystemFileHandle, DiskError> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    let handle = folder.get_file_handle_with_options(name, &options);
    Ok(JsFuture::from(handle).await?.unchecked_into())
}

/// A blob with a copy of these bytes.
pub fn blob_of(bytes: &[u8]) -> Result<Blob, DiskError> {
    Ok(Blob::new_with_u8_array_sequence(&Array::of1(
        &Uint8Array::from(bytes),
    ))?)
}

/// The bytes of a blob.
pub async fn bytes_of(blob: &Blob) -> Result<Vec<u8>, DiskError> {
    let buffer = JsFuture::from(blob.array_buffer()).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// A blob that is read piece by piece: of a checkpoint only a few tensors are in memory.
#[derive(Debug)]
pub struct BlobFile {
    name: String,
    /// The worker has one thread.
    blob: SendWrapper<Blob>,
    /// Where the part begins that was read last, and its bytes.
    ahead: Mutex<(u64, Vec<u8>)>,
}

/// Bytes that are read at once: asking a browser takes milliseconds, however little one asks for,
/// and a checkpoint has a thousand tensors.
const READ_AHEAD: u64 = 8 << 20;

impl BlobFile {
    /// Makes a blob readable; `name` is what messages call it.
    pub fn new(name: String, blob: Blob) -> Self {
        Self {
            name,
            blob: SendWrapper::new(blob),
            ahead: Mutex::default(),
        }
    }

    /// A range, if it was read before.
    async fn known(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let ahead = self.ahead.lock().await;
        let (start, bytes) = &*ahead;
        let at = usize::try_from(offset.checked_sub(*start)?).ok()?;
        let end = at.checked_add(length)?;
        bytes.get(at..end).map(<[u8]>::to_vec)
    }

    async fn read(&self, offset: u64, end: u64) -> Result<Vec<u8>, CheckpointError> {
        let file = || self.name.clone();
        let part = self.blob.slice_with_f64_and_f64(offset as f64, end as f64);
        let read = async { bytes_of(&part?).await };
        read.await.map_err(|error| match error {
            DiskError::Changed => CheckpointError::Changed { file: file() },
            other => CheckpointError::Io {
                file: file(),
                source: std::io::Error::other(other.to_string()),
            },
        })
    }
}

impl AsyncReadAt for BlobFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.blob.size() as u64
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>> {
        Box::pin(async move {
            mimeo_checkpoint::check_range(self, offset, length)?;
            if let Some(bytes) = self.known(offset, length).await {
                return Ok(bytes);
            }
            let end = offset + length as u64;
            if length as u64 >= READ_AHEAD {
                return self.read(offset, end).await;
            }
            let ahead = self
                .read(offset, (offset + READ_AHEAD).min(self.size()))
                .await?;
            *self.ahead.lock().await = (offset, ahead);
            self.known(offset, length)
                .await
                .ok_or_else(|| CheckpointError::Truncated {
                    expected: end,
                    found: offset,
                    file: self.name.clone(),
                })
        })
    }
}
