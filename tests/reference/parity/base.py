"""The bundled base as diffusers and transformers see it: f16 files computed in f32 on one CPU thread."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 77


class Base:
    """A diffusers folder and, beside it, the example pairs drawn with the same pictures."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.pairs = folder.parent / "pairs"

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer")

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        return _frozen(CLIPTextModel.from_pretrained(self.folder / "text_encoder", dtype=torch.float32))

    @cached_property
    def vae(self) -> AutoencoderKL:
        return _frozen(AutoencoderKL.from_pretrained(self.folder / "vae", dtype=torch.float32))

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        """Shared by all fixtures, so never inject a LoRA into it: take `fresh_unet` for that."""
        return self.fresh_unet()

    @cached_property
    def scheduler(self) -> DDIMScheduler:
        return DDIMScheduler.from_pretrained(self.folder / "scheduler")

    def fresh_unet(self) -> UNet2DConditionModel:
        return _frozen(UNet2DConditionModel.from_pretrained(self.folder / "unet", dtype=torch.float32))

    def tokens(self, prompts: list[str]) -> torch.Tensor:
        """Token ids, `[prompts, 77]`."""
        return self.tokenizer(
            prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> torch.Tensor:
        """`last_hidden_state`, `[prompts, 77, channels]`."""
        return self.text_encoder(self.tokens(prompts)).last_hidden_state

    def condition(self, prompts: list[str]) -> dict:
        """What the UNet is called with beside sample and timesteps."""
        return {"encoder_hidden_states": self.embed(prompts)}

    @property
    def predicts_velocity(self) -> bool:
        return self.scheduler.config.prediction_type == "v_prediction"

    def picture(self, name: str) -> torch.Tensor:
        """A picture of `pairs/` as the VAE takes it: `[1, 3, height, width]` in -1..1."""
        pixels = numpy.asarray(Image.open(self.pairs / name).convert("RGB"))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div(127.5).sub(1.0).unsqueeze(0)

    def latent_mask(self, name: str) -> torch.Tensor:
        """A mask of `pairs/` averaged 8x down: `[1, 1, height / 8, width / 8]` in 0..1."""
        pixels = numpy.asarray(Image.open(self.pairs / name).convert("L"))
        mask = torch.from_numpy(pixels.copy()).float().div(255.0)[None, None]
        return torch.nn.functional.avg_pool2d(mask, kernel_size=8)

    @torch.no_grad()
    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        """The scaled mean of the posterior: `[1, 4, height / 8, width / 8]`."""
        return self.vae.encode(picture).latent_dist.mean * self.vae.config.scaling_factor


def conditioning_tensors(conditioning: dict) -> dict[str, torch.Tensor]:
    """The same as a fixture holds it: `encoder_hidden_states`, and for Stable Diffusion XL `pooled` and `size`."""
    added = conditioning.get("added_cond_kwargs")
    states = {"encoder_hidden_states": conditioning["encoder_hidden_states"]}
    return states | ({"pooled": added["text_embeds"], "size": added["time_ids"].long()} if added else {})


def _frozen(model):
    return model.eval().requires_grad_(False)
