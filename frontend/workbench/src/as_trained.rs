//! What the training really sees: B after compositing, and the weights of the loss on the latent
//! grid.

use mimeo_image::LATENT_FACTOR;
use mimeo_image::{LatentMask, Rgb, composite};

use crate::frame::Frame;
use crate::workbench::Workbench;

/// How strongly the grid is drawn, of 255.
const STRENGTH: f32 = 150.0;

/// B as it is trained: with A put back outside the mask, if the recipe wants that.
#[must_use]
pub fn target(bench: &Workbench) -> Option<Rgb> {
    let (original, target) = bench.frame().and_then(Frame::pair)?;
    let recipe = &bench.settings().recipe.mask;
    let mask = bench
        .mask()
        .filter(|mask| recipe.composite && !mask.is_empty());
    let Some(mask) = mask else {
        return Some(target.clone());
    };
    let feather = recipe.feather.get() as u32;
    composite(original, target, mask, feather).ok()
}

/// The latent grid, one pixel a cell: width, height and `[height, width, 4]` straight RGBA. Cells of
/// the mask have its colour, cells that count less are dark.
#[must_use]
pub fn grid_rgba(bench: &Workbench, colour: [u8; 3]) -> Option<(u32, u32, Vec<u8>)> {
    let mask = bench.mask()?;
    let (width, height) = (mask.width() / LATENT_FACTOR, mask.height() / LATENT_FACTOR);
    let shares = match LatentMask::new(mask) {
        Ok(latent) => latent.weights,
        // Nothing is painted: then nothing counts less.
        Err(_) => return Some((width, height, vec![0; (width * height * 4) as usize])),
    };
    let outside = bench.settings().recipe.mask.unmasked_weight.get() as f32;
    let cell = |share: &f32| {
        let weight = outside + (1.0 - outside) * share;
        let (inside, ignored) = (share * STRENGTH, (1.0 - weight) * STRENGTH);
        let alpha = inside + ignored;
        let tint = |channel: u8| (f32::from(channel) * inside / alpha.max(1.0)) as u8;
        let [red, green, blue] = colour.map(tint);
        [red, green, blue, alpha as u8]
    };
    Some((width, height, shares.iter().flat_map(cell).collect()))
}

/// The same in words.
#[must_use]
pub fn sentence(bench: &Workbench) -> String {
    let recipe = &bench.settings().recipe.mask;
    if bench.mask().is_none_or(mimeo_image::Mask::is_empty) {
        return "Nothing is painted: every cell counts the same".to_owned();
    }
    let outside = recipe.unmasked_weight.get();
    let kept = if recipe.composite {
        "there B is replaced by A"
    } else {
        "B stays as it is there"
    };
    format!("Outside the mask a cell counts {outside}, and {kept}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::examples::{SIDE, pair};
    use crate::workbench::{Command, MaskCommand, Setting};
    use mimeo_protocol::fields::Field;

    const PINK: [u8; 3] = [255, 0, 100];

    fn masked() -> Workbench {
        let mut bench = pair();
        bench.apply(Command::Mask(MaskCommand::Suggest)).unwrap();
        bench
    }

    fn set(bench: &mut Workbench, path: &str, value: serde_json::Value) {
        let field = Field::at(path).unwrap();
        bench
            .apply(Command::Set(Setting::Field(field, value)))
            .unwrap();
    }

    #[test]
    fn the_grid_is_eight_times_smaller_and_has_the_masks_colour_inside() {
        let (width, height, rgba) = grid_rgba(&masked(), PINK).unwrap();
        assert_eq!((width, height), (SIDE / 8, SIDE / 8), "one pixel a cell");
        let cell = |x: u32, y: u32| {
            let at = ((y * width + x) * 4) as usize;
            [rgba[at], rgba[at + 1], rgba[at + 2], rgba[at + 3]]
        };
        let [red, _, _, alpha] = cell(width / 2, height / 2);
        assert!(red > 250 && alpha > 140, "inside: {red} {alpha}");
        assert_eq!(
            cell(0, 0)[3],
            0,
            "outside counts as much, so nothing is drawn"
        );
    }

    #[test]
    fn cells_that_count_less_are_dark() {
        let mut bench = masked();
        set(&mut bench, "/mask/unmasked_weight", 0.0.into());
        let (_, _, rgba) = grid_rgba(&bench, PINK).unwrap();
        assert_eq!(rgba[..3], [0, 0, 0], "no colour");
        assert!(rgba[3] > 140, "dark");
        assert!(
            sentence(&bench).contains("counts 0"),
            "{}",
            sentence(&bench)
        );
    }

    #[test]
    fn outside_the_mask_b_is_a_unless_that_is_switched_off() {
        let mut bench = masked();
        let outside = |bench: &Workbench| target(bench).unwrap().pixel(1, 1);
        let original = bench
            .frame()
            .unwrap()
            .original
            .as_ref()
            .unwrap()
            .pixel(1, 1);
        assert_eq!(outside(&bench), original, "A");
        set(&mut bench, "/mask/composite", false.into());
        assert!(
            sentence(&bench).contains("stays as it is"),
            "{}",
            sentence(&bench)
        );
    }
}
