"""LoRA files, gradients and names, for `tests/parity/lora.rs` and `tests/parity/names.rs`."""

import copy

import torch
from diffusers import UNet2DConditionModel

from parity import ldm
from parity.base import Base
from parity.loss import masked
from parity.peft_lora import (
    adapter_parameters,
    inject,
    kohya_name,
    lierla_modules,
    random_lora,
    set_multipliers,
)
from parity.registry import Json, fixture, normal, uniform
from parity.sd1x import random_unet
from parity.unet import PROMPTS

RANK = 2
ALPHA = 1.0
MULTIPLIER = 0.5
# Large enough to change the prediction far beyond any tolerance.
UP_STD = 0.3

# `unet/config.json` of Stable Diffusion 1.5, where it differs from the defaults of the class.
SD15_CONFIG = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "norm_num_groups": 32,
}


@fixture(
    {
        "lora.safetensors": "a LoRA of the bundled UNet as kohya writes it: rank 2, alpha 1, random",
        "lora_grad.safetensors": "peft's loss and gradients of that LoRA at multiplier 0.5",
    }
)
def lora(base: Base):
    """For `lora.rs`: read the file, apply it at 0.5, compare `noise_pred`, the masked `loss` and every gradient."""
    file, gradients = _lora_and_gradients(base.fresh_unet(), "lora", base.embed(PROMPTS))
    return {"lora.safetensors": file, "lora_grad.safetensors": gradients}


@fixture(
    {
        "sd1x_lora.safetensors": "a LoRA of the random SD1.x-like UNet: rank 2, alpha 1, random",
        "sd1x_lora_grad.safetensors": "peft's loss and gradients of that LoRA at multiplier 0.5",
    }
)
def sd1x_lora(_base: Base):
    """For `lora.rs`: the same comparison on another architecture."""
    states = normal("sd1x_lora.encoder_hidden_states", (2, 77, random_unet().config.cross_attention_dim))
    file, gradients = _lora_and_gradients(copy.deepcopy(random_unet()), "sd1x_lora", states)
    return {"sd1x_lora.safetensors": file, "sd1x_lora_grad.safetensors": gradients}


@fixture({"lora_kohya_names.json": "kohya's module names for `bundled`, `sd1x` and `sd15` (192), in module order"})
def lora_kohya_names(base: Base):
    """For `lora.rs`: the target set finds exactly these modules."""
    unets = {"bundled": base.unet, "sd1x": random_unet(), "sd15": _sd15_unet()}
    names = {family: [kohya_name(path) for path in lierla_modules(unet)] for family, unet in unets.items()}
    return {"lora_kohya_names.json": Json(names)}


@fixture({"sd15_keys.json": "UNet of SD1.5: `diffusers` key to shape, `ldm` key to diffusers key"})
def sd15_keys(_base: Base):
    """For `names.rs`: the key table. The `ldm` names are ours, proved by diffusers' own conversion."""
    unet = _sd15_unet()
    shapes = {key: list(tensor.shape) for key, tensor in unet.state_dict().items()}
    names = {ldm.UNET + ldm.unet_key(unet, key): key for key in shapes}
    ldm.check_unet_names(names, SD15_CONFIG)
    return {"sd15_keys.json": Json({"diffusers": shapes, "ldm": names})}


def _lora_and_gradients(unet: UNet2DConditionModel, label: str, states: torch.Tensor):
    tensors = random_lora(unet, label, RANK, UP_STD)
    inject(unet, "trained", tensors, ALPHA)
    set_multipliers(unet, {"trained": MULTIPLIER}, trained="trained")

    sample, target = normal(f"{label}.sample", (2, 4, 16, 16)), normal(f"{label}.target", (2, 4, 16, 16))
    mask, timesteps = uniform(f"{label}.mask", (2, 1, 16, 16)), torch.tensor([120, 740])
    noise_pred = unet(sample, timesteps, states).sample
    loss = masked(noise_pred - target, mask).mean()
    loss.backward()

    modules = [name.removesuffix(".lora_down.weight") for name in tensors if name.endswith(".lora_down.weight")]
    file = {**tensors, **{f"{module}.alpha": torch.tensor(ALPHA) for module in modules}}
    parameters = adapter_parameters(unet, "trained")
    return file, {
        "sample": sample,
        "timesteps": timesteps,
        "encoder_hidden_states": states,
        "target": target,
        "mask": mask,
        "noise_pred": noise_pred,
        "loss": loss,
        **{f"grad.{name}": parameter.grad for name, parameter in parameters.items()},
    }


def _sd15_unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(**SD15_CONFIG)
