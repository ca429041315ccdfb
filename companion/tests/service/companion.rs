//! A companion in a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mimeo_protocol::JobId;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::http;

/// A running `mimeo serve`; it is killed when dropped.
pub struct Companion {
    process: Child,
    pub address: String,
    folder: Option<TempDir>,
    data: PathBuf,
    flags: Vec<String>,
}

impl Companion {
    /// One with nothing in its data folder but the base in miniature; `flags` are separated by spaces.
    pub fn start(flags: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        put_micro(&data);
        let mut companion = Self::on(&data, flags);
        companion.folder = Some(folder);
        companion
    }

    /// One on this data folder.
    pub fn on(data: &Path, flags: &str) -> Self {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let (process, address) = spawn(&mut command(data, &flags));
        Self {
            process,
            address,
            folder: None,
            data: data.to_path_buf(),
            flags,
        }
    }

    /// One that was started in a special way.
    pub fn adopt(process: Child, address: String, data: &Path) -> Self {
        Self {
            process,
            address,
            folder: None,
            data: data.to_path_buf(),
            flags: Vec::new(),
        }
    }

    /// `kill -9`, and another one on the same data folder.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// The same, at the same port.
    pub fn kill_and_restart_here(&mut self) {
        let port = self.address.rsplit(':').next().unwrap().to_owned();
        // The last of several equal flags counts.
        self.flags.extend(["--port".to_owned(), port]);
        self.kill_and_restart();
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        (self.process, self.address) = spawn(&mut command(&self.data, &self.flags));
    }

    /// Ctrl+C, and how long it took to end.
    pub fn interrupt(&mut self) -> Duration {
        let since = Instant::now();
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success(), "the signal is sent");
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "it ends in good order: {ended}");
        since.elapsed()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn ws(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub async fn token(&self) -> String {
        let answer = http::get(&self.http("/token"), &[]).await;
        answer.text().to_owned()
    }

    /// A client that was let in.
    pub async fn client(&self) -> Client {
        Client::connect(self).await
    }

    /// A client that knows all of a job's events so far.
    pub async fn follower(&self, job: JobId) -> Client {
        let mut client = self.client().await;
        client.catch_up(job).await;
        client
    }

    /// Bytes that the process has read so far, of files wherever they are.
    pub fn bytes_read(&self) -> u64 {
        let counts = std::fs::read_to_string(format!("/proc/{}/io", self.process.id())).unwrap();
        let line = counts.lines().find(|line| line.starts_with("rchar:"));
        let bytes = line.unwrap().split_whitespace().nth(1).unwrap();
        bytes.parse().unwrap()
    }

    /// Memory that the process has in use, in bytes.
    pub fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Puts the base in miniature (tests/fixtures/README.md) among the models of a data folder.
pub fn put_micro(data: &Path) {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/micro");
    copy_folder(Path::new(fixture), &data.join("models/micro"));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The program with a free port, told in JSON.
pub fn command(data: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mimeo"));
    command
        .args(["serve", "--json", "--no-open", "--port", "0"])
        .args(["--device", "cpu"])
        .arg("--data")
        .arg(data)
        .args(flags)
        .stdin(Stdio::null());
    command
}

/// Starts it and waits until it listens.
pub fn spawn(command: &mut Command) -> (Child, String) {
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next().expect("it says where it is").unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["event"], "serving", "{line}");
    let address = said["address"].as_str().unwrap().to_owned();
    (process, address)
}
