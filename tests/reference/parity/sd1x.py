"""A small random model with Stable Diffusion 1.x's structure, for `unet.rs`, `clip.rs` and `vae.rs` in `tests/parity`.

It proves that the Rust models follow `config.json`: four levels instead of the bundled three, two layers per
block, `gelu` instead of `quick_gelu`, a VAE without attention in its middle.
"""

import json
from functools import cache

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from parity.base import Base
from parity.registry import Json, fixture, normal, uniform

UNET_CONFIG = {
    "sample_size": 16,
    "block_out_channels": (8, 16, 24, 24),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
    "attention_head_dim": 8,  # As in SD1.x's file: eight heads, whatever the name says.
    "cross_attention_dim": 32,
    "norm_num_groups": 4,
}
TEXT_CONFIG = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "hidden_act": "gelu",
    "bos_token_id": 510,
    "eos_token_id": 511,
    "pad_token_id": 511,
    "projection_dim": 32,
}
# Left as initialised, attention is nearly uniform and the timestep nearly without effect: then a fixture
# would not notice a wrong mask, scale or embedding.
SHARPENED = ("to_q", "to_k", "q_proj", "k_proj", "time_emb_proj")
VAE_CONFIG = {
    "sample_size": 64,
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
}


@cache
def random_unet() -> UNet2DConditionModel:
    """Shared by all fixtures, so never inject a LoRA into it: copy it for that."""
    return randomise(UNet2DConditionModel, 1, **UNET_CONFIG)


@cache
def random_text_encoder() -> CLIPTextModel:
    return randomise(lambda: CLIPTextModel(CLIPTextConfig(**TEXT_CONFIG)), 2)


@cache
def random_vae() -> AutoencoderKL:
    return randomise(AutoencoderKL, 3, **VAE_CONFIG)


@fixture(
    {
        "sd1x/unet/config.json": "config of the random UNet",
        "sd1x/unet/diffusion_pytorch_model.safetensors": "its weights, f16",
        "sd1x_unet.safetensors": "the random UNet with two timesteps in one batch, and on a sample that is not square",
    }
)
@torch.no_grad()
def sd1x_unet(_base: Base):
    """For `unet.rs`: the UNet gives `noise_pred` for `sample` and `wide.noise_pred` for `wide.sample`."""
    model = random_unet()
    states = normal("sd1x_unet.encoder_hidden_states", (2, 77, UNET_CONFIG["cross_attention_dim"]))
    timesteps = torch.tensor([37, 801])
    sample, wide = normal("sd1x_unet.sample", (2, 4, 16, 16)), normal("sd1x_unet.wide", (1, 4, 8, 16))
    return {
        **diffusers_files("sd1x/unet", model),
        "sd1x_unet.safetensors": {
            "sample": sample,
            "timesteps": timesteps,
            "encoder_hidden_states": states,
            "noise_pred": model(sample, timesteps, states).sample,
            "wide.sample": wide,
            "wide.timesteps": timesteps[:1],
            "wide.encoder_hidden_states": states[:1],
            "wide.noise_pred": model(wide, timesteps[:1], states[:1]).sample,
        },
    }


@fixture(
    {
        "sd1x/text_encoder/config.json": "config of the random text encoder",
        "sd1x/text_encoder/model.safetensors": "its weights, f16, named as transformers 5 saves them: no `text_model.`",
        "sd1x_text.safetensors": "the random text encoder on random ids",
    }
)
@torch.no_grad()
def sd1x_text(_base: Base):
    """For `clip.rs`: `CLIPTextModel` with `gelu` and three layers gives `last_hidden_state`."""
    model = random_text_encoder()
    ids = (uniform("sd1x_text.ids", (2, 77)) * TEXT_CONFIG["bos_token_id"]).long()
    ids[:, 0], ids[0, 9:], ids[1, 76:] = TEXT_CONFIG["bos_token_id"], 511, 511
    config = json.loads(model.config.to_json_string(use_diff=True))
    return {
        "sd1x/text_encoder/config.json": Json({"architectures": ["CLIPTextModel"], **config}),
        "sd1x/text_encoder/model.safetensors": half(model),
        "sd1x_text.safetensors": {"ids": ids, "last_hidden_state": model(ids).last_hidden_state},
    }


@fixture(
    {
        "sd1x/vae/config.json": "config of the random VAE",
        "sd1x/vae/diffusion_pytorch_model.safetensors": "its weights, f16",
        "sd1x_vae.safetensors": "the random VAE on a random image that is not square",
    }
)
@torch.no_grad()
def sd1x_vae(_base: Base):
    """For `vae.rs`: encode gives `mean` (unscaled) and `latent` (scaled); decode of it gives `decoded`."""
    model = random_vae()
    image = uniform("sd1x_vae.image", (1, 3, 32, 48)) * 2.0 - 1.0
    mean = model.encode(image).latent_dist.mean
    latent = mean * model.config.scaling_factor
    decoded = model.decode(latent / model.config.scaling_factor).sample
    return {
        **diffusers_files("sd1x/vae", model),
        "sd1x_vae.safetensors": {"image": image, "mean": mean, "latent": latent, "decoded": decoded},
    }


def randomise(make, seed: int, **config):
    """Torch's own initial weights, except that no norm is left at 1 and 0, rounded to f16 as files are."""
    torch.manual_seed(seed)
    model = make(**config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
                module.weight.normal_(1.0, 0.2)
                module.bias.normal_(0.0, 0.1)
            elif isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and module.bias is not None:
                module.bias.normal_(0.0, 0.1)
        for path, module in model.named_modules():
            if path.endswith(SHARPENED):
                module.weight.mul_(4.0)
    return model.half().float().eval().requires_grad_(False)


def diffusers_files(folder: str, model) -> dict:
    return {
        f"{folder}/config.json": Json(json.loads(model.to_json_string())),
        f"{folder}/diffusion_pytorch_model.safetensors": half(model),
    }


def half(model) -> dict[str, torch.Tensor]:
    return {name: tensor.half() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
