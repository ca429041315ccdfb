//! A newcomer's machine: a fresh clone and an empty home on this one.

use std::env;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::log;
use crate::workspace::{Workspace, answer, finish};

/// How often the workbench is asked for. Starts within a second are measured too.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Nobody waits longer.
const WITHIN: Duration = Duration::from_secs(3 * 3600);

/// What would tell cargo of this checkout, or of what this user has.
const FORGOTTEN: [&str; 4] = ["CARGO", "XDG_", "MIMEO_", "RUSTUP_TOOLCHAIN"];

/// A clone with a home of its own.
pub struct Home {
    /// Where the clone, the home and the logs are.
    pub folder: PathBuf,
    /// The clone.
    pub checkout: PathBuf,
    rustup: PathBuf,
}

impl Home {
    /// Makes an empty one; what an earlier measurement left there is deleted, but for the logs.
    pub fn new(workspace: &Workspace, folder: &Path, commit: &str) -> Result<Self> {
        let rustup = answer(workspace.command("rustup").args(["show", "home"]));
        let rustup =
            rustup.context("only with rustup can a toolchain be used from another home")?;
        let home = Self {
            folder: folder.to_owned(),
            checkout: folder.join("checkout"),
            rustup: rustup.into(),
        };
        for old in ["checkout", "home"] {
            let old = folder.join(old);
            if old.exists() {
                fs::remove_dir_all(&old)
                    .with_context(|| format!("this folder cannot be deleted: {}", old.display()))?;
            }
        }
        fs::create_dir_all(folder.join("home"))
            .with_context(|| format!("this folder cannot be made: {}", folder.display()))?;
        let git = |arguments: &[&str]| {
            let mut git = workspace.command("git");
            git.args(arguments);
            git
        };
        finish(git(&["clone", "--quiet", "--no-checkout", "."]).arg(&home.checkout))?;
        finish(git(&["checkout", "--quiet", "--detach", commit]).current_dir(&home.checkout))?;
        Ok(home)
    }

    /// A program that will run there, and knows nothing of this user.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let home = self.folder.join("home");
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.checkout);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if FORGOTTEN.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", &home)
            .env("CARGO_HOME", home.join(".cargo"))
            .env("RUSTUP_HOME", &self.rustup)
            .stdin(Stdio::null());
        command
    }

    /// Runs cargo to its end.
    pub fn follow(&self, arguments: &[&str], log: &Path) -> Result<()> {
        let mut cargo = self.command("cargo");
        let mut child = self.start(cargo.args(arguments), log)?;
        let status = child.wait().context("cargo was lost")?;
        if !status.success() {
            bail!(
                "`cargo {}` failed; its log says why: {}",
                arguments.join(" "),
                log.display()
            );
        }
        Ok(())
    }

    /// Runs `cargo xtask run` until the workbench answers, and says how many seconds that took.
    ///
    /// - `flags`: for `run`, separated by spaces
    pub fn serve(&self, flags: &str, log: &Path) -> Result<(f64, Served)> {
        let port = free_port()?;
        let mut cargo = self.command("cargo");
        cargo
            .args(["xtask", "run"])
            .args(flags.split_whitespace())
            .args(["--", "--no-open", "--port", &port.to_string()]);
        let started = Instant::now();
        let mut served = Served {
            child: self.start(&mut cargo, log)?,
            port,
        };
        while !answers(port) {
            if served.child.try_wait()?.is_some() || started.elapsed() > WITHIN {
                bail!(
                    "the workbench does not answer; the log says why: {}",
                    log.display()
                );
            }
            thread::sleep(ASK_EVERY);
        }
        Ok((started.elapsed().as_secs_f64(), served))
    }

    fn start(&self, command: &mut Command, log: &Path) -> Result<Child> {
        let started = Instant::now();
        let file = File::create(log)
            .with_context(|| format!("this file cannot be written: {}", log.display()))?;
        let file = Arc::new(Mutex::new(file));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cargo does not start")?;
        if let Some(stdout) = child.stdout.take() {
            let file = Arc::clone(&file);
            thread::spawn(move || log::keep(stdout, started, &file));
        }
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || log::keep(stderr, started, &file));
        }
        Ok(child)
    }
}

/// A companion that serves. `cargo xtask run` becomes it.
pub struct Served {
    child: Child,
    /// Where it answers, on this computer.
    pub port: u16,
}

impl Served {
    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.child
            .kill()
            .context("the companion cannot be stopped")?;
        self.child.wait().context("the companion was lost")?;
        Ok(())
    }
}

impl Drop for Served {
    /// Nothing goes on after a measurement that failed.
    fn drop(&mut self) {
        // It has ended, as a rule.
        _ = self.child.kill();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// Whether the page is served there.
fn answers(port: u16) -> bool {
    let page = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let request =
            format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    page().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("<script"))
}
