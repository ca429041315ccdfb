"""One LoRA file of each program that writes them, and what diffusers and peft predict with it.

For `lora.rs`: every program has its own words for the modules and its own place for alpha, and a LoRA
that is read without alpha is too strong or too weak by alpha / rank.
"""

import json
import re
import tempfile
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from parity.base import Base
from parity.peft_lora import kohya_name
from parity.registry import Bytes, fixture, normal, uniform
from parity.unet import PROMPTS

# Three transformers, one of each kind of block, in diffusers' words and in ldm's (of one layer per block).
LDM = {
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.attentions.0": "middle_block.1",
    "up_blocks.2.attentions.0": "output_blocks.4.1",
}
# Linear layers and a 1x1 convolution.
TARGETS = rf"({'|'.join(map(re.escape, LDM))})\.(proj_in|.*\.(to_k|to_out\.0|net\.2))"
# Large enough to change the prediction far beyond any tolerance.
UP_STD = 0.3

DIFFUSERS = LoraConfig(
    r=4,
    lora_alpha=2,
    target_modules=TARGETS,
    rank_pattern={"attn2.to_k": 2, "^mid_block.attentions.0.proj_in": 3},
    alpha_pattern={"attn2.to_k": 6, r"up_blocks\.\d\..*net\.2": 1},
)
DIFFUSERS_RSLORA = LoraConfig(r=4, lora_alpha=1, target_modules=TARGETS, use_rslora=True)
PEFT = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS)
PEFT_RSLORA = LoraConfig(r=2, lora_alpha=1, target_modules=TARGETS, use_rslora=True, alpha_pattern={"to_out.0": 3})
KOHYA_RANK, KOHYA_ALPHA = 4, 1.0

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@fixture(
    {
        "loras/kohya.safetensors": "kohya's words, rank 4, alpha 1 in tensors",
        "loras/kohya_ldm.safetensors": "the same factors, kohya's words with ldm's numbering",
        "loras/comfyui.safetensors": "the same factors, as ComfyUI extracts them: ldm's paths",
        "loras/simpletuner.safetensors": "the same factors, as SimpleTuner writes them for ComfyUI",
        "loras/diffusers.safetensors": "`save_lora_weights`: alpha, patterns of rank and alpha in the metadata",
        "loras/diffusers_rslora.safetensors": "`save_lora_weights`: rsLoRA",
        "loras/diffusers_unet.safetensors": "`save_lora_adapter` of the bare UNet",
        f"loras/peft/{WEIGHTS}": "`save_pretrained` of peft: rank 4",
        f"loras/peft/{CONFIG}": "its settings: alpha 8",
        f"loras/peft_rslora/{WEIGHTS}": "`save_pretrained` of peft: rank 2",
        f"loras/peft_rslora/{CONFIG}": "its settings: rsLoRA, a pattern of alpha",
        "lora_writers.safetensors": "what the UNet predicts with each, read by the program that wrote it",
    }
)
def lora_writers(base: Base):
    """For `lora.rs`: read each file and compare `noise_pred` with that of its name."""
    inputs = {
        "sample": normal("lora_writers.sample", (2, 4, 16, 16)),
        "timesteps": torch.tensor([120, 740]),
        "encoder_hidden_states": base.embed(PROMPTS),
    }
    made, answers = {}, {"base": _predict(base.unet, inputs)}

    kohya = _kohya_tensors(base.unet)
    for name, rename in {
        "kohya": lambda module, part: f"{kohya_name(module)}.{part}",
        "kohya_ldm": lambda module, part: f"{kohya_name(_ldm(module))}.{part}",
        "comfyui": lambda module, part: f"diffusion_model.{_ldm(module)}.{part}",
        "simpletuner": lambda module, part: f"diffusion_model.{module}.{PEFT_PARTS.get(part, part)}",
    }.items():
        made[f"loras/{name}.safetensors"] = {rename(*key): tensor for key, tensor in kohya.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kohya.safetensors"
        save_file(made["loras/kohya.safetensors"], file)
        answers["kohya"] = _predict(_loaded_by_diffusers(base, file), inputs)
        for name in ["kohya_ldm", "comfyui", "simpletuner"]:
            answers[name] = answers["kohya"]

        for name, config in {"diffusers": DIFFUSERS, "diffusers_rslora": DIFFUSERS_RSLORA}.items():
            unet = _with_lora(base.fresh_unet(), name, config)
            StableDiffusionPipeline.save_lora_weights(
                folder,
                unet_lora_layers=get_peft_model_state_dict(unet, adapter_name="default"),
                unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
                weight_name=f"{name}.safetensors",
            )
            file = Path(folder) / f"{name}.safetensors"
            made[f"loras/{name}.safetensors"] = Bytes(file.read_bytes())
            answers[name] = _predict(_loaded_by_diffusers(base, file), inputs)
            _require_same(answers[name], _predict(unet, inputs), name)

        unet = _with_lora(base.fresh_unet(), "diffusers_unet", DIFFUSERS)
        unet.save_lora_adapter(folder, weight_name="diffusers_unet.safetensors")
        made["loras/diffusers_unet.safetensors"] = Bytes((Path(folder) / "diffusers_unet.safetensors").read_bytes())
        again = base.fresh_unet()
        again.load_lora_adapter(folder, weight_name="diffusers_unet.safetensors", prefix=None)
        answers["diffusers_unet"] = _predict(again, inputs)
        _require_same(answers["diffusers_unet"], _predict(unet, inputs), "diffusers_unet")

        for name, config in {"peft": PEFT, "peft_rslora": PEFT_RSLORA}.items():
            place = Path(folder) / name
            model = get_peft_model(base.fresh_unet(), config)
            _fill(model, name)
            model.save_pretrained(place)
            made[f"loras/{name}/{WEIGHTS}"] = Bytes((place / WEIGHTS).read_bytes())
            made[f"loras/{name}/{CONFIG}"] = Bytes(_without_paths(place / CONFIG))
            answers[name] = _predict(PeftModel.from_pretrained(base.fresh_unet(), place), inputs)
            _require_same(answers[name], _predict(model, inputs), name)

    for name, answer in answers.items():
        if name != "base" and (answer - answers["base"]).abs().max() < 0.05:
            raise ValueError(f"the LoRA {name} hardly changes the prediction")
    made["lora_writers.safetensors"] = {
        **inputs,
        **{f"noise_pred.{name}": answer for name, answer in answers.items()},
    }
    return made


PEFT_PARTS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}


def _kohya_tensors(unet: UNet2DConditionModel) -> dict[tuple[str, str], torch.Tensor]:
    """By module and part: both factors and alpha."""
    tensors = {}
    for path, module in unet.named_modules():
        if not re.fullmatch(TARGETS, path):
            continue
        outputs, inputs, *kernel = module.weight.shape
        down = (uniform(f"lora_writers.{path}.down", (KOHYA_RANK, inputs, *kernel)) * 2.0 - 1.0) * inputs**-0.5
        tensors[path, "lora_down.weight"] = down
        tensors[path, "lora_up.weight"] = normal(
            f"lora_writers.{path}.up", (outputs, KOHYA_RANK, *kernel), UP_STD
        )
        tensors[path, "alpha"] = torch.tensor(KOHYA_ALPHA)
    return tensors


def _ldm(module: str) -> str:
    block = next(block for block in LDM if module.startswith(block))
    return LDM[block] + module.removeprefix(block)


def _with_lora(unet: UNet2DConditionModel, label: str, config: LoraConfig) -> UNet2DConditionModel:
    unet.add_adapter(config, "default")
    _fill(unet, label)
    return unet


@torch.no_grad()
def _fill(model: torch.nn.Module, label: str) -> None:
    """Both factors of every module, by its path in the UNet alone."""
    layers = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    if not layers:
        raise ValueError(f"no module matches the targets of {label}")
    for path, layer in layers:
        path = path.removeprefix("base_model.model.")
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        down.copy_((uniform(f"{label}.{path}.down", down.shape) * 2.0 - 1.0) * down.shape[1] ** -0.5)
        up.copy_(normal(f"{label}.{path}.up", up.shape, UP_STD))


def _loaded_by_diffusers(base: Base, file: Path) -> UNet2DConditionModel:
    pipeline = StableDiffusionPipeline.from_pretrained(
        base.folder, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    return pipeline.unet.eval()


def _without_paths(config: Path) -> bytes:
    """The settings as peft writes them, without where the base was on this machine."""
    settings = json.loads(config.read_text())
    settings["base_model_name_or_path"] = None
    return (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()


@torch.no_grad()
def _predict(unet: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return unet.eval()(inputs["sample"], inputs["timesteps"], inputs["encoder_hidden_states"]).sample


def _require_same(read: torch.Tensor, written: torch.Tensor, name: str) -> None:
    """The file says all that the program that wrote it knew."""
    gap = (read - written).abs().max().item()
    if not gap < 1e-5:
        raise ValueError(f"{name}: read back, it predicts something else, by {gap}")
