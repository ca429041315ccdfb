"""Fixtures of the bundled UNet, whole and block by block, for `tests/parity/unet.rs`."""

import torch

from parity.base import Base
from parity.registry import fixture, normal

PROMPTS = ["", "glasses, smile"]


@fixture({"unet.safetensors": "bundled UNet with two timesteps in one batch"})
@torch.no_grad()
def unet(base: Base):
    """For `unet.rs`: the whole UNet gives `noise_pred`."""
    sample, timesteps = normal("unet.sample", (2, 4, 16, 16)), torch.tensor([37, 801])
    encoder_hidden_states = base.embed(PROMPTS)
    noise_pred = base.unet(sample, timesteps, encoder_hidden_states).sample
    return {
        "unet.safetensors": {
            "sample": sample,
            "timesteps": timesteps,
            "encoder_hidden_states": encoder_hidden_states,
            "noise_pred": noise_pred,
        }
    }


@fixture({"time_embedding.safetensors": "sinusoids and time embedding of the bundled UNet, ends included"})
@torch.no_grad()
def time_embedding(base: Base):
    """For `unet.rs`: timesteps become `sinusoid` (cosines first), then `temb` through the two linears."""
    timesteps = torch.tensor([0, 1, 37, 500, 981, 999])
    sinusoid = base.unet.time_proj(timesteps)
    return {
        "time_embedding.safetensors": {
            "timesteps": timesteps,
            "sinusoid": sinusoid,
            "temb": base.unet.time_embedding(sinusoid),
        }
    }


@fixture({"unet_blocks.safetensors": "input and output of every block of the bundled UNet in one forward pass"})
@torch.no_grad()
def unet_blocks(base: Base):
    """For `unet.rs`: each block alone.

    Per block: `hidden_states`, `output`; down blocks add the list they leave for the way up as
    `res_output.N`, up blocks the list they are given as `res_input.N` (the last entry is used first).
    """
    captured: dict[str, torch.Tensor] = {}
    blocks = dict(base.unet.named_children())
    hooks = []
    for name in ["down_blocks", "up_blocks"]:
        for index, block in enumerate(blocks[name]):
            hooks.append(_capture(block, f"{name}.{index}", captured))
    hooks.append(_capture(base.unet.mid_block, "mid_block", captured))

    encoder_hidden_states = base.embed(PROMPTS[1:])
    base.unet(normal("unet_blocks.sample", (1, 4, 16, 16)), torch.tensor([321]), encoder_hidden_states)
    for hook in hooks:
        hook.remove()
    return {"unet_blocks.safetensors": {"encoder_hidden_states": encoder_hidden_states, **captured}}


def _capture(block: torch.nn.Module, name: str, captured: dict[str, torch.Tensor]):
    def hook(_module, args, kwargs, output):
        # The mid block alone is called with positional arguments.
        hidden_states, temb = args if args else (kwargs["hidden_states"], kwargs["temb"])
        captured["temb"] = temb
        captured[f"{name}.hidden_states"] = hidden_states
        for index, residual in enumerate(kwargs.get("res_hidden_states_tuple", ())):
            captured[f"{name}.res_input.{index}"] = residual
        if isinstance(output, tuple):
            output, residuals = output
            for index, residual in enumerate(residuals):
                captured[f"{name}.res_output.{index}"] = residual
        captured[f"{name}.output"] = output

    return block.register_forward_hook(hook, with_kwargs=True)
