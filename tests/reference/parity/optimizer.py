"""Optimizer and learning rate fixtures, for `tests/parity/optimizer.rs`."""

import torch
from diffusers.optimization import get_scheduler

from parity.base import Base
from parity.registry import Json, fixture, normal

LEARNING_RATE = 1e-3
WARMUP_STEPS = 5
STEPS = 50
CLIP = 1.0


@fixture({"adamw.safetensors": "ten AdamW steps (lr 1e-2, betas 0.9 0.999, eps 1e-8, decay 1e-2); gradient clipping"})
def adamw(_base: Base):
    """For `optimizer.rs`: `parameters[i]` follows from `gradients[i]`; `clip.*` is `clip_grad_norm_` at 1."""
    start = normal("adamw.parameter", (7, 5))
    # From about eps, where it decides the step, to far above it, and one step without any gradient.
    # Not the other way round: the second moment would remember the large ones and hide eps.
    gradients = normal("adamw.gradients", (10, 7, 5)) * torch.logspace(-8, 1, 10)[:, None, None]
    gradients[4] = 0.0
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    after = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        after.append(parameter.detach().clone())
    return {
        "adamw.safetensors": {
            "parameter": start,
            "gradients": gradients,
            "parameters": torch.stack(after),
            **_clipped("clip", 1.0),
            **_clipped("clip_untouched", 0.01),
        }
    }


@fixture({"lr.json": "learning rates of 50 steps with 5 of warm-up, base rate 1e-3: cosine and constant"})
def lr(_base: Base):
    """For `optimizer.rs`: `learning_rates[i]` is the rate of optimizer step i, counted from 0."""
    curves = {}
    for name, kind in {"cosine_with_warmup": "cosine", "constant_with_warmup": "constant_with_warmup"}.items():
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=LEARNING_RATE)
        scheduler = get_scheduler(kind, optimizer, num_warmup_steps=WARMUP_STEPS, num_training_steps=STEPS)
        rates = []
        for _ in range(STEPS):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        curves[name] = {
            "learning_rate": LEARNING_RATE,
            "warmup_steps": WARMUP_STEPS,
            "steps": STEPS,
            "learning_rates": rates,
        }
    return {"lr.json": Json(curves)}


def _clipped(label: str, std: float) -> dict[str, torch.Tensor]:
    parameters = []
    for index, shape in enumerate([(4, 6), (3, 2, 1, 1), (5,)]):
        parameter = torch.nn.Parameter(torch.zeros(shape))
        parameter.grad = normal(f"adamw.{label}.{index}", shape, std)
        parameters.append(parameter)
    before = {f"{label}.before.{index}": p.grad.clone() for index, p in enumerate(parameters)}
    norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
    after = {f"{label}.after.{index}": p.grad for index, p in enumerate(parameters)}
    return {**before, f"{label}.norm": norm, **after}
