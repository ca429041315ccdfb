"""Autoencoder fixtures, for `tests/parity/vae.rs`."""

import torch

from parity.base import Base
from parity.registry import fixture


@fixture({"vae.safetensors": "bundled VAE on pairs/glasses/00_A.png: there and back"})
@torch.no_grad()
def vae(base: Base):
    """For `vae.rs`: encode gives `mean` (unscaled) and `latent` (scaled); decode gives `decoded`, not clamped."""
    image = base.picture("glasses/00_A.png")
    mean = base.vae.encode(image).latent_dist.mean
    latent = mean * base.vae.config.scaling_factor
    decoded = base.vae.decode(latent / base.vae.config.scaling_factor).sample
    return {"vae.safetensors": {"image": image, "mean": mean, "latent": latent, "decoded": decoded}}
