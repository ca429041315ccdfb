"""Proves that programs which no one here wrote read the same single file and the same LoRA, and draw the same.

    check_readers.py sd1 sd2 sdxl --mimeo target/debug/mimeo --work FOLDER
    check_readers.py sd1 sdxl --full --mimeo target/debug/mimeo --work FOLDER

Of each family a file with random weights is made, as people share them (f16, the names of CompVis and Stability AI),
and Mimeo trains a LoRA on it. Then the same noise is drawn from, with and without the LoRA, by Mimeo, by diffusers
(`from_single_file`, `load_lora_weights`) and, with `--full`, by stable-diffusion.cpp, which knows the families' real
widths only. The LoRA has to change the picture, and no other program's picture may be further from Mimeo's than
TOLERANCE says, in spreads of its values. Without `--full` a family is a few million weights and takes a minute; with it 2 GB
(SD1) or 7 GB (SDXL) are written to the folder, and SDXL wants 20 GB of memory.
"""

import argparse
import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from parity import ldm
from parity.families import BETAS, REAL_XL
from parity.lora import SD15_CONFIG
from parity.registry import Json, write_folder

REPOSITORY = Path(__file__).resolve().parents[2]
PAIR = REPOSITORY / "shared" / "base" / "pairs" / "glasses"
TOKENIZER = REPOSITORY / "shared" / "base" / "mimeo-avatars" / "tokenizer"
PROMPT, NEGATIVE = "a woman with round glasses, smiling", "blurry"
SEED, STEPS, GUIDANCE, SIDE = 7, 4, 3.0, 256

# Mimeo and diffusers compute the same f32 arithmetic in another order; pictures have 255 steps. stable-diffusion.cpp
# multiplies f16 weights by activations that it rounds to f16.
TOLERANCE = {"diffusers": 0.01, "stable-diffusion.cpp": 0.1}

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
    arguments = _arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    disagreements = []
    for family in arguments.families:
        disagreements += check(family, arguments)
    for line in disagreements:
        print(line, file=sys.stderr)
    sys.exit(bool(disagreements))


def check(family: str, arguments: argparse.Namespace) -> list[str]:
    name = f"{family}-{'full' if arguments.full else 'small'}"
    file, folder = arguments.work / f"{name}.safetensors", arguments.work / name
    if not file.exists():
        print(f"{name}: making it")
        make(family, arguments.full, file, folder)
    lora = arguments.work / f"{name}-lora.safetensors"
    if not lora.exists():
        train(arguments.mimeo, file, lora)

    torch.manual_seed(SEED)
    # As stable-diffusion.cpp's generator `cpu` draws it; it starts from the noise times the first sigma.
    noise = torch.randn(1, 4, SIDE // 8, SIDE // 8)
    sigmas, first = euler()
    scale = float(sigmas[0] / first)
    save_file({"noise": noise * scale}, arguments.work / "noise.safetensors")

    drawn = {"Mimeo": [draw_mimeo(arguments, file, with_lora) for with_lora in (None, lora)]}
    drawn["diffusers"] = draw_diffusers(family, file, folder, lora, noise * scale)
    if arguments.full and family != "sd2":
        drawn["stable-diffusion.cpp"] = draw_stable_diffusion_cpp(file, lora, sigmas)
    for program, pictures in drawn.items():
        for which, picture in zip(["base", "lora"], pictures):
            Image.fromarray(picture).save(arguments.work / f"{name}-{program}-{which}.png")

    ours = [picture.astype(numpy.float64) for picture in drawn.pop("Mimeo")]
    change = _distance(*ours)
    print(f"{name}: spread {ours[0].std():.1f} of 255; the LoRA changes the picture by {change:.3f} of it")
    wrong = [] if change > 0.05 else [f"{name}: the LoRA changes nothing that could be compared"]
    for program, pictures in drawn.items():
        for which, mine, theirs in zip(["without", "with"], ours, pictures):
            distance = _distance(mine, theirs.astype(numpy.float64))
            print(f"{name}: {which} LoRA, {program} is {distance:.4f} away (tolerance {TOLERANCE[program]})")
            # Written so that a distance that is not a number is wrong too.
            if not distance <= TOLERANCE[program]:
                wrong.append(f"{name}: Mimeo and {program} draw different pictures {which} the LoRA")
    return wrong


def _distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    return float(numpy.sqrt(((one - other) ** 2).mean()) / one.std())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draws with Mimeo, diffusers and stable-diffusion.cpp from one file.")
    parser.add_argument("families", nargs="+", choices=list(UNETS), metavar="FAMILY", help="sd1, sd2, sdxl")
    parser.add_argument("--mimeo", type=Path, required=True, help="the program")
    parser.add_argument("--work", type=Path, required=True, help="where files, LoRAs and pictures are written")
    parser.add_argument("--full", action="store_true", help="the families' real widths, beside stable-diffusion.cpp")
    return parser.parse_args()


def euler() -> tuple[list[float], float]:
    """The sigmas of the walk, and what diffusers multiplies the noise by at its start."""
    scheduler = EulerDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(STEPS)
    return scheduler.sigmas.tolist(), float(scheduler.init_noise_sigma)


@torch.no_grad()
def make(family: str, is_full: bool, file: Path, folder: Path) -> None:
    """Writes the single file, and a folder with the configuration that diffusers wants beside it."""
    torch.manual_seed(1)
    # Twice the memory of the file would not fit beside another program.
    torch.set_default_dtype(torch.float16)
    try:
        tensors, configs = _components(family, is_full)
    finally:
        torch.set_default_dtype(torch.float32)
    save_file({key: tensor.half().contiguous() for key, tensor in tensors.items()}, file)
    write_folder(folder, {path: Json(config) for path, config in configs.items()})


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
            last = f"text_model.encoder.layers.{layers - 1}."
            unused = {k.replace(last, f"text_model.encoder.layers.{layers}."): t * 2.0 for k, t in state.items() if last in k}
            state |= unused | {"text_projection.weight": torch.eye(hidden)}
        tensors |= ldm.clip_weights(state, prefix) if is_clip else ldm.open_clip_weights(state, prefix)
        configs[f"{name}/config.json"] = {
            **json.loads(config.to_json_string(use_diff=True)),
            "architectures": [type(model).__name__],
        }
    return tensors, configs


def train(mimeo: Path, file: Path, lora: Path) -> None:
    """A LoRA of a few large steps: of random weights there is nothing to learn, and everything to compare."""
    _run(
        [mimeo, "train", "--base", file, "--device", "cpu", "--method", "plain", "--size", SIDE],
        ["--original", PAIR / "00_A.png", "--target", PAIR / "00_B.png", "--mask", PAIR / "00_mask.png"],
        ["--steps", 2, "--batch-size", 1, "--rank", 4, "--alpha", 4, "--lr", 2e-2, "--schedule", "constant"],
        ["--no-calibrate", "--no-score", "--precision", "f32", "--out", lora],
    )


def draw_mimeo(arguments: argparse.Namespace, file: Path, lora: Path | None) -> numpy.ndarray:
    out = arguments.work / "mimeo.png"
    _run(
        [arguments.mimeo, "sample", "--base", file, "--device", "cpu", "--prompt", PROMPT, "--negative", NEGATIVE],
        ["--noise", arguments.work / "noise.safetensors", "--width", SIDE, "--height", SIDE, "--sampler", "euler"],
        ["--steps", STEPS, "--guidance", GUIDANCE, "--out", out, "--overwrite"],
        ["--lora", lora] if lora else [],
    )
    return numpy.asarray(Image.open(out))


def _run(*arguments: list) -> None:
    command = [str(argument) for part in arguments for argument in part]
    print("$", *command)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@torch.no_grad()
def draw_diffusers(family: str, file: Path, folder: Path, lora: Path, noise: torch.Tensor) -> list[numpy.ndarray]:
    """In f32."""
    options = {"config": str(folder), "local_files_only": True, "torch_dtype": torch.float32}
    parts = {
        "unet": UNet2DConditionModel.from_single_file(str(file), subfolder="unet", **options),
        "vae": AutoencoderKL.from_single_file(str(file), subfolder="vae", **options),
    }
    tensors = load_file(file)
    for name, *_ in TEXTS[family]:
        kind = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
        parts[name] = create_diffusers_clip_model_from_ldm(
            kind, dict(tensors), subfolder=name, config=str(folder), local_files_only=True
        ).float()
    del tensors
    parts |= {"tokenizer": CLIPTokenizer.from_pretrained(TOKENIZER), "scheduler": EulerDiscreteScheduler(**SCHEDULER)}
    if family == "sdxl":
        parts["tokenizer_2"] = CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!")
        pipeline = StableDiffusionXLPipeline(**parts)
    else:
        if family == "sd2":
            parts["tokenizer"] = CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!")
        nobody = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = StableDiffusionPipeline(**parts, **nobody)
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> numpy.ndarray:
        picture = pipeline(
            PROMPT,
            negative_prompt=NEGATIVE,
            latents=noise.clone(),
            width=SIDE,
            height=SIDE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            output_type="np",
        ).images[0]
        return (picture * 255.0).round().astype(numpy.uint8)

    without = draw()
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    pictures = [without, draw()]
    del pipeline, parts
    gc.collect()
    return pictures


def draw_stable_diffusion_cpp(file: Path, lora: Path, sigmas: list[float]) -> list[numpy.ndarray]:
    from cyllama import sd

    settings = sd.SDContextParams()
    settings.model_path = str(file)
    settings.rng_type = settings.sampler_rng_type = sd.RngType.CPU
    settings.wtype = sd.SDType.F16
    settings.vae_decode_only = True
    settings.lora_apply_mode = sd.LoraApplyMode.AT_RUNTIME
    context = sd.SDContext(settings)
    pictures = []
    for loras in [[], [{"path": str(lora), "multiplier": 1.0}]]:
        wanted = sd.SDImageGenParams()
        wanted.prompt, wanted.negative_prompt = PROMPT, NEGATIVE
        wanted.width = wanted.height = SIDE
        wanted.seed = SEED
        sampling = wanted.sample_params
        sampling.sample_method, sampling.sample_steps = sd.SampleMethod.EULER, STEPS
        sampling.cfg_scale, sampling.custom_sigmas = GUIDANCE, sigmas
        if loras:
            wanted.set_loras(loras)
        (picture,) = context.generate_with_params(wanted)
        pictures.append(numpy.asarray(picture.to_numpy()))
    context.close()
    return pictures


if __name__ == "__main__":
    main()
