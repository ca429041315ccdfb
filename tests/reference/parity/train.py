"""One whole training step of each method on the bundled UNet, for `tests/parity/train.rs`.

Every step: forward, loss, backward, clip the global norm at 1, one AdamW step (lr 1e-3, betas 0.9
0.999, eps 1e-8, decay 1e-2). Adam's first step is nearly the sign of the gradient, so the gradients
(`grad.*`, before clipping) are the sharper witness, and `after.*` is compared where they are not tiny.
"""

from __future__ import annotations

import torch

from parity.base import Base, conditioning_tensors
from parity.loss import masked
from parity.peft_lora import adapter_parameters, inject, random_lora, set_multipliers
from parity.registry import fixture, normal
from parity.schedule import GAMMA, signal_to_noise

RANK = 2
ALPHA = 2.0
DIFFERENCE_UP_STD = 0.1
COPIER_UP_STD = 0.1
LEARNING_RATE = 1e-3
MAX_GRAD_NORM = 1.0
UNMASKED_WEIGHT = 0.1
PRIOR_WEIGHT = 0.5
ADDIFT_MULTIPLIER = 0.5
SLIDER_GUIDANCE = 3.0
# SNR 16 and 0.13: min-SNR 5 weakens the first and leaves the second.
TIMESTEPS = [60, 650]
PROMPTS = ["", "glasses, smile"]


class Step:
    """The inputs all methods share, and the UNet with the adapters they train or keep frozen."""

    def __init__(self, base: Base, label: str = "train"):
        self.base = base
        self.original_latent = base.encode(base.picture("glasses/00_A.png"))
        self.target_latent = base.encode(base.picture("glasses/00_B.png"))
        self.latent_mask = base.latent_mask("glasses/00_mask.png")
        self.mask = UNMASKED_WEIGHT + (1.0 - UNMASKED_WEIGHT) * self.latent_mask
        self.noise = normal(f"{label}.noise", (2, *self.original_latent.shape[1:]))
        self.timesteps = torch.tensor(TIMESTEPS)
        self.conditioning = base.condition(PROMPTS)
        self.difference = random_lora(base.unet, f"{label}.difference", RANK, DIFFERENCE_UP_STD)
        self.copier = random_lora(base.unet, f"{label}.copier", RANK, COPIER_UP_STD)
        snr = signal_to_noise(base, self.timesteps)
        self.min_snr_weight = snr.clamp(max=GAMMA) / (snr + 1.0 if base.predicts_velocity else snr)

    def inputs(self) -> dict[str, torch.Tensor]:
        """What a Rust test starts from."""
        return {
            "original_latent": self.original_latent,
            "target_latent": self.target_latent,
            "latent_mask": self.latent_mask,
            "noise": self.noise,
            "timesteps": self.timesteps,
            **conditioning_tensors(self.conditioning),
            **{f"difference.{name}": tensor for name, tensor in self.difference.items()},
            **{f"copier.{name}": tensor for name, tensor in self.copier.items()},
        }

    def noisy(self, latent: torch.Tensor) -> torch.Tensor:
        """`x_t = a z + s n`, two of them."""
        return self.base.scheduler.add_noise(latent.expand_as(self.noise), self.noise, self.timesteps)

    def target(self, latent: torch.Tensor) -> torch.Tensor:
        """What the model should predict: the noise, or the velocity."""
        if not self.base.predicts_velocity:
            return self.noise
        return self.base.scheduler.get_velocity(latent.expand_as(self.noise), self.noise, self.timesteps)

    def taught(self, teacher: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """What a student must answer so that its clean picture is the teacher's plus `delta`."""
        if not self.base.predicts_velocity:
            return teacher
        return teacher - (1.0 - self.base.scheduler.alphas_cumprod[self.timesteps]).sqrt()[:, None, None, None] * delta

    def unet(self, with_copier: bool) -> TrainedUnet:
        unet = self.base.fresh_unet()
        inject(unet, "difference", self.difference, ALPHA)
        if with_copier:
            inject(unet, "copier", self.copier, ALPHA)
        return TrainedUnet(unet, with_copier, self)


class TrainedUnet:
    """The UNet with a difference LoRA that learns and, where asked, a frozen copier at multiplier 1."""

    def __init__(self, unet, with_copier: bool, step: Step):
        self.unet, self.with_copier, self.step = unet, with_copier, step
        self.parameters = adapter_parameters(unet, "difference")
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2
        )

    def predict(self, noisy: torch.Tensor, multiplier: float, prompt: str | None = None) -> torch.Tensor:
        """The prediction with the difference LoRA at `multiplier`, 0 for the frozen model alone.

        Each sample has its own prompt, unless both are to have the same.
        """
        conditioning = self.step.conditioning if prompt is None else self.step.base.condition([prompt] * len(noisy))
        adapters = {"difference": multiplier} | ({"copier": 1.0} if self.with_copier else {})
        set_multipliers(self.unet, adapters, trained="difference")
        return self.unet(noisy, self.step.timesteps, **conditioning).sample

    @torch.no_grad()
    def predict_frozen(self, noisy: torch.Tensor, prompt: str | None = None) -> torch.Tensor:
        return self.predict(noisy, 0.0, prompt)

    def update(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Backward, clip, one AdamW step; what a Rust test compares."""
        self.optimizer.zero_grad()
        loss.backward()
        gradients = {f"grad.{name}": parameter.grad.clone() for name, parameter in self.parameters.items()}
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), MAX_GRAD_NORM)
        self.optimizer.step()
        after = {f"after.{name}": parameter.detach().clone() for name, parameter in self.parameters.items()}
        return {"loss": loss, "grad_norm": norm, **gradients, **after}


@fixture({"train_inputs.safetensors": "what all `train_*` start from: pair glasses/00, noise, LoRAs (rank 2, alpha 2)"})
def train_inputs(base: Base):
    """For `train.rs`: `difference.*` is trained, `copier.*` frozen; `latent_mask` is before `unmasked_weight`."""
    return {"train_inputs.safetensors": Step(base).inputs()}


@fixture({"train_plain.safetensors": "method plain: mask (unmasked weight 0.1), min-SNR 5, prior outside at 0.5"})
def train_plain(base: Base):
    """For `train.rs`: an ordinary LoRA on the target picture."""
    return {"train_plain.safetensors": towards_target(Step(base).unet(with_copier=False))}


@fixture({"train_copier_1.safetensors": "method copier, first pass: original picture, min-SNR 5, no mask, no prior"})
def train_copier_1(base: Base):
    """For `train.rs`: the LoRA in training is the copier itself, started from `difference.*`."""
    step = Step(base)
    return {"train_copier_1.safetensors": copying(step.unet(with_copier=False))}


@fixture({"train_copier_2.safetensors": "method copier, second pass: as plain, on the base with the frozen copier"})
def train_copier_2(base: Base):
    """For `train.rs`: the difference LoRA on top of the copier, which also makes the prior's answer."""
    return {"train_copier_2.safetensors": towards_target(Step(base).unet(with_copier=True))}


@fixture({"train_addift_forward.safetensors": "method addift: student at +0.5 on B copies the teacher on A; mask 0.1"})
def train_addift_forward(base: Base):
    """For `train.rs`: the forward direction."""
    step = Step(base)
    return {
        "train_addift_forward.safetensors": towards_teacher(
            step.unet(with_copier=False), step.target_latent, step.original_latent, ADDIFT_MULTIPLIER
        )
    }


@fixture({"train_addift_reverse.safetensors": "method addift: student at -0.5 on A copies the teacher on B"})
def train_addift_reverse(base: Base):
    """For `train.rs`: the reverse direction, pictures swapped and the multiplier negative."""
    step = Step(base)
    return {
        "train_addift_reverse.safetensors": towards_teacher(
            step.unet(with_copier=False), step.original_latent, step.target_latent, -ADDIFT_MULTIPLIER
        )
    }


@fixture({"train_addift_picture.safetensors": "method addift, forward, error measured in the clean picture, weights 1 on average over all timesteps"})
def train_addift_picture(base: Base):
    """For `train.rs`: the forward direction, whose error is that of x0 instead of the prediction."""
    step = Step(base)
    signal = base.scheduler.alphas_cumprod
    weights = (1.0 - signal) / signal
    return {
        "train_addift_picture.safetensors": towards_teacher(
            step.unet(with_copier=False), step.target_latent, step.original_latent, ADDIFT_MULTIPLIER,
            (weights / weights.mean())[step.timesteps],
        )
    }


@fixture({"train_addift_copier.safetensors": "method addift, forward, student and teacher with the frozen copier"})
def train_addift_copier(base: Base):
    """For `train.rs`: one code path with and without a copier."""
    step = Step(base)
    return {
        "train_addift_copier.safetensors": towards_teacher(
            step.unet(with_copier=True), step.target_latent, step.original_latent, ADDIFT_MULTIPLIER
        )
    }


@fixture({"train_slider_forward.safetensors": "method slider: student at +1 under \"\" is taught \"glasses, smile\" - \"\""})
def train_slider_forward(base: Base):
    """For `train.rs`: what strength 1 of a slider is taught."""
    return {"train_slider_forward.safetensors": towards_prompt(Step(base).unet(with_copier=False), 1.0)}


@fixture({"train_slider_reverse.safetensors": "method slider: the same at -1"})
def train_slider_reverse(base: Base):
    """For `train.rs`: what strength -1 of a slider is taught."""
    return {"train_slider_reverse.safetensors": towards_prompt(Step(base).unet(with_copier=False), -1.0)}


@fixture({"train_hold.safetensors": "a LoRA held to the base outside of the mask: student at -1 on B under \"glasses, smile\""})
def train_hold(base: Base):
    """For `train.rs`: what every method of pictures can be held to; `outside` is `1 - mask`, the mask grown by a pixel."""
    return {"train_hold.safetensors": towards_itself(Step(base).unet(with_copier=False), -1.0)}


def copying(trained: TrainedUnet) -> dict[str, torch.Tensor]:
    """A step towards the original picture, whose loss knows no mask."""
    step = trained.step
    student = trained.predict(step.noisy(step.original_latent), 1.0)
    error = student - step.target(step.original_latent)
    loss = (step.min_snr_weight * masked(error, torch.ones_like(step.latent_mask))).mean()
    return {"noise_pred": student, **trained.update(loss)}


def towards_target(trained: TrainedUnet) -> dict[str, torch.Tensor]:
    """A step towards the target picture, held to the frozen model outside the mask."""
    step = trained.step
    noisy = step.noisy(step.target_latent)
    frozen = trained.predict_frozen(noisy)
    student = trained.predict(noisy, 1.0)
    learn = (step.min_snr_weight * masked(student - step.target(step.target_latent), step.mask)).mean()
    prior = (step.min_snr_weight * masked(student - frozen, 1.0 - step.latent_mask)).mean()
    updated = trained.update(learn + PRIOR_WEIGHT * prior)
    return {"noise_pred": student, "frozen_noise_pred": frozen, "prior_loss": prior, **updated}


def towards_teacher(trained: TrainedUnet, shown, taught, multiplier: float, weights=1.0) -> dict[str, torch.Tensor]:
    """A step of the student on one picture towards what the frozen model says of the other."""
    step = trained.step
    teacher = trained.predict_frozen(step.noisy(taught))
    student = trained.predict(step.noisy(shown), multiplier)
    loss = (weights * masked(student - step.taught(teacher, shown - taught), step.mask)).mean()
    return {"noise_pred": student, "teacher_noise_pred": teacher, **trained.update(loss)}


def towards_prompt(trained: TrainedUnet, strength: float) -> dict[str, torch.Tensor]:
    """A step of the student under the neutral prompt towards what another prompt adds (arXiv 2311.12092, eq. 7)."""
    step = trained.step
    noisy = step.noisy(step.target_latent)
    neutral, target = PROMPTS
    own, positive = (trained.predict_frozen(noisy, prompt) for prompt in (neutral, target))
    student = trained.predict(noisy, strength, neutral)
    loss = (student - own - strength * SLIDER_GUIDANCE * (positive - own)).square().mean()
    return {"noise_pred": student, **trained.update(loss)}


def towards_itself(trained: TrainedUnet, strength: float) -> dict[str, torch.Tensor]:
    """A step of the student towards what the frozen model says, where nothing was meant to change."""
    step = trained.step
    noisy = step.noisy(step.target_latent)
    prompt = PROMPTS[1]
    own = trained.predict_frozen(noisy, prompt)
    student = trained.predict(noisy, strength, prompt)
    outside = 1.0 - torch.nn.functional.max_pool2d(step.latent_mask, 3, stride=1, padding=1)
    loss = masked(student - own, outside).mean()
    return {"outside": outside, "noise_pred": student, **trained.update(loss)}
