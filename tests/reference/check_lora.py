"""Proves that diffusers loads a LoRA written by Mimeo, and that both then predict the same noise.

    check_lora.py FILE.safetensors --out reference.safetensors
    check_lora.py FILE.safetensors --compare ours.safetensors

`--out` writes fixed inputs (`sample`, `timesteps`, `encoder_hidden_states`, and for Stable Diffusion XL
`pooled` and `size`) with the UNet's answer without the LoRA (`noise_pred_base`) and with it (`noise_pred`).
`--compare` reads Mimeo's `noise_pred` for the same inputs and fails above 1e-4: both sides compute the same
f32 arithmetic in another order, which differs by about 1e-5.
"""

import argparse
import sys
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

from parity.base import conditioning_tensors
from parity.families import kohya_names
from parity.peft_lora import adapter_parameters, kohya_name
from parity.registry import normal

REPOSITORY = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    # Only the older pipeline has a safety checker; the other leaves the argument aside with a warning.
    pipeline = DiffusionPipeline.from_pretrained(arguments.base, dtype=torch.float32, safety_checker=None)
    conditioning = _condition(pipeline, ["glasses, smile", ""])
    inputs = {
        "sample": normal("check_lora.sample", (2, 4, 16, 16)),
        "timesteps": torch.tensor([100, 700]),
        **conditioning_tensors(conditioning),
    }
    written = kohya_names(pipeline.unet)
    without = _predict(pipeline.unet, inputs, conditioning)
    pipeline.load_lora_weights(arguments.file.parent, weight_name=arguments.file.name, adapter_name="mimeo")
    modules = _require_everything_loaded(pipeline.unet, written, load_file(arguments.file))
    pipeline.set_adapters("mimeo", adapter_weights=arguments.multiplier)
    with_lora = _predict(pipeline.unet, inputs, conditioning)
    print(f"{modules} modules loaded; the LoRA changes the prediction by up to {_gap(with_lora, without):.3g}")

    if arguments.out:
        for name in {"timesteps", "size"} & inputs.keys():
            inputs[name] = inputs[name].to(torch.int32)
        save_file({**inputs, "noise_pred_base": without, "noise_pred": with_lora}, arguments.out)
    if arguments.compare:
        gap = _gap(load_file(arguments.compare)["noise_pred"], with_lora)
        print(f"largest difference from ours: {gap:.3g} (tolerance {TOLERANCE:.0e})")
        # Written so that a difference that is not a number fails too.
        if not gap <= TOLERANCE:
            sys.exit("Mimeo and diffusers disagree about this LoRA")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Loads a LoRA of the bundled base, or of another, in diffusers.")
    parser.add_argument("file", type=Path, help="the LoRA, kohya names")
    parser.add_argument("--base", type=Path, default=REPOSITORY / "shared" / "base" / "mimeo-avatars")
    parser.add_argument("--multiplier", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="where to write the inputs and both predictions")
    parser.add_argument("--compare", type=Path, help="a file with Mimeo's `noise_pred` for these inputs")
    return parser.parse_args()


@torch.no_grad()
def _condition(pipeline, prompts: list[str]) -> dict:
    """What the UNet is called with beside sample and timesteps."""
    states, _, *pooled = pipeline.encode_prompt(
        prompts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if not pooled:
        return {"encoder_hidden_states": states}
    sizes = torch.tensor([[128.0, 128, 0, 0, 128, 128]] * len(prompts))
    return {"encoder_hidden_states": states, "added_cond_kwargs": {"text_embeds": pooled[0], "time_ids": sizes}}


@torch.no_grad()
def _predict(unet, inputs: dict[str, torch.Tensor], conditioning: dict) -> torch.Tensor:
    return unet(inputs["sample"], inputs["timesteps"], **conditioning).sample


def _require_everything_loaded(unet, written: dict[str, str], file: dict[str, torch.Tensor]) -> int:
    """Diffusers only warns about keys it does not know, so every tensor is looked up in the live UNet.

    - `written`: the names in the file by those in diffusers' words
    """
    parameters = {}
    for name, parameter in adapter_parameters(unet, "mimeo").items():
        module, part = name.split(".", 1)
        parameters[f"{written[module]}.{part}"] = parameter
    weights = {name: tensor for name, tensor in file.items() if not name.endswith(".alpha")}
    if weights.keys() != parameters.keys():
        sys.exit(f"unmatched keys: {sorted(weights.keys() ^ parameters.keys())}")
    for name, weight in weights.items():
        if not torch.equal(weight.float(), parameters[name]):
            sys.exit(f"diffusers holds other values than the file: {name}")

    layers = {written[kohya_name(path)]: layer for path, layer in unet.named_modules() if isinstance(layer, LoraLayer)}
    for name, layer in layers.items():
        if f"{name}.alpha" not in file:
            sys.exit(f"the file has no alpha for this module: {name}")
        scaling = file[f"{name}.alpha"].item() / layer.r["mimeo"]
        if abs(layer.scaling["mimeo"] - scaling) > 1e-6:
            sys.exit(f"diffusers scales by {layer.scaling['mimeo']}, the file says {scaling}: {name}")
    return len(layers)


def _gap(left: torch.Tensor, right: torch.Tensor) -> float:
    return (left - right).abs().max().item()


if __name__ == "__main__":
    main()
