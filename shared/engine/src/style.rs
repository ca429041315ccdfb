//! Whether a LoRA that was trained upon a style copier is free of the style, and has what it was trained
//! for ([`StyleLeak`]).
//!
//! Each picture is drawn three times from the same noise, without guidance: by the base, with the copier,
//! and with the LoRA alone. They are compared as latents, in sums over all pictures: one that the copier
//! hardly changes has nothing to tell.

use burn::tensor::Tensor;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{Recipe, StyleLeak};

use crate::base::read_back;
use crate::change::LEAST;
use crate::control::{Control, Within};
use crate::error::EngineError;
use crate::sample::{SampleRequest, sample_latents, total_steps};
use crate::score::SCORE_SEED;
use crate::session::{Scene, Session};

/// Drawings of each picture.
const DRAWINGS: usize = 3;
/// Seed of the first picture of a caption: those before are of held-out prompts.
const CAPTION_SEED: u64 = SCORE_SEED + Recipe::MAX_HELD_OUT as u64;
/// Pictures of captions at most.
const OF_CAPTIONS: usize = 8;

/// How much is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Of held-out prompts, and of captions, at most.
    pictures: usize,
    /// Denoising steps of each.
    steps: usize,
    /// How many of them are done; of the rest is foreseen what they lead to.
    calls: usize,
}

impl Effort {
    const fn within_ten(pictures: usize, calls: usize) -> Self {
        Self {
            pictures,
            steps: 10,
            calls,
        }
    }

    /// All held-out prompts.
    pub const FULL: Self = Self {
        pictures: usize::MAX,
        steps: 20,
        calls: 20,
    };
    /// The most first.
    const ALL: [Self; 5] = [
        Self::FULL,
        Self::within_ten(8, 10),
        Self::within_ten(6, 8),
        Self::within_ten(4, 6),
        Self::within_ten(2, 5),
    ];

    /// The most that takes no more calls of the UNet than these, or than any; none where nothing does,
    /// or there is no prompt.
    pub fn within(calls: Option<u64>, prompts: usize) -> Option<Self> {
        let calls = calls.unwrap_or(u64::MAX);
        let mut efforts = Self::ALL.into_iter();
        efforts.find(|effort| prompts > 0 && effort.calls(prompts) <= calls)
    }

    /// Calls of the UNet, of one picture each.
    fn calls(self, prompts: usize) -> u64 {
        let pictures = self.pictures.min(prompts) + self.of_captions();
        (DRAWINGS * pictures * self.calls) as u64
    }

    fn of_captions(self) -> usize {
        self.pictures.min(OF_CAPTIONS)
    }
}

/// The pictures of a prompt or several, by what drew them: `[pictures, channels, height, width]` each.
struct Drawn {
    base: Tensor<4>,
    copier: Tensor<4>,
    lora: Tensor<4>,
}

/// Sums over pictures of held-out prompts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sums {
    /// `Σ⟨zL - z0, zC - z0⟩`
    along: f64,
    /// `Σ‖zL - z0‖²`
    changed: f64,
    /// `Σ‖zC - z0‖²`
    style: f64,
}

impl Sums {
    /// The leak, and the rest.
    fn shares(self) -> (f64, f64) {
        let style = self.style.max(LEAST);
        let leak = self.along / style;
        // ‖a - leak · b‖² with leak = ⟨a, b⟩ / ‖b‖²; rounding may take it below 0.
        let rest = (self.changed - leak * self.along).max(0.0);
        (leak, (rest / style).sqrt())
    }
}

impl Drawn {
    async fn sums(&self) -> Result<Sums, EngineError> {
        let lora = self.lora.clone() - self.base.clone();
        let style = self.copier.clone() - self.base.clone();
        let numbers = [
            (lora.clone() * style.clone()).sum(),
            lora.square().sum(),
            style.square().sum(),
        ];
        let numbers = read_back(Tensor::cat(numbers.to_vec(), 0)).await?;
        let [along, changed, style] = [0, 1, 2].map(|index| f64::from(numbers[index]));
        Ok(Sums {
            along,
            changed,
            style,
        })
    }

    /// `Σ⟨zL - z0, zT - zC⟩` and `Σ‖zT - zC‖²`.
    ///
    /// - `trained`: zT, of every picture
    async fn way_to(&self, trained: &Tensor<4>) -> Result<(f64, f64), EngineError> {
        let way = trained.clone() - self.copier.clone();
        let lora = self.lora.clone() - self.base.clone();
        let numbers = [(lora * way.clone()).sum(), way.square().sum()];
        let numbers = read_back(Tensor::cat(numbers.to_vec(), 0)).await?;
        Ok((f64::from(numbers[0]), f64::from(numbers[1])))
    }
}

impl Session<'_> {
    /// Held-out prompts that do not name what is trained.
    pub(crate) fn unnamed_prompts(&self) -> Vec<String> {
        let captions = self.job.captions();
        let prompts = self.job.measured_prompts().iter();
        let unnamed = prompts.filter(|prompt| is_unnamed(prompt, &self.recipe.trigger, &captions));
        unnamed.cloned().collect()
    }

    /// Denoising steps of [`Self::style_leak`].
    ///
    /// # Errors
    /// When a prompt cannot be read.
    pub(crate) fn style_steps(&self, effort: Effort) -> Result<u32, EngineError> {
        let (held_out, captions) = self.style_requests(effort);
        let mut steps = 0;
        for request in std::iter::once(&held_out).chain(captions.iter().map(|(_, of)| of)) {
            let drawn = SampleRequest {
                steps: effort.calls,
                ..request.clone()
            };
            steps += total_steps(self.base, &drawn)?;
        }
        Ok(DRAWINGS as u32 * steps)
    }

    /// Measures a LoRA at strength 1; none without a prompt to draw, or when the user stopped.
    ///
    /// # Errors
    /// When a prompt cannot be read or the device fails.
    pub(crate) async fn style_leak<C: Control>(
        &self,
        lora: &LoraNetwork,
        copier: &LoraNetwork,
        effort: Effort,
        rest: &mut Within<'_, C>,
    ) -> Result<Option<StyleLeak>, EngineError> {
        let (held_out, captions) = self.style_requests(effort);
        if held_out.pictures.is_empty() {
            return Ok(None);
        }
        let strength = self.recipe.copier.strength.get();
        let stacks = [
            LoraStack::none(),
            LoraStack::none().with(copier, strength),
            LoraStack::none().with(lora, 1.0),
        ];
        let Some(drawn) = self.draw_each(&held_out, effort, &stacks, rest).await? else {
            return Ok(None);
        };
        let (leak, others) = drawn.sums().await?.shares();
        let (mut along, mut whole) = (0.0, 0.0);
        for (scene, request) in &captions {
            let Some(drawn) = self.draw_each(request, effort, &stacks, rest).await? else {
                return Ok(None);
            };
            let pictures = request.pictures.len();
            let trained = scene.pair.target.clone().repeat_dim(0, pictures);
            let (of_scene, whole_of_scene) = drawn.way_to(&trained).await?;
            along += of_scene;
            whole += whole_of_scene;
        }
        Ok(Some(StyleLeak {
            pictures: held_out.pictures.len(),
            leak,
            rest: others,
            progress: along / whole.max(LEAST),
        }))
    }

    /// Held-out pictures, and those of the captions of some examples.
    fn style_requests(&self, effort: Effort) -> (SampleRequest, Vec<(&Scene, SampleRequest)>) {
        let request = |size, pictures| SampleRequest {
            size,
            syntax: self.recipe.prompt_syntax,
            steps: effort.steps,
            guidance: 1.0,
            ..SampleRequest::new(self.base, pictures)
        };
        let prompts = self.unnamed_prompts().into_iter().zip(SCORE_SEED..);
        let held_out = request(self.scene.size(), prompts.take(effort.pictures).collect());
        let scenes = self.scenes(self.measurable().min(effort.of_captions()));
        let count = scenes.len();
        let mut seeds = CAPTION_SEED..;
        let captions = scenes.into_iter().enumerate().map(|(index, scene)| {
            // As evenly as whole pictures can be shared.
            let pictures = (effort.of_captions() + count - 1 - index) / count;
            let prompts = std::iter::repeat_n(scene.prompt.clone(), pictures);
            (
                scene,
                request(scene.size(), prompts.zip(&mut seeds).collect()),
            )
        });
        let captions = captions.collect();
        (held_out, captions)
    }

    /// None when the user stopped.
    async fn draw_each<C: Control>(
        &self,
        request: &SampleRequest,
        effort: Effort,
        [own, copier, lora]: &[LoraStack<'_>; DRAWINGS],
        rest: &mut Within<'_, C>,
    ) -> Result<Option<Drawn>, EngineError> {
        let calls = effort.calls;
        let drawn = Drawn {
            base: sample_latents(self.base, request, calls, own, rest).await?,
            copier: sample_latents(self.base, request, calls, copier, rest).await?,
            lora: sample_latents(self.base, request, calls, lora, rest).await?,
        };
        Ok((!rest.stop_requested).then_some(drawn))
    }
}

/// Whether a prompt has neither the trigger word nor a whole caption in it.
fn is_unnamed(prompt: &str, trigger: &str, captions: &[String]) -> bool {
    let prompt = prompt.to_lowercase();
    let names = captions.iter().map(String::as_str).chain([trigger]);
    let mut names = names.map(|name| name.trim().to_lowercase());
    names.all(|name| name.is_empty() || !prompt.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{ArithmeticChoice, Compute, DeviceChoice, block_on};

    #[test]
    fn what_is_drawn_is_within_the_budget() {
        let mut last = 0;
        for calls in [59, 60, 150, 300, 500, 2000] {
            let effort = Effort::within(Some(calls), 8);
            let taken = effort.map_or(0, |effort| effort.calls(8));
            assert!(taken <= calls && taken >= last, "{taken} of {calls}");
            last = taken;
        }
        assert_eq!(last, 3 * (8 + 8) * 20, "in full");
        assert_eq!(Effort::within(Some(59), 8), None, "too little");
        assert_eq!(Effort::within(None, 8), Some(Effort::FULL), "no limit");
        assert_eq!(Effort::within(None, 0), None, "no prompts");
    }

    #[test]
    fn a_leak_is_the_part_of_the_change_that_lies_along_the_style() {
        let compute =
            block_on(Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto)).expect("a CPU");
        // Two pictures of two values each.
        let latents = |values: [f32; 4]| {
            Tensor::<1>::from_floats(values, &compute.device).reshape([2, 2, 1, 1])
        };
        // The style adds (4, 0) and (0, 2); the LoRA adds (1, 3) and (0, 1).
        let drawn = Drawn {
            base: latents([1.0, 1.0, 0.0, 0.0]),
            copier: latents([5.0, 1.0, 0.0, 2.0]),
            lora: latents([2.0, 4.0, 0.0, 1.0]),
        };
        let sums = block_on(drawn.sums()).expect("numbers");
        let expected = Sums {
            along: 4.0 + 2.0,
            changed: 10.0 + 1.0,
            style: 16.0 + 4.0,
        };
        assert_eq!(sums, expected, "by hand");
        let (leak, rest) = sums.shares();
        // (1, 3) - 0.3 (4, 0) and (0, 1) - 0.3 (0, 2): 0.04 + 9 + 0.16 = 9.2.
        assert!((leak - 0.3).abs() < 1e-12, "6 of 20: {leak}");
        assert!((rest - (9.2_f64 / 20.0).sqrt()).abs() < 1e-12, "{rest}");
        // From (5, 1) and (0, 2) to (6, 5) and (0, 2) it is (1, 4) and nothing.
        let trained = latents([6.0, 5.0, 0.0, 2.0]);
        let way = block_on(drawn.way_to(&trained)).expect("numbers");
        assert_eq!(way, (1.0 + 12.0, 1.0 + 16.0), "13 of 17");
    }

    #[test]
    fn a_lora_that_is_the_style_leaks_all_of_it_and_nothing_else() {
        let sums = |scale: f64| Sums {
            along: 20.0 * scale,
            changed: 20.0 * scale * scale,
            style: 20.0,
        };
        assert_eq!(sums(1.0).shares(), (1.0, 0.0), "the style");
        assert_eq!(sums(0.5).shares(), (0.5, 0.0), "half of it");
        assert_eq!(sums(0.0).shares(), (0.0, 0.0), "nothing");
        let none = Sums {
            along: 0.0,
            changed: 0.0,
            style: 0.0,
        };
        assert_eq!(none.shares(), (0.0, 0.0), "a copier that does nothing");
    }

    #[test]
    fn prompts_that_name_it_are_none_of_the_others() {
        let captions = ["mika, a hat".to_owned()];
        for (prompt, is_so) in [
            ("a hat", true),
            ("a girl, Mika, smiling", false),
            ("mika, a hat, blue", false),
        ] {
            assert_eq!(is_unnamed(prompt, "mika", &captions), is_so, "{prompt}");
        }
        assert!(
            is_unnamed("a hat", "", &[String::new()]),
            "nothing is named"
        );
    }
}
