//! Files in and out: dropped, pasted, picked, downloaded.

use std::sync::Arc;

use js_sys::{Array, Promise, Uint8Array};
use leptos::prelude::*;
use mimeo_checkpoint::{AsyncReadAt, BoxFuture, CheckpointError, check_range};
use mimeo_image::decode_mask_file;
use mimeo_protocol::BlobId;
use mimeo_workbench::dropped::{Kind, Weights};
use mimeo_workbench::gathered::{Gathered, Gathering};
use mimeo_workbench::lora::{self, Parcel};
use mimeo_workbench::picture::hash;
use mimeo_workbench::workbench::{MaskCommand, PairsCommand, Where};
use mimeo_workbench::{Command, Picture, Refusal, Slot, dropped, from_disk, gathered};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, DataTransfer, DataTransferItem, File, HtmlAnchorElement,
    HtmlInputElement, Url,
};

use crate::bench::Bench;
use crate::handles::{self, Choice};
use crate::link::{Link, Picked};
use crate::page::Page;
use crate::panel::recipe::from_disk as base_from_disk;

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
    /// Where it lies in the folder that it came with; its name where it came by itself.
    path: String,
    /// What leads to it after a reload, if the browser gives that.
    handle: Option<Promise>,
}

impl From<File> for Taken {
    fn from(file: File) -> Self {
        let path = file.name();
        Self {
            file,
            path,
            handle: None,
        }
    }
}

impl Taken {
    /// Its files, if it is a folder.
    async fn inside(&self) -> Option<Vec<Self>> {
        let handle = handles::arrived(self.handle.clone()?).await?;
        if handles::kind(&handle) == from_disk::Kind::Folder {
            Some(files_of_folder(&handle).await)
        } else {
            None
        }
    }
}

/// The files of a folder and of the folders in it.
async fn files_of_folder(folder: &JsValue) -> Vec<Taken> {
    let mut files = Vec::new();
    for (path, handle) in handles::files_in(folder).await.unwrap_or_default() {
        if let Some(file) = handles::file(&handle).await {
            files.push(Taken {
                path,
                ..Taken::from(file)
            });
        }
    }
    files
}

/// Files of a drop or a paste.
pub fn files_of(transfer: &DataTransfer) -> Vec<File> {
    items_of(transfer).map(|(file, _)| file).collect()
}

/// The same with their handles, which the browser gives only while they are dropped.
pub fn taken_of(transfer: &DataTransfer) -> Vec<Taken> {
    let taken = items_of(transfer).map(|(file, item)| {
        // Weights have no type, and neither have folders.
        let is_asked = file.type_().is_empty();
        let handle = is_asked.then(|| handles::dropped(&item)).flatten();
        Taken {
            handle,
            ..Taken::from(file)
        }
    });
    taken.collect()
}

fn items_of(transfer: &DataTransfer) -> impl Iterator<Item = (File, DataTransferItem)> {
    let items = transfer.items();
    let items = (0..items.length()).filter_map(move |at| items.get(at));
    items.filter_map(|item| Some((item.get_as_file().ok().flatten()?, item)))
}

/// Takes in what was dropped, pasted or picked: pictures go into wells, or become pairs where they are
/// many; a recipe or a LoRA of Mimeo's brings its settings back, and a checkpoint is trained upon.
pub fn take(bench: Bench, link: Link, page: Page, slot: Option<Slot>, files: Vec<Taken>) {
    leptos::task::spawn_local(async move {
        let mut slot = slot;
        let mut single = Vec::new();
        for taken in files {
            match taken.inside().await {
                Some(files) => {
                    let paths: Vec<_> = files.iter().map(|taken| taken.path.as_str()).collect();
                    if gathered::is_set(&paths, false) {
                        single.extend(files);
                    } else {
                        refuse(bench, slot, gathered::without_pictures(&taken.path));
                    }
                }
                None => single.push(taken),
            }
        }
        let has_several = bench.with(|bench| bench.set().has_several());
        let paths: Vec<_> = single.iter().map(|taken| taken.path.as_str()).collect();
        if slot.is_none() && gathered::is_set(&paths, has_several) {
            let (files, others) = single
                .into_iter()
                .partition(|taken| gathered::is_of_set(&taken.path));
            gather(bench, page, files).await;
            single = others;
        }
        if slot.is_none() && is_captions(bench, &single) {
            take_captions(bench, single).await;
            return;
        }
        for taken in single {
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

/// Whether files are captions of pictures that are on the bench already.
fn is_captions(bench: Bench, files: &[Taken]) -> bool {
    let has_picture = bench.with(|bench| {
        let mut pairs = bench.set().pairs().iter();
        pairs.any(|pair| pair.frame().is_some())
    });
    let mut paths = files.iter().map(|taken| taken.path.as_str());
    has_picture && !files.is_empty() && paths.all(gathered::is_caption)
}

/// Gives captions to the pictures that they are named after.
async fn take_captions(bench: Bench, files: Vec<Taken>) {
    let mut captions = Vec::with_capacity(files.len());
    for taken in files {
        let read = read(&taken.file).await;
        match read.and_then(|read| gathered::caption(&taken.path, &read.bytes)) {
            Ok(text) => captions.push((taken.path, text)),
            Err(why) => refuse(bench, None, why),
        }
    }
    if !captions.is_empty() {
        bench.apply(Command::Pairs(PairsCommand::CaptionFiles(captions)));
    }
}

/// Takes in files as pairs, however few they are.
pub fn take_set(bench: Bench, page: Page, files: Vec<Taken>) {
    leptos::task::spawn_local(gather(bench, page, files));
}

/// Lets the user pick a folder, and takes in its files as pairs.
pub fn pick_set(bench: Bench, page: Page) {
    leptos::task::spawn_local(async move {
        let files = match handles::pick(from_disk::Kind::Folder).await {
            Some(Choice::Handle(folder)) => files_of_folder(&folder).await,
            Some(Choice::Files(files)) => files.into_iter().map(Taken::from).collect(),
            None => return,
        };
        gather(bench, page, files).await;
    });
}

/// Reads files one by one, so that the page goes on in between, and puts what they become behind the
/// pairs that are there.
async fn gather(bench: Bench, page: Page, files: Vec<Taken>) {
    let paths: Vec<_> = files.iter().map(|taken| taken.path.as_str()).collect();
    let mut gathering = Gathering::of(&paths);
    let wanted = gathering.wanted();
    page.say(format!("Reading {} files…", wanted.len()));
    for file in wanted {
        let content = read(&files[file].file).await;
        gathering.put(file, content.map(|read| read.bytes));
    }
    let Gathered { pairs, left, said } = gathering.finish();
    page.left_files.set(left);
    page.say(said);
    if !pairs.is_empty() {
        bench.apply(Command::Pairs(PairsCommand::Add(pairs)));
    }
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
            let Taken { file, handle, .. } = taken;
            let picked = async move {
                let handle = match handle {
                    Some(handle) => handles::arrived(handle).await,
                    None => None,
                };
                Ok(Picked::file(file, handle))
            };
            base_from_disk::take(bench, link, Box::pin(picked));
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
    /// The page has one thread.
    file: SendWrapper<File>,
}

impl PartsOf {
    fn new(file: File) -> Self {
        let name = file.name();
        let file = SendWrapper::new(file);
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

/// The address of a picture that may become another one; the one before is given up then.
pub fn address_of(
    picture: impl Fn() -> Option<Arc<Picture>> + Copy + Send + Sync + 'static,
) -> Memo<Option<String>> {
    let id = Memo::new(move |_| picture().map(|picture| picture.id));
    let give_up = |address: &str| _ = Url::revoke_object_url(address);
    let address = Memo::new(move |old: Option<&Option<String>>| {
        id.get();
        if let Some(Some(old)) = old {
            give_up(old);
        }
        blob_address("", &untrack(picture)?.file)
    });
    on_cleanup(move || {
        if let Some(Some(address)) = address.try_get_untracked() {
            give_up(&address);
        }
    });
    address
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

/// The files that were picked in a field.
pub fn picked(input: &HtmlInputElement) -> Vec<File> {
    let files = input.files();
    let files = files
        .iter()
        .flat_map(|files| (0..files.length()).map(|at| files.get(at)));
    files.flatten().collect()
}

/// Sends one LoRA; its hash, and what of it will not be applied.
///
/// - `config`: its `adapter_config.json`
///
/// # Errors
/// One sentence: why it cannot be used, and what to do.
pub async fn send_lora(
    link: Link,
    file: &File,
    config: Option<&File>,
) -> Result<(BlobId, Option<String>), String> {
    let name = file.name();
    let bytes = read(file).await?.bytes;
    let config = match config {
        Some(config) => Some(read(config).await?.bytes),
        None => None,
    };
    let Parcel { bytes, remark } = lora::pack(&name, bytes, config.as_deref()).await?;
    let lora = hash(&bytes);
    let sent = link.upload_lora(lora, &bytes).await;
    // The other side does not know which of several files it refuses.
    sent.map_err(|why| format!("{name}: {why}"))?;
    Ok((lora, remark))
}
