"""The loss under a mask, written once for the LoRA and the training fixtures."""

import torch


def masked(error: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`sum(m * e^2) / (C * sum(m))` of each sample: `[batch, C, h, w]` and `[1 or batch, 1, h, w]` to `[batch]`."""
    batch, channels, height, width = error.shape
    mask = mask.expand(batch, 1, height, width)
    return (mask * error.square()).sum((1, 2, 3)) / (channels * mask.sum((1, 2, 3)))
