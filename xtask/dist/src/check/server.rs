//! The archive's service while it is tested.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::home::Home;
use super::http::{self, Response};

/// A program that does not listen after this long never will.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// One that was asked to end has no job to save.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// A running `mimeo serve`, ended with this value.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(home: &Home, folder: &Path) -> Result<Self> {
        let log = home.log();
        let mut child = home
            .mimeo(folder)
            .args(["serve", "--no-open", "--port", "0", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .context("the archive's program does not start")?;
        let output = child.stdout.take();
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        let first = output.and_then(first_line);
        let Some(address) = first.as_deref().and_then(address) else {
            bail!("`mimeo serve` does not serve: {}", server.said());
        };
        server.address = address;
        Ok(server)
    }

    /// Asks it for a file.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(self.address, path)
    }

    /// Asks it to end, and says how many seconds that took.
    pub fn stop(mut self) -> Result<f64> {
        let started = Instant::now();
        self.ask_to_end()?;
        while started.elapsed() < ENDS_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                // Windows knows no polite way.
                if !status.success() && cfg!(unix) {
                    bail!("`mimeo serve` ended with {status}: {}", self.said());
                }
                return Ok(started.elapsed().as_secs_f64());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("`mimeo serve` does not end: {}", self.said());
    }

    #[cfg(unix)]
    fn ask_to_end(&mut self) -> Result<()> {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        status.context("there is no `kill`")?;
        Ok(())
    }

    #[cfg(not(unix))]
    fn ask_to_end(&mut self) -> Result<()> {
        Ok(self.child.kill()?)
    }

    /// What it complained about.
    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        match text.trim() {
            "" => "it says nothing".to_owned(),
            text => text.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already when all went well.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The first line, or none if none comes in time. What follows is read and forgotten.
fn first_line(output: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody waits for more than one.
            _ = sender.try_send(line);
        }
    });
    receiver.recv_timeout(STARTS_WITHIN).ok()
}

/// Where it listens, from the line that says so.
fn address(line: &str) -> Option<SocketAddr> {
    let told: serde_json::Value = serde_json::from_str(line).ok()?;
    told["address"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_serve_prints() {
        let line = r#"{"event":"serving","address":"127.0.0.1:41000","link":"http://…/"}"#;
        let expected = SocketAddr::from(([127, 0, 0, 1], 41_000));
        assert_eq!(address(line), Some(expected), "its port is any free one");
        assert_eq!(address("error: no"), None, "not JSON");
    }
}
