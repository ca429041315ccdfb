"""The torch side of `cargo xtask bench`: a LoRA in torch + diffusers + peft.

    bench_train.py --steps 40 --batch-size 4 --rank 16 --threads 2
    bench_train.py --file sd1.safetensors --family sd1 --size 512 --method addift --steps 3 …

Prints one JSON line per step, `{"event": "step", "step": 1, "loss": 1.02, "secs": 0.31}`, as
`mimeo train --json` does. The job is Mimeo's: every linear and 1x1 convolution of the transformer
blocks, one pair, the empty prompt, fresh noise and timesteps in every row of the batch, clipping
at 1, AdamW, cosine; *plain* takes picture B alone, *addift* the base's answer to B for A's, in one
direction. Torch at its best on a small f32 job: scaled dot product attention (diffusers'
default), the fused AdamW, no denormals; channels_last was slower. `--compile` adds torch.compile,
which needs a C++ compiler and half a minute in the first step. A step ends when its loss was read.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from parity.peft_lora import adapter_parameters, inject, random_lora
from random_checkpoint import UNETS, read

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLED = REPOSITORY / "shared" / "base" / "mimeo-avatars"
PAIR = [REPOSITORY / "shared" / "base" / "pairs" / "glasses" / name for name in ["00_A.png", "00_B.png"]]
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
MAX_GRAD_NORM = 1.0
MULTIPLIER = 0.25


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)

    pipeline = _pipeline(arguments)
    unet, schedule = pipeline.unet.requires_grad_(False), pipeline.scheduler
    original, target = (_encode(pipeline, picture, arguments) for picture in PAIR)
    conditioning = _condition(pipeline, arguments)
    # As a trainer that caches what it has encoded: the parts that are not needed any more go.
    pipeline.vae = pipeline.text_encoder = pipeline.text_encoder_2 = None
    inject(unet, "bench", random_lora(unet, "bench", arguments.rank, up_std=0.0), alpha=arguments.rank)
    parameters = list(adapter_parameters(unet, "bench").values())
    if arguments.compile:
        unet.compile()
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    def predict(latent: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        noisy = signal(timesteps) * latent + (1.0 - signal(timesteps) ** 2).sqrt() * noise
        return unet(noisy, timesteps, **conditioning).sample

    def signal(timesteps: torch.Tensor) -> torch.Tensor:
        return schedule.alphas_cumprod[timesteps].sqrt()[:, None, None, None]

    if arguments.method == "addift":
        unet.set_adapters("bench", MULTIPLIER)
    for step in range(1, arguments.steps + 1):
        started = time.perf_counter()
        optimizer.param_groups[0]["lr"] = _cosine(step - 1, arguments.steps)
        noise = torch.randn(target.shape)
        timesteps = torch.randint(0, schedule.config.num_train_timesteps, (arguments.batch_size,))
        if arguments.method == "addift":
            unet.disable_adapters()
            with torch.no_grad():
                wanted = predict(target, noise, timesteps)
            unet.enable_adapters()
            noise_pred = predict(original, noise, timesteps)
        else:
            wanted, noise_pred = noise, predict(target, noise, timesteps)
        loss = torch.nn.functional.mse_loss(noise_pred, wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        event = {"event": "step", "step": step, "loss": loss.item(), "secs": time.perf_counter() - started}
        # Unflushed, the last lines would come after the peak of the memory can still be read.
        print(json.dumps(event), flush=True)


def _pipeline(arguments: argparse.Namespace) -> DiffusionPipeline:
    unused = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if not arguments.file:
        return StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32, **unused)
    parts = read(arguments.family, arguments.file)
    if arguments.family == "sdxl":
        return StableDiffusionXLPipeline(**parts)
    return StableDiffusionPipeline(**parts, **unused)


@torch.no_grad()
def _encode(pipeline: DiffusionPipeline, picture: Path, arguments: argparse.Namespace) -> torch.Tensor:
    image = Image.open(picture).convert("RGB")
    size = arguments.size or image.width
    pixels = VaeImageProcessor().preprocess(image, size, size)
    latent = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
    return latent.expand(arguments.batch_size, -1, -1, -1)


@torch.no_grad()
def _condition(pipeline: DiffusionPipeline, arguments: argparse.Namespace) -> dict:
    rows = arguments.batch_size
    states, _, *pooled = pipeline.encode_prompt(
        [""] * rows, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if not pooled:
        return {"encoder_hidden_states": states}
    sizes = torch.tensor([[arguments.size, arguments.size, 0, 0, arguments.size, arguments.size]] * rows)
    return {
        "encoder_hidden_states": states,
        "added_cond_kwargs": {"text_embeds": pooled[0], "time_ids": sizes.float()},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains a LoRA in torch and times it.")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--compile", action="store_true", help="run the UNet through torch.compile")
    parser.add_argument("--method", choices=["plain", "addift"], default="plain")
    parser.add_argument("--file", type=Path, help="a file of random_checkpoint.py; without it the bundled base")
    parser.add_argument("--family", choices=list(UNETS), help="which it is")
    parser.add_argument("--size", type=int, help="width and height of the pictures, px")
    return parser.parse_args()


def _cosine(done: int, steps: int) -> float:
    return LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * done / steps))


if __name__ == "__main__":
    main()
