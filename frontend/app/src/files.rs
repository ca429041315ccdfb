//! Files in and out: dropped, pasted, picked, downloaded.

use std::sync::Arc;

use js_sys::{Array, Promise, Uint8Array};
use leptos::prelude::*;
use mimeo_checkpoint::{AsyncReadAt, BoxFuture, CheckpointError, check_range};
use mimeo_image::decode_mask_file;
use mimeo_workbench::dropped::{Kind, Weights};
use mimeo_workbench::workbench::{MaskCommand, Where};
use mimeo_workbench::{Command, Picture, Refusal, Slot, dropped};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, DataTransfer, DataTransferItem, File, HtmlAnchorElement, Url,
};

use crate::bench::Bench;
use crate::handles;
use crate::link::{Link, Picked};
use crate::page::Page;
use crate::panel::recipe::from_disk;

/// A file with its bytes.
pub struct Read {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Largest file that is read into the page: a picture or a LoRA, never a checkpoint.
const MAX_BYTES: f64 = 600.0 * 1024.0 * 1024.0;

/// A file that was dropped, pasted or picked.
pub struct Taken {
    file: File,
    /// What leads to it after a reload, if the browser gives that.
    handle: Option<Promise>,
}

impl From<File> for Taken {
    fn from(file: File) -> Self {
        Self { file, handle: None }
    }
}

/// Files of a drop or a paste.
pub fn files_of(transfer: &DataTransfer) -> Vec<File> {
    items_of(transfer).map(|(file, _)| file).collect()
}

/// The same with their handles, which the browser gives only while they are dropped.
pub fn taken_of(transfer: &DataTransfer) -> Vec<Taken> {
    let taken = items_of(transfer).map(|(file, item)| {
        let is_weights = Kind::of(&file.name()) == Kind::Weights;
        let handle = is_weights.then(|| handles::dropped(&item)).flatten();
        Taken { file, handle }
    });
    taken.collect()
}

fn items_of(transfer: &DataTransfer) -> impl Iterator<Item = (File, DataTransferItem)> {
    let items = transfer.items();
    let items = (0..items.length()).filter_map(move |at| items.get(at));
    items.filter_map(|item| Some((item.get_as_file().ok().flatten()?, item)))
}

/// Takes in what was dropped, pasted or picked: pictures go into wells, a recipe or a LoRA of Mimeo's
/// brings its settings back, and a checkpoint is trained upon.
pub fn take(bench: Bench, link: Link, page: Page, slot: Option<Slot>, files: Vec<Taken>) {
    leptos::task::spawn_local(async move {
        let mut slot = slot;
        for taken in files {
            match Kind::of(&taken.file.name()) {
                Kind::Picture => match read(&taken.file).await {
                    Ok(file) => take_picture(bench, slot, file),
                    Err(why) => refuse(bench, slot, why),
                },
                Kind::Recipe => take_settings(bench, page, &taken.file).await,
                Kind::Weights => take_weights(bench, link, page, taken).await,
            }
            // The second of two files goes into the other well.
            slot = None;
        }
    });
}

/// A LoRA brings its settings, everything else may be a base.
async fn take_weights(bench: Bench, link: Link, page: Page, taken: Taken) {
    let refuse = |why| bench.refusal.set(Some(Refusal::new(Where::Recipe, why)));
    // What was said of the file before it, wherever that was.
    bench.refusal.set(None);
    link.adding.refusal.set(None);
    let source = Box::new(PartsOf::new(taken.file.clone()));
    match dropped::weights(source).await {
        Err(why) => refuse(why),
        Ok(Weights::Lora) => take_settings(bench, page, &taken.file).await,
        Ok(Weights::Base) if link.is_at_companion() => {
            refuse(dropped::for_the_companion(&taken.file.name()));
        }
        Ok(Weights::Base) => {
            let Taken { file, handle } = taken;
            let picked = async move {
                let handle = match handle {
                    Some(handle) => handles::arrived(handle).await,
                    None => None,
                };
                Ok(Picked::file(file, handle))
            };
            from_disk::take(bench, link, Box::pin(picked));
        }
    }
}

async fn take_settings(bench: Bench, page: Page, file: &File) {
    let dropped = async {
        let file = read(file).await?;
        dropped::read(&file.name, file.bytes).await
    };
    match dropped.await {
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

/// A file that is read piece by piece: of a checkpoint only the header is in memory.
struct PartsOf {
    name: String,
    file: File,
}

impl PartsOf {
    fn new(file: File) -> Self {
        let name = file.name();
        Self { name, file }
    }
}

impl AsyncReadAt for PartsOf {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.file.size() as u64
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>> {
        Box::pin(async move {
            check_range(self, offset, length)?;
            let changed = |_gone| CheckpointError::Changed {
                file: self.name.clone(),
            };
            let (start, end) = (offset as f64, (offset + length as u64) as f64);
            let part = self.file.slice_with_f64_and_f64(start, end);
            let bytes = JsFuture::from(part.map_err(changed)?.array_buffer()).await;
            Ok(Uint8Array::new(&bytes.map_err(changed)?).to_vec())
        })
    }
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
