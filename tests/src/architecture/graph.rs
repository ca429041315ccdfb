//! Who depends on whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package, TargetKind};

/// Crates by name, with what each depends on. The versions of a crate are one node.
#[derive(Default)]
pub struct Graph {
    arrows: BTreeMap<String, BTreeSet<(Purpose, String)>>,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// It is part of the crate, or of how the crate is built.
    Build,
    /// Only the crate's tests use it.
    Test,
}

impl Graph {
    /// Everything that the lock file allows, on every platform: rather an arrow too many.
    pub fn new(metadata: &Metadata) -> Self {
        let resolve = metadata
            .resolve
            .as_ref()
            .expect("cargo resolves by default");
        let mut graph = Self::default();
        for node in &resolve.nodes {
            let from = metadata[&node.id].name.as_str();
            for dependency in &node.deps {
                let to = metadata[&dependency.pkg].name.as_str();
                for how in &dependency.dep_kinds {
                    let purpose = match how.kind {
                        DependencyKind::Development => Purpose::Test,
                        _ => Purpose::Build,
                    };
                    graph.add(from, purpose, to);
                }
            }
        }
        graph
    }

    /// What a crate depends on directly, by name.
    pub fn dependencies(&self, crate_name: &str, purpose: Purpose) -> Vec<&str> {
        let arrows = self.arrows.get(crate_name).into_iter().flatten();
        arrows
            .filter(|(of, _)| *of == purpose)
            .map(|(_, to)| to.as_str())
            .collect()
    }

    /// A way to each of `forbidden` that `from` reaches outside its tests.
    pub fn ways(&self, from: &str, forbidden: &[&str]) -> Vec<String> {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![vec![from]];
        let mut found = Vec::new();
        while let Some(way) = open.pop() {
            let last = way[way.len() - 1];
            if forbidden.contains(&last) {
                found.push(format!("{last} must be out of reach: {}", way.join(" -> ")));
            }
            for next in self.dependencies(last, Purpose::Build) {
                if seen.insert(next) {
                    open.push([way.as_slice(), &[next]].concat());
                }
            }
        }
        found
    }

    /// Adds an arrow.
    pub fn add(&mut self, from: &str, purpose: Purpose, to: &str) {
        let arrows = self.arrows.entry(from.to_owned()).or_default();
        arrows.insert((purpose, to.to_owned()));
    }

    fn all(&self) -> impl Iterator<Item = (&str, Purpose, &str)> {
        self.arrows.iter().flat_map(|(from, arrows)| {
            arrows
                .iter()
                .map(|(purpose, to)| (from.as_str(), *purpose, to.as_str()))
        })
    }
}

/// Arrows between `layers`, the lowest first, that do not point down. Tests may look sideways, at
/// another crate of their own layer.
pub fn upward_arrows(graph: &Graph, layers: &[&[&str]]) -> Vec<String> {
    let layer_of = |name| layers.iter().position(|layer| layer.contains(&name));
    let between = graph.all().filter_map(|(from, purpose, to)| {
        Some((from, layer_of(from)?, purpose, to, layer_of(to)?))
    });
    between
        .filter(|&(_, from_layer, purpose, _, to_layer)| match purpose {
            Purpose::Build => to_layer >= from_layer,
            Purpose::Test => to_layer > from_layer,
        })
        .map(|(from, from_layer, _, to, to_layer)| {
            format!("{from} (layer {from_layer}) depends on {to} (layer {to_layer})")
        })
        .collect()
}

/// Workspace crates that no layer holds, and names in a layer that are no crate.
pub fn misplaced(crates: &[String], layers: &[&[&str]]) -> Vec<String> {
    let placed = layers.concat();
    let homeless = crates
        .iter()
        .filter(|name| !placed.contains(&name.as_str()));
    let unknown = placed
        .iter()
        .filter(|name| !crates.iter().any(|known| known == *name));
    homeless
        .map(|name| format!("{name} is in no layer; give it one"))
        .chain(unknown.map(|name| format!("{name} is in a layer and no crate of the workspace")))
        .collect()
}

/// Arrows of every kind that end at one of `ends`.
pub fn arrows_to(graph: &Graph, ends: &[&str]) -> Vec<String> {
    let arrows = graph.all().filter(|(_, _, to)| ends.contains(to));
    arrows
        .map(|(from, _, to)| format!("{from} depends on the program {to}"))
        .collect()
}

/// Workspace crates without a binary that depend on `dependency`.
pub fn libraries_with(metadata: &Metadata, dependency: &str) -> Vec<String> {
    let packages = metadata.workspace_packages().into_iter();
    packages
        .filter(|package| !has_binary(package))
        .filter(|package| {
            package
                .dependencies
                .iter()
                .any(|used| used.name == dependency)
        })
        .map(|package| format!("{} is a library and depends on {dependency}", package.name))
        .collect()
}

/// Packages from anywhere but this workspace and crates.io.
pub fn foreign_sources(metadata: &Metadata) -> Vec<String> {
    let packages = metadata.packages.iter();
    packages
        .filter(|package| match &package.source {
            Some(source) => !source.is_crates_io(),
            None => !metadata.workspace_members.contains(&package.id),
        })
        .map(|package| {
            let source = package
                .source
                .as_ref()
                .map_or("a path", |source| &source.repr);
            format!("{} {} comes from {source}", package.name, package.version)
        })
        .collect()
}

fn has_binary(package: &Package) -> bool {
    let mut targets = package.targets.iter();
    targets.any(|target| target.is_kind(TargetKind::Bin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(arrows: &[(&str, Purpose, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, purpose, to) in arrows {
            graph.add(from, *purpose, to);
        }
        graph
    }

    #[test]
    fn an_arrow_upwards_or_sideways_is_found() {
        let layers: [&[&str]; 2] = [&["image", "base"], &["engine"]];
        let found = upward_arrows(
            &graph(&[
                ("engine", Purpose::Build, "image"),
                ("image", Purpose::Build, "engine"),
                ("image", Purpose::Build, "base"),
                ("image", Purpose::Build, "serde"),
            ]),
            &layers,
        );
        assert_eq!(
            found,
            [
                "image (layer 0) depends on base (layer 0)",
                "image (layer 0) depends on engine (layer 1)",
            ],
            "down and out of the workspace are fine"
        );
    }

    #[test]
    fn tests_may_look_sideways_and_not_up() {
        let layers: [&[&str]; 2] = [&["image", "base"], &["engine"]];
        let found = upward_arrows(
            &graph(&[
                ("image", Purpose::Test, "base"),
                ("image", Purpose::Test, "engine"),
            ]),
            &layers,
        );
        assert_eq!(found.len(), 1, "only the arrow to the engine: {found:?}");
    }

    #[test]
    fn a_crate_without_a_layer_and_a_layer_without_a_crate_are_found() {
        let crates = ["image", "worker"].map(str::to_owned);
        let found = misplaced(&crates, &[&["image"], &["engine"]]);
        assert_eq!(
            found,
            [
                "worker is in no layer; give it one",
                "engine is in a layer and no crate of the workspace",
            ],
            "image has its layer"
        );
    }

    #[test]
    fn a_way_through_others_is_found_and_one_through_tests_is_none() {
        let graph = graph(&[
            ("checkpoint", Purpose::Build, "codec"),
            ("codec", Purpose::Build, "gpu"),
            ("checkpoint", Purpose::Test, "burn"),
        ]);
        assert_eq!(
            graph.ways("checkpoint", &["gpu", "burn"]),
            ["gpu must be out of reach: checkpoint -> codec -> gpu"],
            "burn is reached by tests alone"
        );
    }

    #[test]
    fn whoever_depends_on_a_program_is_found() {
        let graph = graph(&[("engine", Purpose::Test, "companion")]);
        assert_eq!(
            arrows_to(&graph, &["companion"]),
            ["engine depends on the program companion"],
            "tests count too"
        );
    }

    #[test]
    fn libraries_and_sources_are_read_from_cargos_answer() {
        let found = libraries_with(crate::architecture::metadata(), "thiserror");
        assert!(
            found.contains(&"mimeo-protocol is a library and depends on thiserror".to_owned()),
            "every library with errors has it: {found:?}"
        );

        let mut metadata = crate::architecture::metadata().clone();
        let outsider = metadata.workspace_members.remove(0);
        let found = foreign_sources(&metadata);
        assert_eq!(
            found.len(),
            1,
            "without its membership {outsider} is a path like any other: {found:?}"
        );
    }
}
