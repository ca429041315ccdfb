//! Which versions of an example are trained on beside it.

use mimeo_image::Augmentation;
use mimeo_protocol::AugmentRecipe;

/// Powers of what solves x⁵ = x + 1: multiples of them, modulo 1, fill four dimensions evenly
/// (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
const STEPS: [f64; 4] = [
    0.856_674_883_854_502_9,
    0.733_891_856_627_126,
    0.628_706_721_037_808_6,
    0.538_597_257_223_61,
];

/// The versions of an example that a recipe asks for, itself first.
///
/// - `index`: of the example, so that no two are changed alike
pub(crate) fn versions(recipe: &AugmentRecipe, index: usize) -> Vec<Augmentation> {
    let count = recipe.versions();
    let version = |version: usize| {
        if version == 0 {
            return Augmentation::NONE;
        }
        let number = (index * (count - 1) + version) as f64;
        let [crop, x, y, hue] = STEPS.map(|step| (0.5 + number * step).fract());
        Augmentation {
            is_mirrored: recipe.mirror && version % 2 == 1,
            kept: 1.0 - crop * recipe.crop.get(),
            offset: (x, y),
            hue: (2.0 * hue - 1.0) * recipe.hue.get() * 180.0,
        }
    };
    (0..count).map(version).collect()
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{Crop, Share};

    use super::*;

    #[test]
    fn the_first_version_is_the_example_and_no_two_others_are_alike() {
        let all = AugmentRecipe {
            mirror: true,
            crop: Crop::constant(0.4),
            hue: Share::constant(0.5),
        };
        let mut seen: Vec<Augmentation> = Vec::new();
        for index in 0..5 {
            let versions = versions(&all, index);
            assert_eq!(versions.len(), 4, "as many as are told");
            assert_eq!(versions[0], Augmentation::NONE, "itself");
            for version in &versions[1..] {
                assert!((0.6..1.0).contains(&version.kept), "{version:?}");
                assert!(version.hue.abs() <= 90.0, "{version:?}");
                assert!(!seen.contains(version), "{version:?} again");
                seen.push(*version);
            }
        }
        let mirrored = seen.iter().filter(|version| version.is_mirrored).count();
        assert_eq!(mirrored, 10, "two of three, as the example itself is not");
        assert_eq!(versions(&AugmentRecipe::NONE, 7), [Augmentation::NONE]);
    }
}
