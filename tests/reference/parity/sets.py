"""One training step of each method on three examples at once, for `tests/parity/sets.rs`.

They differ in size, level, weight and caption, and one of them does without its caption. Each goes
through the UNet by itself; the loss is the mean of theirs. LoRAs are those of `train.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from parity.base import Base
from parity.loss import masked
from parity.peft_lora import set_multipliers
from parity.registry import fixture, normal
from parity.schedule import GAMMA, signal_to_noise
from parity.train import ADDIFT_MULTIPLIER, PRIOR_WEIGHT, UNMASKED_WEIGHT, Step

COPIER_STRENGTH = 0.9
# name of the pair, rows of its pictures, caption, level, weight, timestep
EXAMPLES = [
    ("glasses/00", 128, "glasses, smile", 1.0, 1.0, 60),
    ("smile/00", 96, "a girl, red hair", -1.5, 0.5, 650),
    ("glasses/01", 128, "", 2.0, 2.0, 400),
]


@dataclass(frozen=True)
class Example:
    """What one of them is trained on."""

    original: torch.Tensor
    target: torch.Tensor
    latent_mask: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor
    prompt: torch.Tensor
    level: float
    weight: float
    min_snr_weight: torch.Tensor

    def noisy(self, base: Base, latent: torch.Tensor) -> torch.Tensor:
        return base.scheduler.add_noise(latent, self.noise, self.timestep)

    @property
    def mask(self) -> torch.Tensor:
        return UNMASKED_WEIGHT + (1.0 - UNMASKED_WEIGHT) * self.latent_mask


class SetStep:
    """The examples, and the UNet with the adapters of `Step`."""

    def __init__(self, base: Base, with_copier: bool = False):
        self.base = base
        self.trained = Step(base).unet(with_copier)
        self.below = {"copier": COPIER_STRENGTH} if with_copier else {}
        self.examples = [self._example(index, *example) for index, example in enumerate(EXAMPLES)]

    def _example(self, index: int, pair: str, rows: int, caption: str, level: float, weight: float, timestep: int):
        base = self.base
        timestep = torch.tensor([timestep])
        latent = base.encode(base.picture(f"{pair}_A.png")[:, :, :rows])
        snr = signal_to_noise(base, timestep)
        return Example(
            original=latent,
            target=base.encode(base.picture(f"{pair}_B.png")[:, :, :rows]),
            latent_mask=base.latent_mask(f"{pair}_mask.png")[:, :, : rows // 8],
            noise=normal(f"set.noise.{index}", latent.shape),
            timestep=timestep,
            prompt=base.embed([caption]),
            level=level,
            weight=weight,
            min_snr_weight=snr.clamp(max=GAMMA) / snr,
        )

    def predict(self, example: Example, noisy: torch.Tensor, multiplier: float) -> torch.Tensor:
        """The prediction with the difference LoRA at `multiplier`, 0 for what lies below it alone."""
        unet = self.trained.unet
        set_multipliers(unet, {"difference": multiplier} | self.below, trained="difference")
        return unet(noisy, example.timestep, encoder_hidden_states=example.prompt).sample

    @torch.no_grad()
    def predict_frozen(self, example: Example, noisy: torch.Tensor) -> torch.Tensor:
        return self.predict(example, noisy, 0.0)

    def update(self, loss_of) -> dict[str, torch.Tensor]:
        """One update by the mean of the examples' losses, each by its weight."""
        losses = [example.weight * loss_of(example).mean() for example in self.examples]
        return {"losses": torch.stack(losses), **self.trained.update(torch.stack(losses).mean())}

    def copying(self, example: Example) -> torch.Tensor:
        """Towards the original, whatever mask and level say."""
        error = self.predict(example, example.noisy(self.base, example.original), 1.0) - example.noise
        return example.min_snr_weight * masked(error, torch.ones_like(example.latent_mask))

    def towards_target(self, example: Example) -> torch.Tensor:
        """Towards the target at the example's level, held to what lies below outside the mask."""
        noisy = example.noisy(self.base, example.target)
        frozen = self.predict_frozen(example, noisy)
        student = self.predict(example, noisy, example.level)
        learn = masked(student - example.noise, example.mask)
        prior = masked(student - frozen, 1.0 - example.latent_mask)
        return example.min_snr_weight * (learn + PRIOR_WEIGHT * prior)

    def towards_teacher(self, example: Example, is_reverse: bool) -> torch.Tensor:
        """The student at the multiplier times its level, and the teacher on the other picture."""
        shown, taught, sign = (
            (example.original, example.target, -1.0) if is_reverse else (example.target, example.original, 1.0)
        )
        teacher = self.predict_frozen(example, example.noisy(self.base, taught))
        multiplier = sign * ADDIFT_MULTIPLIER * example.level
        student = self.predict(example, example.noisy(self.base, shown), multiplier)
        return masked(student - teacher, example.mask)


@fixture({"set_inputs.safetensors": "what all `set_*` start from, beside the LoRAs of `train_inputs`: three examples"})
def set_inputs(base: Base):
    """For `sets.rs`: `latent_mask` is before `unmasked_weight`; the third has no caption where it is trained."""
    tensors = {}
    for index, example in enumerate(SetStep(base).examples):
        tensors |= {
            f"{index}.original_latent": example.original,
            f"{index}.target_latent": example.target,
            f"{index}.latent_mask": example.latent_mask,
            f"{index}.noise": example.noise,
            f"{index}.timestep": example.timestep,
            f"{index}.encoder_hidden_states": example.prompt,
            f"{index}.level": torch.tensor(example.level),
            f"{index}.weight": torch.tensor(example.weight),
        }
    return {"set_inputs.safetensors": tensors}


@fixture({"set_plain.safetensors": "three examples, method plain: mask (0.1), min-SNR 5, prior outside at 0.5"})
def set_plain(base: Base):
    """For `sets.rs`: the targets, each at its level."""
    step = SetStep(base)
    return {"set_plain.safetensors": step.update(step.towards_target)}


@fixture({"set_copier_1.safetensors": "three examples, method copier, first pass"})
def set_copier_1(base: Base):
    """For `sets.rs`: the originals, at multiplier 1."""
    step = SetStep(base)
    return {"set_copier_1.safetensors": step.update(step.copying)}


@fixture({"set_copier_2.safetensors": "three examples, method copier, second pass on the copier at 0.9"})
def set_copier_2(base: Base):
    """For `sets.rs`: the targets on top of the copier."""
    step = SetStep(base, with_copier=True)
    return {"set_copier_2.safetensors": step.update(step.towards_target)}


@fixture({"set_addift_forward.safetensors": "three examples, method addift at 0.5 times their level"})
def set_addift_forward(base: Base):
    """For `sets.rs`: the forward direction."""
    step = SetStep(base)
    return {"set_addift_forward.safetensors": step.update(lambda example: step.towards_teacher(example, False))}


@fixture({"set_addift_reverse.safetensors": "the same in the reverse direction"})
def set_addift_reverse(base: Base):
    """For `sets.rs`: the reverse direction."""
    step = SetStep(base)
    return {"set_addift_reverse.safetensors": step.update(lambda example: step.towards_teacher(example, True))}
