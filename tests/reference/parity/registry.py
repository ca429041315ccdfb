"""Which function writes which fixture files, and how a fixture is written to disk.

A fixture function is decorated with `@fixture({file: what it holds})`, takes the `Base` and
returns `{file: content}`: a dict of tensors becomes safetensors, anything in `Json` becomes JSON,
`Text` and `Bytes` are written as they are.
"""

from __future__ import annotations

import inspect
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

MAX_BYTES = 1 << 20
OUT = Path(__file__).resolve().parents[2] / "fixtures"


@dataclass(frozen=True)
class Json:
    """Content of a `.json` fixture; `lines` writes a list with one entry per line."""

    value: Any
    lines: bool = False

    def text(self) -> str:
        if self.lines:
            rows = (json.dumps(row, separators=(",", ":")) for row in self.value)
            return "[\n" + ",\n".join(rows) + "\n]\n"
        return json.dumps(self.value, indent=1) + "\n"


@dataclass(frozen=True)
class Text:
    """Content of a fixture that is plain text."""

    value: str

    def text(self) -> str:
        return self.value


@dataclass(frozen=True)
class Bytes:
    """Content of a fixture of any other kind."""

    value: bytes


Content = dict[str, torch.Tensor] | Json | Text | Bytes


@dataclass(frozen=True)
class Fixture:
    """One decorated function and a description of each file it writes."""

    make: Callable[..., dict[str, Content]]
    files: dict[str, str]

    @property
    def name(self) -> str:
        return self.make.__name__

    @property
    def where(self) -> str:
        return f"{Path(inspect.getfile(inspect.unwrap(self.make))).name}: {self.name}"


FIXTURES: dict[str, Fixture] = {}


def fixture(files: dict[str, str]):
    """Registers the decorated function as the maker of `files`."""

    def register(make):
        FIXTURES[make.__name__] = Fixture(make, files)
        return make

    return register


def normal(label: str, shape: tuple[int, ...], std: float = 1.0) -> torch.Tensor:
    """Normal noise that depends on `label` alone, so `--only` gives the same file as a full run."""
    generator = torch.Generator().manual_seed(zlib.crc32(label.encode()))
    return torch.randn(shape, generator=generator) * std


def uniform(label: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Uniform noise in 0..1 that depends on `label` alone."""
    generator = torch.Generator().manual_seed(zlib.crc32(label.encode()))
    return torch.rand(shape, generator=generator)


def write(folder: Path, made: dict[str, Content], promised: Fixture) -> None:
    """Writes what a fixture function returned, and refuses what no Rust test could trust."""
    if set(made) != set(promised.files):
        raise ValueError(f"{promised.name} made {sorted(made)} but promises {sorted(promised.files)}")
    write_folder(folder, made)


def write_folder(folder: Path, made: dict[str, Content]) -> None:
    """Writes files into a folder, none of them larger than a fixture may be."""
    for file, content in made.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, (Json, Text)):
            path.write_text(content.text(), encoding="utf-8")
        elif isinstance(content, Bytes):
            path.write_bytes(content.value)
        else:
            save_file({name: _storable(file, name, tensor) for name, tensor in content.items()}, path)
        size = path.stat().st_size
        if size >= MAX_BYTES:
            raise ValueError(f"{file} has {size} bytes; a fixture must stay below {MAX_BYTES}")


def _storable(file: str, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Integers as i32 (what burn reads), doubles as f32, and nothing that is not finite."""
    tensor = tensor.detach()
    if not tensor.dtype.is_floating_point:
        return tensor.to(torch.int32).contiguous().clone()
    if not tensor.isfinite().all():
        raise ValueError(f"{file}: {name} has values that are not finite")
    dtype = tensor.dtype if tensor.dtype == torch.float16 else torch.float32
    return tensor.to(dtype).contiguous().clone()


def read_header(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Tensor name to (dtype, shape), from a safetensors header alone."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {name: (entry["dtype"], entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
