"""Noise schedule and sampler fixtures, for `tests/parity/schedule.rs` and `samplers.rs`."""

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, EulerDiscreteScheduler

from parity.base import Base
from parity.registry import fixture, normal

GUIDANCE = 3.0
GAMMA = 5.0
PROMPT = "short hair, blonde hair, pale skin, sunglasses, smile, red hoodie, blue background"


@fixture({"schedule.safetensors": "alphas, timesteps of DDIM and Euler, SNR and min-SNR weights (gamma 5)"})
def schedule(base: Base):
    """For `schedule.rs`: everything a sampler or a loss derives from `scheduler_config.json`.

    `snr` and the weights are at `weight_timesteps`. Euler takes the same config, so its timesteps
    are spaced "leading" with an offset of 1, and its initial sigma is `sqrt(max^2 + 1)`.
    """
    tensors = {"alphas_cumprod": base.scheduler.alphas_cumprod}
    for steps in [20, 7]:
        ddim = DDIMScheduler.from_config(base.scheduler.config)
        ddim.set_timesteps(steps)
        tensors[f"ddim_timesteps_{steps}"] = ddim.timesteps
    euler = EulerDiscreteScheduler.from_config(base.scheduler.config)
    euler.set_timesteps(20)
    tensors |= {
        "euler_timesteps_20": euler.timesteps,
        "euler_sigmas_20": euler.sigmas,
        "euler_init_noise_sigma_20": torch.as_tensor(euler.init_noise_sigma),
    }
    timesteps = torch.arange(0, 1000, 50)
    snr = signal_to_noise(base, timesteps)
    tensors |= {
        "weight_timesteps": timesteps,
        "snr": snr,
        "min_snr_weight_epsilon": snr.clamp(max=GAMMA) / snr,
        "min_snr_weight_v_prediction": snr.clamp(max=GAMMA) / (snr + 1.0),
    }
    return {"schedule.safetensors": tensors}


@fixture({"ddim.safetensors": "20 DDIM steps of the bundled UNet at guidance 3, the latent after each"})
def ddim(base: Base):
    """For `samplers.rs`: DDIM with classifier-free guidance from a fixed latent."""
    scheduler = DDIMScheduler.from_config(base.scheduler.config)
    scheduler.set_timesteps(20)
    latent = normal("ddim.latent", (1, 4, 16, 16))
    return {"ddim.safetensors": _trajectory(base, scheduler, latent, *base.embed(["", PROMPT]).split(1))}


@fixture({"euler.safetensors": "10 Euler steps of the bundled UNet at guidance 3, the latent after each"})
def euler(base: Base):
    """For `samplers.rs`: Euler; `latent` is the noise already multiplied by `init_noise_sigma`."""
    scheduler = EulerDiscreteScheduler.from_config(base.scheduler.config)
    scheduler.set_timesteps(10)
    latent = normal("euler.latent", (1, 4, 16, 16)) * scheduler.init_noise_sigma
    tensors = _trajectory(base, scheduler, latent, *base.embed(["", PROMPT]).split(1))
    return {"euler.safetensors": {**tensors, "sigmas": scheduler.sigmas}}


@fixture({"ddim_inverse.safetensors": "20 DDIM inversion steps of pairs/glasses/00_A.png under the empty prompt"})
@torch.no_grad()
def ddim_inverse(base: Base):
    """For `samplers.rs`: inversion without guidance.

    Step i asks the UNet at `timesteps[i]` and moves the latent from `alphas_cumprod[timesteps[i] - 50]`
    (from `alphas_cumprod[0]` where that is negative) to `alphas_cumprod[timesteps[i]]`.
    """
    scheduler = DDIMInverseScheduler.from_config(base.scheduler.config)
    scheduler.set_timesteps(20)
    latent = base.encode(base.picture("glasses/00_A.png"))
    empty = base.embed([""])
    start, latents = latent, []
    for timestep in scheduler.timesteps:
        noise_pred = base.unet(latent, timestep, empty).sample
        latent = scheduler.step(noise_pred, timestep, latent).prev_sample
        latents.append(latent)
    return {
        "ddim_inverse.safetensors": {
            "latent": start,
            "encoder_hidden_states": empty,
            "timesteps": scheduler.timesteps,
            "latents": torch.cat(latents),
        }
    }


def signal_to_noise(base: Base, timesteps: torch.Tensor) -> torch.Tensor:
    """`a^2 / s^2` at each timestep, in the precision of `alphas_cumprod`."""
    alphas_cumprod = base.scheduler.alphas_cumprod[timesteps]
    return alphas_cumprod / (1.0 - alphas_cumprod)


@torch.no_grad()
def _trajectory(base: Base, scheduler, latent, negative, positive) -> dict[str, torch.Tensor]:
    start, latents = latent, []
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latent, timestep)
        without, with_prompt = (base.unet(scaled, timestep, states).sample for states in (negative, positive))
        noise_pred = without + GUIDANCE * (with_prompt - without)
        latent = scheduler.step(noise_pred, timestep, latent).prev_sample
        latents.append(latent)
    return {
        "latent": start,
        "negative_encoder_hidden_states": negative,
        "encoder_hidden_states": positive,
        "timesteps": scheduler.timesteps,
        "latents": torch.cat(latents),
    }
