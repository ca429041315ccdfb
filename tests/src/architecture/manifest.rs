//! What every `Cargo.toml` of the workspace has in common.

use std::fs;
use std::path::Path;

use toml::Table;

/// Reads a manifest.
pub fn read(path: &Path) -> Table {
    let text = fs::read_to_string(path).expect("cargo read this manifest before");
    text.parse().expect("cargo read this manifest before")
}

/// Where a member goes its own way: other lints, other versions than the one table's.
pub fn deviations(name: &str, manifest: &Table) -> Vec<String> {
    let mut found = Vec::new();
    if !inherits(manifest.get("lints")) {
        found.push(format!("{name} does not have `[lints] workspace = true`"));
    }
    for (dependency, value) in dependencies(manifest) {
        if !inherits(Some(value)) {
            found.push(format!(
                "{name} has its own version of {dependency}; take the workspace's table"
            ));
        }
    }
    found
}

/// Dependencies of every kind, those of single platforms included.
fn dependencies(manifest: &Table) -> Vec<(&String, &toml::Value)> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values);
    let tables = targets.filter_map(toml::Value::as_table).chain([manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    tables
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flatten()
        .collect()
}

fn inherits(value: Option<&toml::Value>) -> bool {
    let inherits = value.and_then(|value| value.get("workspace"));
    inherits.and_then(toml::Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_lints_and_own_versions_are_found() {
        let manifest: Table = r#"
            [dependencies]
            serde.workspace = true
            toml = "1"
            [target.'cfg(unix)'.dev-dependencies]
            rand = { version = "0.10" }
            [lints.rust]
            unsafe_code = "allow"
        "#
        .parse()
        .unwrap();
        let mut found = deviations("mimeo-x", &manifest);
        found.sort();
        assert_eq!(
            found,
            [
                "mimeo-x does not have `[lints] workspace = true`",
                "mimeo-x has its own version of rand; take the workspace's table",
                "mimeo-x has its own version of toml; take the workspace's table",
            ],
            "serde comes from the table"
        );
    }

    #[test]
    fn a_member_that_inherits_everything_deviates_in_nothing() {
        let manifest: Table =
            "[dependencies]\nserde = { workspace = true }\n[lints]\nworkspace = true"
                .parse()
                .unwrap();
        let found = deviations("mimeo-x", &manifest);
        assert!(found.is_empty(), "{found:?}");
    }
}
