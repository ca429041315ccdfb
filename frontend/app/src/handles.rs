//! Files and folders that the user picks, by handles that can be kept where the browser gives them: the
//! File System Access API, <https://wicg.github.io/file-system-access/>.

use js_sys::{Array, Function, Object, Promise, Reflect};
use leptos::prelude::{document, window};
use mimeo_workbench::from_disk::Kind;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DataTransferItem, File, HtmlInputElement};

/// Entries of a folder that are looked at, and of each folder in it: a checkpoint has some forty.
const MAX_ENTRIES: usize = 2_000;

/// What the user picked.
pub enum Choice {
    /// What leads to it.
    Handle(JsValue),
    /// Its files, where the browser gives no handles.
    Files(Vec<File>),
}

/// Lets the user pick, upon a click; none if nothing was picked.
pub async fn pick(kind: Kind) -> Option<Choice> {
    let options = object(&[("id", "mimeo-base".into())]);
    let picker = match kind {
        Kind::Folder => "showDirectoryPicker",
        Kind::File => {
            let endings = Array::of1(&".safetensors".into());
            let accept = object(&[("application/octet-stream", endings.into())]);
            let checkpoint = object(&[("accept", accept.into())]);
            // A fresh object takes any field.
            _ = Reflect::set(&options, &"types".into(), &Array::of1(&checkpoint));
            "showOpenFilePicker"
        }
    };
    let has_picker = Reflect::get(&window(), &picker.into()).is_ok_and(|it| it.is_function());
    if !has_picker {
        return pick_files(kind).await.map(Choice::Files);
    }
    // It fails when the user closes the picker.
    let picked = call(&window(), picker, &[options.into()]).await.ok()?;
    let picked = picked
        .dyn_ref::<Array>()
        .map(|files| files.get(0))
        .unwrap_or(picked);
    picked.is_object().then_some(Choice::Handle(picked))
}

/// The same with the input that every browser has. If the user closes it, nothing ever comes back.
async fn pick_files(kind: Kind) -> Option<Vec<File>> {
    let input = document().create_element("input").ok()?;
    let input: HtmlInputElement = input.dyn_into().ok()?;
    input.set_type("file");
    match kind {
        Kind::File => input.set_accept(".safetensors"),
        // An input takes any field.
        Kind::Folder => _ = Reflect::set(&input, &"webkitdirectory".into(), &JsValue::TRUE),
    }
    let picked = Promise::new(&mut |resolve, _| input.set_onchange(Some(&resolve)));
    input.click();
    JsFuture::from(picked).await.ok()?;
    let files = input.files()?;
    Some((0..files.length()).filter_map(|at| files.get(at)).collect())
}

/// The handle of something that was dropped, which has to be asked for while it is dropped.
pub fn dropped(item: &DataTransferItem) -> Option<Promise> {
    let ask = Reflect::get(item, &"getAsFileSystemHandle".into()).ok()?;
    let ask: Function = ask.dyn_into().ok()?;
    ask.call0(item).ok()?.dyn_into().ok()
}

/// What comes of a promise, if it is a handle.
pub async fn arrived(handle: Promise) -> Option<JsValue> {
    let handle = JsFuture::from(handle).await.ok()?;
    handle.is_object().then_some(handle)
}

/// What a handle leads to.
pub fn kind(handle: &JsValue) -> Kind {
    match text(handle, "kind").as_str() {
        "directory" => Kind::Folder,
        _ => Kind::File,
    }
}

/// What the file or folder is called.
pub fn name(handle: &JsValue) -> String {
    text(handle, "name")
}

/// Whether the browser lets this page read what a handle leads to.
pub async fn may_read(handle: &JsValue) -> bool {
    is_granted(handle, "queryPermission").await
}

/// The same; if need be it asks the user, which it does upon a click only.
pub async fn ask_to_read(handle: &JsValue) -> bool {
    is_granted(handle, "requestPermission").await
}

async fn is_granted(handle: &JsValue, ask: &str) -> bool {
    let mode = object(&[("mode", "read".into())]);
    let state = call(handle, ask, &[mode.into()]).await;
    state.is_ok_and(|state| state.as_string().as_deref() == Some("granted"))
}

/// The file that a handle leads to, or that it is; none if it is gone or cannot be read.
pub async fn file(handle: &JsValue) -> Option<File> {
    if let Some(file) = handle.dyn_ref::<File>() {
        return Some(file.clone());
    }
    call(handle, "getFile", &[]).await.ok()?.dyn_into().ok()
}

/// The files of a folder and of the folders in it, as handles with their paths, which begin with the
/// folder's name; none if it is gone or cannot be read.
pub async fn files_in(folder: &JsValue) -> Option<Vec<(String, JsValue)>> {
    let mut files = Vec::new();
    let top = name(folder);
    for entry in entries(folder).await? {
        let path = format!("{top}/{}", name(&entry));
        if kind(&entry) == Kind::File {
            files.push((path, entry));
            continue;
        }
        for inner in entries(&entry).await? {
            if kind(&inner) == Kind::File {
                files.push((format!("{path}/{}", name(&inner)), inner));
            }
        }
    }
    Some(files)
}

/// What is in a folder.
async fn entries(folder: &JsValue) -> Option<Vec<JsValue>> {
    let values = call(folder, "values", &[]).await.ok()?;
    let mut entries = Vec::new();
    while entries.len() < MAX_ENTRIES {
        let next = call(&values, "next", &[]).await.ok()?;
        let field = |name: &str| Reflect::get(&next, &name.into()).unwrap_or_default();
        if field("done").is_truthy() {
            break;
        }
        entries.push(field("value"));
    }
    Some(entries)
}

/// Calls a method that this crate's bindings do not have, and waits for what it promises.
async fn call(of: &JsValue, method: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let function: Function = Reflect::get(of, &method.into())?.dyn_into()?;
    let answer = function.apply(of, &arguments.iter().collect::<Array>())?;
    match answer.dyn_into::<Promise>() {
        Ok(promise) => JsFuture::from(promise).await,
        Err(answer) => Ok(answer),
    }
}

fn text(of: &JsValue, field: &str) -> String {
    let text = Reflect::get(of, &field.into()).ok();
    text.and_then(|text| text.as_string()).unwrap_or_default()
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // A fresh object takes any field.
        _ = Reflect::set(&object, &(*name).into(), value);
    }
    object
}
