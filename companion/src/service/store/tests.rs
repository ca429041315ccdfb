//! What must be true of every store, of the one in SQLite.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use mimeo_protocol::{BaseId, BlobId, CopierId, FileId, FileKind, JobId};
use mimeo_service::conformance::Rig;
use mimeo_service::{Store as _, every_store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::{NewCopier, NewFile, SqliteStore};
use crate::service::folder::DataFolder;

struct Data {
    _root: TempDir,
    folder: Arc<DataFolder>,
    files: BTreeMap<FileId, PathBuf>,
}

impl Data {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            folder: Arc::new(DataFolder::open(root.path()).unwrap()),
            _root: root,
            files: BTreeMap::new(),
        }
    }

    fn file(&self, kind: FileKind, path: &str) -> NewFile {
        DataFolder::write(&self.folder.file(path), b"LoRA").unwrap();
        NewFile {
            kind,
            name: "x.safetensors".to_owned(),
            path: path.to_owned(),
            bytes: 4,
            sha256: BlobId::from_sha256([1; 32]),
        }
    }
}

impl Rig for Data {
    type Store = SqliteStore;

    async fn open(&mut self) -> SqliteStore {
        SqliteStore::open(Arc::clone(&self.folder)).await.unwrap()
    }

    async fn damage(&mut self, job: JobId) {
        let options = SqliteConnectOptions::new().filename(self.folder.database());
        let mut connection: SqliteConnection = options.connect().await.unwrap();
        sqlx::query("UPDATE train_jobs SET job = x'c1' WHERE id = ?1")
            .bind(job.0 as i64)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    async fn keep_file(&mut self, store: &SqliteStore, job: JobId) -> FileId {
        let path = format!("results/{job}/x.safetensors");
        let file = self.file(FileKind::Lora, &path);
        let id = store.add_file(job, &file).await.unwrap().id;
        self.files.insert(id, self.folder.file(&path));
        id
    }

    async fn keep_copier(&mut self, store: &SqliteStore) -> (CopierId, FileId) {
        let path = "copiers/x_copy.safetensors";
        let copier = NewCopier {
            fingerprint: "0".repeat(64),
            name: "copier".parse().unwrap(),
            original: Some(BlobId::from_sha256([1; 32])),
            kind: mimeo_protocol::CopierKind::Style,
            base: BaseId::bundled(),
            fidelity: None,
            steps: 300,
            file: self.file(FileKind::Copier, path),
        };
        let id = store.add_copier(&copier).await.unwrap();
        store.tell_copiers().await.unwrap();
        let copiers = store.copiers().await.unwrap();
        let file = copiers[0].file.id;
        self.files.insert(file, self.folder.file(path));
        (id, file)
    }

    async fn keep_lora(&mut self, _: &SqliteStore, lora: &[u8]) {
        let place = self.folder.lora(mimeo_service::blob::id_of(lora));
        DataFolder::write(&place, lora).unwrap();
    }

    async fn has_file(&self, file: FileId) -> bool {
        self.files[&file].is_file()
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

every_store!(Data::new(), wait);
