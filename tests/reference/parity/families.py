"""Stable Diffusion 2 and XL in miniature, whole diffusers folders, for `tests/parity/families.rs`.

Each has all of its family's structure in tiny widths and random weights: linear projections, heads and
transformer blocks that differ from block to block, two text encoders, a text in one vector, sizes of the
picture. `sd2_v` and `sdxl_v` are the same weights under a scheduler that predicts velocity; that of XL ends
in pure noise, as NoobAI's does. What no file says (which hidden states, where a long prompt is cut) is as
diffusers' pipelines do it, and for prompts of several chunks as A1111 and ComfyUI do.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache, cached_property

import torch
from diffusers import (
    AutoencoderKL,
    DDIMInverseScheduler,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import rescale_noise_cfg
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from parity.base import MAX_TOKENS, conditioning_tensors
from parity.loss import masked
from parity.micro import BYTES, TOKENS, MicroBase
from parity.peft_lora import adapter_parameters, inject, kohya_name, lierla_modules, random_lora, set_multipliers
from parity.prompt import CHUNK, cut_at_commas
from parity.registry import OUT, Json, Text, fixture, normal, uniform
from parity.schedule import GAMMA, GUIDANCE, signal_to_noise
from parity.sd1x import diffusers_files, half, randomise
from parity.train import ADDIFT_MULTIPLIER, Step, copying, towards_prompt, towards_target, towards_teacher

RANK, ALPHA, MULTIPLIER, UP_STD = 2, 1.0, 0.5, 0.3
STEPS = 8
RESCALE = 0.7
SIDE = 64
LONG = ", ".join(["long hair, blonde hair, pale skin, round glasses, wink, tongue out"] * 4)
PROMPTS = ["", "glasses, smile", LONG]
# Emphasis, in A1111's words and as what it means.
EMPHASISED = [("glasses, ", 1.0), ("smile", 1.3), (", hat", 1.0)]

TEXT_CONFIG = {
    "vocab_size": TOKENS,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "bos_token_id": TOKENS - 2,
    "eos_token_id": TOKENS - 1,
}
TEXT_CONFIGS = {
    "sd2": [{**TEXT_CONFIG, "hidden_size": 24, "intermediate_size": 96, "hidden_act": "gelu", "projection_dim": 20}],
    "sdxl": [
        {**TEXT_CONFIG, "hidden_size": 16, "intermediate_size": 64, "hidden_act": "quick_gelu", "projection_dim": 16},
        # As in the family's file: `eos_token_id` says nothing true, and the largest number is the end.
        {**TEXT_CONFIG, "hidden_size": 24, "intermediate_size": 96, "hidden_act": "gelu", "projection_dim": 20,
         "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
    ],
}  # fmt: skip
UNET_CONFIGS = {
    "sd2": {
        "sample_size": 8,
        # Three levels of the family's four, so that four tokens are left in the middle of small pictures.
        "block_out_channels": (8, 16, 24),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": (2, 4, 6),
        "cross_attention_dim": 24,
        "use_linear_projection": True,
        "norm_num_groups": 4,
        "upcast_attention": True,
    },
    "sdxl": {
        "sample_size": 8,
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 2,
        "attention_head_dim": (1, 2, 4),
        "transformer_layers_per_block": (1, 1, 2),
        "cross_attention_dim": 40,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 20 + 6 * 8,
        "norm_num_groups": 4,
    },
}
VAE_CONFIG = {
    "sample_size": 64,
    "block_out_channels": (4, 4, 4, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 2,
}
# Makes the latents of the example pairs about one in size, as training a VAE would.
SCALING = {"sd2": 4.0, "sdxl": 5.0}
# `unet/config.json` of Stable Diffusion XL, where it differs from the defaults of the class.
REAL_XL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# What is said here counts for samplers of other classes too; what a class assumes counts for it alone.
DDIM = {**BETAS, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading"}
EULER = {**BETAS, "steps_offset": 1, "timestep_spacing": "leading"}
ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
SCHEDULERS = {
    "sd2": DDIMScheduler(**DDIM),
    "sd2_v": DDIMScheduler(**DDIM, prediction_type="v_prediction"),
    "sdxl": EulerDiscreteScheduler(**EULER),
    "sdxl_v": EulerDiscreteScheduler(**{**EULER, **ZERO_SNR}),
}
WEIGHTS = ["sd2", "sdxl"]
FAMILIES = {"sd2": "sd2", "sd2_v": "sd2", "sdxl": "sdxl", "sdxl_v": "sdxl"}
"""Each family, and whose weights it has."""


@cache
def family_unet(weights: str) -> UNet2DConditionModel:
    return randomise(UNet2DConditionModel, 21, **UNET_CONFIGS[weights])


@cache
def family_texts(weights: str) -> list:
    kinds = [CLIPTextModel, CLIPTextModelWithProjection]
    configs = [CLIPTextConfig(**config) for config in TEXT_CONFIGS[weights]]
    return [randomise(lambda: kind(config), 22) for kind, config in zip(kinds, configs)]


@cache
def family_vae(weights: str) -> AutoencoderKL:
    return randomise(AutoencoderKL, 23, **VAE_CONFIG, scaling_factor=SCALING[weights])


class FamilyBase(MicroBase):
    """A folder as it was written, beside the bundled pictures, which are shrunk."""

    def __init__(self, bundled, family: str):
        super().__init__(bundled)
        self.family, self.folder = family, OUT / "families" / FAMILIES[family]

    @cached_property
    def scheduler(self) -> DDIMScheduler:
        return DDIMScheduler.from_config(SCHEDULERS[self.family].config)

    @cached_property
    def tokenizers(self) -> list[CLIPTokenizer]:
        names = ["tokenizer", "tokenizer_2"][: len(self.text_encoders)]
        return [CLIPTokenizer.from_pretrained(self.folder / name) for name in names]

    @cached_property
    def text_encoders(self) -> list:
        kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
        there = {name: kind for name, kind in kinds.items() if (self.folder / name).is_dir()}
        return [kind.from_pretrained(self.folder / name, dtype=torch.float32).eval() for name, kind in there.items()]

    @torch.no_grad()
    def encode_chunks(self, chunks: list[list[tuple[int, float]]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`[1, 77 * chunks, channels]` and, of XL, `[1, channels]`."""
        rests = [CHUNK - len(chunk) for chunk in chunks]
        weights = [[1.0, *(weight for _, weight in chunk), *[1.0] * (rest + 1)] for chunk, rest in zip(chunks, rests)]
        weights = torch.tensor(weights)
        states, pooled = [], None
        for tokenizer, encoder in zip(self.tokenizers, self.text_encoders):
            start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
            ids = [[start, *(token for token, _ in chunk), end, *[pad] * rest] for chunk, rest in zip(chunks, rests)]
            said = encoder(torch.tensor(ids), output_hidden_states=True)
            plain = said.hidden_states[-2] if len(self.text_encoders) == 2 else said.last_hidden_state
            weighted = plain * weights[:, :, None]
            if (weights != 1.0).any():
                # A1111's `EmphasisOriginal`: every chunk keeps its mean, of each encoder by itself.
                weighted *= plain.mean(dim=(1, 2), keepdim=True) / weighted.mean(dim=(1, 2), keepdim=True)
            states.append(torch.cat(list(weighted)))
            if isinstance(encoder, CLIPTextModelWithProjection):
                pooled = said.text_embeds[:1]
        return torch.cat(states, dim=-1)[None], pooled

    def encode_prompt(self, pieces: list[tuple[str, float]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A prompt of any length."""
        spelled = [(self.tokenizer(text, add_special_tokens=False).input_ids, weight) for text, weight in pieces]
        tokens = [[(token, weight) for token in ids] for ids, weight in spelled]
        return self.encode_chunks(list(cut_at_commas(self, tokens)))

    def condition(self, prompts: list[str], sizes: list[list[int]] | None = None) -> dict:
        """Of prompts that have one chunk."""
        encoded = [self.encode_prompt([(prompt, 1.0)]) for prompt in prompts]
        states = torch.cat([states for states, _ in encoded])
        if len(self.text_encoders) == 1:
            return {"encoder_hidden_states": states}
        pooled = torch.cat([pooled for _, pooled in encoded])
        sizes = torch.tensor(sizes or [[SIDE, SIDE, 0, 0, SIDE, SIDE]] * len(prompts), dtype=torch.float32)
        return {"encoder_hidden_states": states, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return self.tokenizers[0]


def _folder(weights: str) -> dict[str, str]:
    parts = ["unet", "vae", "text_encoder", "text_encoder_2"][: 2 + len(TEXT_CONFIGS[weights])]
    stems = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
    files = {
        "model_index.json": f"{weights} in miniature; this and the files below",
        "scheduler/scheduler_config.json": "its schedule, which predicts noise",
    }
    for part in parts:
        files[f"{part}/config.json"] = f"config of the {part}"
        files[f"{part}/{stems.get(part, 'model')}.safetensors"] = "its weights, f16"
    for tokenizer in ["tokenizer", "tokenizer_2"][: len(TEXT_CONFIGS[weights])]:
        for file in ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]:
            files[f"{tokenizer}/{file}"] = "the miniature's, filled up as the family does"
    velocity = {f"families/{weights}_v/scheduler/scheduler_config.json": "its schedule, which predicts velocity"}
    return {f"families/{weights}/{file}": what for file, what in files.items()} | velocity


@fixture(_folder("sd2"))
def sd2(bundled):
    """For `families.rs`: prompts are filled up with `!`, the last layer of the text encoder is taken."""
    return _written("sd2", StableDiffusionPipeline, [True])


@fixture(_folder("sdxl"))
def sdxl(bundled):
    """For `families.rs`: only the second tokenizer fills up with `!`."""
    return _written("sdxl", StableDiffusionXLPipeline, [False, True])


def _written(weights: str, pipeline: type, padded_with_bang: list[bool]) -> dict:
    micro = OUT / "micro" / "tokenizer"
    here = f"families/{weights}"
    made = diffusers_files(f"{here}/unet", family_unet(weights))
    made |= diffusers_files(f"{here}/vae", family_vae(weights))
    index = {
        "_class_name": pipeline.__name__,
        "scheduler": ["diffusers", type(SCHEDULERS[weights]).__name__],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    for number, (model, bang) in enumerate(zip(family_texts(weights), padded_with_bang)):
        suffix = "_2" if number else ""
        config = json.loads(model.config.to_json_string(use_diff=True))
        made[f"{here}/text_encoder{suffix}/config.json"] = Json({"architectures": [type(model).__name__], **config})
        made[f"{here}/text_encoder{suffix}/model.safetensors"] = half(model)
        tokens = json.loads((micro / "special_tokens_map.json").read_text("utf-8"))
        made[f"{here}/tokenizer{suffix}/special_tokens_map.json"] = Json(tokens | ({"pad_token": "!"} if bang else {}))
        settings = json.loads((micro / "tokenizer_config.json").read_text("utf-8"))
        made[f"{here}/tokenizer{suffix}/tokenizer_config.json"] = Json(settings | ({"pad_token": "!"} if bang else {}))
        made[f"{here}/tokenizer{suffix}/vocab.json"] = Json(json.loads((micro / "vocab.json").read_text("utf-8")))
        made[f"{here}/tokenizer{suffix}/merges.txt"] = Text((micro / "merges.txt").read_text("utf-8"))
        index[f"text_encoder{suffix}"] = ["transformers", type(model).__name__]
        index[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer"]
    made[f"{here}/model_index.json"] = Json(index)
    for family in [weights, f"{weights}_v"]:
        config = json.loads(SCHEDULERS[family].to_json_string())
        made[f"families/{family}/scheduler/scheduler_config.json"] = Json(config)
    return made


@fixture({f"families/{weights}_text.safetensors": "what its text encoders say of prompts" for weights in WEIGHTS})
def families_text(bundled):
    """For `families.rs`: prompt N gives `N` and, of XL, `N.pooled`; the last one is emphasised.

    `1.skipped` is prompt 1 with `clip_skip=1`.
    """
    return {f"families/{weights}_text.safetensors": _said(FamilyBase(bundled, weights)) for weights in WEIGHTS}


def _said(base: FamilyBase) -> dict[str, torch.Tensor]:
    made = {}
    for index, pieces in enumerate([*([(prompt, 1.0)] for prompt in PROMPTS), EMPHASISED]):
        states, pooled = base.encode_prompt(pieces)
        made |= {f"{index}": states} | ({} if pooled is None else {f"{index}.pooled": pooled})
    if made["2"].shape[1] != 3 * MAX_TOKENS:
        raise ValueError(f"the long prompt has {made['2'].shape[1]} tokens")
    # Where diffusers' own pipeline can say it, it says the same.
    for index, prompt in enumerate(PROMPTS[:2]):
        theirs = _as_the_pipeline(base, prompt)
        for ours, theirs in zip([made[f"{index}"], made.get(f"{index}.pooled")], theirs):
            if ours is not None and not torch.equal(ours, theirs):
                raise ValueError(f"{base.family}: diffusers' pipeline says something else of {prompt!r}")
    made["1.skipped"] = _skipping_one(base, PROMPTS[1])
    return made


@torch.no_grad()
def _skipping_one(base: FamilyBase, prompt: str) -> torch.Tensor:
    if len(base.text_encoders) == 2:
        return _as_the_pipeline(base, prompt, clip_skip=1)[0]
    # That of the other pipeline looks for the final norm where transformers had it before version 5.
    (encoder,) = base.text_encoders
    return encoder.final_layer_norm(encoder(base.tokens([prompt]), output_hidden_states=True).hidden_states[-2])


@torch.no_grad()
def _as_the_pipeline(base: FamilyBase, prompt: str, **more) -> list[torch.Tensor]:
    shared = {"vae": base.vae, "unet": base.unet, "scheduler": SCHEDULERS[base.family]}
    asked = {"prompt": prompt, "device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    if len(base.text_encoders) == 1:
        pipeline = StableDiffusionPipeline(
            **shared, text_encoder=base.text_encoders[0], tokenizer=base.tokenizers[0],
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        return [pipeline.encode_prompt(**asked, **more)[0], None]
    pipeline = StableDiffusionXLPipeline(
        **shared, text_encoder=base.text_encoders[0], text_encoder_2=base.text_encoders[1],
        tokenizer=base.tokenizers[0], tokenizer_2=base.tokenizers[1],
    )  # fmt: skip
    states, _, pooled, _ = pipeline.encode_prompt(**asked, **more)
    return [states, pooled]


@fixture({f"families/{weights}_vae.safetensors": "its VAE on a random image" for weights in WEIGHTS})
@torch.no_grad()
def families_vae(bundled):
    """For `families.rs`: encode gives `latent` (scaled); decode of it gives `decoded`."""
    made = {}
    for weights in WEIGHTS:
        vae, image = FamilyBase(bundled, weights).vae, uniform(f"{weights}.image", (1, 3, 32, 48)) * 2.0 - 1.0
        latent = vae.encode(image).latent_dist.mean * vae.config.scaling_factor
        decoded = vae.decode(latent / vae.config.scaling_factor).sample
        made[f"families/{weights}_vae.safetensors"] = {"image": image, "latent": latent, "decoded": decoded}
    return made


@fixture(
    {
        f"families/{weights}_{part}.safetensors": what
        for weights in WEIGHTS
        for part, what in {
            "unet": "its UNet with two timesteps, prompts and sizes in one batch, and on a sample that is not square",
            "lora": "a LoRA as kohya writes it for the family: rank 2, alpha 1, random",
            "lora_grad": "peft's loss and gradients of that LoRA at multiplier 0.5, by diffusers' paths",
        }.items()
    }
)
def families_unet(bundled):
    """For `families.rs`: the UNet gives `noise_pred`; with the LoRA, `noise_pred`, `loss` and every gradient."""
    made = {}
    for weights in WEIGHTS:
        base = FamilyBase(bundled, weights)
        parts = {"unet": _forward(base), **_lora_and_gradients(base)}
        made |= {f"families/{weights}_{part}.safetensors": tensors for part, tensors in parts.items()}
    return made


SIZES = [[768, 1024, 0, 128, 512, 640], [64, 64, 0, 0, 64, 64]]


@torch.no_grad()
def _forward(base: FamilyBase) -> dict[str, torch.Tensor]:
    conditioning, timesteps = base.condition(PROMPTS[:2], SIZES), torch.tensor([37, 801])
    first = base.condition(PROMPTS[1:2], SIZES[:1])
    sample = normal(f"{base.family}.sample", (2, 4, 16, 16))
    wide = normal(f"{base.family}.wide", (1, 4, 8, 16))
    return {
        "sample": sample,
        "timesteps": timesteps,
        **conditioning_tensors(conditioning),
        "noise_pred": base.unet(sample, timesteps, **conditioning).sample,
        "wide.sample": wide,
        "wide.timesteps": timesteps[:1],
        **{f"wide.{name}": tensor for name, tensor in conditioning_tensors(first).items()},
        "wide.noise_pred": base.unet(wide, timesteps[:1], **first).sample,
    }


def _lora_and_gradients(base: FamilyBase) -> dict[str, dict[str, torch.Tensor]]:
    unet, label = copy.deepcopy(base.unet), f"{base.family}.lora"
    tensors = random_lora(unet, label, RANK, UP_STD)
    inject(unet, "trained", tensors, ALPHA)
    set_multipliers(unet, {"trained": MULTIPLIER}, trained="trained")
    sample, target = normal(f"{label}.sample", (2, 4, 8, 8)), normal(f"{label}.target", (2, 4, 8, 8))
    mask, timesteps = uniform(f"{label}.mask", (2, 1, 8, 8)), torch.tensor([120, 740])
    conditioning = base.condition(PROMPTS[:2])
    noise_pred = unet(sample, timesteps, **conditioning).sample
    loss = masked(noise_pred - target, mask).mean()
    loss.backward()
    written = kohya_names(base.unet)
    file = {f"{written[name]}.{part}": tensor for name, part, tensor in _split(tensors)}
    return {
        "lora": file | {f"{name}.alpha": torch.tensor(ALPHA) for name in written.values()},
        "lora_grad": {
            "sample": sample,
            "timesteps": timesteps,
            **conditioning_tensors(conditioning),
            "target": target,
            "mask": mask,
            "noise_pred": noise_pred,
            "loss": loss,
            **{f"grad.{name}": parameter.grad for name, parameter in adapter_parameters(unet, "trained").items()},
        },
    }


def _split(tensors: dict[str, torch.Tensor]):
    for name, tensor in tensors.items():
        module, part = name.split(".", 1)
        yield module, part, tensor


def kohya_names(unet: UNet2DConditionModel) -> dict[str, str]:
    """kohya's name of each module by the one in diffusers' words; those of XL, ours, are proved by diffusers."""
    paths = {kohya_name(path): path for path in lierla_modules(unet)}
    if unet.config.addition_embed_type is None:
        return {name: name for name in paths}
    layers = unet.config.layers_per_block
    names = {name: "lora_unet_" + _sgm_path(path, layers).replace(".", "_") for name, path in paths.items()}
    # Each fake tensor carries its index, so the conversion shows which key it came from.
    markers = {f"{sgm}.lora_down.weight": torch.tensor(index) for index, sgm in enumerate(names.values())}
    markers |= {f"{sgm}.lora_up.weight": torch.tensor(index) for index, sgm in enumerate(names.values())}
    converted, _ = _convert_non_diffusers_lora_to_diffusers(_maybe_map_sgm_blocks_to_diffusers(markers, unet.config))
    expected = {f"unet.{path}.lora.down.weight": index for index, path in enumerate(paths.values())}
    found = {_modern(key): int(marker) for key, marker in converted.items() if key.endswith("down.weight")}
    if found != expected:
        differing = sorted(found.items() ^ expected.items())[:6]
        raise ValueError(f"the names of XL do not agree with diffusers' conversion: {differing}")
    return names


def _modern(key: str) -> str:
    """diffusers converts to the words that it had before peft: `attn1.processor.to_q_lora.down.weight`."""
    return re.sub(r"\.processor\.(to_.)_lora\.", r".\1.lora.", key.replace("processor.to_out_lora", "to_out.0.lora"))


def _sgm_path(path: str, layers: int) -> str:
    """`down_blocks.1.attentions.0.proj_in` as `input_blocks.4.1.proj_in`."""
    if path.startswith("mid_block.attentions.0."):
        return path.replace("mid_block.attentions.0", "middle_block.1", 1)
    side, block, _, layer, *rest = path.split(".")
    place = int(block) * (layers + 1) + int(layer)
    start = f"input_blocks.{place + 1}" if side == "down_blocks" else f"output_blocks.{place}"
    return ".".join([start, "1", *rest])


@fixture({"families/xl_names.json": "kohya's names of the modules of Stable Diffusion XL (722), by diffusers' path"})
def families_names(_bundled):
    """For `families.rs`: what is written for XL."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**REAL_XL)
    names = kohya_names(unet)
    return {"families/xl_names.json": Json({path: names[kohya_name(path)] for path in lierla_modules(unet)})}


@fixture({"families/schedules.safetensors": "of each family: alphas, timesteps, sigmas, SNR, min-SNR weights (gamma 5)"})
def families_schedules(bundled):
    """For `families.rs`: everything that a sampler or a loss derives from each `scheduler_config.json`."""
    made = {}
    for family in FAMILIES:
        base = FamilyBase(bundled, family)
        ddim, euler = base.scheduler, EulerDiscreteScheduler.from_config(SCHEDULERS[family].config)
        for scheduler in [ddim, euler]:
            scheduler.set_timesteps(STEPS)
        timesteps = torch.tensor([0, 100, 400, 700, 950, 998, 999])
        snr = signal_to_noise(base, timesteps)
        tensors = {
            "alphas_cumprod": ddim.alphas_cumprod,
            "ddim_timesteps": ddim.timesteps,
            "euler_timesteps": euler.timesteps.long(),
            "euler_sigmas": euler.sigmas,
            "euler_init_noise_sigma": torch.as_tensor(euler.init_noise_sigma),
            "weight_timesteps": timesteps,
            "snr": snr,
            "min_snr_weight": snr.clamp(max=GAMMA) / (snr + 1.0 if base.predicts_velocity else snr),
        }
        made |= {f"{family}.{name}": tensor for name, tensor in tensors.items()}
    return {"families/schedules.safetensors": made}


WALKED = "DDIM, Euler (guidance 3) and DDIM inversion, the latent after each step"


@fixture({f"families/{family}_walks.safetensors": WALKED for family in FAMILIES})
def families_walks(bundled):
    """For `families.rs`: `ddim.*`, `euler.*` and `inverse.*`; guidance of `sdxl_v` is rescaled by 0.7."""
    return {f"families/{family}_walks.safetensors": _walks(FamilyBase(bundled, family)) for family in FAMILIES}


@torch.no_grad()
def _walks(base: FamilyBase) -> dict[str, torch.Tensor]:
    # diffusers' pipelines turn DDIM's clipping off, which only suits pixels.
    config = {**SCHEDULERS[base.family].config, "clip_sample": False}
    negative, positive = (base.condition([prompt]) for prompt in PROMPTS[:2])
    rescale = RESCALE if base.family == "sdxl_v" else 0.0

    def guided(sample, timestep):
        without, with_prompt = (base.unet(sample, timestep, **given).sample for given in (negative, positive))
        pred = without + GUIDANCE * (with_prompt - without)
        return rescale_noise_cfg(pred, with_prompt, rescale) if rescale else pred

    def unguided(sample, timestep):
        return base.unet(sample, timestep, **negative).sample

    noise = normal(f"{base.family}.walk", (1, 4, 8, 8))
    euler = EulerDiscreteScheduler.from_config(config)
    euler.set_timesteps(STEPS)
    walks = {
        "ddim": (DDIMScheduler.from_config(config), noise, guided),
        "euler": (euler, noise * euler.init_noise_sigma, guided),
        "inverse": (DDIMInverseScheduler.from_config(config), base.encode(base.picture("glasses/00_A.png")), unguided),
    }
    made = {f"negative.{name}": tensor for name, tensor in conditioning_tensors(negative).items()}
    made |= conditioning_tensors(positive)
    for name, (scheduler, latent, predict) in walks.items():
        scheduler.set_timesteps(STEPS)
        start, latents = latent, []
        for timestep in scheduler.timesteps:
            pred = predict(scheduler.scale_model_input(latent, timestep), timestep)
            latent = scheduler.step(pred, timestep, latent).prev_sample
            latents.append(latent)
        made |= {f"{name}.latent": start, f"{name}.latents": torch.cat(latents)}
        made[f"{name}.timesteps"] = scheduler.timesteps.long()
    return made


def forward(trained) -> dict[str, torch.Tensor]:
    step = trained.step
    return towards_teacher(trained, step.target_latent, step.original_latent, ADDIFT_MULTIPLIER)


def forward_slider(trained) -> dict[str, torch.Tensor]:
    return towards_prompt(trained, 1.0)


METHODS = {
    "plain": (False, towards_target),
    "copier_1": (False, copying),
    "copier_2": (True, towards_target),
    "addift": (False, forward),
    "slider": (False, forward_slider),
}
TRAINED = ["sd2_v", "sdxl", "sdxl_v"]


@fixture(
    {f"families/{family}_train.safetensors": "what its steps start from, as in `train_inputs`" for family in TRAINED}
    | {
        f"families/{family}_{method}.safetensors": f"one step of {method}: loss, gradients, the LoRA after"
        for family in TRAINED
        for method in METHODS
    }
)
def families_train(bundled):
    """For `families.rs`: every method, towards noise and towards velocity."""
    made = {}
    for family in TRAINED:
        step = Step(FamilyBase(bundled, family), f"train_{family}")
        made[f"families/{family}_train.safetensors"] = step.inputs()
        for method, (with_copier, take) in METHODS.items():
            taken = take(step.unet(with_copier=with_copier))
            kept = {name: it for name, it in taken.items() if name.startswith(("grad", "after", "loss"))}
            made[f"families/{family}_{method}.safetensors"] = kept
    return made
