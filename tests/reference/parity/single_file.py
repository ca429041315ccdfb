"""Stable Diffusion in one file and as a diffusers folder, the same random weights, for `mimeo-checkpoint`.

Each family in miniature: its structure, its names and its shapes, in widths of a few channels. diffusers reads every
file too (`from_single_file`), and finds the weights of the folder in it, or nothing is written.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from parity import ldm
from parity.base import Base
from parity.families import REAL_XL
from parity.lora import SD15_CONFIG
from parity.peft_lora import kohya_name, lierla_modules
from parity.registry import Json, fixture, normal, write_folder
from parity.sd1x import diffusers_files, randomise

DOWN, DOWN_ATTENDS, UP, UP_ATTENDS = "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
CHANNELS = (8, 8, 8, 16)
FOUR_LEVELS = {
    "block_out_channels": CHANNELS,
    "down_block_types": (DOWN_ATTENDS, DOWN_ATTENDS, DOWN_ATTENDS, DOWN),
    "up_block_types": (UP, UP_ATTENDS, UP_ATTENDS, UP_ATTENDS),
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "cross_attention_dim": 16,
}
UNETS = {
    "sd1": {**FOUR_LEVELS, "sample_size": 64, "attention_head_dim": 8},
    "sd2": {**FOUR_LEVELS, "sample_size": 96, "attention_head_dim": (1, 1, 1, 1), "use_linear_projection": True},
    "sdxl": {
        "sample_size": 128,
        "block_out_channels": (8, 16, 16),
        "down_block_types": (DOWN, DOWN_ATTENDS, DOWN_ATTENDS),
        "up_block_types": (UP_ATTENDS, UP_ATTENDS, UP),
        "layers_per_block": 2,
        "norm_num_groups": 8,
        "cross_attention_dim": 40,
        "attention_head_dim": (1, 1, 1),
        "transformer_layers_per_block": (1, 1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 20 + 6 * 8,
    },
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "rescale_betas_zero_snr": False,
}
SCHEDULERS = {
    "sd1": {**SCHEDULE, "_class_name": "PNDMScheduler", "prediction_type": "epsilon"},
    "sd2": {**SCHEDULE, "_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
    "sdxl": {
        **SCHEDULE,
        "_class_name": "EulerDiscreteScheduler",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}
SCALING = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}
# Where the text encoders of a family lie, who named them, and how wide they are.
CLIP_L = {"hidden_size": 16, "hidden_act": "quick_gelu", "projection_dim": 16}
OPEN_CLIP = {"hidden_size": 16, "hidden_act": "gelu", "projection_dim": 16}
OPEN_CLIP_G = {"hidden_size": 24, "hidden_act": "gelu", "projection_dim": 20}
TEXTS = {
    "sd1": [("text_encoder", CLIP_L, ldm.CLIP)],
    "sd2": [("text_encoder", OPEN_CLIP, ldm.OPEN_CLIP_H)],
    "sdxl": [("text_encoder", CLIP_L, ldm.SGM_CLIP), ("text_encoder_2", OPEN_CLIP_G, ldm.SGM_OPEN_CLIP)],
}
# What kohya's tools adapt beside the transformers where convolutions are asked for ("c3lier").
CONVOLUTIONAL = ("ResnetBlock2D", "Downsample2D", "Upsample2D")


@cache
def unet(family: str) -> UNet2DConditionModel:
    model = randomise(UNet2DConditionModel, 21, **UNETS[family])
    if family == "sd2":
        # What ComfyUI knows a Stable Diffusion 2 that predicts velocity by.
        bias = model.up_blocks[-1].attentions[-1].transformer_blocks[0].norm1.bias
        bias.copy_((bias * 4.0).half().float())
    return model


@cache
def vae(family: str) -> AutoencoderKL:
    return randomise(
        AutoencoderKL,
        22,
        block_out_channels=CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=8,
        sample_size=1024 if family == "sdxl" else 512,
        scaling_factor=SCALING[family],
        force_upcast=family == "sdxl",
    )


@cache
def text_encoder(family: str, place: int):
    name, sizes, _ = TEXTS[family][place]
    config = CLIPTextConfig(
        vocab_size=64,
        intermediate_size=4 * sizes["hidden_size"],
        num_hidden_layers=2,
        num_attention_heads=1,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        **sizes,
    )
    model = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
    return randomise(lambda: model(config), 23 + place)


def text_state(family: str, place: int) -> dict[str, torch.Tensor]:
    """Named as in the families' own folders, which transformers 5 still reads."""
    state = text_encoder(family, place).state_dict()
    outside = ("text_model.", "text_projection.")
    named = {key if key.startswith(outside) else f"text_model.{key}": tensor for key, tensor in state.items()}
    return {key: tensor for key, tensor in named.items() if tensor.is_floating_point()}


def folder(family: str) -> dict:
    files = {
        **diffusers_files(f"single/{family}/unet", unet(family)),
        **diffusers_files(f"single/{family}/vae", vae(family)),
        f"single/{family}/scheduler/scheduler_config.json": Json(SCHEDULERS[family]),
    }
    for place, (name, _, _) in enumerate(TEXTS[family]):
        model = text_encoder(family, place)
        config = json.loads(model.config.to_json_string(use_diff=True))
        config["architectures"] = [type(model).__name__]
        files[f"single/{family}/{name}/config.json"] = Json(config)
        state = text_state(family, place)
        files[f"single/{family}/{name}/model.safetensors"] = {key: tensor.half() for key, tensor in state.items()}
    return files


def single(family: str) -> dict[str, torch.Tensor]:
    """All weights in one file, f16, with what else such files hold."""
    tensors = {**ldm.unet_weights(unet(family)), **ldm.vae_weights(vae(family))}
    for place, (_, _, prefix) in enumerate(TEXTS[family]):
        state = text_state(family, place)
        if prefix in (ldm.CLIP, ldm.SGM_CLIP):
            tensors |= ldm.clip_weights(state, prefix)
            tensors[f"{prefix}text_model.embeddings.position_ids"] = torch.arange(77)[None]
        else:
            tensors |= ldm.open_clip_weights(with_unused_block(state) if family == "sd2" else state, prefix)
            tensors[f"{prefix}logit_scale"] = torch.tensor(4.6)
    tensors = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return {**tensors, "betas": betas, "alphas_cumprod": (1.0 - betas).cumprod(0)}


def with_unused_block(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """OpenCLIP has one block more than Stable Diffusion 2 was trained with, and a projection that it never saw."""
    last = "text_model.encoder.layers.1."
    more = {key.replace(last, "text_model.encoder.layers.2."): tensor for key, tensor in state.items() if last in key}
    more = {key: normal(f"single.{key}", tuple(tensor.shape)) for key, tensor in more.items()}
    return {**state, **more, "text_projection.weight": normal("single.text_projection", (16, 16))}


def described(family: str, files: dict[str, str]) -> dict[str, str]:
    parts = ["unet", "vae"]
    weights = {part: "diffusion_pytorch_model.safetensors" for part in parts}
    weights |= {name: "model.safetensors" for name, _, _ in TEXTS[family]}
    told = {f"single/{family}/scheduler/scheduler_config.json": "as in the family's own folder"}
    for part, name in weights.items():
        told[f"single/{family}/{part}/config.json"] = "config of its part of that name"
        told[f"single/{family}/{part}/{name}"] = "its weights, f16"
    return {**told, **files}


@fixture(
    described(
        "sd1",
        {
            "single/sd1.safetensors": "Stable Diffusion 1 in one file, f16: the weights of the folder `sd1`",
            "single/sd1_nai.safetensors": "the same in f32 as NovelAI named the text encoder, with averaged weights",
        },
    )
)
@torch.no_grad()
def single_sd1(_base: Base):
    """For `single_file/tests.rs`: file and folder hold the same."""
    tensors = single("sd1")
    wide = {
        key.replace("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."): tensor.float()
        if tensor.dtype == torch.float16
        else tensor
        for key, tensor in tensors.items()
    }
    first = [key for key in tensors if key.startswith(ldm.UNET)][:3]
    wide |= {"model_ema." + key.removeprefix("model.").replace(".", ""): tensors[key] for key in first}
    wide |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(100)}
    files = {**folder("sd1"), "single/sd1.safetensors": tensors, "single/sd1_nai.safetensors": wide}
    check(files, "sd1", "single/sd1.safetensors")
    return files


@fixture(described("sd2", {"single/sd2.safetensors": "Stable Diffusion 2 (velocity) in one file, f16: as `sd2`"}))
@torch.no_grad()
def single_sd2(_base: Base):
    """For `single_file/tests.rs`: OpenCLIP's names, and a block that is not used."""
    files = {**folder("sd2"), "single/sd2.safetensors": single("sd2")}
    check(files, "sd2", "single/sd2.safetensors")
    return files


@fixture(
    described("sdxl", {"single/sdxl.safetensors": "Stable Diffusion XL (velocity, ends in noise), VAE f32: as `sdxl`"})
)
@torch.no_grad()
def single_sdxl(_base: Base):
    """For `single_file/tests.rs`: SGM's names, two text encoders, a VAE in another type, marks."""
    tensors = single("sdxl")
    tensors = {key: tensor.float() if key.startswith(ldm.VAE) else tensor for key, tensor in tensors.items()}
    tensors |= {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    files = {**folder("sdxl"), "single/sdxl.safetensors": tensors}
    check(files, "sdxl", "single/sdxl.safetensors")
    return files


@fixture(
    {
        "sdxl_keys.json": "UNet of SDXL: `diffusers` key to shape, `ldm` key to diffusers key",
        "kohya_modules.json": "kohya's names of the modules of SD1.5 and SDXL: `lierla`, and what c3lier `adds`",
    }
)
def sdxl_keys(_base: Base):
    """For `names.rs`: the key table of XL, proved by diffusers' own conversion, and what kohya's tools adapt."""
    with torch.device("meta"):
        xl, sd15 = UNet2DConditionModel(**REAL_XL), UNet2DConditionModel(**SD15_CONFIG)
    shapes = {key: list(tensor.shape) for key, tensor in xl.state_dict().items()}
    names = {ldm.UNET + ldm.unet_key(xl, key): key for key in shapes}
    ldm.check_unet_names(names, REAL_XL)
    # kohya has its own UNet for XL, with SGM's names, and diffusers' for 1.5.
    modules = {
        "sd15": kohya_modules(sd15, lambda path: path),
        "sdxl": kohya_modules(xl, lambda path: ldm.unet_key(xl, path)),
    }
    return {
        "sdxl_keys.json": Json({"diffusers": shapes, "ldm": names}),
        "kohya_modules.json": Json(modules),
    }


def kohya_modules(model: UNet2DConditionModel, named) -> dict[str, list[str]]:
    adds = []
    for path, block in model.named_modules():
        if type(block).__name__ in CONVOLUTIONAL:
            for name, layer in block.named_modules():
                if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                    adds.append(f"{path}.{name}")
    return {
        "lierla": [kohya_name(named(path)) for path in lierla_modules(model)],
        "adds": [kohya_name(named(path)) for path in adds],
    }


def check(files: dict, family: str, file: str) -> None:
    """Raises unless diffusers finds the weights of the folder in the file."""
    with tempfile.TemporaryDirectory() as place:
        write_folder(Path(place), files)
        base, single_file = Path(place) / "single" / family, str(Path(place) / file)
        options = {"config": str(base), "local_files_only": True, "torch_dtype": torch.float16}
        same(unet(family), UNet2DConditionModel.from_single_file(single_file, subfolder="unet", **options))
        same(vae(family), AutoencoderKL.from_single_file(single_file, subfolder="vae", **options))
        tensors = load_file(single_file)
        # diffusers leaves out the 24th block; the miniature's last is its third.
        tensors = {key: tensor for key, tensor in tensors.items() if family != "sd2" or ".resblocks.2." not in key}
        for index, (name, _, _) in enumerate(TEXTS[family]):
            model = text_encoder(family, index)
            read = create_diffusers_clip_model_from_ldm(
                type(model), dict(tensors), subfolder=name, config=str(base), local_files_only=True
            )
            same(model, read)


def same(expected, found) -> None:
    expected, found = expected.state_dict(), found.state_dict()
    if expected.keys() != found.keys():
        raise ValueError(f"diffusers reads other weights: {sorted(expected.keys() ^ found.keys())[:5]}")
    for key, tensor in expected.items():
        if tensor.is_floating_point() and not torch.equal(tensor.float(), found[key].float()):
            raise ValueError(f"diffusers reads other numbers in {key}")
