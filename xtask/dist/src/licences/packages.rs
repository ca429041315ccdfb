//! Which packages are compiled into something, and what they bring along.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};

use super::files;

/// Something that is built.
pub struct Part<'a> {
    /// As people call it.
    pub name: &'static str,
    /// The package that it is built from.
    pub package: &'static str,
    /// What it is built for.
    pub platform: &'a str,
    /// Its features, separated by commas; none for the usual ones.
    pub features: Option<&'a str>,
}

/// A package of others.
#[derive(Debug, Default)]
pub struct Known {
    /// Its name and version.
    pub name: String,
    /// Its licence, as it says it.
    pub licence: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Where it comes from.
    pub origin: String,
    /// The parts that it is in.
    pub parts: BTreeSet<&'static str>,
    /// The texts of its licences.
    pub texts: BTreeSet<String>,
}

/// Every package of others in any of the parts, by name and version.
pub fn find(root: &Path, parts: &[Part<'_>]) -> Result<Vec<Known>> {
    let mut found = BTreeMap::<(String, String), Known>::new();
    let mut of_platform = BTreeMap::new();
    for part in parts {
        let packages = match of_platform.entry(part.platform) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(by_name(metadata(root, part.platform)?))
            }
        };
        for name in names(&tree(root, part)?) {
            let Some(package) = packages.get(&name) else {
                bail!("cargo compiles {} {} and does not know it", name.0, name.1);
            };
            if package.source.is_none() {
                // Ours, whose licence is the archive's.
                continue;
            }
            let known = match found.get_mut(&name) {
                Some(known) => known,
                None => found.entry(name).or_insert(read(package)?),
            };
            known.parts.insert(part.name);
        }
    }
    Ok(found.into_values().collect())
}

/// `cargo tree` and not `cargo metadata`: the latter also lists what only other features would bring.
fn tree(root: &Path, part: &Part<'_>) -> Result<String> {
    let mut cargo = Command::new(cargo());
    cargo
        .current_dir(root)
        .args(["tree", "--package", part.package])
        .args(["--target", part.platform])
        // What only runs while something is compiled is not in it.
        .args(["--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--format", "{p}"]);
    if let Some(features) = part.features {
        cargo.args(["--no-default-features", "--features", features]);
    }
    let output = cargo.output().context("cargo does not start")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("cargo cannot list what {} is made of: {why}", part.package);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Names and versions in lines such as `anyhow v1.0.104 (*)`.
fn names(listing: &str) -> BTreeSet<(String, String)> {
    let lines = listing.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    });
    lines.collect()
}

fn metadata(root: &Path, platform: &str) -> Result<Metadata> {
    MetadataCommand::new()
        .cargo_path(cargo())
        .current_dir(root)
        // Without it, cargo would download what only other platforms need.
        .other_options(["--filter-platform", platform].map(str::to_owned))
        .exec()
        .context("cargo cannot resolve the dependencies")
}

fn by_name(metadata: Metadata) -> BTreeMap<(String, String), Package> {
    let packages = metadata.packages.into_iter();
    packages
        .map(|package| {
            let name = (package.name.to_string(), package.version.to_string());
            (name, package)
        })
        .collect()
}

fn read(package: &Package) -> Result<Known> {
    let folder = package.manifest_path.parent();
    let folder = folder.context("a manifest lies in a folder")?;
    let mut texts = files::texts(folder.as_std_path())?;
    if let Some(file) = &package.license_file {
        texts.insert(files::read(folder.join(file).as_std_path())?);
    }
    let origin = package.repository.clone().or(package.homepage.clone());
    Ok(Known {
        name: format!("{} {}", package.name, package.version),
        licence: package.license.clone().unwrap_or_default(),
        authors: package.authors.clone(),
        origin: origin.unwrap_or_default(),
        parts: BTreeSet::new(),
        texts,
    })
}

/// The cargo that everything else was built with.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_read_from_cargos_tree() {
        let found = names(
            "mimeo-companion v0.1.0 (/somewhere/companion)\nanyhow v1.0.104\nanyhow v1.0.104 (*)\n\n",
        );
        let found: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, ["anyhow", "mimeo-companion"], "each once");
    }

    #[test]
    fn what_a_program_is_made_of_is_found_with_its_licence() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let part = Part {
            name: "program",
            package: "xtask",
            platform: "x86_64-unknown-linux-gnu",
            features: None,
        };
        let found = find(&root, &[part]).unwrap();
        let anyhow = found.iter().find(|known| known.name.starts_with("anyhow "));
        let anyhow = anyhow.expect("xtask is made with anyhow");
        assert_eq!(anyhow.licence, "MIT OR Apache-2.0", "as it says");
        assert_eq!(anyhow.texts.len(), 2, "both texts are in the package");
        assert!(
            !found.iter().any(|known| known.name.starts_with("syn ")),
            "macros are not in the program"
        );
        assert!(
            !found.iter().any(|known| known.name.starts_with("xtask ")),
            "ours is not of others"
        );
    }
}
