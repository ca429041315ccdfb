//! A step whose result nobody wants.
//!
//! A GPU's programs are compiled when they are used first, some 150 of them for a job. One step and
//! one picture use them all, so what takes its time is over when the job begins.

use mimeo_checkpoint::LoraFile;
use mimeo_diffusion::Recompute;
use mimeo_image::{FittedPair, Rgb};
use mimeo_lora::LoraStack;
use mimeo_protocol::{Method, Recipe};
use mimeo_train::Objective;

use crate::artifact::file_from_network;
use crate::base::Base;
use crate::control::{Control, Unsteered, Within};
use crate::error::EngineError;
use crate::event::{Event, Phase};
use crate::job::{PreparedExample, PreparedJob};
use crate::phase::prompted;
use crate::sample::{SampleRequest, sample};
use crate::session::{Session, Streams};
use crate::slider::Extent;

/// Grey, and what is to become of it.
const GREY: [u8; 3] = [128; 3];
const WHITE: [u8; 3] = [255; 3];

/// Does one training step of a job, reads its LoRA and draws with it.
///
/// # Errors
/// [`EngineError`] when the job cannot be done either.
pub async fn rehearse(
    base: &Base,
    job: &PreparedJob,
    control: &mut impl Control,
) -> Result<(), EngineError> {
    control.emit(Event::Phase {
        phase: Phase::Compiling,
        total: None,
    });
    // What is drawn for a slider compiles as well, and is counted with nothing.
    let mut rest = Within::uncounted(control);
    let prompted = prompted(base, job, Extent::LEAST, &mut Unsteered(&mut rest)).await?;
    let job = prompted.as_ref().map_or(job, |prompted| &prompted.job);
    // Quiet about the pictures: the job itself will tell.
    let session = Session::new(base, job, &mut |_| ()).await?;
    let recipe = &job.recipe;
    let copier = session.fresh_network(&recipe.copier.pass, Streams::COPIER);
    let objective = match recipe.method {
        // Its other pass does less.
        Method::Copier => Objective::Difference {
            copier: &copier,
            strength: 1.0,
        },
        Method::Addift => Objective::Addift(&recipe.addift),
        Method::Plain | Method::Slider => match &prompted {
            Some(prompted) => Objective::Slider(&prompted.slider),
            None => Objective::Plain,
        },
    };
    let mut trainer = session.trainer(objective, &recipe.pass, Streams::LORA)?;
    trainer.step().await?;
    let network = trainer.network();
    let _read: LoraFile = file_from_network(base, &network).await?;
    let request = SampleRequest {
        size: session.scene.size(),
        syntax: recipe.prompt_syntax,
        steps: 1,
        ..SampleRequest::new(base, vec![(recipe.prompt.clone(), 0)])
    };
    let stack = LoraStack::none().with(&network, 1.0);
    sample(base, &request, &stack, &mut Within::uncounted(control)).await?;
    Ok(())
}

impl PreparedJob {
    /// A job of no use but to be rehearsed: a grey picture that becomes white.
    ///
    /// # Errors
    /// [`EngineError::Image`] when the recipe's size is none that the base trains at.
    pub fn blank(base: &Base, recipe: Recipe) -> Result<Self, EngineError> {
        let side = base.native_side();
        let fit = base.sizing(recipe.resolution).fit(side, side)?;
        let (width, height) = (fit.width(), fit.height());
        Ok(Self {
            name: "blank".to_owned(),
            examples: vec![PreparedExample {
                pictures: FittedPair {
                    original: Rgb::filled(width, height, GREY),
                    target: Rgb::filled(width, height, WHITE),
                    mask: None,
                },
                named: None,
            }],
            recipe,
            copier: None,
            held_out_prompts: Vec::new(),
            scores: false,
            previews: None,
            recompute: Recompute::NOTHING,
        })
    }
}
