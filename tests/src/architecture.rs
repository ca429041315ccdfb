//! What must be true of the workspace itself: which crate knows which, under which licences we
//! build, what no file may contain. The numbered tests are the invariants of the README's code map.
//!
//! Every rule is a function that lists its violations, with a test beside it that shows it finding
//! one, so that a rule cannot rot into something that always passes. What a crate must not use is
//! clippy's to find, by the lists in `clippy.toml`; here stands which crates these lists are for, and
//! who is excused.

mod graph;
mod licence;
mod lists;
mod manifest;
mod syntax;
mod text;

use std::path::Path;
use std::sync::LazyLock;

use cargo_metadata::{Metadata, MetadataCommand};

use graph::{Graph, Purpose};
use text::SourceFile;

/// The lowest layer first. An arrow only ever points to a lower one.
const LAYERS: [&[&str]; 7] = [
    &[
        "mimeo-base",
        "mimeo-checkpoint",
        "mimeo-image",
        "mimeo-protocol",
    ],
    &["mimeo-lora", "mimeo-prompt", "mimeo-set"],
    &["mimeo-diffusion", "mimeo-workbench"],
    &["mimeo-train"],
    &["mimeo-engine"],
    &["mimeo-service"],
    &PROGRAMS,
];

/// Where arrows start and none ends.
const PROGRAMS: [&str; 7] = [
    "mimeo-app",
    "mimeo-companion",
    "mimeo-dist",
    "mimeo-page",
    "mimeo-tests",
    "mimeo-worker",
    "xtask",
];

/// What computes on tensors, by the names that everything of the kind is built on.
const TENSORS: [&str; 2] = ["burn", "wgpu"];

/// What only a page can do.
const BROWSER: [&str; 4] = ["js-sys", "leptos", "wasm-bindgen", "web-sys"];

/// What fetches from other computers.
const FETCHING: [&str; 7] = [
    "attohttpc",
    "curl",
    "hf-hub",
    "isahc",
    "minreq",
    "reqwest",
    "ureq",
];

/// The folders of programs for a machine; every other crate reaches a page.
const FOR_A_MACHINE: [&str; 3] = ["companion", "tests", "xtask"];

/// What belongs to the machine that a program runs on.
const MACHINE: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "web_time",
];

/// Where a crate that reaches a page knows a machine all the same.
const MACHINE_KNOWN_BY: [&str; 3] = [
    "shared/checkpoint/src/folder.rs",
    "shared/checkpoint/src/read_at.rs",
    "shared/engine/src/runtime.rs",
];

/// Where the program connects, or starts another.
const CONNECTIONS_MADE_BY: [&str; 9] = [
    "companion/src/cli/bench_service.rs",
    "companion/src/cli/serve.rs",
    "companion/src/cli/train/remote.rs",
    "companion/src/remote.rs",
    "companion/src/service/memory.rs",
    "companion/src/service/port.rs",
    "companion/src/service/reveal.rs",
    "companion/src/tls.rs",
    "companion/src/tuned.rs",
];

#[test]
fn dependencies_point_to_lower_layers() {
    let metadata = metadata();
    let crates: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| package.name.to_string())
        .collect();
    assert_none(&graph::misplaced(&crates, &LAYERS));
    assert_none(&graph::upward_arrows(&Graph::new(metadata), &LAYERS));
}

#[test]
fn invariant_1_protocol_depends_on_serde_and_nothing_of_ours() {
    assert_eq!(
        graph().dependencies("mimeo-protocol", Purpose::Build),
        ["rmp-serde", "serde", "thiserror"],
        "the protocol is the one crate that everybody compiles"
    );
}

#[test]
fn invariant_2_the_page_reaches_no_tensors_and_no_engine() {
    // cargo tells what each target depends on, so the page's own graph is searched here as well.
    let graph = graph();
    let forbidden = [&TENSORS[..], &["mimeo-engine", "mimeo-service"]].concat();
    for name in [
        "mimeo-app",
        "mimeo-workbench",
        "mimeo-prompt",
        "mimeo-set",
        "mimeo-protocol",
        "mimeo-image",
    ] {
        assert_none(&graph.ways(name, &forbidden));
    }
    let page = graph.dependencies("mimeo-app", Purpose::Build);
    assert!(
        page.contains(&"leptos") && page.contains(&"mimeo-workbench"),
        "what the page is made of: {page:?}"
    );
}

#[test]
fn invariant_2_the_workbench_stands_on_protocol_prompt_set_image_and_checkpoint() {
    let graph = graph();
    let ours: Vec<_> = graph
        .dependencies("mimeo-workbench", Purpose::Build)
        .into_iter()
        .filter(|name| LAYERS.concat().contains(name))
        .collect();
    assert_eq!(
        ours,
        [
            "mimeo-checkpoint",
            "mimeo-image",
            "mimeo-prompt",
            "mimeo-protocol",
            "mimeo-set"
        ],
        "what a page needs to know of training"
    );
}

#[test]
fn invariant_2_the_workbench_knows_no_browser() {
    let graph = graph();
    let used = graph.dependencies("mimeo-workbench", Purpose::Build);
    let browser: Vec<_> = used.iter().filter(|name| BROWSER.contains(name)).collect();
    assert!(browser.is_empty(), "it names {browser:?}");
}

#[test]
fn invariant_3_the_models_know_no_protocol() {
    let graph = graph();
    for name in ["mimeo-lora", "mimeo-diffusion"] {
        assert_none(&graph.ways(name, &["mimeo-protocol"]));
    }
}

#[test]
fn invariant_3_what_reaches_a_page_knows_no_files_threads_or_clock() {
    let rules = root().join("clippy.toml");
    assert_none(&lists::missing(&lists::disallowed(&rules), &MACHINE));
    for package in metadata().workspace_packages() {
        let folder = package.manifest_path.as_std_path();
        let folder = folder.strip_prefix(root()).expect("a member lies in it");
        let is_for_a_machine = FOR_A_MACHINE.iter().any(|name| folder.starts_with(name));
        let governing = lists::governing(root(), package.manifest_path.as_std_path());
        assert_eq!(
            governing.as_ref() == Some(&rules),
            !is_for_a_machine,
            "{} is linted by {governing:?}",
            package.name
        );
    }
    assert_eq!(
        excused(&["shared", "frontend"]),
        MACHINE_KNOWN_BY,
        "the files with an exception to the lists, their tests apart"
    );
}

#[test]
fn invariant_3_the_service_stands_on_the_engine_and_what_waits_for_nothing() {
    assert_eq!(
        graph().dependencies("mimeo-service", Purpose::Build),
        [
            "mimeo-base",
            "mimeo-checkpoint",
            "mimeo-engine",
            "mimeo-image",
            "mimeo-protocol",
            "sha2",
            "thiserror"
        ],
        "nothing that serves, stores or waits"
    );
}

#[test]
fn invariant_4_checkpoint_and_base_know_bytes_and_no_tensors() {
    let graph = graph();
    for name in ["mimeo-checkpoint", "mimeo-base"] {
        assert_none(&graph.ways(name, &TENSORS));
    }
}

#[test]
fn invariant_5_platforms_differ_in_two_files_and_where_the_page_begins() {
    let allowed = [
        "shared/engine/src/runtime.rs",
        "shared/checkpoint/src/read_at.rs",
        // Elsewhere than in a browser they are empty.
        "frontend/app/src/main.rs",
        "frontend/app/src/lib.rs",
        "frontend/worker/src/main.rs",
        "frontend/worker/src/lib.rs",
    ];
    let others = sources_in(&["shared", "frontend"])
        .into_iter()
        .filter(|file| !allowed.iter().any(|path| file.path.ends_with(path)));
    let found: Vec<_> = others
        .flat_map(|file| syntax::platform_conditions(&file))
        .collect();
    assert_none(&found);
}

#[test]
fn invariant_6_nobody_depends_on_a_program() {
    assert_none(&graph::arrows_to(&graph(), &PROGRAMS));
}

#[test]
fn invariant_7_only_programs_use_anyhow() {
    assert_none(&graph::libraries_with(metadata(), "anyhow"));
}

#[test]
fn invariant_8_randomness_is_seeded_by_the_caller() {
    // By the same list, and in the same crates.
    let disallowed = lists::disallowed(&root().join("clippy.toml"));
    let unseeded = ["burn::tensor::Tensor", "getrandom", "rand", "rand::rngs"];
    assert_none(&lists::missing(&disallowed, &unseeded));
}

#[test]
fn invariant_9_every_crate_inherits_the_lints_that_forbid_unsafe_code() {
    let workspace = manifest::read(&root().join("Cargo.toml"));
    assert_eq!(
        workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid"),
        "the table that every crate inherits"
    );
    for package in metadata().workspace_packages() {
        let member = manifest::read(package.manifest_path.as_std_path());
        assert_none(&manifest::deviations(&package.name, &member));
    }
}

#[test]
fn invariant_10_the_program_connects_to_nobody() {
    let rules = root().join("companion/clippy.toml");
    let connecting = [
        "hyper_util::client",
        "mimeo::remote",
        "open",
        "std::net",
        "std::process",
        "tokio::net",
        "tokio_tungstenite",
    ];
    assert_none(&lists::missing(&lists::disallowed(&rules), &connecting));
    assert_eq!(
        excused(&["companion/src"]),
        CONNECTIONS_MADE_BY,
        "the files with an exception to the list"
    );
    let built = licence::of_all_that_is_built(root());
    let fetches = |line: &&str| {
        let name = line.split_once(" v").map_or(*line, |(name, _)| name);
        FETCHING.contains(&name)
    };
    let fetching: Vec<_> = built.lines().filter(fetches).collect();
    assert!(fetching.is_empty(), "they are built: {fetching:?}");
}

#[test]
fn all_that_is_built_is_freely_licensed() {
    assert_none(&licence::refused(&licence::of_all_that_is_built(root())));
}

#[test]
fn all_sources_are_ours_or_from_crates_io() {
    assert_none(&graph::foreign_sources(metadata()));
}

#[test]
fn no_file_names_a_machine_of_whoever_wrote_it() {
    let files = text::committed_files(root());
    assert!(
        files.len() > 100,
        "the repository has more than {} files; the search is broken",
        files.len()
    );
    assert_none(&text::machine_traces(&files));
}

/// Fails with the list, which says what is wrong where.
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
}

fn graph() -> Graph {
    Graph::new(metadata())
}

fn metadata() -> &'static Metadata {
    static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
        MetadataCommand::new()
            .current_dir(root())
            .exec()
            .expect("cargo knows its own workspace")
    });
    &METADATA
}

/// The files in some folders that are excused from a list of `clippy.toml`.
fn excused(folders: &[&str]) -> Vec<String> {
    let files = sources_in(folders).into_iter();
    let excused = files.filter(|file| !syntax::exceptions(file).is_empty());
    let mut names: Vec<_> = excused
        .map(|file| {
            let name = file.path.strip_prefix(root()).expect("it lies there");
            name.to_string_lossy().replace('\\', "/")
        })
        .collect();
    names.sort();
    names
}

fn sources_in(folders: &[&str]) -> Vec<SourceFile> {
    let files = |folder| text::source_files(&root().join(folder), "rs");
    let files: Vec<_> = folders.iter().flat_map(files).collect();
    assert!(!files.is_empty(), "{folders:?} have no sources");
    files
}
