"""The torch side of `cargo xtask bench`: an ordinary LoRA of the bundled base in torch + diffusers + peft.

    bench_train.py --steps 40 --batch-size 4 --rank 16 --threads 2

Prints one JSON line per step, `{"event": "step", "step": 1, "loss": 1.02, "secs": 0.31}`, as
`mimeo train --json` does. The job is Mimeo's: every linear and 1x1 convolution of the transformer
blocks, one picture, the empty prompt, fresh noise and timesteps in every row of the batch, clipping
at 1, AdamW, cosine. Torch at its best on a small f32 job: scaled dot product attention (diffusers'
default), the fused AdamW, no denormals; channels_last was slower. `--compile` adds torch.compile,
which needs a C++ compiler and half a minute in the first step. A step ends when its loss was read.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch

from parity.base import Base
from parity.peft_lora import adapter_parameters, inject, random_lora

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = "glasses/00_B.png"
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
MAX_GRAD_NORM = 1.0


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)

    base = Base(arguments.base)
    latent = base.encode(base.picture(PICTURE)).expand(arguments.batch_size, -1, -1, -1)
    encoder_hidden_states = base.embed([""]).expand(arguments.batch_size, -1, -1)
    unet = base.fresh_unet()
    inject(unet, "bench", random_lora(unet, "bench", arguments.rank, up_std=0.0), alpha=arguments.rank)
    parameters = list(adapter_parameters(unet, "bench").values())
    if arguments.compile:
        unet.compile()
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    for step in range(1, arguments.steps + 1):
        started = time.perf_counter()
        optimizer.param_groups[0]["lr"] = _cosine(step - 1, arguments.steps)
        noise = torch.randn(latent.shape)
        timesteps = torch.randint(0, base.scheduler.config.num_train_timesteps, (arguments.batch_size,))
        noisy = base.scheduler.add_noise(latent, noise, timesteps)
        noise_pred = unet(noisy, timesteps, encoder_hidden_states).sample
        loss = torch.nn.functional.mse_loss(noise_pred, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        event = {"event": "step", "step": step, "loss": loss.item(), "secs": time.perf_counter() - started}
        # Unflushed, the last lines would come after the peak of the memory can still be read.
        print(json.dumps(event), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains a LoRA of the bundled base in torch and times it.")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--compile", action="store_true", help="run the UNet through torch.compile")
    parser.add_argument("--base", type=Path, default=REPOSITORY / "shared" / "base" / "mimeo-avatars")
    return parser.parse_args()


def _cosine(done: int, steps: int) -> float:
    return LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * done / steps))


if __name__ == "__main__":
    main()
