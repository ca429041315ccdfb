"""A whole diffusers folder in miniature, for `tests/parity/micro.rs` and for `tests/browser`.

A software GPU in a browser takes half a minute for a step of the bundled base. This one has one block of
each kind that a UNet of Stable Diffusion 1.x has, 32 channels wide, on latents of 8 x 8. Its weights are
random: it draws nothing that anybody could name, which no comparison of two computers needs.
"""

import json
from functools import cache, cached_property

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from parity.base import Base
from parity.registry import OUT, Json, Text, fixture, normal
from parity.sd1x import diffusers_files, half, randomise
from parity.train import ADDIFT_MULTIPLIER, Step, copying, towards_target, towards_teacher

STEPS = 3
# Bytes, bytes that end a word, and the first merges of the bundled vocabulary; then start and end.
TOKENS = 768
BYTES = 512
# Pictures of 64 px instead of the bundled 128.
SHRINK = 2
UNET_CONFIG = {
    "sample_size": 8,
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 8,  # As in SD1.x's file: eight heads, whatever the name says.
    "cross_attention_dim": 32,
    "norm_num_groups": 8,
}
TEXT_CONFIG = {
    "vocab_size": TOKENS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_act": "quick_gelu",
    "bos_token_id": TOKENS - 2,
    "eos_token_id": TOKENS - 1,
    "pad_token_id": TOKENS - 1,
    "projection_dim": 32,
}
VAE_CONFIG = {
    "sample_size": 64,
    "block_out_channels": (8, 8, 8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    # Makes the latents of the example pairs about one in size, as training a VAE would.
    "scaling_factor": 5.0,
}


@cache
def micro_unet() -> UNet2DConditionModel:
    return randomise(UNet2DConditionModel, 11, **UNET_CONFIG)


@cache
def micro_text_encoder() -> CLIPTextModel:
    return randomise(lambda: CLIPTextModel(CLIPTextConfig(**TEXT_CONFIG)), 12)


@cache
def micro_vae() -> AutoencoderKL:
    return randomise(AutoencoderKL, 13, **VAE_CONFIG)


class MicroBase(Base):
    """The folder as it was written, beside the bundled pictures, which are shrunk."""

    def __init__(self, bundled: Base):
        super().__init__(OUT / "micro")
        self.pairs = bundled.pairs

    @cached_property
    def shrink(self) -> torch.nn.Module:
        return torch.nn.AvgPool2d(SHRINK)

    def picture(self, name: str) -> torch.Tensor:
        return self.shrink(super().picture(name))

    def latent_mask(self, name: str) -> torch.Tensor:
        return self.shrink(super().latent_mask(name))


@fixture(
    {
        "micro/model_index.json": "a base in miniature, one block of each kind; this and the files below",
        "micro/scheduler/scheduler_config.json": "as the bundled base's",
        "micro/tokenizer/vocab.json": "the bundled vocabulary without most of its merges",
        "micro/tokenizer/merges.txt": "the merges that are left",
        "micro/tokenizer/tokenizer_config.json": "as the bundled base's",
        "micro/tokenizer/special_tokens_map.json": "as the bundled base's",
        "micro/text_encoder/config.json": "config of its text encoder",
        "micro/text_encoder/model.safetensors": "its weights, f16",
        "micro/vae/config.json": "config of its VAE",
        "micro/vae/diffusion_pytorch_model.safetensors": "its weights, f16",
        "micro/unet/config.json": "config of its UNet",
        "micro/unet/diffusion_pytorch_model.safetensors": "its weights, f16",
    }
)
def micro(base: Base):
    """For `micro.rs` and the browser: a base that a software GPU can train."""
    as_bundled = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json",
    ]
    vocabulary = json.loads((base.folder / "tokenizer/vocab.json").read_text("utf-8"))
    first = {token: number for token, number in vocabulary.items() if number < TOKENS - 2}
    ends = {"<|startoftext|>": TOKENS - 2, "<|endoftext|>": TOKENS - 1}
    version_and_merges = (base.folder / "tokenizer/merges.txt").read_text("utf-8").splitlines(keepends=True)
    config = json.loads(micro_text_encoder().config.to_json_string(use_diff=True))
    return {
        **{f"micro/{path}": Json(json.loads((base.folder / path).read_text("utf-8"))) for path in as_bundled},
        "micro/tokenizer/vocab.json": Json({**first, **ends}),
        "micro/tokenizer/merges.txt": Text("".join(version_and_merges[: 1 + TOKENS - 2 - BYTES])),
        "micro/text_encoder/config.json": Json({"architectures": ["CLIPTextModel"], **config}),
        "micro/text_encoder/model.safetensors": half(micro_text_encoder()),
        **diffusers_files("micro/vae", micro_vae()),
        **diffusers_files("micro/unet", micro_unet()),
    }


@fixture({"micro_unet.safetensors": "the UNet in miniature with two timesteps in one batch"})
@torch.no_grad()
def micro_forward(bundled: Base):
    """For `micro.rs`: the UNet gives `noise_pred` for `sample`."""
    base = MicroBase(bundled)
    sample, timesteps = normal("micro.sample", (2, 4, 8, 8)), torch.tensor([37, 801])
    states = base.embed(["", "glasses, smile"])
    return {
        "micro_unet.safetensors": {
            "sample": sample,
            "timesteps": timesteps,
            "encoder_hidden_states": states,
            "noise_pred": base.unet(sample, timesteps, states).sample,
        }
    }


@fixture({"train_micro_inputs.safetensors": "what all `train_micro_*` start from, as `train_inputs` of the bundled base"})
def train_micro_inputs(bundled: Base):
    """For `micro.rs`: `difference.*` is trained, `copier.*` frozen."""
    return {"train_micro_inputs.safetensors": _step(bundled).inputs()}


@fixture({"train_micro_plain.safetensors": "three steps of method plain: losses, first gradients, the LoRA after"})
def train_micro_plain(bundled: Base):
    """For `micro.rs`: an ordinary LoRA on the target picture."""
    return {"train_micro_plain.safetensors": _several(_step(bundled).unet(with_copier=False), towards_target)}


@fixture({"train_micro_copier_1.safetensors": "three steps of the copier's first pass"})
def train_micro_copier_1(bundled: Base):
    """For `micro.rs`: the LoRA in training is the copier itself."""
    return {"train_micro_copier_1.safetensors": _several(_step(bundled).unet(with_copier=False), copying)}


@fixture({"train_micro_copier_2.safetensors": "three steps of the copier's second pass"})
def train_micro_copier_2(bundled: Base):
    """For `micro.rs`: the difference on top of the frozen copier."""
    return {"train_micro_copier_2.safetensors": _several(_step(bundled).unet(with_copier=True), towards_target)}


@fixture({"train_micro_addift.safetensors": "three steps of method addift, all forward"})
def train_micro_addift(bundled: Base):
    """For `micro.rs`: student at +0.5 on B copies the teacher on A."""

    def forward(trained):
        step = trained.step
        return towards_teacher(trained, step.target_latent, step.original_latent, ADDIFT_MULTIPLIER)

    return {"train_micro_addift.safetensors": _several(_step(bundled).unet(with_copier=False), forward)}


def _step(bundled: Base) -> Step:
    return Step(MicroBase(bundled), "train_micro")


def _several(trained, take) -> dict[str, torch.Tensor]:
    """The same draw again and again: no two computers could disagree about the noise."""
    taken = [take(trained) for _ in range(STEPS)]
    first, last = taken[0], taken[-1]
    return {
        "losses": torch.stack([step["loss"] for step in taken]),
        "grad_norms": torch.stack([step["grad_norm"] for step in taken]),
        **{name: tensor for name, tensor in first.items() if name.startswith("grad.")},
        **{name: tensor for name, tensor in last.items() if name.startswith("after.")},
    }
