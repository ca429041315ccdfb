"""LoRAs that change a whole model, convolutions and text encoders included, for `tests/parity/applied.rs`.

Three files for each miniature. kohya's (`networks/lora.py` with `conv_dim`) and LyCORIS' LoCon in Tucker form
(`modules/locon.py` with `use_tucker`) are applied here as their programs merge them: the product of the factors
is added to the weight. The third is written and read by diffusers and peft. What of kohya's file diffusers reads
as well must come to the same.
"""

from __future__ import annotations

import copy
import re
import tempfile
from functools import cached_property
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from parity.families import FAMILIES, FamilyBase, conditioning_tensors
from parity.registry import OUT, Bytes, fixture, normal, uniform

RANK, ALPHA, MULTIPLIER = 2, 1.0, 0.7
# Convolutions have a rank of their own (`conv_dim`).
CONV_RANK, CONV_ALPHA = 3, 1.5
UP_STD = 0.15
STEPS, GUIDANCE = 4, 3.0
PROMPTS = ["", "glasses, smile"]
BASES = ["micro", "sd2", "sdxl"]
TEXT_LAYERS = r"(text_model\.)?encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
# Parts of kohya's file that diffusers' converter does not know and leaves out, or fails at.
UNKNOWN_TO_DIFFUSERS = r"time_embedd?i?n?g?_|label_emb|add_embedding|conv_in|conv_out|input_blocks_0_0|unet_out_2|text_projection"


class WholeBase(FamilyBase):
    """A miniature, that of Stable Diffusion 1 as well."""

    def __init__(self, bundled, name: str):
        super().__init__(bundled, name if name in FAMILIES else "sd2")
        self.name = name
        self.folder = OUT / "micro" if name == "micro" else self.folder

    @cached_property
    def scheduler(self) -> DDIMScheduler:
        if self.name != "micro":
            return DDIMScheduler.from_config(super().scheduler.config)
        return DDIMScheduler.from_pretrained(self.folder / "scheduler")

    @property
    def models(self) -> dict[str, torch.nn.Module]:
        """By the prefix under which kohya's tools name their modules."""
        texts = ["lora_te1", "lora_te2"] if len(self.text_encoders) == 2 else ["lora_te"]
        return {"lora_unet": self.unet, **dict(zip(texts, self.text_encoders))}

    def copy(self) -> WholeBase:
        twin = copy.copy(self)
        twin.unet, twin.text_encoders = copy.deepcopy(self.unet), copy.deepcopy(self.text_encoders)
        return twin

    @property
    def pipeline_class(self) -> type:
        return StableDiffusionXLPipeline if len(self.text_encoders) == 2 else StableDiffusionPipeline

    def loaded_by_diffusers(self, file: Path) -> WholeBase:
        more = {} if len(self.text_encoders) == 2 else {"safety_checker": None, "requires_safety_checker": False}
        pipeline = self.pipeline_class.from_pretrained(self.folder, dtype=torch.float32, **more)
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
        twin = copy.copy(self)
        twin.unet = pipeline.unet.eval()
        texts = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
        twin.text_encoders = [text.eval() for text in texts if text is not None]
        return twin


def _files(name: str) -> dict[str, str]:
    return {
        f"applied/{name}_kohya.safetensors": "as kohya writes it, of all linear layers and convolutions",
        f"applied/{name}_tucker.safetensors": "as LyCORIS writes it: the UNet's kernels of 3 x 3 between factors",
        f"applied/{name}_diffusers.safetensors": "`save_lora_weights` of UNet and text encoders",
        f"applied/{name}.safetensors": f"what is said, predicted and drawn with each, kohya's at {MULTIPLIER}",
    }


@fixture({file: what for name in BASES for file, what in _files(name).items()})
@torch.no_grad()
def applied(bundled):
    """For `applied.rs`: `<file>.<prompt>` (and `.pooled`), `<file>.noise_pred` under prompt 1, `<file>.latents`."""
    made = {}
    for name in BASES:
        base = WholeBase(bundled, name)
        kohya, tucker = _kohya(base), _tucker(base)
        inputs = {
            "sample": normal(f"applied.{name}.sample", (2, 4, 8, 8)),
            "timesteps": torch.tensor([120, 740]),
            "latent": normal(f"applied.{name}.latent", (1, 4, 8, 8)),
        }
        answers = {"base": _answers(base, inputs)}
        answers["kohya"] = _answers(_merged(base, kohya, MULTIPLIER), inputs)
        answers["tucker"] = _answers(_merged(base, tucker, 1.0), inputs)
        with tempfile.TemporaryDirectory() as folder:
            _require_diffusers_agrees(base, kohya, inputs, Path(folder))
            file = Path(folder) / "diffusers.safetensors"
            wrapped = _written_by_diffusers(base, file)
            answers["diffusers"] = _answers(base.loaded_by_diffusers(file), inputs)
            _require_same(answers["diffusers"], _answers(wrapped, inputs), f"{name}, written and read by diffusers")
            made[f"applied/{name}_diffusers.safetensors"] = Bytes(file.read_bytes())
        for kind, tensors in answers.items():
            gap = (tensors["noise_pred"] - answers["base"]["noise_pred"]).abs().max().item()
            if kind != "base" and gap < 0.05:
                raise ValueError(f"{name}: the LoRA {kind} hardly changes the prediction, by {gap}")
        made[f"applied/{name}_kohya.safetensors"] = kohya
        made[f"applied/{name}_tucker.safetensors"] = tucker
        made[f"applied/{name}.safetensors"] = inputs | {
            f"{kind}.{part}": tensor for kind, tensors in answers.items() for part, tensor in tensors.items()
        }
    return made


@torch.no_grad()
def _answers(base: WholeBase, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    said = {}
    for index, prompt in enumerate(PROMPTS):
        states = conditioning_tensors(base.condition([prompt]))
        said[f"{index}"] = states["encoder_hidden_states"]
        if "pooled" in states:
            said[f"{index}.pooled"] = states["pooled"]
    both = base.condition([PROMPTS[1]] * 2)
    noise_pred = base.unet(inputs["sample"], inputs["timesteps"], **both).sample
    return {**said, "noise_pred": noise_pred, "latents": _drawn(base, inputs["latent"])}


def _drawn(base: WholeBase, latent: torch.Tensor) -> torch.Tensor:
    """DDIM with guidance, both prompts said under the LoRA."""
    # diffusers' pipelines turn its clipping off, which only suits pixels.
    scheduler = DDIMScheduler.from_config(base.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(STEPS)
    negative, positive = (base.condition([prompt]) for prompt in PROMPTS)
    for timestep in scheduler.timesteps:
        without, with_prompt = (base.unet(latent, timestep, **said).sample for said in [negative, positive])
        guided = without + GUIDANCE * (with_prompt - without)
        latent = scheduler.step(guided, timestep, latent).prev_sample
    return latent


def _modules(base: WholeBase):
    """Prefix, path and module of all that kohya's tools adapt with `conv_dim`, and what only others do."""
    for prefix, model in base.models.items():
        for path, module in model.named_modules():
            if prefix == "lora_unet" and isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                yield prefix, path, module
            elif re.fullmatch(rf"{TEXT_LAYERS}|text_projection", path):
                yield prefix, path, module


def _name(base: WholeBase, prefix: str, path: str) -> str:
    """kohya's name: of text encoders with `text_model`, which transformers 5 has no more; of XL's UNet in SGM's words."""
    if prefix != "lora_unet":
        path = path if path == "text_projection" else "text_model." + path.removeprefix("text_model.")
    elif base.name == "sdxl":
        path = _sgm_path(path, base.unet.config)
    return f"{prefix}_{path}".replace(".", "_")


SGM_PARTS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
}
SGM_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _sgm_path(path: str, config) -> str:
    """`down_blocks.1.resnets.0.conv1` as `input_blocks.4.0.in_layers.2` (`sgm/modules/diffusionmodules/openaimodel.py`)."""
    if path in SGM_PARTS:
        return SGM_PARTS[path]
    block, layers = path.split("."), config.layers_per_block
    if block[0] == "mid_block":
        place = {"resnets": 2 * int(block[2]), "attentions": 1}[block[1]]
        return ".".join([f"middle_block.{place}", *(SGM_RESNET.get(part, part) for part in block[3:])])
    down, level, kind, layer, *rest = block[0] == "down_blocks", int(block[1]), *block[2:]
    attends = "CrossAttn" in (config.down_block_types if down else config.up_block_types)[level]
    first = level * (layers + 1) + down
    if kind == "downsamplers":
        return f"input_blocks.{first + layers}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{1 + attends}.conv"
    start = f"{'input' if down else 'output'}_blocks.{first + int(layer)}.{int(kind == 'attentions')}"
    return ".".join([start, *(SGM_RESNET.get(part, part) for part in rest)])


def _kohya(base: WholeBase) -> dict[str, torch.Tensor]:
    """Of every module `lora_down`, of the module's own kernel, `lora_up` and alpha."""
    tensors = {}
    for prefix, path, module in _modules(base):
        name, label = _name(base, prefix, path), f"applied.{base.name}.{prefix}.{path}"
        outputs, inputs, *kernel = module.weight.shape
        rank, alpha = (CONV_RANK, CONV_ALPHA) if kernel else (RANK, ALPHA)
        bound = (inputs * torch.tensor(kernel).prod().item()) ** -0.5
        tensors[f"{name}.lora_down.weight"] = (uniform(f"{label}.down", (rank, inputs, *kernel)) * 2.0 - 1.0) * bound
        tensors[f"{name}.lora_up.weight"] = normal(f"{label}.up", (outputs, rank, *[1] * len(kernel)), UP_STD)
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def _tucker(base: WholeBase) -> dict[str, torch.Tensor]:
    tensors = {}
    for prefix, path, module in _modules(base):
        if not isinstance(module, torch.nn.Conv2d) or module.kernel_size == (1, 1):
            continue
        name, label = _name(base, prefix, path), f"applied.{base.name}.tucker.{path}"
        outputs, inputs, *kernel = module.weight.shape
        tensors[f"{name}.lora_down.weight"] = normal(f"{label}.down", (CONV_RANK, inputs, 1, 1), inputs**-0.5)
        tensors[f"{name}.lora_mid.weight"] = normal(f"{label}.mid", (CONV_RANK, CONV_RANK, *kernel), 0.3)
        tensors[f"{name}.lora_up.weight"] = normal(f"{label}.up", (outputs, CONV_RANK, 1, 1), UP_STD)
        tensors[f"{name}.alpha"] = torch.tensor(CONV_ALPHA)
    return tensors


def _merged(base: WholeBase, tensors: dict[str, torch.Tensor], multiplier: float) -> WholeBase:
    """The model with every product of factors added to its weight, as kohya's and LyCORIS' `merge_to` do."""
    twin = base.copy()
    places = {_name(base, prefix, path): module for prefix, path, module in _modules(twin)}
    for name in {key.split(".", 1)[0] for key in tensors}:
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        mid = tensors.get(f"{name}.lora_mid.weight")
        down, up = down.double(), up.double().flatten(1)
        if mid is not None:
            change = torch.einsum("oi,ijhw,jc->ochw", up, mid.double(), down.flatten(1))
        else:
            change = (up @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])
        scale = multiplier * tensors[f"{name}.alpha"].item() / down.shape[0]
        places[name].weight += (change * scale).float()
    return twin


def _require_diffusers_agrees(base: WholeBase, kohya: dict, inputs: dict, folder: Path) -> None:
    """What diffusers can read of kohya's file does what merging it does."""
    known = {key: tensor for key, tensor in kohya.items() if not re.search(UNKNOWN_TO_DIFFUSERS, key)}
    save_file(known, folder / "kohya.safetensors")
    theirs = _answers(base.loaded_by_diffusers(folder / "kohya.safetensors"), inputs)
    _require_same(theirs, _answers(_merged(base, known, 1.0), inputs), f"{base.name}, kohya's file in diffusers")


def _require_same(theirs: dict, ours: dict, what: str) -> None:
    for part, tensor in theirs.items():
        gap = (tensor - ours[part]).abs().max().item()
        if not gap < 1e-4:
            raise ValueError(f"{what}: {part} differs by {gap}")


def _written_by_diffusers(base: WholeBase, file: Path) -> WholeBase:
    twin, layers = base.copy(), {}
    names = ["unet", "text_encoder", "text_encoder_2"]
    for name, (prefix, model) in zip(names, twin.models.items()):
        targets = [path for of, path, _ in _modules(base) if of == prefix and path != "text_projection"]
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
        for path, layer in model.named_modules():
            if isinstance(layer, LoraLayer):
                factor = layer.lora_B["default"].weight
                factor.copy_(normal(f"applied.{base.name}.{name}.{path}", tuple(factor.shape), UP_STD))
        layers[f"{name}_lora_layers"] = get_peft_model_state_dict(model, adapter_name="default")
    base.pipeline_class.save_lora_weights(file.parent, weight_name=file.name, **layers)
    return twin
