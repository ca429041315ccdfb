//! A folder with a pair of pictures in it, and the program beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use mimeo_base::ExamplePair;
use mimeo_checkpoint::{DiskFile, LoraFile};
use serde_json::Value;
use tempfile::TempDir;

/// The pair that every test uses.
pub fn pair() -> &'static ExamplePair {
    mimeo_base::pairs()
        .iter()
        .find(|pair| pair.edit == "glasses")
        .expect("glasses are bundled")
}

/// A folder of its own for a test, with `a.png`, `b.png` and `mask.png`.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let desk = Self { folder };
        desk.put("a.png", pair().original_png);
        desk.put("b.png", pair().target_png);
        desk.put("mask.png", pair().mask_png);
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside the desk")).expect("a folder");
        fs::write(path, bytes).expect("a file on the desk");
    }

    /// Every file and what is in it.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the desk can be listed") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = fs::read(&path).expect("a file on the desk");
                    files.insert(path, bytes);
                }
            }
        }
        files
    }

    /// The program, in this folder; `arguments` are separated by spaces.
    pub fn mimeo(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mimeo"));
        command.args(arguments.split_whitespace());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &str) -> Ran {
        Ran::from(self.mimeo(arguments).output().expect("the program starts"))
    }

    /// Runs a training of a few quick steps; `more` comes on top.
    pub fn train(&self, more: &str) -> Ran {
        self.run(&format!("train {QUICK} {more}"))
    }

    /// Runs something that must be refused: exit code, one sentence, nothing changed on the desk.
    pub fn refused(&self, arguments: &str, exit: i32) -> String {
        let before = self.files();
        let ran = self.run(arguments);
        assert_eq!(ran.exit, Some(exit), "{arguments}\n{}", ran.stderr);
        let sentence = ran.error();
        assert_eq!(ran.stdout, "", "nothing on stdout: {arguments}");
        assert!(before == self.files(), "files changed: {arguments}");
        sentence
    }
}

/// A training that takes a second.
pub const QUICK: &str = "--original a.png --target b.png --mask mask.png --method plain --steps 3 \
                         --batch-size 1 --no-score --no-calibrate --device cpu";

/// What a run left on its streams.
pub struct Ran {
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self {
            exit: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// Fails the test unless the run was done as asked.
    pub fn done(self) -> Self {
        assert_eq!(self.exit, Some(0), "it should work:\n{}", self.stderr);
        self
    }

    /// The one sentence that says what went wrong: the last line, and the only one of its kind.
    pub fn error(&self) -> String {
        let is_error = |line: &&str| line.starts_with("error: ");
        let errors = self.stderr.lines().filter(is_error).count();
        assert_eq!(errors, 1, "one sentence:\n{}", self.stderr);
        let last = self.stderr.lines().last().expect("at least the error");
        assert!(
            last.starts_with("error: "),
            "nothing after it:\n{}",
            self.stderr
        );
        for fault in ["panicked", "fault in Mimeo", "backtrace"] {
            assert!(!self.stderr.contains(fault), "{fault}:\n{}", self.stderr);
        }
        last.to_owned()
    }

    /// The lines of `--json`.
    pub fn events(&self) -> Vec<Value> {
        let event = |line| -> Value { serde_json::from_str(line).expect("every line is JSON") };
        let events: Vec<Value> = self.stdout.lines().map(event).collect();
        for event in &events {
            assert!(
                event["event"].is_string(),
                "every line says what it is: {event}"
            );
        }
        events
    }
}

/// Reads a LoRA back, which fails unless it is whole.
pub fn read_lora(path: &Path) -> LoraFile {
    let read = async { LoraFile::read(Box::new(DiskFile::open(path)?)).await };
    mimeo_engine::runtime::block_on(read).expect("a LoRA that loads")
}

/// The bytes of one trained LoRA, for tests that only need any.
pub fn trained() -> &'static [u8] {
    static TRAINED: OnceLock<Vec<u8>> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let desk = Desk::new();
        desk.train("--out x.safetensors").done();
        fs::read(desk.path("x.safetensors")).expect("the LoRA")
    })
}
