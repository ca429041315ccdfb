//! What is compiled twice, because the program and its macros ask for other features of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::graph::Graph;

/// The crates of which the program as `cargo xtask run` builds it needs more than one, one
/// `name vVERSION` a line: two versions, or one version with two sets of features.
pub fn several(root: &Path) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--package=mimeo-companion", "--no-default-features"])
        .args(["--edges=normal,build", "--duplicates", "--depth=0"])
        .args(["--prefix=none", "--format={p}"])
        .output()
        .expect("cargo runs this test, so it can run");
    assert!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("names and versions are text")
}

/// The lines that stand there twice, of what `macros` are built from.
pub fn because_of(macros: &str, listing: &str, graph: &Graph) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let lines = listing.lines().filter(|line| !line.is_empty());
    let twice = lines.filter(|line| !seen.insert(*line));
    twice
        .filter(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            !graph.ways(macros, &[name]).is_empty()
        })
        .map(|line| {
            format!(
                "{line} has other features for {macros}: name who asks for them among \
                 companion's build-dependencies"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::graph::Purpose;
    use super::*;

    #[test]
    fn one_version_twice_is_found_where_the_macros_need_it() {
        let mut graph = Graph::default();
        graph.add("macros", Purpose::Build, "tokio");
        let listing =
            "tokio v1.0.0\n\nbase64 v0.1.0\n\ntokio v1.0.0\n\nhyper v1.0.0\nhyper v1.0.0\n";
        let found = because_of("macros", listing, &graph);
        assert_eq!(found.len(), 1, "only tokio: {found:?}");
        let versions = "tokio v1.0.0\n\ntokio v2.0.0\n";
        assert!(
            because_of("macros", versions, &graph).is_empty(),
            "two versions are two crates"
        );
    }
}
