"""What configuration files can hold and what it changes, for `tests/parity/config.rs`."""

import ast
import inspect
import json
import tempfile
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTokenizer

from parity.base import MAX_TOKENS, Base
from parity.micro import UNET_CONFIG, micro_unet
from parity.registry import OUT, Json, fixture, normal

# Every scheduler that a Stable Diffusion 1.x folder is saved with.
SCHEDULERS = [
    "DDIMScheduler", "DDIMInverseScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler",
    "DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler",
    "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler",
    "LCMScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "SASolverScheduler", "TCDScheduler",
    "UniPCMultistepScheduler",
]  # fmt: skip

# Fields of `unet/config.json` that leave the shapes of the miniature's weights as they are.
UNET_SETTINGS = {
    "plain": {},
    "center_input_sample": {"center_input_sample": True},
    "mid_block_scale_factor": {"mid_block_scale_factor": 2},
    "only_cross_attention": {"only_cross_attention": True},
    "only_cross_attention_inside": {"only_cross_attention": [False, True]},
    "freq_shift": {"freq_shift": 1, "flip_sin_to_cos": False},
    "attention_head_dim": {"attention_head_dim": [4, 8]},
    # Without effect on these kinds of block, whatever their names say.
    "resnet_out_scale_factor": {"resnet_out_scale_factor": 2.0},
    "resnet_skip_time_act": {"resnet_skip_time_act": True},
    "cross_attention_norm": {"cross_attention_norm": "layer_norm"},
    "mid_block_only_cross_attention": {"mid_block_only_cross_attention": True},
    "upcast_attention": {"upcast_attention": True},
    "dropout": {"dropout": 0.5},
}

BETAS = {
    "linear": {"beta_schedule": "linear"},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "trained_betas": {"trained_betas": [0.0005 + 0.00002 * step for step in range(1000)]},
}


@fixture({"config_fields.json": "every field of the configurations, by file and class, with its default"})
def config_fields(_base: Base):
    """For `config.rs`: each field stands in the table of `mimeo_diffusion::config::fields`."""
    return {
        "config_fields.json": Json(
            {
                "unet/config.json": {"UNet2DConditionModel": _signature(UNet2DConditionModel)},
                "vae/config.json": {"AutoencoderKL": _signature(AutoencoderKL)},
                "text_encoder/config.json": {
                    "CLIPTextConfig": _signature(CLIPTextConfig),
                    # What is written, beside what is taken.
                    "saved": _written(CLIPTextConfig()),
                },
                "scheduler/scheduler_config.json": {name: _scheduler_signature(name) for name in SCHEDULERS},
            }
        )
    }


@fixture(
    {
        "unet_settings.json": "changes of the miniature's `unet/config.json`, by name",
        "unet_settings.safetensors": "its UNet under each of them, with the same weights",
    }
)
@torch.no_grad()
def unet_settings(_base: Base):
    """For `config.rs`: the UNet gives `noise_pred.NAME`."""
    sample, timesteps = normal("unet_settings.sample", (2, 4, 8, 8)), torch.tensor([37, 801])
    states = normal("unet_settings.states", (2, 9, UNET_CONFIG["cross_attention_dim"]))
    tensors = {"sample": sample, "timesteps": timesteps, "encoder_hidden_states": states}
    for name, changes in UNET_SETTINGS.items():
        model = UNet2DConditionModel(**{**UNET_CONFIG, **changes})
        missing = model.load_state_dict(micro_unet().state_dict(), strict=False)
        if missing.missing_keys:
            raise ValueError(f"{name} asks for other weights: {missing.missing_keys}")
        tensors[f"noise_pred.{name}"] = model.eval()(sample, timesteps, states).sample
    return {"unet_settings.json": Json(UNET_SETTINGS), "unet_settings.safetensors": tensors}


@fixture(
    {
        "schedule_settings.json": "changes of `scheduler_config.json` by name, and each scheduler's file as saved",
        "schedule_settings.safetensors": "alphas under each of them; DDIM's timesteps by spacing and steps",
    }
)
def schedule_settings(base: Base):
    """For `config.rs`: DDIM made from each file has these alphas and timesteps."""
    tensors = {}
    for name, changes in BETAS.items():
        tensors[f"alphas_cumprod.{name}"] = DDIMScheduler.from_config(base.scheduler.config, **changes).alphas_cumprod
    for spacing in ["leading", "linspace", "trailing"]:
        config = {**base.scheduler.config, "timestep_spacing": spacing}
        for steps in [1, 7, 16, 20, 30, 999]:
            ddim = DDIMScheduler.from_config(config)
            ddim.set_timesteps(steps)
            tensors[f"ddim_timesteps.{spacing}.{steps}"] = ddim.timesteps
        euler = EulerDiscreteScheduler.from_config(config)
        euler.set_timesteps(20)
        tensors[f"euler_init_noise_sigma.{spacing}"] = torch.as_tensor(euler.init_noise_sigma)
    files = {name: _saved_scheduler(name, base) for name in SCHEDULERS if not _is_dummy(name)}
    return {
        "schedule_settings.json": Json({"changes": BETAS, "files": files}),
        "schedule_settings.safetensors": tensors,
    }


@fixture({"tokenizer_files.json": "the miniature's tokenizer in the files that people have, and the ids of prompts"})
def tokenizer_files(_base: Base):
    """For `config.rs`: `files` on top of none give `ids` for `prompts`."""
    folder = OUT / "micro" / "tokenizer"
    old = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
    saved = _saved_tokenizer(old)
    prompts = ["", "glasses, smile", "a <cat> and!", " ".join(["smile"] * 90)]

    def padded_with_bang(name: str) -> str:
        return json.dumps({**json.loads(old[name]), "pad_token": "!"})

    whole = json.loads(saved["tokenizer.json"])
    words = {**whole, "model": {**whole["model"], "merges": [" ".join(pair) for pair in whole["model"]["merges"]]}}
    config = {"tokenizer_config.json": padded_with_bang("tokenizer_config.json")}
    token_map = {"special_tokens_map.json": padded_with_bang("special_tokens_map.json")}
    with_cat = CLIPTokenizer.from_pretrained(folder)
    with_cat.add_tokens(["<cat>"])
    cases = {
        "old": old,
        "saved today": saved,
        "merges as words": {**saved, "tokenizer.json": json.dumps(words)},
        "padded in both": {**old, **config, **token_map},
        "padded in the configuration": {**old, **config},
        "padded in the map": {**old, **token_map},
        "saved today with a token": _saved(with_cat),
        "with an added token": {**old, "added_tokens.json": json.dumps({"<cat>": 768})},
    }
    return {
        "tokenizer_files.json": Json(
            {name: {"files": files, "ids": _ids(files, prompts)} for name, files in cases.items()} | {"prompts": prompts}
        )
    }


def _signature(of) -> dict:
    parameters = inspect.signature(of.__init__).parameters.values()
    named = [it for it in parameters if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY) and it.name != "self"]
    return {it.name: _json(None if it.default is it.empty else it.default) for it in named}


def _is_dummy(name: str) -> bool:
    """Whether diffusers only pretends to have a class, because scipy or torchsde is missing."""
    return hasattr(getattr(diffusers, name), "_backends")


def _scheduler_signature(name: str) -> dict:
    if not _is_dummy(name):
        return _signature(getattr(diffusers, name))
    for path in (Path(diffusers.__file__).parent / "schedulers").glob("scheduling_*.py"):
        for of in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(of, ast.ClassDef) and of.name == name:
                made = next(it for it in of.body if isinstance(it, ast.FunctionDef) and it.name == "__init__")
                names = [it.arg for it in made.args.args[1:]]
                defaults = [_json(ast.literal_eval(it)) for it in made.args.defaults]
                return dict(zip(names, defaults, strict=True))
    raise ValueError(f"diffusers has no {name}")


def _written(config) -> dict:
    return {name: _json(value) for name, value in json.loads(config.to_json_string(use_diff=False)).items()}


def _json(value):
    """A default as JSON: tuples become lists, infinity becomes null, as Mimeo reads it."""
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value if isinstance(value, (bool, int, float, str, dict)) else None


def _saved_scheduler(name: str, base: Base) -> str:
    with tempfile.TemporaryDirectory() as folder:
        getattr(diffusers, name).from_config(base.scheduler.config).save_pretrained(folder)
        return (Path(folder) / "scheduler_config.json").read_text("utf-8")


def _saved_tokenizer(files: dict[str, str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), files)
        return _saved(CLIPTokenizer.from_pretrained(folder))


def _saved(tokenizer: CLIPTokenizer) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_text("utf-8") for path in Path(folder).iterdir()}


def _ids(files: dict[str, str], prompts: list[str]) -> list[list[int]]:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), files)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        return tokenizer(prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True).input_ids


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
