//! What must be true of the workspace itself: which crate knows which, under which licences we
//! build, what no file may contain. The numbered tests are the invariants of the README's code map.
//!
//! Every rule is a function that lists its violations, with a test beside it that shows it finding
//! one, so that a rule cannot rot into something that always passes.

mod graph;
mod licence;
mod manifest;
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
    &["mimeo-lora", "mimeo-prompt"],
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
const BROWSER: [&str; 4] = ["web_sys", "js_sys", "wasm_bindgen", "leptos"];

/// What belongs to the machine that a program runs on.
const MACHINE: [&str; 6] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
];

/// The crates that compute and do nothing else.
const NUMERIC: [&str; 3] = ["lora", "diffusion", "train"];

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
fn invariant_2_the_workbench_stands_on_protocol_prompt_image_and_checkpoint() {
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
            "mimeo-protocol"
        ],
        "what a page needs to know of training"
    );
}

#[test]
fn invariant_2_the_workbench_knows_no_browser() {
    let sources = sources_in("frontend/workbench/src");
    assert_none(&text::code_with(&sources, &BROWSER));
}

#[test]
fn invariant_3_the_models_know_no_protocol() {
    let graph = graph();
    for name in ["mimeo-lora", "mimeo-diffusion"] {
        assert_none(&graph.ways(name, &["mimeo-protocol"]));
    }
}

#[test]
fn invariant_3_the_numeric_core_knows_no_files_threads_or_clock() {
    for name in NUMERIC {
        assert_none(&text::code_with(&sources_of(name), &MACHINE));
    }
}

#[test]
fn invariant_3_the_service_knows_no_files_threads_or_clock() {
    let sources = sources_of("service");
    assert_none(&text::code_with(&sources, &MACHINE));
    assert_none(&text::code_with(&sources, &["block_on"]));
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
    let others: Vec<_> = ["shared", "frontend"]
        .into_iter()
        .flat_map(sources_in)
        .filter(|file| !allowed.iter().any(|path| file.path.ends_with(path)))
        .collect();
    assert_none(&text::code_with(
        &others,
        &["target_family", "target_arch", "target_os"],
    ));
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
    let unseeded = [
        "Tensor::random",
        "rand::rng",
        "thread_rng",
        "from_os_rng",
        "ThreadRng",
        "OsRng",
        "SysRng",
    ];
    for name in NUMERIC {
        assert_none(&text::code_with(&sources_of(name), &unseeded));
    }
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
fn invariant_10_the_service_connects_to_nobody() {
    // The command line's client, and the question who has a port of this computer; and what both
    // open connections with.
    let allowed = [
        "companion/src/remote.rs",
        "companion/src/remote/http.rs",
        "companion/src/service/port.rs",
        "companion/src/tls.rs",
        "companion/src/tls/built_in.rs",
        "companion/src/tls/left_out.rs",
    ];
    let others: Vec<_> = text::source_files(&root().join("companion/src"), "rs")
        .into_iter()
        .filter(|file| !allowed.iter().any(|path| file.path.ends_with(path)))
        .collect();
    let outgoing = [
        "client::legacy",
        "Http::",
        "connect_async",
        "TcpStream",
        "UdpSocket",
        "::connect(",
    ];
    let found = text::code_with(&others, &outgoing);
    // `Remote` is the client; only commands of the command line may use it.
    let found = found.iter().filter(|place| !place.contains("src/cli/"));
    assert_none(&found.cloned().collect::<Vec<_>>());
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

fn sources_of(name: &str) -> Vec<SourceFile> {
    sources_in(&format!("shared/{name}/src"))
}

fn sources_in(folder: &str) -> Vec<SourceFile> {
    let files = text::source_files(&root().join(folder), "rs");
    assert!(!files.is_empty(), "{folder} has no sources");
    files
}
