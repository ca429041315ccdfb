//! Licences of what is built.

use std::path::Path;
use std::process::Command;

use spdx::{Expression, ParseMode};

/// Licences that let anybody use, change and sell Mimeo without asking, with a notice at most.
/// MPL-2.0 asks that changes to those files themselves be published; we make none.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Data only: the certificates that browsers trust.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Every package that a build of the workspace compiles, on any platform with any feature, and its
/// licence, as `name version|licence`. `cargo tree` and not `cargo metadata`: the latter also lists
/// what only features that nobody switches on would bring.
pub fn of_all_that_is_built(root: &Path) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--workspace", "--all-features", "--target=all"])
        .args(["--edges=normal,build,dev", "--prefix=none"])
        .arg("--format={p}|{l}")
        .output()
        .expect("cargo runs this test, so it can run");
    assert!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("names and licences are text")
}

/// The lines whose licence is missing, unreadable or leaves no allowed choice.
pub fn refused(listing: &str) -> Vec<String> {
    let packages = listing.lines().filter(|line| !line.is_empty());
    packages
        // cargo marks what it has listed before.
        .filter(|line| !line.ends_with(" (*)"))
        .filter(|line| !line.rsplit('|').next().is_some_and(is_allowed))
        .map(|line| format!("not on the list of licences: {line}"))
        .collect()
}

fn is_allowed(licence: &str) -> bool {
    // Lax, since older packages write `MIT/Apache-2.0`.
    Expression::parse_mode(licence, ParseMode::LAX)
        .is_ok_and(|choices| choices.evaluate(|one| ALLOWED.contains(&one.to_string().as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_choice_is_enough_and_both_halves_of_an_and_are_needed() {
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR GPL-3.0-only",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(licence), "{licence}");
        }
        for licence in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "SSPL-1.0",
            "our own terms",
            "",
        ] {
            assert!(!is_allowed(licence), "{licence}");
        }
    }

    #[test]
    fn a_package_without_a_licence_is_refused() {
        let found = refused("good v1.0.0|MIT\nbad v1.0.0|\ngood v1.0.0|MIT (*)\n\n");
        assert_eq!(
            found,
            ["not on the list of licences: bad v1.0.0|"],
            "good is listed twice, and allowed"
        );
    }

    #[test]
    fn cargo_lists_what_we_stand_on() {
        let listing = of_all_that_is_built(crate::architecture::root());
        for name in ["burn v", "mimeo-engine v", "xtask v"] {
            assert!(
                listing.lines().any(|line| line.starts_with(name)),
                "{name} is part of every build"
            );
        }
    }
}
