"""Proves that programs which no one here wrote read the same single file and the same LoRA, and draw the same.

    check_readers.py sd1 sd2 sdxl --mimeo target/debug/mimeo --work FOLDER
    check_readers.py sd1 sdxl --full --mimeo target/debug/mimeo --work FOLDER

Of each family a file with random weights is made, as people share them (f16, the names of CompVis and Stability AI),
and Mimeo trains a LoRA on it. Then the same noise is drawn from, with and without the LoRA, by Mimeo, by diffusers
(`from_single_file`, `load_lora_weights`) and, with `--full`, by stable-diffusion.cpp, which knows the families' real
widths only. The LoRA has to change the picture, and no other program's picture may be further from Mimeo's than
TOLERANCE says, in spreads of its values. Without `--full` a family is a few million weights and takes a minute; with
it 2 GB (SD1) or 7 GB (SDXL) are written to the folder, and SDXL wants 20 GB of memory.
"""

import argparse
import gc
import subprocess
import sys
from pathlib import Path

import numpy
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import save_file

from random_checkpoint import SCHEDULER, UNETS, make, read

REPOSITORY = Path(__file__).resolve().parents[2]
PAIR = REPOSITORY / "shared" / "base" / "pairs" / "glasses"
PROMPT, NEGATIVE = "a woman with round glasses, smiling", "blurry"
SEED, STEPS, GUIDANCE, SIDE = 7, 4, 3.0, 256

# Mimeo and diffusers compute the same f32 arithmetic in another order; pictures have 255 steps. stable-diffusion.cpp
# multiplies f16 weights by activations that it rounds to f16, which alone moves diffusers' pictures by 0.005 of XL.
TOLERANCE = {"diffusers": 0.01, "stable-diffusion.cpp": 0.02}


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
    file = arguments.work / f"{name}.safetensors"
    make(family, arguments.full, file)
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
    drawn["diffusers"] = draw_diffusers(family, file, lora, noise * scale)
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
def draw_diffusers(family: str, file: Path, lora: Path, noise: torch.Tensor) -> list[numpy.ndarray]:
    parts = read(family, file)
    if family == "sdxl":
        pipeline = StableDiffusionXLPipeline(**parts)
    else:
        pipeline = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
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
    # Two pictures of one model.
    settings.free_params_immediately = False
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
