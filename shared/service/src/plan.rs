//! What a job takes of the device, and whether it fits.

use mimeo_engine::memory::{BaseShape, MemoryNeed, RecomputeChoice, told_of};
use mimeo_engine::{Compute, Recompute};
use mimeo_protocol::{BatchSize, MemoryPlan, Recipe, Rejection, Resolution};

/// What a job takes; quick enough to be asked after every change.
///
/// - `sizes`: width and height of the pictures of each example as they are, where they are known
/// - `room`: what the device has for it
#[must_use]
pub fn plan(
    base: &BaseShape,
    recipe: &Recipe,
    sizes: &[(u32, u32)],
    compute: &Compute,
    room: Room,
) -> MemoryPlan {
    let available_bytes = room.available_bytes;
    let place = base.place(compute);
    let chosen =
        |recipe: &Recipe| base.recompute(room.recompute, recipe, sizes, place, available_bytes);
    let need = |recipe: &Recipe| base.memory_need(recipe, sizes, place, chosen(recipe));
    let MemoryNeed {
        weights_bytes,
        activations_bytes,
        optimizer_bytes,
        largest_bytes,
    } = need(recipe);
    let mut plan = MemoryPlan {
        weights_bytes,
        activations_bytes,
        optimizer_bytes,
        file_bytes: base.file_bytes(recipe, sizes.first().copied()),
        available_bytes,
        remedy: None,
        recompute: told_of(chosen(recipe), base.levels()),
    };
    let fits = |bytes: u64| available_bytes.is_none_or(|available| bytes <= available);
    if !fits(plan.needed_bytes()) {
        let recomputed = base.memory_need(recipe, sizes, place, Recompute::EVERYTHING);
        let mut smallest_recipe = recipe.clone();
        smallest_recipe.pass.batch_size = BatchSize::constant(1);
        smallest_recipe.copier.pass.batch_size = BatchSize::constant(1);
        let smallest = need(&smallest_recipe);
        plan.remedy = Some(if fits(recomputed.total_bytes()) {
            "Let a step compute the UNet twice: start the companion with --recompute auto."
                .to_owned()
        } else if fits(smallest.total_bytes()) {
            let passes = [&recipe.pass, &recipe.copier.pass];
            let batch = passes.map(|pass| pass.batch_size.get()).into_iter().max();
            let batch = batch.unwrap_or(1);
            format!("Lower the batch size from {batch} to 1 (and raise the accumulation instead).")
        } else if let Some((from, to)) =
            smaller_resolution(&smallest_recipe, |recipe| fits(need(recipe).total_bytes()))
        {
            format!("Lower the resolution from {from} to {to}, with a batch size of 1.")
        } else {
            "Use a smaller base, or a device with more memory.".to_owned()
        });
    }
    if let Some(limit) = room.largest_bytes.filter(|limit| largest_bytes > *limit) {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        plan.remedy.get_or_insert_with(|| {
            format!(
                "This job needs {} MiB in one piece, and this GPU gives {} at most. Lower the batch size or the resolution, use a smaller base, or train with the companion.",
                mib(largest_bytes),
                mib(limit)
            )
        });
    }
    plan
}

/// The resolution that a recipe asks for, and the largest below it with which it fits, in steps that
/// every base takes; none where no size is left at which a base still draws well.
fn smaller_resolution(recipe: &Recipe, fits: impl Fn(&Recipe) -> bool) -> Option<(u32, u32)> {
    const STEP: u32 = 64;
    let asked = recipe.resolution?.get();
    let halves = asked.div_ceil(STEP * 2)..asked.div_ceil(STEP);
    let mut lower = halves.rev().map(|steps| Resolution::constant(steps * STEP));
    let lower = lower.find(|resolution| {
        fits(&Recipe {
            resolution: Some(*resolution),
            ..recipe.clone()
        })
    })?;
    Some((asked, lower.get()))
}

/// What a device has for jobs, as far as that is known, and how sparing they are of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub available_bytes: Option<u64>,
    /// In one piece.
    pub largest_bytes: Option<u64>,
    /// Whether they compute some things twice instead of keeping them.
    pub recompute: RecomputeChoice,
}

/// Why a job that does not fit is refused.
#[must_use]
pub fn refusal(plan: &MemoryPlan) -> Option<Rejection> {
    let remedy = plan.remedy.as_ref()?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let available = plan.available_bytes.unwrap_or(u64::MAX);
    if plan.needed_bytes() <= available {
        // It is one piece that is too large, and the remedy tells all of it.
        let message = remedy.clone();
        return Some(Rejection::Memory { message });
    }
    Some(Rejection::Memory {
        message: format!(
            "this job needs about {:.1} GiB of memory, and the device has {:.1} GiB for it. {remedy}",
            gib(plan.needed_bytes()),
            gib(available)
        ),
    })
}

#[cfg(test)]
mod tests {
    use mimeo_checkpoint::EmbeddedFolder;
    use mimeo_engine::{ArithmeticChoice, DeviceChoice, runtime};
    use mimeo_protocol::{Method, ModelSize};

    use super::*;

    #[test]
    fn the_remedy_is_a_smaller_batch_or_another_device() {
        let folder = EmbeddedFolder {
            name: mimeo_base::NAME,
            files: mimeo_base::files(),
        };
        let base = runtime::block_on(BaseShape::read(&folder)).unwrap();
        let compute =
            runtime::block_on(Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto)).unwrap();
        let recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        let in_room = |room| plan(&base, &recipe, &[], &compute, room);
        let plan = |available_bytes| {
            let largest_bytes = None;
            in_room(Room {
                available_bytes,
                largest_bytes,
                recompute: RecomputeChoice::Off,
            })
        };
        let needed = plan(None).needed_bytes();
        assert_eq!(refusal(&plan(None)), None, "nobody knows");
        assert_eq!(refusal(&plan(Some(needed))), None, "just so");
        assert_eq!(
            plan(Some(0)).remedy.as_deref(),
            Some("Use a smaller base, or a device with more memory."),
            "no batch is small enough"
        );
        let at = |side, batch, available_bytes| {
            let mut recipe = recipe.clone();
            recipe.resolution = Some(Resolution::constant(side));
            recipe.pass.batch_size = BatchSize::constant(batch);
            recipe.copier.pass.batch_size = BatchSize::constant(batch);
            let room = Room {
                available_bytes,
                largest_bytes: None,
                recompute: RecomputeChoice::On,
            };
            super::plan(&base, &recipe, &[], &compute, room)
        };
        let half = at(256, 1, None).needed_bytes();
        assert_eq!(
            at(512, 4, Some(half)).remedy.as_deref(),
            Some("Lower the resolution from 512 to 256, with a batch size of 1."),
            "the largest that fits"
        );
        assert_eq!(
            at(512, 4, Some(half - 1)).remedy.as_deref(),
            Some("Use a smaller base, or a device with more memory."),
            "at less than half it would not draw well"
        );
        let refused = refusal(&plan(Some(needed - 1))).map(|reason| reason.to_string());
        assert!(
            refused.is_some_and(|text| text.contains("--recompute auto")),
            "computing twice would do"
        );
        let many = at(256, 64, None).needed_bytes();
        let refused = refusal(&at(256, 64, Some(many - 1))).map(|reason| reason.to_string());
        assert!(
            refused.is_some_and(|text| text.contains("Lower the batch size from 64 to 1")),
            "a smaller batch fits"
        );
        let in_room = |available_bytes| {
            in_room(Room {
                available_bytes,
                ..Room::default()
            })
        };
        let auto = in_room(Some(needed - 1));
        assert_eq!(auto.remedy, None, "it is computed twice, unasked");
        assert!(auto.recompute.is_some(), "and that is told");
        assert!(auto.needed_bytes() < needed, "so it takes less");
        assert_eq!(
            in_room(Some(needed)).recompute,
            None,
            "no more than it must"
        );

        let refused = |largest_bytes| {
            let room = Room {
                largest_bytes,
                ..Room::default()
            };
            let plan = super::plan(&base, &recipe, &[], &compute, room);
            refusal(&plan).map(|reason| reason.to_string())
        };
        assert_eq!(
            refused(Some(128 << 20)),
            None,
            "what every GPU gives in one piece"
        );
        let sentence = refused(Some(1 << 20)).unwrap_or_default();
        assert!(sentence.contains("gives 1 at most. Lower"), "{sentence}");
    }
}
