//! What takes too long for every run: `cargo xtask fuzz` and `cargo xtask soak`.

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, finish, succeeds};

/// Folder of the fuzz targets, and their names.
const FUZZ: &str = "tests/fuzz";
const TARGETS: [&str; 5] = ["protocol", "image", "lora", "family", "settings"];

#[derive(clap::Args)]
pub struct FuzzArguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    secs: u32,
}

#[derive(clap::Args)]
pub struct SoakArguments {
    /// How often the companion is killed.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Seed of the moments at which it is killed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Feeds random bytes to everything that reads bytes from strangers.
pub fn fuzz(workspace: &Workspace, arguments: &FuzzArguments) -> Result<()> {
    if !succeeds(workspace.cargo().args(["fuzz", "--version"])) {
        println!("Installing cargo-fuzz …");
        finish(
            workspace
                .cargo()
                .args(["install", "--locked", "cargo-fuzz"]),
        )
        .context("cargo-fuzz cannot be installed; install it, then run this again")?;
    }
    seed_corpora(workspace)?;
    for target in TARGETS {
        println!("\n=== {target} ===");
        finish(
            workspace
                .cargo()
                // Without a sanitizer, whose place is a nightly compiler: there is no unsafe code.
                .args([
                    "fuzz",
                    "run",
                    "--fuzz-dir",
                    FUZZ,
                    "--sanitizer",
                    "none",
                    target,
                ])
                .args(["--", "-rss_limit_mb=4096"])
                .arg(format!("-max_total_time={}", arguments.secs)),
        )?;
    }
    Ok(())
}

/// Begins with whole messages and pictures: from nothing, a fuzzer hardly finds the first of them.
fn seed_corpora(workspace: &Workspace) -> Result<()> {
    let seeds = [
        ("protocol", "shared/protocol/golden/client"),
        ("protocol", "shared/protocol/golden/server"),
        ("image", "shared/base/pairs/glasses"),
        ("image", "tests/fixtures/pictures"),
        ("lora", "tests/fixtures"),
        ("lora", "tests/fixtures/loras"),
        ("settings", "tests/fuzz/seeds/settings"),
    ];
    for (target, folder) in seeds {
        let corpus = workspace.path(&format!("{FUZZ}/corpus/{target}"));
        std::fs::create_dir_all(&corpus)?;
        for seed in workspace.path(folder).read_dir()? {
            let seed = seed?;
            let is_small = seed.metadata()?.len() < 256 << 10;
            if is_small && seed.file_type()?.is_file() {
                let group = folder.replace('/', "-");
                let name = format!("{group}-{}", seed.file_name().to_string_lossy());
                std::fs::copy(seed.path(), corpus.join(name))?;
            }
        }
    }
    seed_prompts(workspace)?;
    seed_checkpoints(workspace)?;
    seed_loras_of_peft(workspace)
}

/// What is in a checkpoint of each family, as the list that the target makes a file of.
fn seed_checkpoints(workspace: &Workspace) -> Result<()> {
    let corpus = workspace.path(&format!("{FUZZ}/corpus/family"));
    std::fs::create_dir_all(&corpus)?;
    for file in workspace.path("tests/fixtures/single").read_dir()? {
        let file = file?;
        if !file.file_type()?.is_file() {
            continue;
        }
        let bytes = std::fs::read(file.path())?;
        let (length, rest) = bytes.split_first_chunk().context("a length")?;
        let header = rest.get(..u64::from_le_bytes(*length) as usize);
        let header: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(header.context("a header")?)?;
        let line = |(name, entry): (&String, &serde_json::Value)| {
            let dtype = entry["dtype"].as_str()?;
            let sides: Vec<String> = entry["shape"]
                .as_array()?
                .iter()
                .map(ToString::to_string)
                .collect();
            Some(format!("{dtype} {} {name}", sides.join(",")))
        };
        let list: Vec<String> = header.iter().filter_map(line).collect();
        std::fs::write(corpus.join(file.file_name()), list.join("\n"))?;
    }
    Ok(())
}

/// The prompts of the parity tests, each a text of its own.
fn seed_prompts(workspace: &Workspace) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Case {
        prompt: String,
    }
    let cases = std::fs::read(workspace.path("tests/fixtures/prompts.json"))?;
    let cases: Vec<Case> = serde_json::from_slice(&cases)?;
    let corpus = workspace.path(&format!("{FUZZ}/corpus/settings"));
    for (number, case) in cases.into_iter().enumerate() {
        std::fs::write(corpus.join(format!("prompt-{number}")), case.prompt)?;
    }
    Ok(())
}

/// A LoRA of PEFT's is two files, which the target takes with a line between them.
fn seed_loras_of_peft(workspace: &Workspace) -> Result<()> {
    for folder in workspace.path("tests/fixtures/loras").read_dir()? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let read = |name: &str| std::fs::read(folder.path().join(name));
        let seed = [
            read("adapter_config.json")?,
            b"\n--\n".to_vec(),
            read("adapter_model.safetensors")?,
        ];
        let name = format!("two-files-{}", folder.file_name().to_string_lossy());
        let corpus = workspace.path(&format!("{FUZZ}/corpus/lora"));
        std::fs::write(corpus.join(name), seed.concat())?;
    }
    Ok(())
}

/// Kills the companion at random moments, over and over.
pub fn soak(workspace: &Workspace, arguments: &SoakArguments) -> Result<()> {
    finish(
        workspace
            .cargo()
            .args(["test", "--workspace", "--test", "service", "--"])
            .args(["--nocapture", "kills_at_random"])
            .env("MIMEO_KILLS", arguments.kills.to_string())
            .env("MIMEO_SEED", arguments.seed.to_string()),
    )
}
