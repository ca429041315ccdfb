//! The key table beside diffusers' own conversion of single-file checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use mimeo_checkpoint::Component;
use mimeo_checkpoint::names::{LDM_UNET_PREFIX, ModuleNames, UnetKeys, UnetLayout};
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

/// What kohya's tools adapt of a model, by the names that they write.
#[derive(Deserialize)]
struct Modules {
    /// The transformers' layers ("lierla").
    lierla: BTreeSet<String>,
    /// What is adapted too where convolutions are asked for ("c3lier").
    adds: BTreeSet<String>,
}

#[test]
fn every_weight_of_stable_diffusion_1_5_is_named_both_ways() {
    assert_named_both_ways("sd15_keys.json", &UnetLayout::sd1());
}

#[test]
fn every_weight_of_stable_diffusion_xl_is_named_both_ways() {
    assert_named_both_ways("sdxl_keys.json", &UnetLayout::sdxl());
}

fn assert_named_both_ways(file: &str, layout: &UnetLayout) {
    let theirs: Keys = read_json(file);
    let keys = UnetKeys::new(layout);
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

#[test]
fn the_modules_of_a_lora_are_those_of_kohya_in_name_and_number() {
    let theirs: BTreeMap<String, Modules> = read_json("kohya_modules.json");
    for (family, file, layout, lierla, c3lier) in [
        ("sd15", "sd15_keys.json", UnetLayout::sd1(), 192, 278),
        ("sdxl", "sdxl_keys.json", UnetLayout::sdxl(), 722, 788),
    ] {
        let theirs = &theirs[family];
        let counts = [theirs.lierla.len(), theirs.lierla.len() + theirs.adds.len()];
        assert_eq!(
            counts,
            [lierla, c3lier],
            "as kohya's own logs say of {family}"
        );

        let weights: Keys = read_json(file);
        let keys = UnetKeys::new(&layout);
        // kohya has diffusers' UNet of Stable Diffusion 1, and one of its own, in SGM's names, of XL.
        let name = |path: &str| match family {
            "sd15" => Component::Unet.kohya_name(path),
            _ => {
                let ldm = keys.ldm_from_diffusers(path).unwrap();
                Component::Unet.kohya_name(ldm.trim_start_matches(LDM_UNET_PREFIX))
            }
        };
        // Norms have weights of one side.
        let layers = weights
            .diffusers
            .iter()
            .filter(|(_, shape)| shape.len() > 1);
        let paths: Vec<&str> = layers
            .filter_map(|(weight, _)| weight.strip_suffix(".weight"))
            .filter(|path| path.contains("_block"))
            .collect();
        let (of_transformers, others): (Vec<&str>, Vec<&str>) =
            paths.iter().partition(|path| path.contains(".attentions."));
        let named = |paths: &[&str]| paths.iter().map(|path| name(path)).collect::<BTreeSet<_>>();
        assert_eq!(named(&of_transformers), theirs.lierla, "lierla of {family}");
        assert_eq!(named(&others), theirs.adds, "c3lier of {family}");

        let names = ModuleNames::new(Component::Unet, paths.iter().copied()).unwrap();
        let names = names.with_ldm_names(&keys).unwrap();
        for path in paths {
            assert_eq!(names.path(&name(path)), Some(path), "found by kohya's name");
            let diffusers = Component::Unet.kohya_name(path);
            assert_eq!(
                names.path(&diffusers),
                Some(path),
                "found by diffusers' name"
            );
        }
    }
}
