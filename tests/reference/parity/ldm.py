"""The names that single-file checkpoints give to the weights of diffusers and transformers, and their shapes there.

Written from the layouts themselves: CompVis/stable-diffusion `ldm/modules/diffusionmodules/{openaimodel,model}.py`,
Stability-AI/generative-models `sgm/modules/encoders/modules.py` and mlfoundations/open_clip `transformer.py`.
"""

from __future__ import annotations

import re

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP = "cond_stage_model.transformer."
OPEN_CLIP_H = "cond_stage_model.model."
SGM_CLIP, SGM_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_key(unet: UNet2DConditionModel, key: str) -> str:
    """The name of a UNet's weight or module, without what stands before all of them."""
    top = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for ours, theirs in top.items():
        if key == ours or key.startswith(f"{ours}."):
            return key.replace(ours, theirs, 1)
    layers = unet.config.layers_per_block
    parts = key.split(".")
    if parts[0] == "mid_block":
        kind, layer, rest = parts[1], int(parts[2]), parts[3:]
        block = f"middle_block.{1 if kind == 'attentions' else 2 * layer}"
    else:
        side, level, kind, layer, rest = parts[0], int(parts[1]), parts[2], int(parts[3]), parts[4:]
        first = (layers + 1) * level
        if side == "down_blocks":
            slot = first + 1 + (layers if kind == "downsamplers" else layer)
            block = f"input_blocks.{slot}.{1 if kind == 'attentions' else 0}"
        else:
            slot = first + (layers if kind == "upsamplers" else layer)
            attends = "CrossAttn" in unet.config.up_block_types[level]
            place = {"resnets": 0, "attentions": 1, "upsamplers": 1 + attends}[kind]
            block = f"output_blocks.{slot}.{place}"
    if kind == "downsamplers":
        rest = ["op", *rest[1:]]
    if kind == "resnets":
        rest = [RESNET[rest[0]], *rest[1:]]
    return ".".join([block, *rest])


def check_unet_names(names: dict[str, str], config: dict) -> None:
    """Raises unless diffusers' conversion agrees with these names (ldm's to diffusers')."""
    # Each fake tensor carries its index, so the conversion shows which key it came from.
    markers = {name: torch.tensor(index) for index, name in enumerate(names)}
    config = {"class_embed_type": None, "addition_embed_type": None, "layers_per_block": 2, **config}
    converted = convert_ldm_unet_checkpoint(dict(markers), config)
    expected = {key: int(markers[name]) for name, key in names.items()}
    if {key: int(marker) for key, marker in converted.items()} != expected:
        raise ValueError("the ldm key table does not agree with diffusers' conversion")


def unet_weights(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    return {UNET + unet_key(unet, key): tensor for key, tensor in unet.state_dict().items()}


def vae_weights(vae, prefix: str = VAE) -> dict[str, torch.Tensor]:
    """ldm's attention is made of 1x1 convolutions, and its way up is counted from the last block."""
    levels, weights = len(vae.config.block_out_channels), {}
    for key, tensor in vae.state_dict().items():
        attention = re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", key)
        if attention:
            side, layer, part = attention.groups()
            name = f"{side}.mid.attn_1.{VAE_ATTENTION[layer]}.{part}"
            if layer != "group_norm" and part == "weight":
                tensor = tensor[:, :, None, None]
        else:
            name = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}", key)
            name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
            name = re.sub(r"mid_block\.resnets\.(\d+)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
            name = name.replace(".resnets.", ".block.").replace("conv_shortcut", "nin_shortcut")
            name = name.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
            name = name.replace("conv_norm_out", "norm_out")
        weights[prefix + name] = tensor
    return weights


def clip_weights(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """transformers' own names."""
    return {prefix + key: tensor for key, tensor in state.items()}


def open_clip_weights(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The three projections of attention are one matrix, and the last projection is a parameter `x @ P`."""
    inner = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
             "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
    outer = {
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
    }
    weights = {}
    for key, tensor in state.items():
        block = re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
        if key == "text_projection.weight":
            weights[prefix + "text_projection"] = tensor.T
        elif not block:
            weights[prefix + outer[key]] = tensor
        else:
            number, layer, part = block.groups()
            place = f"{prefix}transformer.resblocks.{number}."
            if layer in inner:
                weights[f"{place}{inner[layer]}.{part}"] = tensor
            elif layer == "self_attn.q_proj":
                others = [key.replace("q_proj", other) for other in ("k_proj", "v_proj")]
                weights[f"{place}attn.in_proj_{part}"] = torch.cat([tensor, *(state[other] for other in others)])
    return weights
