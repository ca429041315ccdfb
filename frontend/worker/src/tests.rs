//! The desk on a disk in memory: what must be true of every store, and of this one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::FutureExt as _;
use mimeo_protocol::{
    BaseId, BlobId, CopierId, CopierInfo, FileId, FileKind, JobEventKind, JobId, JobProgress,
    Phase, ResultFile, ServerMessage,
};
use mimeo_service::conformance::{Pretended, Rig};
use mimeo_service::{Server, every_store};

use crate::desk::{Desk, Listener, Storage};
use crate::ledger::{CopierEntry, Ledger};
use crate::places::{file_path, lora_path};

/// A disk that is there for as long as anybody has it.
#[derive(Debug, Clone, Default)]
struct Memory {
    files: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    /// Whether it takes no more.
    is_full: Rc<Cell<bool>>,
}

impl Storage for Memory {
    type Error = &'static str;

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.files.borrow().get(path).cloned()
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), &'static str> {
        if self.is_full.get() {
            return Err("full");
        }
        let bytes = bytes.to_vec();
        self.files.borrow_mut().insert(path.to_owned(), bytes);
        Ok(())
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        let files = self.files.borrow();
        let names = files.keys().filter_map(|path| {
            let (found, name) = path.split_once('/')?;
            (found == folder).then(|| name.to_owned())
        });
        names.collect()
    }

    async fn remove(&self, path: &str) {
        self.files.borrow_mut().remove(path);
    }
}

/// A page that hears everything, at a time that the test sets.
#[derive(Debug, Default)]
struct Ear {
    heard: RefCell<Vec<ServerMessage>>,
    now: Cell<u64>,
}

impl Listener for Ear {
    fn tell(&self, message: &ServerMessage) {
        self.heard.borrow_mut().push(message.clone());
    }

    fn now_millis(&self) -> u64 {
        self.now.get()
    }
}

type Bench = Desk<Memory, Ear>;

/// Runs to its end what never has to wait.
fn wait<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits")
}

/// What a start makes of a ledger.
pub fn recover(ledger: Ledger) -> Ledger {
    let desk = Desk::new(Memory::default(), Ear::default(), ledger);
    let server = Server::new(desk, wait(Pretended::new()));
    wait(server.recover()).unwrap();
    server.store.ledger.into_inner()
}

#[derive(Default)]
struct Browser {
    disk: Memory,
}

impl Browser {
    fn file(desk: &Bench, kind: FileKind) -> ResultFile {
        let file = ResultFile {
            id: desk.ledger.borrow_mut().new_file(),
            kind,
            name: "x.safetensors".to_owned(),
            bytes: 3,
            sha256: BlobId::from_sha256([1; 32]),
        };
        desk.keep(file_path(file.id), vec![1, 2, 3]);
        file
    }
}

impl Rig for Browser {
    type Store = Bench;

    async fn open(&mut self) -> Bench {
        Desk::open(self.disk.clone(), Ear::default()).await
    }

    async fn damage(&mut self, job: JobId) {
        let mut files = self.disk.files.borrow_mut();
        files.insert(Ledger::path(job), b"no job".to_vec());
    }

    async fn keep_file(&mut self, desk: &Bench, job: JobId) -> FileId {
        let file = Self::file(desk, FileKind::Lora);
        let id = file.id;
        desk.append(job, JobEventKind::File { file });
        id
    }

    async fn keep_copier(&mut self, desk: &Bench) -> (CopierId, FileId) {
        let id = desk.ledger.borrow_mut().new_copier();
        let info = CopierInfo {
            id,
            name: "copier".parse().unwrap(),
            original: Some(BlobId::from_sha256([1; 32])),
            kind: mimeo_protocol::CopierKind::Identical,
            base: BaseId::bundled(),
            fidelity: None,
            steps: 300,
            file: Self::file(desk, FileKind::Copier),
            finished_millis: 1,
        };
        let kept = (info.id, info.file.id);
        let fingerprint = "0".repeat(64);
        let copier = CopierEntry { info, fingerprint };
        desk.ledger.borrow_mut().add_copier(copier);
        kept
    }

    async fn keep_lora(&mut self, desk: &Bench, lora: &[u8]) {
        let path = lora_path(mimeo_service::blob::id_of(lora));
        wait(desk.disk.write(&path, lora)).unwrap();
    }

    async fn has_file(&self, file: FileId) -> bool {
        self.disk.files.borrow().contains_key(&file_path(file))
    }
}

every_store!(Browser::default(), wait);

#[test]
fn what_finds_no_room_is_written_later_and_can_be_had_meanwhile() {
    let disk = Memory::default();
    let desk = wait(Desk::open(disk.clone(), Ear::default()));
    disk.is_full.set(true);
    desk.keep("files/1".to_owned(), vec![1]);
    desk.keep("files/1".to_owned(), vec![2]);
    desk.forget_later("states/1".to_owned());
    let states = vec![9];
    disk.files
        .borrow_mut()
        .insert("states/1".to_owned(), states);
    assert_eq!(wait(desk.write()), Err("full"), "it is said");
    assert_eq!(desk.unwritten("files/1"), Some(vec![2]), "the newest of it");
    assert_eq!(
        wait(disk.read("states/1")),
        Some(vec![9]),
        "what goes only after that stays"
    );
    disk.is_full.set(false);
    assert_eq!(wait(desk.write_if_due()), Ok(()), "it is due at once");
    assert_eq!(wait(disk.read("files/1")), Some(vec![2]), "in their order");
    assert_eq!(desk.unwritten("files/1"), None, "and once");
    assert_eq!(wait(disk.read("states/1")), None, "then it goes");
}

#[test]
fn progress_is_told_now_and_then_and_its_ends_always() {
    let desk = wait(Desk::open(Memory::default(), Ear::default()));
    desk.page.now.set(1_000);
    for done in [0, 1, 2, 50, 100] {
        desk.tell_progress(JobProgress {
            job: JobId(1),
            phase: Phase::Training,
            done,
            total: Some(100),
            secs_per_unit: None,
            left_secs: None,
        });
        desk.page.now.set(desk.page.now.get() + 60);
    }
    let heard = desk.page.heard.borrow();
    let told = heard.iter().map(|message| match message {
        ServerMessage::Progress(progress) => progress.done,
        other => panic!("progress: {other:?}"),
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [0, 2, 100],
        "ten a second at most"
    );
}
