//! What the base passes through while it draws pictures of a prompt, and what it has to say there.

use burn::tensor::Tensor;
use mimeo_diffusion::{Conditioning, Ddim, Guidance};
use mimeo_lora::LoraStack;
use mimeo_protocol::{Recipe, TimestepRange};
use mimeo_train::states::States;

use crate::base::Base;
use crate::error::EngineError;
use crate::rest::{GivenUp, Rest};

/// A prompt as the base reads it.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub conditioning: Conditioning,
    /// Guidance would change nothing then.
    pub is_empty: bool,
}

/// What is to be added to an answer of the base: of the answer, the state and its timestep.
pub(crate) type Change<'a> = dyn Fn(&Tensor<4>, &Tensor<4>, usize) -> Tensor<4> + 'a;

/// Pictures to be drawn of a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walks<'a> {
    /// What each starts from: `[pictures, channels, height, width]`.
    pub noise: &'a Tensor<4>,
    /// Of drawing it.
    pub steps: usize,
    /// Rows that are drawn together: as many as are trained, for which there is memory.
    pub batch: usize,
    /// Timesteps whose states are wanted.
    pub window: TimestepRange,
}

impl Said {
    /// Reads a prompt for pictures of a size.
    pub async fn new(
        base: &Base,
        recipe: &Recipe,
        prompt: &str,
        size: (u32, u32),
    ) -> Result<Self, EngineError> {
        let own = LoraStack::none();
        let conditioning = base.encode_prompt(prompt, recipe.prompt_syntax, size, &own);
        Ok(Self {
            conditioning: conditioning.await?,
            is_empty: prompt.is_empty(),
        })
    }

    /// The base's answer, guided away from the empty prompt.
    ///
    /// - `scale`: of the guidance; 1 is none
    /// - `own`: the answer itself
    pub fn guided(
        &self,
        base: &Base,
        (empty, scale): (&Conditioning, f64),
        own: Tensor<4>,
        (noisy, timestep): (&Tensor<4>, usize),
    ) -> Tensor<4> {
        if self.is_empty || scale == 1.0 {
            return own;
        }
        let guidance = Guidance {
            conditional: self.conditioning.clone(),
            unconditional: empty.clone(),
            scale,
            rescale: base.guidance_rescale(),
        };
        guidance.guided(&own, ask(base, empty, noisy, timestep))
    }

    /// What the base passes through while it draws this, with the base's own guidance. A unit is a step of as many
    /// pictures as are drawn together.
    ///
    /// - `empty`: the empty prompt
    /// - `change`: what a slider teaches; none where nothing is to change
    pub async fn states(
        &self,
        base: &Base,
        empty: &Conditioning,
        walks: Walks<'_>,
        change: Option<&Change<'_>>,
        rest: &mut impl Rest,
    ) -> Result<States, EngineError> {
        let Walks {
            noise,
            steps,
            batch,
            window,
        } = walks;
        let (mut noisy, mut answers, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let mut timesteps = Vec::new();
        let lowest = window.min() as usize;
        let is_trained = |timestep: usize| (lowest..window.max() as usize).contains(&timestep);
        let [count, ..] = noise.dims();
        for start in (0..count).step_by(batch) {
            let rows = batch.min(count - start);
            let noise = noise.clone().narrow(0, start, rows);
            let walked = walk(base, noise, (steps, lowest), rest, |x, timestep| {
                let own = ask(base, &self.conditioning, x, timestep);
                if is_trained(timestep) {
                    noisy.push(x.clone());
                    answers.push(own.clone());
                    changes.extend(change.map(|change| change(&own, x, timestep)));
                    timesteps.extend(vec![timestep; rows]);
                }
                let guidance = (empty, base.model_size().guidance());
                self.guided(base, guidance, own, (x, timestep))
            });
            walked.await?;
        }
        if timesteps.is_empty() {
            let (min, max) = (window.min(), window.max());
            return Err(EngineError::NoStates { steps, min, max });
        }
        Ok(States {
            conditioning: self.conditioning.clone(),
            noisy: Tensor::cat(noisy, 0),
            timesteps,
            answer: Tensor::cat(answers, 0),
            change: (!changes.is_empty()).then(|| Tensor::cat(changes, 0)),
        })
    }
}

/// What the base answers under a prompt, for every row; or under the prompt of each.
pub(crate) fn ask(
    base: &Base,
    conditioning: &Conditioning,
    noisy: &Tensor<4>,
    timestep: usize,
) -> Tensor<4> {
    let [rows, ..] = noisy.dims();
    let conditioning = match conditioning.batch() {
        1 => conditioning.repeat(rows),
        _ => conditioning.clone(),
    };
    let own = LoraStack::none();
    base.unet
        .forward_in_tasks(noisy, timestep, &conditioning, &own)
}

/// DDIM from noise towards pictures, with another answer than the base's own. A unit is a step.
///
/// - `lowest`: timesteps below it are left out
pub(crate) async fn walk(
    base: &Base,
    noise: Tensor<4>,
    (steps, lowest): (usize, usize),
    rest: &mut impl Rest,
    mut answer: impl FnMut(&Tensor<4>, usize) -> Tensor<4>,
) -> Result<Tensor<4>, GivenUp> {
    let ddim = Ddim::new(&base.schedule, steps);
    let mut sample = noise;
    for timestep in ddim.timesteps() {
        if *timestep >= lowest {
            let pred = answer(&sample, *timestep);
            sample = ddim.step(*timestep, pred, sample);
        }
        rest.unit_done();
        rest.rest().await?;
    }
    Ok(sample)
}
