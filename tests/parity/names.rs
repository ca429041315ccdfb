//! The key table beside diffusers' own conversion of single-file checkpoints.

use std::collections::BTreeMap;

use mimeo_checkpoint::names::{UnetKeys, UnetLayout};
use serde::Deserialize;

use crate::support::fixture::read_json;
use crate::support::test;

/// Every weight of the UNet of Stable Diffusion 1.5.
#[derive(Deserialize)]
struct Keys {
    /// Name to shape.
    diffusers: BTreeMap<String, Vec<usize>>,
    /// Name to diffusers' name.
    ldm: BTreeMap<String, String>,
}

#[test]
fn every_weight_of_stable_diffusion_1_5_is_named_both_ways() {
    let theirs: Keys = read_json("sd15_keys.json");
    let keys = UnetKeys::new(&UnetLayout::sd1());
    assert_eq!(
        theirs.ldm.len(),
        theirs.diffusers.len(),
        "both layouts name the same weights"
    );
    for (ldm, diffusers) in &theirs.ldm {
        assert!(
            theirs.diffusers.contains_key(diffusers),
            "{diffusers} is no weight"
        );
        assert_eq!(
            keys.diffusers_from_ldm(ldm).as_ref(),
            Some(diffusers),
            "diffusers' {ldm}"
        );
        assert_eq!(
            keys.ldm_from_diffusers(diffusers).as_ref(),
            Some(ldm),
            "ldm's {diffusers}"
        );
    }
}
