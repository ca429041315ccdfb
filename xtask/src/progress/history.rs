//! How long crates took to compile: when they were compiled on this machine last, or else on the one
//! that `seconds.json` was measured on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Part;
use crate::workspace::Workspace;

/// Measured on two cores, by a build from nothing. A newer one is what `cargo xtask measure-start`
/// leaves in the cache of its home.
const MEASURED: &str = include_str!("seconds.json");

/// How much of the waiting a second of compiling is, until the build itself shows it: two cores share
/// the work, and do not always both find some.
const PRIOR_RATE: f64 = 0.6;
/// For how many seconds of compiling that guess counts.
const PRIOR_SECS: f64 = 20.0;
/// A crate nobody has compiled before, s.
const UNKNOWN_SECS: f64 = 1.0;

/// Seconds of each crate, for each part.
type Seconds = BTreeMap<String, BTreeMap<String, f64>>;

/// What is known from earlier builds.
pub struct History {
    seconds: Seconds,
    /// None without a home folder; then nothing is remembered.
    file: Option<PathBuf>,
    /// Parts that were built in this target folder, so that little of them is left to do.
    built: PathBuf,
}

impl History {
    /// Reads it. What cannot be read is as good as never written: it only makes guesses better.
    pub fn read(workspace: &Workspace) -> Self {
        let file = workspace.cache_path("seconds.json").ok();
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let mut seconds: Seconds = serde_json::from_str(MEASURED).unwrap_or_default();
        let own: Seconds = text
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        for (part, crates) in own {
            seconds.entry(part).or_default().extend(crates);
        }
        Self {
            seconds,
            file,
            built: workspace.target_path("xtask"),
        }
    }

    /// Seconds that a part takes that was not built here yet; 0 for one that was.
    pub fn expected_secs(&self, part: Part) -> f64 {
        if self.marker(part).exists() {
            return 0.0;
        }
        self.of(part).values().sum::<f64>() * PRIOR_RATE
    }

    /// What is to be done for a part, all of it at first.
    pub fn remaining(&self, part: Part) -> Remaining {
        Remaining {
            units: 0,
            done: 0,
            open: self.of(part),
            active: Vec::new(),
            until: 0.0,
            seen: BTreeMap::new(),
            took: BTreeMap::new(),
            fresh: BTreeSet::new(),
            expected: 0.0,
        }
    }

    /// Keeps how long each crate took, and that the part was built.
    pub fn keep(&mut self, part: Part, done: &Remaining) {
        let known = self.seconds.entry(part.title().to_owned()).or_default();
        known.extend(done.took.clone());
        // What is not part of it any more would be waited for in vain.
        known.retain(|package, _| done.took.contains_key(package) || done.fresh.contains(package));
        // Only guesses depend on it.
        _ = self.write(part);
    }

    fn write(&self, part: Part) -> std::io::Result<()> {
        if let Some(file) = &self.file {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(file, serde_json::to_string_pretty(&Kept(&self.seconds))?)?;
        }
        fs::create_dir_all(&self.built)?;
        fs::write(self.marker(part), "")
    }

    fn of(&self, part: Part) -> BTreeMap<String, f64> {
        let known = |part: Part| self.seconds.get(part.title());
        let known = known(part).or_else(|| known(part.likely()?));
        known.cloned().unwrap_or_default()
    }

    fn marker(&self, part: Part) -> PathBuf {
        self.built.join(format!("built-{part:?}"))
    }
}

/// Tenths of a second: more would be noise.
struct Kept<'a>(&'a Seconds);

impl Serialize for Kept<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tenths = |secs: &f64| (secs * 10.0).round() / 10.0;
        let rounded: Seconds = self
            .0
            .iter()
            .map(|(part, crates)| {
                let crates = crates
                    .iter()
                    .map(|(name, secs)| (name.clone(), tenths(secs)));
                (part.clone(), crates.collect())
            })
            .collect();
        rounded.serialize(serializer)
    }
}

/// How far a build is.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Units in all, as cargo counts them.
    pub units: usize,
    /// Those that are there.
    pub done: usize,
    /// Seconds of the crates that are not there yet.
    open: BTreeMap<String, f64>,
    /// Crates that are being compiled.
    active: Vec<String>,
    /// Until when that is counted in `seen`, s since the build began.
    until: f64,
    /// Seconds for which crates were seen being compiled.
    seen: BTreeMap<String, f64>,
    /// Seconds of those that were compiled.
    took: BTreeMap<String, f64>,
    /// Those that were there before.
    fresh: BTreeSet<String>,
    /// Seconds that those which were compiled were expected to take.
    expected: f64,
}

impl Remaining {
    /// From now on these crates are being compiled.
    ///
    /// - `names`: as cargo lists them: "burn-flex, gemm(build)"
    /// - `at`: since the build began
    pub fn at(&mut self, names: &str, at: Duration) {
        self.count(at);
        let names = names.split(", ");
        let packages = names.filter_map(|name| name.split('(').next());
        self.active = packages.map(str::to_owned).collect();
    }

    fn count(&mut self, at: Duration) {
        let now = at.as_secs_f64();
        for package in &self.active {
            *self.seen.entry(package.clone()).or_default() += now - self.until;
        }
        self.until = now;
    }

    /// A crate is there.
    ///
    /// - `is_fresh`: it was there before
    pub fn finish(&mut self, package: &str, is_fresh: bool, at: Duration) {
        self.count(at);
        self.done += 1;
        let expected = self.open.remove(package);
        if is_fresh {
            self.fresh.insert(package.to_owned());
        } else {
            // A package of several targets is there more than once, and expected once.
            let is_first = !self.took.contains_key(package);
            let unknown = if is_first { UNKNOWN_SECS } else { 0.0 };
            self.expected += expected.unwrap_or(unknown);
            let secs = self.seen.get(package).copied().unwrap_or_default();
            self.took.insert(package.to_owned(), secs);
        }
    }

    /// How many crates were compiled.
    pub fn compiled(&self) -> usize {
        self.took.len()
    }

    /// Seconds left; none while nothing says anything about it.
    ///
    /// - `so_far`: since the build began
    pub fn secs(&self, so_far: Duration) -> Option<f64> {
        let open: f64 = self.open.values().sum();
        let unknown = self.units.saturating_sub(self.done + self.open.len());
        let open = if self.open.is_empty() {
            // Nobody knows their names: so many as cargo counts.
            UNKNOWN_SECS * unknown as f64
        } else {
            open
        };
        if self.units == 0 {
            return None;
        }
        let waited = so_far.as_secs_f64() + PRIOR_RATE * PRIOR_SECS;
        Some(open * waited / (self.expected + PRIOR_SECS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(open: &[(&str, f64)]) -> Remaining {
        Remaining {
            units: open.len(),
            open: open
                .iter()
                .map(|&(name, secs)| (name.to_owned(), secs))
                .collect(),
            ..Remaining::default()
        }
    }

    fn secs(secs: f64) -> Duration {
        Duration::from_secs_f64(secs)
    }

    #[test]
    fn a_slow_machine_is_noticed_while_it_builds() {
        let mut build = remaining(&[("gemm", 40.0), ("burn", 60.0)]);
        let before = build.secs(secs(0.0)).unwrap();
        assert!((before - 60.0).abs() < 1.0, "as measured: {before}");
        build.at("gemm", secs(0.0));
        build.finish("gemm", false, secs(100.0));
        let after = build.secs(secs(100.0)).unwrap();
        assert!(
            after > 50.0,
            "the rest takes longer than was thought: {after}"
        );
    }

    #[test]
    fn a_crate_takes_as_long_as_it_is_seen_being_compiled() {
        let mut build = remaining(&[]);
        build.at("gemm(build.rs), burn", secs(0.0));
        build.at("burn", secs(2.0));
        build.at("gemm, burn", secs(50.0));
        build.finish("gemm", false, secs(53.0));
        build.finish("burn", false, secs(53.0));
        let expected = [("burn", 53.0), ("gemm", 5.0)];
        let expected = expected.map(|(name, secs): (&str, f64)| (name.to_owned(), secs));
        assert_eq!(
            build.took,
            BTreeMap::from(expected),
            "its build script counts, waiting for others does not"
        );
    }

    #[test]
    fn what_is_there_already_is_not_waited_for() {
        let mut build = remaining(&[("gemm", 40.0), ("burn", 60.0)]);
        build.finish("burn", true, secs(0.1));
        let left = build.secs(secs(0.1)).unwrap();
        assert!(left < 25.0, "gemm alone: {left}");
        assert_eq!(build.compiled(), 0, "nothing was compiled");
    }

    #[test]
    fn the_program_was_measured_crate_by_crate() {
        let measured: Seconds = serde_json::from_str(MEASURED).unwrap();
        let program = &measured[Part::Program.title()];
        assert!(program.contains_key("burn-flex"), "the longest of all");
        assert!(program.len() > 100, "and {} others", program.len());
    }
}
