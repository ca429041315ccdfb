//! Finished copiers, which other jobs on the same picture build upon.

use mimeo_protocol::{
    BaseId, BlobId, CopierChoice, CopierId, CopierInfo, CopierKind, FileKind, JobId, JobName,
    TrainJob, codec,
};
use mimeo_service::{ImportedCopier, copier_file_name};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::rows::{file_from_row, from_bytes, from_text, id_from_row};
use super::{NewFile, SqliteStore, StoreError, insert_file};
use crate::console;
use crate::service::clock::now_millis;
use crate::service::folder::DataFolder;

/// A copier that is about to be known.
#[derive(Debug)]
pub struct NewCopier {
    /// Of base, picture and recipe.
    pub fingerprint: String,
    /// What to call it at first.
    pub name: JobName,
    /// The picture that it copies; none of a LoRA that was imported.
    pub original: Option<BlobId>,
    /// What it draws.
    pub kind: CopierKind,
    /// The base that it is for.
    pub base: BaseId,
    /// How well it copies, if that was measured.
    pub fidelity: Option<f64>,
    /// Steps it was trained for.
    pub steps: u32,
    /// Its file.
    pub file: NewFile,
}

impl SqliteStore {
    /// Makes a finished copier known; the one that was there already wins.
    pub async fn add_copier(&self, copier: &NewCopier) -> Result<CopierId, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let known: Option<i64> =
            sqlx::query_scalar("SELECT id FROM copiers WHERE fingerprint = ?1")
                .bind(&copier.fingerprint)
                .fetch_optional(&mut *transaction)
                .await?;
        if let Some(known) = known {
            return Ok(id_from_row(known, CopierId));
        }
        let file = insert_file(&mut transaction, None, &copier.file).await?;
        let id = sqlx::query_scalar(
            "INSERT INTO copiers
             (fingerprint, name, original, base, fidelity, steps, file, finished_millis, copier_kind)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
        )
        .bind(&copier.fingerprint)
        .bind(copier.name.as_str())
        // The column is older than imports, and not without a value.
        .bind(copier.original.map_or_else(String::new, |id| id.to_string()))
        .bind(copier.base.as_str())
        .bind(copier.fidelity)
        .bind(copier.steps)
        .bind(file.id.0 as i64)
        .bind(now_millis() as i64)
        .bind(codec::encode(&copier.kind))
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(id_from_row(id, CopierId))
    }

    /// The copier of this fingerprint.
    pub async fn copier_of(&self, fingerprint: &str) -> Result<Option<CopierId>, StoreError> {
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM copiers WHERE fingerprint = ?1")
            .bind(fingerprint)
            .fetch_optional(&self.pool)
            .await?;
        Ok(id.map(|id| id_from_row(id, CopierId)))
    }

    /// Every copier, the newest first. One that cannot be read stays where it is, and is told on the
    /// terminal.
    pub(super) async fn read_copiers(&self) -> Result<Vec<CopierInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT copiers.id AS copier_id, copiers.name AS copier_name, original, base, fidelity,
                    steps, finished_millis, copier_kind, files.*
             FROM copiers JOIN files ON files.id = copiers.file ORDER BY copiers.id DESC",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut copiers = Vec::new();
        for row in &rows {
            match copier_from_row(row) {
                Ok(copier) => copiers.push(copier),
                Err(error) => {
                    let id = id_from_row(row.try_get("copier_id")?, CopierId);
                    console::err(&format!(
                        "Note: copier {id} is left aside ({error}). Its file is in the folder copiers."
                    ));
                }
            }
        }
        Ok(copiers)
    }

    /// Copies an uploaded LoRA into the folder of copiers, and makes it known as one.
    pub(super) async fn add_imported(&self, copier: &ImportedCopier) -> Result<(), StoreError> {
        let (fingerprint, name) = (copier.fingerprint(), copier.name.clone());
        let path = format!("copiers/{name}_copy-{}.safetensors", &fingerprint[..12]);
        let (from, to) = (self.folder.lora(copier.lora), self.folder.file(&path));
        let copy = move || {
            let bytes = std::fs::read(from)?;
            DataFolder::write(&to, &bytes)?;
            Ok(bytes.len() as u64)
        };
        let copied = tokio::task::spawn_blocking(copy).await;
        let bytes = copied.unwrap_or_else(|_panicked| Err(std::io::ErrorKind::Other.into()));
        let copier = NewCopier {
            fingerprint,
            name,
            original: None,
            kind: copier.kind,
            base: copier.base.clone(),
            fidelity: None,
            steps: 0,
            file: NewFile {
                kind: FileKind::Copier,
                name: copier_file_name(&copier.name),
                path,
                bytes: bytes.map_err(StoreError::of_file)?,
                sha256: copier.lora,
            },
        };
        self.add_copier(&copier).await.map(drop)
    }

    pub(super) async fn write_copier_name(
        &self,
        id: CopierId,
        name: &JobName,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE copiers SET name = ?2 WHERE id = ?1")
            .bind(id.0 as i64)
            .bind(name.as_str())
            .execute(&self.pool)
            .await?;
        sqlx::query(
            "UPDATE files SET name = ?2 WHERE id = (SELECT file FROM copiers WHERE id = ?1)",
        )
        .bind(id.0 as i64)
        .bind(copier_file_name(name))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A job that is not over and builds upon this copier, or will once it begins.
    pub(super) async fn find_user_of_copier(
        &self,
        id: CopierId,
    ) -> Result<Option<JobId>, StoreError> {
        let rows = sqlx::query("SELECT id, job, copier FROM train_jobs WHERE is_over = 0");
        for row in rows.fetch_all(&self.pool).await? {
            let copier: Option<i64> = row.try_get("copier")?;
            // One that cannot be read does not begin.
            let given = from_bytes::<TrainJob>(row.try_get("job")?).map(|job| job.copier);
            let is_given = given.is_ok_and(|given| given == CopierChoice::Given(id));
            if is_given || copier == Some(id.0 as i64) {
                return Ok(Some(id_from_row(row.try_get("id")?, JobId)));
            }
        }
        Ok(None)
    }

    /// Forgets a copier; the place of its file, if it was there.
    pub(super) async fn take_copier(&self, id: CopierId) -> Result<Option<String>, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let file: Option<i64> =
            sqlx::query_scalar("DELETE FROM copiers WHERE id = ?1 RETURNING file")
                .bind(id.0 as i64)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(file) = file else { return Ok(None) };
        let path = sqlx::query_scalar("DELETE FROM files WHERE id = ?1 RETURNING path")
            .bind(file)
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(path)
    }
}

fn copier_from_row(row: &SqliteRow) -> Result<CopierInfo, StoreError> {
    Ok(CopierInfo {
        id: id_from_row(row.try_get("copier_id")?, CopierId),
        name: from_text(row, "copier_name")?,
        original: match row.try_get("original")? {
            "" => None,
            _ => Some(from_text(row, "original")?),
        },
        kind: match row.try_get("copier_kind")? {
            Some(bytes) => from_bytes(bytes)?,
            None => CopierKind::Identical,
        },
        base: from_text(row, "base")?,
        fidelity: row.try_get("fidelity")?,
        steps: row.try_get("steps")?,
        finished_millis: row.try_get::<i64, _>("finished_millis")? as u64,
        file: file_from_row(row)?,
    })
}
