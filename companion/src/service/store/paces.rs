//! How fast steps went, for telling what a recipe will cost.

use mimeo_protocol::{Pace, codec};

use super::rows::from_bytes;
use super::{SqliteStore, StoreError};

impl SqliteStore {
    /// Remembers a measurement in place of the older one of its kind.
    pub async fn keep_pace(&self, device: &str, pace: &Pace) -> Result<(), StoreError> {
        let part = (&pace.base, pace.method, pace.phase);
        sqlx::query(
            "INSERT INTO paces (device, part, pace) VALUES (?1, ?2, ?3)
             ON CONFLICT (device, part) DO UPDATE SET pace = excluded.pace",
        )
        .bind(device)
        .bind(codec::encode(&part))
        .bind(codec::encode(pace))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What is known of a device.
    pub(super) async fn read_paces(&self, device: &str) -> Result<Vec<Pace>, StoreError> {
        let paces = sqlx::query_scalar("SELECT pace FROM paces WHERE device = ?1 ORDER BY part");
        let paces: Vec<Vec<u8>> = paces.bind(device).fetch_all(&self.pool).await?;
        // One that cannot be read will be measured again.
        let readable = paces.iter().filter_map(|pace| from_bytes(pace).ok());
        Ok(readable.collect())
    }
}
