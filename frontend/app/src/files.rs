//! Files in and out: dropped, pasted, picked, downloaded.

use std::sync::Arc;

use js_sys::{Array, Uint8Array};
use leptos::prelude::*;
use mimeo_image::decode_mask_file;
use mimeo_workbench::workbench::{MaskCommand, Where};
use mimeo_workbench::{Command, Picture, Refusal, Slot, dropped};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, DataTransfer, File, HtmlAnchorElement, Url};

use crate::bench::Bench;
use crate::page::Page;

/// A file with its bytes.
pub struct Read {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Largest file that is read into the page: a picture or a LoRA, never a checkpoint.
const MAX_BYTES: f64 = 600.0 * 1024.0 * 1024.0;

/// Files of a drop or a paste.
pub fn files_of(transfer: &DataTransfer) -> Vec<File> {
    let files = transfer.files();
    let files = files
        .iter()
        .flat_map(|files| (0..files.length()).map(|at| files.get(at)));
    files.flatten().collect()
}

/// Takes in what was dropped, pasted or picked: pictures go into wells, a recipe or a LoRA of Mimeo's
/// brings its settings back.
pub fn take(bench: Bench, page: Page, slot: Option<Slot>, files: Vec<File>) {
    leptos::task::spawn_local(async move {
        let mut slot = slot;
        for file in files {
            match read(&file).await {
                Ok(file) if dropped::is_settings(&file.name) => {
                    take_settings(bench, page, file).await
                }
                Ok(file) => take_picture(bench, slot, file),
                Err(why) => refuse(bench, slot, why),
            }
            // The second of two files goes into the other well.
            slot = None;
        }
    });
}

async fn take_settings(bench: Bench, page: Page, file: Read) {
    match dropped::read(&file.name, file.bytes).await {
        Ok(dropped) => {
            bench.apply_all(dropped.commands());
            page.brought_back.set(Some(dropped));
        }
        Err(why) => bench.refusal.set(Some(Refusal::new(Where::Recipe, why))),
    }
}

fn take_picture(bench: Bench, slot: Option<Slot>, file: Read) {
    match Picture::read(&file.name, file.bytes) {
        Ok(picture) => {
            let picture = Arc::new(picture);
            bench.apply(Command::Place { slot, picture });
        }
        Err(error) => refuse(bench, slot, format!("{}: {error}", file.name)),
    }
}

fn refuse(bench: Bench, slot: Option<Slot>, sentence: String) {
    let place = slot.map_or(Where::Pair, Where::Well);
    bench.refusal.set(Some(Refusal::new(place, sentence)));
}

/// Takes in a mask from a file.
pub fn take_mask(bench: Bench, page: Page, file: File) {
    leptos::task::spawn_local(async move {
        let read = match read(&file).await {
            Ok(file) => decode_mask_file(&file.bytes).map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        match read {
            Ok(file) => {
                let is_taken = bench.apply(Command::Mask(MaskCommand::Import(file.mask)));
                if is_taken && file.luminance.is_some() {
                    page.say("The file's alpha channel is the mask, its colours are not");
                }
                if let Some(note) = file.notes.first().filter(|_| is_taken) {
                    page.say(note.to_string());
                }
            }
            Err(why) => bench.refusal.set(Some(Refusal::new(Where::Mask, why))),
        }
    });
}

/// Reads a file.
///
/// # Errors
/// A sentence when it is too large or gone.
pub async fn read(file: &File) -> Result<Read, String> {
    let name = file.name();
    if file.size() > MAX_BYTES {
        return Err(format!(
            "{name} is larger than 600 MiB; this takes pictures and LoRAs. Choose another file."
        ));
    }
    let bytes = JsFuture::from(file.array_buffer()).await;
    let bytes =
        bytes.map_err(|_gone| format!("{name} cannot be read any more. Choose it again."))?;
    let bytes = Uint8Array::new(&bytes).to_vec();
    Ok(Read { name, bytes })
}

/// Offers bytes as a download.
pub fn download(name: &str, kind: &str, bytes: &[u8]) {
    let Some(address) = blob_address(kind, bytes) else {
        return;
    };
    download_from(name, &address);
    // The browser has begun by then.
    set_timeout(
        move || _ = Url::revoke_object_url(&address),
        std::time::Duration::from_secs(10),
    );
}

/// Downloads what is at an address.
pub fn download_from(name: &str, address: &str) {
    let link = document().create_element("a").ok();
    if let Some(link) = link.and_then(|link| link.dyn_into::<HtmlAnchorElement>().ok()) {
        link.set_href(address);
        link.set_download(name);
        link.click();
    }
}

/// An address of bytes within this page.
pub fn blob_address(kind: &str, bytes: &[u8]) -> Option<String> {
    let parts = Array::of1(&Uint8Array::from(bytes));
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let blob =
        Blob::new_with_u8_array_sequence_and_options(&JsValue::from(parts), &options).ok()?;
    Url::create_object_url_with_blob(&blob).ok()
}

/// Puts a text into the clipboard.
pub fn copy(page: Page, text: String) {
    leptos::task::spawn_local(async move {
        let written = window().navigator().clipboard().write_text(&text);
        match JsFuture::from(written).await {
            Ok(_) => page.say("Copied"),
            Err(_) => page.say(format!(
                "The browser does not let this page copy. Copy it by hand: {text}"
            )),
        }
    });
}
