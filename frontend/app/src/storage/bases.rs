//! Bases and VAEs that were picked from disk, each with the handle that leads to it where the browser gave one.
//!
//! In a database of their own: the bench's is there already, and would have to be made anew.

use idb::{Query, TransactionMode};
use js_sys::{Array, Uint8Array};
use mimeo_workbench::from_disk::PickedBase;
use wasm_bindgen::{JsCast as _, JsValue};

use super::open_with;

const DATABASE: &str = "mimeo-bases";
const STORE: &str = "bases";

/// All that are kept; none where nothing can be read.
pub async fn all() -> Vec<(PickedBase, Option<JsValue>)> {
    let kept = read().await.unwrap_or_default();
    kept.iter().filter_map(parse).collect()
}

fn parse(kept: &JsValue) -> Option<(PickedBase, Option<JsValue>)> {
    let kept: &Array = kept.dyn_ref()?;
    let bytes: Uint8Array = kept.get(0).dyn_into().ok()?;
    let handle = Some(kept.get(1)).filter(JsValue::is_object);
    Some((PickedBase::from_bytes(&bytes.to_vec())?, handle))
}

async fn read() -> Result<Vec<JsValue>, idb::Error> {
    let database = open_with(DATABASE, STORE).await?;
    let transaction = database.transaction(&[STORE], TransactionMode::ReadOnly)?;
    let store = transaction.object_store(STORE)?;
    let kept = store.get_all(None, None)?.await?;
    database.close();
    Ok(kept)
}

/// Keeps a base, in the place of what was kept of it before.
pub async fn keep(base: &PickedBase, handle: Option<&JsValue>) {
    let bytes = Uint8Array::from(&base.to_bytes()[..]);
    let with_handle = Array::of2(&bytes, &handle.cloned().unwrap_or_default());
    let mut kept = write(base.id(), Some(with_handle)).await;
    if kept.is_err() && handle.is_some() {
        // Some handles cannot be kept.
        kept = write(base.id(), Some(Array::of1(&bytes))).await;
    }
    if let Err(error) = kept {
        leptos::logging::warn!("a base from disk cannot be remembered: {error}");
    }
}

/// Forgets a base.
pub async fn forget(id: &str) {
    // Where nothing can be written, nothing was kept.
    _ = write(id, None).await;
}

/// Puts something in the place of what was kept of a base, or nothing.
async fn write(id: &str, value: Option<Array>) -> Result<(), idb::Error> {
    let database = open_with(DATABASE, STORE).await?;
    let transaction = database.transaction(&[STORE], TransactionMode::ReadWrite)?;
    let store = transaction.object_store(STORE)?;
    let key = JsValue::from_str(id);
    match value {
        Some(value) => _ = store.put(&value, Some(&key))?.await?,
        None => store.delete(Query::Key(key))?.await?,
    }
    transaction.commit()?.await?;
    database.close();
    Ok(())
}
