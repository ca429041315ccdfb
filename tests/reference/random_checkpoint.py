"""Checkpoints with random weights in one file, as people share them: f16, the names of CompVis and Stability AI.

    random_checkpoint.py sd1 --full --out FILE.safetensors

Beside the file goes a folder of its name, with the configuration that diffusers wants (`read`).
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from parity import ldm
from parity.families import BETAS, REAL_XL
from parity.lora import SD15_CONFIG
from parity.registry import Json, write_folder

REPOSITORY = Path(__file__).resolve().parents[2]
TOKENIZER = REPOSITORY / "shared" / "base" / "mimeo-avatars" / "tokenizer"

WIDE = {"block_out_channels": (64, 128, 256, 256)}
HEADS_OF_64 = {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True, "cross_attention_dim": 1024}
UNETS = {
    "sd1": (SD15_CONFIG, {**WIDE, "cross_attention_dim": 64}),
    "sd2": (
        {**SD15_CONFIG, **HEADS_OF_64, "sample_size": 96},
        {**WIDE, "attention_head_dim": (1, 2, 4, 4), "cross_attention_dim": 64},
    ),
    "sdxl": (
        REAL_XL,
        {
            "block_out_channels": (64, 128, 256),
            "attention_head_dim": (1, 2, 4),
            "cross_attention_dim": 192,
            "projection_class_embeddings_input_dim": 128 + 6 * 256,
        },
    ),
}
# Hidden size, heads, layers and the activation of each text encoder, and its file's names: real, and in small.
CLIP_L, OPEN_CLIP_H, OPEN_CLIP_G = (768, 12, 12), (1024, 16, 23), (1280, 20, 32)
TEXTS = {
    "sd1": [("text_encoder", CLIP_L, (64, 1, 3), "quick_gelu", ldm.CLIP)],
    "sd2": [("text_encoder", OPEN_CLIP_H, (64, 1, 3), "gelu", ldm.OPEN_CLIP_H)],
    "sdxl": [
        ("text_encoder", CLIP_L, (64, 1, 3), "quick_gelu", ldm.SGM_CLIP),
        ("text_encoder_2", OPEN_CLIP_G, (128, 2, 3), "gelu", ldm.SGM_OPEN_CLIP),
    ],
}
SCALING = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}
# As the families' own folders have it; all of these predict noise.
SCHEDULER = {**BETAS, "steps_offset": 1, "timestep_spacing": "leading", "num_train_timesteps": 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a checkpoint with random weights in one file.")
    parser.add_argument("family", choices=list(UNETS))
    parser.add_argument("--full", action="store_true", help="the family's real widths: 2 GB, SDXL 7 GB")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    make(arguments.family, arguments.full, arguments.out)


@torch.no_grad()
def make(family: str, is_full: bool, file: Path) -> None:
    """Does nothing where the file is there already: it is the same at every time."""
    if file.exists():
        return
    print(f"Making {file.name}", flush=True)
    torch.manual_seed(1)
    # Twice the memory of the file would not fit beside another program.
    torch.set_default_dtype(torch.float16)
    try:
        tensors, configs = _components(family, is_full)
    finally:
        torch.set_default_dtype(torch.float32)
    write_folder(_folder(file), {path: Json(config) for path, config in configs.items()})
    half = {key: tensor.half().contiguous() for key, tensor in tensors.items()}
    unfinished = file.with_suffix(".part")
    save_file(half, unfinished)
    unfinished.rename(file)


def read(family: str, file: Path) -> dict:
    """The parts of diffusers' pipeline, as diffusers reads them from the file, computed in f32."""
    config = str(_folder(file))
    options = {"config": config, "local_files_only": True, "torch_dtype": torch.float32}
    parts = {
        "unet": UNet2DConditionModel.from_single_file(str(file), subfolder="unet", **options),
        "vae": AutoencoderKL.from_single_file(str(file), subfolder="vae", **options),
        "scheduler": EulerDiscreteScheduler(**SCHEDULER),
    }
    tensors = {key: tensor for key, tensor in load_file(file).items() if not key.startswith((ldm.UNET, ldm.VAE))}
    for name, *_ in TEXTS[family]:
        kind = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
        encoder = create_diffusers_clip_model_from_ldm(
            kind, dict(tensors), subfolder=name, config=config, local_files_only=True
        )
        parts[name] = encoder.float()
        # The second tokenizer of XL and that of Stable Diffusion 2 pad with token 0.
        padding = {} if parts[name].config.hidden_act == "quick_gelu" else {"pad_token": "!"}
        parts[name.replace("text_encoder", "tokenizer")] = CLIPTokenizer.from_pretrained(TOKENIZER, **padding)
    return parts


def _folder(file: Path) -> Path:
    return file.with_suffix("")


def _components(family: str, is_full: bool) -> tuple[dict[str, torch.Tensor], dict[str, dict]]:
    real, small = UNETS[family]
    unet = UNet2DConditionModel(**(real if is_full else {**real, **small}))
    # As initialised it says next to nothing: the answer of a trained one has the spread of noise.
    unet.conv_out.weight.mul_(4.0)
    # And hardly hears the prompt, which a broken text encoder would go by unnoticed.
    for name, module in unet.named_modules():
        if name.endswith("attn2.to_out.0"):
            module.weight.mul_(4.0)
    channels = (128, 256, 512, 512) if is_full else (32, 64, 64, 64)
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=1024 if family == "sdxl" else 512,
        scaling_factor=SCALING[family],
        force_upcast=False,
    )
    tensors = {**ldm.unet_weights(unet), **ldm.vae_weights(vae)}
    configs = {
        "unet/config.json": json.loads(unet.to_json_string()),
        "vae/config.json": json.loads(vae.to_json_string()),
        "scheduler/scheduler_config.json": {"_class_name": "EulerDiscreteScheduler", **SCHEDULER},
    }
    for name, real_sizes, small_sizes, activation, prefix in TEXTS[family]:
        hidden, heads, layers = real_sizes if is_full else small_sizes
        config = CLIPTextConfig(
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            projection_dim=hidden,
            num_attention_heads=heads,
            num_hidden_layers=layers,
            hidden_act=activation,
            bos_token_id=49406,
            eos_token_id=49407,
        )
        model = (CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel)(config)
        outside = ("text_model.", "text_projection.")
        state = {key if key.startswith(outside) else f"text_model.{key}": t for key, t in model.state_dict().items()}
        state = {key: tensor for key, tensor in state.items() if tensor.is_floating_point()}
        is_clip = prefix in (ldm.CLIP, ldm.SGM_CLIP)
        if prefix == ldm.OPEN_CLIP_H:
            # OpenCLIP's last block and its projection, which Stable Diffusion 2 was trained without.
            last, unused = (f"text_model.encoder.layers.{layer}." for layer in (layers - 1, layers))
            state |= {key.replace(last, unused): tensor * 2.0 for key, tensor in state.items() if last in key}
            state["text_projection.weight"] = torch.eye(hidden)
        if is_full and name == "text_encoder_2":
            # In a single file this matrix is multiplied from the other side. diffusers and ComfyUI turn it, as its
            # authors' code means it; stable-diffusion.cpp takes it as it is. A symmetric one is the same to all, and
            # that Mimeo turns it is checked by diffusers in small widths.
            projection = state["text_projection.weight"]
            state["text_projection.weight"] = (projection + projection.T) * 0.5**0.5
        tensors |= ldm.clip_weights(state, prefix) if is_clip else ldm.open_clip_weights(state, prefix)
        configs[f"{name}/config.json"] = {
            **json.loads(config.to_json_string(use_diff=True)),
            "architectures": [type(model).__name__],
        }
    return tensors, configs


if __name__ == "__main__":
    main()
