"""The other sides of `cargo xtask bench --draw`: one picture in torch + diffusers, or in stable-diffusion.cpp.

    bench_sample.py --program torch --steps 6 --threads 2
    bench_sample.py --program stable-diffusion.cpp --file sd1.safetensors --family sd1 --size 512 --steps 6 …

Prints one JSON line per step of the sampler, `{"event": "step", "step": 1, "secs": 0.31}`. The picture is Mimeo's:
Euler, guidance of 7 (3 on the bundled base), so two answers of the UNet a step.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

from random_checkpoint import SCHEDULER, UNETS, read

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLED = REPOSITORY / "shared" / "base" / "mimeo-avatars"
PROMPT = "a woman with round glasses, smiling"
GUIDANCE, GUIDANCE_OF_BUNDLED = 7.0, 3.0


class Clock:
    """Says how long it is since it was asked last."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def step(self, step: int) -> None:
        now = time.perf_counter()
        # Unflushed, the last lines would come after the peak of the memory can still be read.
        print(json.dumps({"event": "step", "step": step, "secs": now - self.last}), flush=True)
        self.last = now


def main() -> None:
    arguments = _arguments()
    draw = {"torch": draw_diffusers, "stable-diffusion.cpp": draw_stable_diffusion_cpp}
    draw[arguments.program](arguments)


@torch.no_grad()
def draw_diffusers(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    unused = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if not arguments.file:
        pipeline = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32, **unused)
    elif arguments.family == "sdxl":
        pipeline = StableDiffusionXLPipeline(**read(arguments.family, arguments.file))
    else:
        pipeline = StableDiffusionPipeline(**read(arguments.family, arguments.file), **unused)
    pipeline.scheduler = EulerDiscreteScheduler(**SCHEDULER)
    pipeline.set_progress_bar_config(disable=True)
    clock = Clock()

    def told(_pipeline, step: int, _timestep, values: dict) -> dict:
        clock.step(step + 1)
        return values

    pipeline(
        PROMPT,
        width=arguments.size,
        height=arguments.size,
        num_inference_steps=arguments.steps,
        guidance_scale=GUIDANCE if arguments.file else GUIDANCE_OF_BUNDLED,
        callback_on_step_end=told,
        output_type="np",
    )


def draw_stable_diffusion_cpp(arguments: argparse.Namespace) -> None:
    from cyllama import sd

    settings = sd.SDContextParams()
    settings.model_path = str(arguments.file)
    settings.wtype = sd.SDType.F16
    settings.vae_decode_only = True
    settings.n_threads = arguments.threads
    context = sd.SDContext(settings)
    wanted = sd.SDImageGenParams()
    wanted.prompt, wanted.seed = PROMPT, 0
    wanted.width = wanted.height = arguments.size
    sampling = wanted.sample_params
    sampling.sample_method, sampling.sample_steps = sd.SampleMethod.EULER, arguments.steps
    sampling.cfg_scale = GUIDANCE
    clock = Clock()

    def told(step: int, steps: int, _secs: float) -> None:
        # Loading and decoding tell how far they are as well, in other numbers.
        if steps == arguments.steps and step > 0:
            clock.step(step)

    sd.set_progress_callback(told)
    context.generate_with_params(wanted)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draws a picture and times each step.")
    parser.add_argument("--program", choices=["torch", "stable-diffusion.cpp"], required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--file", type=Path, help="a file of random_checkpoint.py; without it the bundled base")
    parser.add_argument("--family", choices=list(UNETS), help="which it is")
    parser.add_argument("--size", type=int, help="width and height of the picture, px")
    return parser.parse_args()


if __name__ == "__main__":
    main()
