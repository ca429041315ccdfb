"""Writes the fixtures that the Rust tests in `tests/parity` are compared with.

    python -m venv tests/reference/.venv
    tests/reference/.venv/bin/pip install -r tests/reference/requirements.txt
    tests/reference/.venv/bin/python tests/reference/generate.py [--only NAME] [--base FOLDER]

Torch on one CPU thread, f32, fixed seeds. Run it again whenever the weights of the bundled base
change: every fixture and `tests/fixtures/README.md` come from this one command.
"""

import argparse
import importlib
import platform
import re
import sys
import time
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import features

from parity.base import Base
from parity.registry import FIXTURES, OUT, read_header, write

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = [
    "tokenizer", "clip", "prompt", "vae", "unet", "sd1x", "schedule", "lora", "lora_writers", "optimizer", "train", "sets", "micro",
    "pictures", "config", "families", "applied", "single_file",
]  # fmt: skip
PACKAGES = ["torch", "diffusers", "transformers", "tokenizers", "peft", "compel", "safetensors", "numpy", "pillow"]


def main() -> None:
    for module in MODULES:
        importlib.import_module(f"parity.{module}")
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Two adapters in one UNet are what the copier steps are about.
    warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
    print(_versions())

    base = Base(arguments.base)
    _print_check_values(base)
    for name in arguments.only or FIXTURES:
        started = time.monotonic()
        write(OUT, FIXTURES[name].make(base), FIXTURES[name])
        print(f"{name}: {', '.join(FIXTURES[name].files)} ({time.monotonic() - started:.1f} s)")
    (OUT / "README.md").write_text(_readme())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes the fixtures in tests/fixtures.")
    parser.add_argument("--only", action="append", choices=sorted(FIXTURES), help="a fixture; may be repeated")
    parser.add_argument("--base", type=Path, default=REPOSITORY / "shared" / "base" / "mimeo-avatars")
    arguments = parser.parse_args()
    if not (arguments.base / "model_index.json").is_file():
        sys.exit(f"There is no diffusers model in this folder; name another with --base: {arguments.base}")
    return arguments


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"python {platform.python_version()}, {packages}, littlecms {features.version('littlecms2')}"


@torch.no_grad()
def _print_check_values(base: Base) -> None:
    """The check values that the README of the base lists, so that a wrong file is seen before its fixtures."""
    states = base.embed(["glasses, smile"])
    sample = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    noise_pred = base.unet(sample, 500, states).sample
    first = ", ".join(f"{value:.6f}" for value in noise_pred.flatten()[:4])
    print(f"check: sum of last_hidden_state {states.double().sum():.6f}; UNet mean {noise_pred.mean():.6f}, "
          f"std {noise_pred.std():.6f}, first four {first}")  # fmt: skip


def _readme() -> str:
    rows = []
    for promised in FIXTURES.values():
        for file, what in promised.files.items():
            if (OUT / file).is_file():
                rows.append(f"| `{file}` | {what} | `{promised.where}` | {_contents(OUT / file)} |")
    return "\n".join(
        [
            "# Fixtures",
            "",
            "What torch, diffusers, transformers, peft, compel and LittleCMS answer, for the tests in `tests/parity`. Written by",
            "`tests/reference/generate.py`, this file included; do not edit. f32 unless another type is named.",
            "",
            f"Made with {_versions()}.",
            "",
            "| file | what | made by | tensors |",
            "|---|---|---|---|",
            *rows,
            "",
            "Two files are made by hand, after the base or the LoRA format changed: `trained_lora.safetensors` by",
            "`mimeo train` on the pair glasses/00, and `trained_lora_diffusers.safetensors` from it by",
            "`cargo xtask check-lora tests/fixtures/trained_lora.safetensors -- --out FILE`.",
            "",
        ]
    )


def _contents(path: Path) -> str:
    """Tensor names and shapes; those of many modules are one pattern with a count."""
    if path.suffix != ".safetensors":
        pictures = dict.fromkeys([".png", ".jpg", ".webp"], "a picture")
        return ({".json": "JSON"} | pictures).get(path.suffix, "text")
    tensors = read_header(path)
    if any(name.startswith("model.diffusion_model.") for name in tensors):
        types = Counter(dtype.lower() for dtype, _ in tensors.values())
        return f"{len(tensors)} tensors: {', '.join(f'{count} {dtype}' for dtype, count in types.most_common())}"
    if "config.json" in {sibling.name for sibling in path.parent.iterdir()}:
        return f"{len(tensors)} weights, f16"
    shown, patterns = [], Counter()
    for name, (dtype, shape) in tensors.items():
        if "lora_unet_" in name:
            patterns[re.sub(r"lora_unet_\w+", "<module>", name)] += 1
        elif factor := re.search(r"\.(lora_(A|B|down|mid|up)\.weight|alpha)$", name):
            patterns[f"<module>{factor[0]}"] += 1
        else:
            suffix = "" if dtype == "F32" else f" {dtype.lower()}"
            shown.append(f"`{name}` {shape}{suffix}")
    shown += [f"{count} × `{pattern}`" for pattern, count in patterns.items()]
    return ", ".join(shown)


if __name__ == "__main__":
    main()
