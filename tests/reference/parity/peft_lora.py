"""LoRA by peft on exactly the modules kohya's tools train ("lierla"), under kohya's names."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer

from parity.registry import normal, uniform

TARGETS = ["proj_in", "proj_out", "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


def kohya_name(module: str) -> str:
    """`mid_block.attentions.0.proj_in` as `lora_unet_mid_block_attentions_0_proj_in`."""
    return "lora_unet_" + module.replace(".", "_")


def lierla_modules(unet: UNet2DConditionModel) -> dict[str, torch.nn.Module]:
    """Every linear and 1x1 convolution inside a `Transformer2DModel`, by its path in the UNet."""
    found = {}
    for path, transformer in unet.named_modules():
        if isinstance(transformer, Transformer2DModel):
            for inner, module in transformer.named_modules():
                if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                    found[f"{path}.{inner}"] = module
    return found


def random_lora(unet: UNet2DConditionModel, label: str, rank: int, up_std: float) -> dict[str, torch.Tensor]:
    """`<kohya name>.lora_down.weight` and `.lora_up.weight`: down as kaiming leaves it, up not zero."""
    tensors = {}
    for path, module in lierla_modules(unet).items():
        name, (outputs, inputs, *kernel) = kohya_name(path), module.weight.shape
        bound = inputs**-0.5
        down = (uniform(f"{label}.{name}.down", (rank, inputs, *kernel)) * 2.0 - 1.0) * bound
        tensors[f"{name}.lora_down.weight"] = down
        tensors[f"{name}.lora_up.weight"] = normal(f"{label}.{name}.up", (outputs, rank, *kernel), up_std)
    return tensors


def inject(unet: UNet2DConditionModel, adapter: str, tensors: dict[str, torch.Tensor], alpha: float) -> None:
    """Adds `tensors` to the UNet as `adapter`; raises unless peft made exactly the modules they name."""
    rank = next(tensor.shape[0] for name, tensor in tensors.items() if name.endswith("lora_down.weight"))
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS), adapter)
    parameters = adapter_parameters(unet, adapter)
    if parameters.keys() != tensors.keys():
        raise ValueError(f"peft and the lierla set differ in {sorted(parameters.keys() ^ tensors.keys())}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def adapter_parameters(unet: UNet2DConditionModel, adapter: str) -> dict[str, torch.nn.Parameter]:
    """The live down and up weights of an adapter by their kohya names."""
    parameters = {}
    for path, layer in unet.named_modules():
        if isinstance(layer, LoraLayer) and adapter in layer.lora_A:
            parameters[f"{kohya_name(path)}.lora_down.weight"] = layer.lora_A[adapter].weight
            parameters[f"{kohya_name(path)}.lora_up.weight"] = layer.lora_B[adapter].weight
    return parameters


def set_multipliers(unet: UNet2DConditionModel, multipliers: dict[str, float], trained: str) -> None:
    """Makes exactly these adapters active; only `trained` gets gradients, which peft would give to all."""
    unet.set_adapters(list(multipliers), list(multipliers.values()))
    for adapter in multipliers:
        for parameter in adapter_parameters(unet, adapter).values():
            parameter.requires_grad_(adapter == trained)
