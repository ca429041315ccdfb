"""Trains the judge: a small conv net that reads the attributes of the bundled base's avatars.

`node render.mjs OUT` first, then `python train_judge.py OUT` (torch, diffusers, transformers,
safetensors, pillow; on one core about seven minutes for what the base makes of the renders, which is kept in
OUT, and six to train). Writes `judge.safetensors` (f16, batch norms folded into the
convs, the vocabulary in its metadata) and `judge_parity.json` (what torch reads in some bundled
pairs, for the Rust side to agree with), and prints the accuracies.

What the base draws is softer than a render, and what a LoRA draws is softer still. So a third of the
pictures goes through the base's VAE with noise on the latents, and a third is noised to a
low timestep and drawn again by the base from its own caption (SDEdit, Meng et al. 2022): the base's
hand, and still the labels of the render. No picture of any LoRA is seen.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
BASE = HERE.parent / "mimeo-avatars"
SIDE = 128
# Output channels, kernel, stride of the convs; padding is half the kernel.
CONVS = [(16, 5, 2), (32, 3, 2), (48, 3, 2), (64, 3, 1), (64, 3, 2), (16, 1, 1)]
HIDDEN = 80
HIDDEN_LABEL = -100


class Judge(nn.Module):
    """[n, 3, 128, 128] in -1..1 to the logits of all attributes, one after another."""

    def __init__(self, outputs, norm=True):
        super().__init__()
        inputs, side = 3, SIDE
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for channels, kernel, stride in CONVS:
            self.convs.append(nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=not norm))
            self.norms.append(nn.BatchNorm2d(channels) if norm else nn.Identity())
            inputs, side = channels, side // stride
        self.hidden = nn.Linear(inputs * side * side, HIDDEN)
        self.out = nn.Linear(HIDDEN, outputs)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        x = F.relu(self.hidden(F.dropout(x.flatten(1), 0.1, self.training)))
        return self.out(x)

    def folded(self, outputs):
        """The same function without batch norms, its weights rounded to f16."""
        plain = Judge(outputs, norm=False).eval()
        with torch.no_grad():
            for conv, norm, target in zip(self.convs, self.norms, plain.convs):
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                target.weight.copy_(conv.weight * scale[:, None, None, None])
                target.bias.copy_(norm.bias - norm.running_mean * scale)
            plain.hidden.load_state_dict(self.hidden.state_dict())
            plain.out.load_state_dict(self.out.state_dict())
            for weight in plain.parameters():
                weight.copy_(weight.half().float())
        return plain


class Drawer:
    """The bundled base."""

    def __init__(self):
        self.vae = AutoencoderKL.from_pretrained(BASE / "vae").float().eval()
        self.unet = UNet2DConditionModel.from_pretrained(BASE / "unet").float().eval()
        self.text = CLIPTextModel.from_pretrained(BASE / "text_encoder").float().eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
        self.ddim = DDIMScheduler.from_pretrained(BASE / "scheduler")
        self.scale = self.vae.config.scaling_factor

    def encode_text(self, captions):
        ids = self.tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return self.text(ids.input_ids).last_hidden_state

    def encode(self, pictures):
        return self.vae.encode(pictures).latent_dist.mean * self.scale

    def decode(self, latents):
        return self.vae.decode(latents / self.scale).sample.clamp(-1, 1)

    def denoise(self, latents, captions, first, guidance):
        """From the step `first` of 20 to the picture's latents."""
        self.ddim.set_timesteps(20)
        words = self.encode_text(captions)
        nothing = self.encode_text([""]).expand(len(captions), -1, -1)
        for t in self.ddim.timesteps[first:]:
            noise = self.unet(latents, t, words).sample
            if guidance != 1:
                empty = self.unet(latents, t, nothing).sample
                noise = empty + guidance * (noise - empty)
            latents = self.ddim.step(noise, t, latents).prev_sample
        return latents

    def redraw(self, pictures, captions, first):
        """Noised to the timestep of step `first`, and drawn again."""
        self.ddim.set_timesteps(20)
        latents = self.encode(pictures)
        noised = self.ddim.add_noise(latents, torch.randn_like(latents), self.ddim.timesteps[first])
        return self.decode(self.denoise(noised, captions, first, 1))


def floats(pictures):
    """u8 [n, 128, 128, 3] to -1..1 [n, 3, 128, 128]."""
    return torch.tensor(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def bytes_of(pictures):
    return ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def read(folder, name, attributes):
    pictures = np.fromfile(folder / f"{name}.rgb", np.uint8).reshape(-1, SIDE, SIDE, 3)
    lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    label = lambda line, name, values: values.index(line[name]) if line[name] else HIDDEN_LABEL
    labels = [[label(line, name, values) for name, values in attributes.items()] for line in lines]
    return pictures, [line["caption"] for line in lines], torch.tensor(labels)


@torch.no_grad()
def as_drawn(drawer, pictures, captions):
    """A third as they are, a third through the VAE, a third drawn again by the base."""
    out = pictures.copy()
    third = len(pictures) // 3
    for first in range(third, len(pictures), 32):
        some = slice(first, min(first + 32, len(pictures)))
        given = floats(pictures[some])
        if first < 2 * third:
            latents = drawer.encode(given)
            noise = torch.randn_like(latents) * torch.rand(len(latents), 1, 1, 1) * 0.3
            drawn = drawer.decode(latents + noise)
        else:
            # Timesteps 201, 251 and 301 of 1000.
            step = [15, 14, 13][(first // 32) % 3]
            drawn = drawer.redraw(given, captions[some], step)
        out[some] = bytes_of(drawn)
    return out


def augment(x):
    """Shifted, blurred or sharpened, of other contrast and tint, noisy."""
    dy, dx = torch.randint(-3, 4, (2,)).tolist()
    x = F.pad(x, (3, 3, 3, 3), mode="replicate")[:, :, 3 + dy : 3 + dy + SIDE, 3 + dx : 3 + dx + SIDE]
    n = len(x)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x.lerp(blurred, torch.rand(n, 1, 1, 1) * 1.5 - 0.5)
    x = x * (0.85 + 0.3 * torch.rand(n, 1, 1, 1)) + 0.05 * torch.randn(n, 3, 1, 1)
    return x + torch.randn_like(x) * (torch.rand(n, 1, 1, 1) * 0.06)


def losses(logits, labels, sizes):
    return sum(
        F.cross_entropy(part, labels[:, i], ignore_index=HIDDEN_LABEL, label_smoothing=0.05)
        for i, part in enumerate(logits.split(sizes, 1))
    )


@torch.no_grad()
def accuracies(judge, pictures, labels, sizes):
    logits = torch.cat([judge(floats(pictures[i : i + 64])) for i in range(0, len(pictures), 64)])
    right = []
    for i, part in enumerate(logits.split(sizes, 1)):
        known = labels[:, i] != HIDDEN_LABEL
        right.append((part.argmax(1) == labels[:, i])[known].float().mean().item())
    return right


@torch.no_grad()
def drawn_from_captions(drawer, captions):
    """20 DDIM steps at guidance 3, as Mimeo draws."""
    out = []
    for first in range(0, len(captions), 32):
        some = captions[first : first + 32]
        seeds = range(first, first + len(some))
        noise = [torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(s)) for s in seeds]
        out.append(bytes_of(drawer.decode(drawer.denoise(torch.stack(noise), some, 0, 3))))
    return np.concatenate(out)


@torch.no_grad()
def parity(judge):
    """Logits of some bundled pairs, by the names of their files."""
    logits = {}
    for name in ["glasses/00_A", "glasses/00_B", "hat/01_B", "small_head/00_B"]:
        picture = np.asarray(Image.open(HERE.parent / "pairs" / f"{name}.png").convert("RGB"))
        logits[name] = [round(value, 5) for value in judge(floats(picture[None]))[0].tolist()]
    return logits


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("renders", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    folder = arguments.renders
    attributes = json.loads((folder / "attributes.json").read_text())
    sizes = [len(values) for values in attributes.values()]
    drawer = Drawer()

    pictures, captions, labels = read(folder, "training", attributes)
    cached = folder / "training_drawn.npy"
    since = time.time()
    if not cached.exists():
        np.save(cached, as_drawn(drawer, pictures, captions))
        print(f"redrawn in {time.time() - since:.0f} s", flush=True)
    pictures = np.load(cached)

    judge = Judge(sum(sizes)).to(memory_format=torch.channels_last)
    batch = 64
    steps = arguments.epochs * (len(pictures) // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
    since = time.time()
    for epoch in range(arguments.epochs):
        order = torch.randperm(len(pictures)).split(batch)[: len(pictures) // batch]
        total = 0.0
        for some in order:
            x = augment(floats(pictures[some.numpy()])).contiguous(memory_format=torch.channels_last)
            loss = losses(judge(x), labels[some], sizes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(order):.3f}, {time.time() - since:.0f} s", flush=True)

    plain = judge.eval().folded(sum(sizes))
    weights = {name: weight.detach().half().contiguous() for name, weight in plain.state_dict().items()}
    vocabulary = [{"name": name, "values": values} for name, values in attributes.items()]
    strides = json.dumps([stride for _, _, stride in CONVS])
    said = {"attributes": json.dumps(vocabulary), "strides": strides}
    save_file(weights, arguments.out / "judge.safetensors", said)
    (arguments.out / "judge_parity.json").write_text(json.dumps(parity(plain), indent=1) + "\n")

    pictures, captions, labels = read(folder, "held_out", attributes)
    torch.manual_seed(1)
    rows = {
        "renders": accuracies(plain, pictures, labels, sizes),
        "through the VAE, or redrawn": accuracies(plain, as_drawn(drawer, pictures, captions), labels, sizes),
        "drawn from captions": accuracies(plain, drawn_from_captions(drawer, captions[:192]), labels[:192], sizes),
    }
    for name, row in rows.items():
        each = ", ".join(f"{key} {value:.0%}" for key, value in zip(attributes, row))
        print(f"{name}: {each}; mean {sum(row) / len(row):.1%}", flush=True)


if __name__ == "__main__":
    main()
