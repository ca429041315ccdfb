//! Bases and VAEs from the user's disk, for the trainer in this browser: each is given to every worker,
//! and remembered. What is decided about them is `mimeo_workbench::from_disk`'s.

use js_sys::{Object, Reflect};
use leptos::prelude::*;
use mimeo_checkpoint::printable;
use mimeo_protocol::{ClientMessage, ServerMessage};
use mimeo_workbench::base_folder;
use mimeo_workbench::from_disk::{Kind, PickedBase, PickedInfo, Stamp, Standing, Way};
use mimeo_workbench::link::Host;
use wasm_bindgen::JsValue;
use web_sys::File;

use super::{Link, worker};
use crate::handles::{self, Choice};
use crate::storage;

/// Characters of a name that are shown.
const SHOWN: usize = 100;

/// What was picked, dropped, or found again by its handle.
pub struct Picked {
    name: String,
    files: Files,
    handle: Option<JsValue>,
}

enum Files {
    File(File),
    /// Those that are needed, with their paths in the folder.
    Folder(Vec<(String, File)>),
}

impl Picked {
    /// A file.
    pub fn file(file: File, handle: Option<JsValue>) -> Self {
        Self {
            name: file.name(),
            files: Files::File(file),
            handle,
        }
    }

    /// What the user picked.
    ///
    /// # Errors
    /// As [`Self::by_handle`].
    pub async fn of(choice: Choice, kind: Kind) -> Result<Self, String> {
        match choice {
            Choice::Handle(handle) => Self::by_handle(handle).await,
            Choice::Files(files) if kind == Kind::Folder => {
                let files = files.into_iter().map(|file| (path(&file), file.into()));
                Self::folder(files.collect(), None).await
            }
            Choice::Files(files) => {
                let file = files.into_iter().next();
                let file = file.ok_or("Nothing was picked. Choose a file.")?;
                Ok(Self::file(file, None))
            }
        }
    }

    /// What a handle leads to.
    ///
    /// # Errors
    /// A sentence when it is gone or cannot be read, or is a folder that is no checkpoint.
    pub async fn by_handle(handle: JsValue) -> Result<Self, String> {
        let name = handles::name(&handle);
        if handles::kind(&handle) == Kind::File {
            let file = handles::file(&handle).await.ok_or_else(|| gone(&name))?;
            return Ok(Self::file(file, Some(handle)));
        }
        let inside = handles::files_in(&handle).await;
        let inside = inside.ok_or_else(|| gone(&name))?;
        Self::folder(inside, Some(handle)).await
    }

    /// - `files`: all of the folder, or their handles, with their paths, which begin with its name
    async fn folder(
        files: Vec<(String, JsValue)>,
        handle: Option<JsValue>,
    ) -> Result<Self, String> {
        let needed = base_folder::pick(files)?;
        let mut files = Vec::new();
        for (path, file) in needed.files {
            let file = handles::file(&file).await;
            files.push((path, file.ok_or_else(|| gone(&needed.folder))?));
        }
        Ok(Self {
            name: needed.folder,
            files: Files::Folder(files),
            handle,
        })
    }

    const fn kind(&self) -> Kind {
        match self.files {
            Files::File(_) => Kind::File,
            Files::Folder(_) => Kind::Folder,
        }
    }

    fn stamp(&self) -> Stamp {
        let stamp = |file: &File| Stamp {
            bytes: file.size() as u64,
            modified_millis: file.last_modified() as u64,
        };
        match &self.files {
            Files::File(file) => stamp(file),
            Files::Folder(files) => Stamp::of_all(files.iter().map(|(_, file)| stamp(file))),
        }
    }

    /// As a worker takes it.
    fn message(&self) -> JsValue {
        match &self.files {
            Files::File(file) => file.into(),
            Files::Folder(files) => {
                let object = Object::new();
                for (path, file) in files {
                    // A fresh object takes any field.
                    _ = Reflect::set(&object, &path.into(), file);
                }
                object.into()
            }
        }
    }
}

fn gone(name: &str) -> String {
    let name = printable(name, SHOWN);
    format!("{name} cannot be read. Check that it is there, then choose it again.")
}

/// With the folder's name, where it comes from one.
fn path(file: &File) -> String {
    let path = Reflect::get(file, &"webkitRelativePath".into());
    let path = path.ok().and_then(|path| path.as_string());
    path.unwrap_or_default()
}

/// A base or a VAE that every new worker is given.
#[derive(Clone)]
pub(super) struct Given {
    pub title: String,
    pub files: JsValue,
}

impl Link {
    /// Gives the trainer a base or a VAE that was picked; the answer is what it is there.
    ///
    /// # Errors
    /// Why it cannot be trained upon, or cannot be given.
    pub async fn add_base(self, picked: Picked) -> Result<PickedInfo, String> {
        let (id, title) = self
            .shelf
            .with_untracked(|shelf| shelf.place(&picked.name, picked.kind(), picked.stamp()));
        self.give(id.as_str(), title, picked).await
    }

    /// Opens a base or a VAE again by its handle, if the user lets it; what keeps it closed is told with
    /// it.
    ///
    /// # Errors
    /// Why it cannot be trained upon, or cannot be given.
    pub async fn open_again(self, id: &str, way: Way) -> Result<Option<PickedInfo>, String> {
        let kept = self.shelf.with_untracked(|shelf| shelf.get(id).cloned());
        let handle = self.wires().handles.borrow().get(id).cloned();
        let (Some(kept), Some(handle)) = (kept, handle) else {
            return Ok(None);
        };
        if !handles::ask_to_read(&handle).await {
            let name = printable(&kept.name, SHOWN);
            return Err(format!(
                "The browser does not let this page read {name}. Open it again and allow it, or pick it again."
            ));
        }
        let found = Picked::by_handle(handle).await.ok();
        let standing = kept.found(found.as_ref().map(Picked::stamp));
        let is_wanted = match standing {
            Standing::Open => true,
            Standing::Changed => way == Way::TakeAsItIs,
            Standing::Closed | Standing::Forgotten | Standing::Gone => false,
        };
        match found.filter(|_| is_wanted) {
            Some(picked) => {
                let title = kept.info.title().to_owned();
                self.give(id, title, picked).await.map(Some)
            }
            None => {
                self.shelf.update(|shelf| shelf.note(id, standing));
                self.host.update(|host| self.add_closed(host));
                Ok(None)
            }
        }
    }

    /// How a base or a VAE comes back that is closed.
    pub fn way_back(self, id: &str) -> Option<Way> {
        let way = || self.shelf.with(|shelf| shelf.way_back(id));
        self.is_browser().then(way).flatten()
    }

    /// Forgets what was picked.
    pub async fn forget_base(self, id: &str) {
        let wires = self.wires();
        wires.bases.borrow_mut().remove(id);
        wires.handles.borrow_mut().remove(id);
        storage::bases::forget(id).await;
        if let Some(trainer) = self.trainer() {
            // One that does not answer has it no longer than it lives.
            _ = trainer.remove_base(id).await;
        }
        self.shelf.update(|shelf| shelf.forget(id));
        self.host.update(|host| {
            host.bases.retain(|base| base.id.as_str() != id);
            host.vaes.retain(|vae| vae.id.as_str() != id);
        });
    }

    /// What was picked before this page was opened: what may be read is read again, once.
    pub(super) async fn restore_bases(self) {
        let wires = self.wires();
        if wires.has_restored.replace(true) {
            return;
        }
        for (base, handle) in storage::bases::all().await {
            let standing = match &handle {
                Some(handle) => self.find(&base, handle).await,
                None => Standing::Forgotten,
            };
            let handle = handle.map(|handle| (base.id().to_owned(), handle));
            wires.handles.borrow_mut().extend(handle);
            self.shelf.update(|shelf| shelf.restore(base, standing));
        }
    }

    /// How it stands with a base that was kept; one that is open is given to the worker.
    async fn find(self, base: &PickedBase, handle: &JsValue) -> Standing {
        if !handles::may_read(handle).await {
            return Standing::Closed;
        }
        let found = Picked::by_handle(handle.clone()).await.ok();
        let standing = base.found(found.as_ref().map(Picked::stamp));
        if let Some(picked) = found.filter(|_| standing == Standing::Open) {
            let given = Given {
                title: base.info.title().to_owned(),
                files: picked.message(),
            };
            let wires = self.wires();
            wires.bases.borrow_mut().insert(base.id().to_owned(), given);
        }
        standing
    }

    /// Adds to what the trainer lists what is closed.
    pub(super) fn add_closed(self, host: &mut Host) {
        if untrack(|| self.is_browser()) {
            let (bases, vaes) = (
                std::mem::take(&mut host.bases),
                std::mem::take(&mut host.vaes),
            );
            (host.bases, host.vaes) = self.shelf.with_untracked(|shelf| shelf.listed(bases, vaes));
        }
    }

    async fn give(self, id: &str, title: String, picked: Picked) -> Result<PickedInfo, String> {
        let trainer = self.trainer().ok_or(worker::GONE)?;
        let wires = self.wires();
        let given = Given {
            title,
            files: picked.message(),
        };
        trainer.put_base(id, &given).await?;
        let ask = |request| ClientMessage::ListCheckpoints { request };
        let ServerMessage::Checkpoints {
            checkpoints, vaes, ..
        } = self.ask(ask).await?
        else {
            return Err("Something else came back than bases. Reload the page.".to_owned());
        };
        let base = checkpoints.iter().find(|base| base.id.as_str() == id);
        if let Some(why) = base.and_then(|base| base.unusable.as_ref()) {
            let before = wires.bases.borrow().get(id).cloned();
            match before {
                Some(before) => trainer.put_base(id, &before).await?,
                None => trainer.remove_base(id).await?,
            }
            return Err(format!("{}: {why}", printable(&picked.name, SHOWN)));
        }
        let base = base.cloned().map(PickedInfo::Base);
        let vae = vaes.iter().find(|vae| vae.id.as_str() == id).cloned();
        let info = base.or(vae.map(PickedInfo::Vae));
        let info = info.ok_or("The file did not arrive. Choose it again.")?;
        let base = PickedBase {
            kind: picked.kind(),
            stamp: picked.stamp(),
            name: picked.name,
            info: info.clone(),
        };
        storage::bases::keep(&base, picked.handle.as_ref()).await;
        wires.bases.borrow_mut().insert(id.to_owned(), given);
        let handle = picked.handle.map(|handle| (id.to_owned(), handle));
        wires.handles.borrow_mut().extend(handle);
        self.shelf.update(|shelf| shelf.put(base));
        self.host.update(|host| {
            (host.bases, host.vaes) = (checkpoints, vaes);
            self.add_closed(host);
        });
        Ok(info)
    }
}
