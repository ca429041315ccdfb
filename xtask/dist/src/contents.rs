//! What an archive holds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::archive::{Entry, Mode};
use crate::{Device, Make, licences, sums};

/// The program's file.
pub const PROGRAM: &str = if cfg!(windows) { "mimeo.exe" } else { "mimeo" };
/// The file of the tuned program, which the other one looks for beside itself.
pub const TUNED: &str = if cfg!(windows) {
    "mimeo-tuned.exe"
} else {
    "mimeo-tuned"
};
/// The sums of all other files.
pub const SUMS: &str = "SHA256SUMS";
/// The main page of the manual.
pub const MANUAL: &str = "man/man1/mimeo.1";
/// What every archive has beside the program, its completions and its manual.
pub const TEXTS: [&str; 6] = [
    "INSTALL.txt",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "NOTICE",
    licences::PACKAGES,
    licences::FONT,
];
/// Shells, and the file that each expects.
pub const COMPLETIONS: [(&str, &str); 4] = [
    ("bash", "completions/mimeo.bash"),
    ("zsh", "completions/_mimeo"),
    ("fish", "completions/mimeo.fish"),
    ("powershell", "completions/mimeo.ps1"),
];

/// Collects it all, in the order of the paths.
pub fn collect(make: &Make) -> Result<Vec<Entry>> {
    let read = |path: &Path| {
        fs::read(path).with_context(|| format!("this file cannot be read: {}", path.display()))
    };
    let program = read(&make.program)?;
    let mut entries = vec![Entry::text("INSTALL.txt", install_text(make, &program))];
    for name in ["LICENSE-APACHE", "LICENSE-MIT", "NOTICE"] {
        entries.push(Entry::text(name, read(&make.root.join(name))?));
    }
    println!("Collecting licences …");
    entries.extend(licences::collect(make)?);
    for (shell, path) in COMPLETIONS {
        entries.push(Entry::text(
            path,
            said(&make.program, &["completions", shell])?,
        ));
    }
    entries.extend(manual(&make.program)?);
    entries.push(Entry {
        path: PROGRAM.to_owned(),
        bytes: program,
        mode: Mode::Program,
    });
    if let Some(tuned) = &make.tuned {
        entries.push(Entry {
            path: TUNED.to_owned(),
            bytes: read(tuned)?,
            mode: Mode::Program,
        });
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    let lines = entries
        .iter()
        .map(|entry| sums::line(&entry.path, &entry.bytes));
    let sums: String = lines.collect();
    entries.push(Entry::text(SUMS, sums));
    Ok(entries)
}

/// What a program prints.
fn said(program: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("it does not start: {}", program.display()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`mimeo {}` failed: {}", arguments.join(" "), why.trim_end());
    }
    Ok(output.stdout)
}

/// Every page of the manual.
fn manual(program: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut open = vec!["mimeo".to_owned()];
    while let Some(name) = open.pop() {
        let page = match name.strip_prefix("mimeo-") {
            Some(command) => said(program, &["man", command])?,
            None => said(program, &["man"])?,
        };
        open.extend(pages_below(&name, &String::from_utf8_lossy(&page)));
        entries.push(Entry::text(format!("man/man1/{name}.1"), page));
    }
    Ok(entries)
}

/// The pages that a page refers to, as in `mimeo\-train(1)`.
fn pages_below(name: &str, page: &str) -> Vec<String> {
    let prefix = format!("{name}-");
    let words = page.split_whitespace();
    let words = words.filter_map(|word| Some(word.strip_suffix("(1)")?.replace(r"\-", "-")));
    words.filter(|word| word.starts_with(&prefix)).collect()
}

/// How to use what was unpacked.
fn install_text(make: &Make, program: &[u8]) -> String {
    let (version, platform) = (env!("CARGO_PKG_VERSION"), &make.platform);
    let start = if cfg!(windows) {
        ".\\mimeo.exe serve"
    } else {
        "./mimeo serve"
    };
    let device = match make.device {
        Device::Gpu => {
            "It computes on a GPU where it finds a real one (Vulkan, Metal or DirectX 12), else on the CPU."
        }
        Device::Cpu => {
            "It computes on the CPU only; the page can use the browser's GPU. The archive without \"cpu\" in its\nname uses GPUs too."
        }
    };
    let needs = match needed_glibc(program) {
        Some((major, minor)) => {
            format!("\nIt needs a Linux with glibc {major}.{minor} or newer.\n")
        }
        None => String::new(),
    };
    format!(
        "Mimeo {version} for {platform}

One program with everything in it: the page, the trainer for the browser, and a base to begin with.
Nothing else needs to be installed, and nothing is fetched. In this folder,

    {start}

opens the workbench in your browser. Jobs and results are kept in a folder of your user's;
`mimeo serve --data FOLDER` chooses another one.
{device}
{needs}
{INSTALL}
What is in here is as it was packed if `sha256sum --check {SUMS}` says so.

Mimeo is under the MIT licence or the Apache License 2.0, at your choice (LICENSE-MIT,
LICENSE-APACHE). NOTICE and the folder `licences` name the work of others that is in it.
"
    )
}

#[cfg(not(any(windows, target_os = "macos")))]
const INSTALL: &str = "To have it everywhere, with completions and manual:

    sudo install -D mimeo -t /usr/local/bin
    sudo install -D -m 644 man/man1/* -t /usr/local/share/man/man1
    sudo install -D -m 644 completions/mimeo.bash /usr/share/bash-completion/completions/mimeo
    sudo install -D -m 644 completions/_mimeo -t /usr/local/share/zsh/site-functions
    sudo install -D -m 644 completions/mimeo.fish -t /usr/share/fish/vendor_completions.d
";
#[cfg(target_os = "macos")]
const INSTALL: &str = "The program is not signed, so macOS holds back one that a browser fetched:

    xattr -d com.apple.quarantine mimeo

To have it everywhere, copy `mimeo` to a folder of your PATH, man/man1/* to a folder of your manual,
completions/_mimeo to one of zsh's $fpath.
";
#[cfg(windows)]
const INSTALL: &str =
    "The program is not signed, so Windows asks before it starts one that a browser fetched.

To have it everywhere, copy mimeo.exe to a folder of your PATH, and let your PowerShell profile run
completions\\mimeo.ps1.
";

/// The newest version of the C library that a program asks for, if it asks for glibc.
fn needed_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"GLIBC_";
    let places = program.windows(NAME.len()).enumerate();
    let places = places.filter(|(_, window)| *window == NAME);
    let versions = places.filter_map(|(place, _)| version(&program[place + NAME.len()..]));
    versions.max()
}

/// The `2.34` at the beginning.
fn version(bytes: &[u8]) -> Option<(u32, u32)> {
    let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let text: Vec<u8> = bytes.iter().take_while(is_part).copied().collect();
    let text = String::from_utf8(text).ok()?;
    let (major, rest) = text.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_counts_and_ten_is_newer_than_nine() {
        let program = b"\0GLIBC_2.9\0GLIBC_2.2.5\0GLIBC_2.10\0GLIBC_PRIVATE\0";
        assert_eq!(needed_glibc(program), Some((2, 10)), "of three versions");
        assert_eq!(needed_glibc(b"\x7fELF"), None, "another C library");
    }

    #[test]
    fn the_manuals_pages_are_found_by_their_names() {
        let page = ".TP\nmimeo\\-train(1)\nTrain\n.TP\nmimeo\\-bench(1)\nls(1)";
        assert_eq!(
            pages_below("mimeo", page),
            ["mimeo-train", "mimeo-bench"],
            "and no others"
        );
        assert!(
            pages_below("mimeo-train", page).is_empty(),
            "those of train alone"
        );
    }
}
