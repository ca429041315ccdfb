"""Prompt fixtures, for `tests/parity/prompt.rs`.

What A1111 and ComfyUI make of a prompt's brackets is written out here, piece by piece; what they compute
from the pieces is written as their formulas. compel, which reads another syntax, is a third witness
for long prompts and for ComfyUI's weights.
"""

from collections.abc import Iterator

import torch
from compel import Compel, SplitLongTextMode

from parity.base import Base
from parity.registry import Json, fixture, normal

CHUNK = 75
"""Tokens of a chunk, without start and end."""

BACKTRACK = 20
"""A1111's "comma padding backtrack"."""

LARGE = 8
"""ComfyUI's `max_word_length`: shorter pieces stay in one chunk."""

BREAK = None
Piece = tuple[str, float] | None
Token = tuple[int, float]

LONG = ", ".join(["long hair, blonde hair, pale skin, round glasses, wink, tongue out, purple overalls"] * 5)
NO_COMMAS = "glasses smile wink beard " * 25

CASES: list[tuple[str, str, list[Piece]]] = [
    ("a1111", "glasses, smile", [("glasses, smile", 1.0)]),
    ("a1111", "(glasses), smile", [("glasses", 1.1), (", smile", 1.0)]),
    ("a1111", "((glasses)), smile", [("glasses", 1.1**2), (", smile", 1.0)]),
    ("a1111", "(glasses:1.4), smile", [("glasses", 1.4), (", smile", 1.0)]),
    ("a1111", "glasses, [smile]", [("glasses, ", 1.0), ("smile", 1 / 1.1)]),
    ("a1111", "(glasses, (smile:1.3):0.5), hat", [("glasses, ", 0.5), ("smile", 0.65), (", hat", 1.0)]),
    ("a1111", r"glasses \(round\), (smile \[wide\]:1.2)", [("glasses (round), ", 1.0), ("smile [wide]", 1.2)]),
    ("a1111", "glasses BREAK (smile:1.5)", [("glasses", 1.0), BREAK, ("smile", 1.5)]),
    ("a1111", "[cat:glasses:0.5], <lora:x:1>hat", [("glasses, hat", 1.0)]),
    ("a1111", LONG, [(LONG, 1.0)]),
    ("a1111", NO_COMMAS, [(NO_COMMAS, 1.0)]),
    ("a1111", f"({LONG}:1.2), hat", [(LONG, 1.2), (", hat", 1.0)]),
    ("a1111", f"hat BREAK {LONG}", [("hat", 1.0), BREAK, (LONG, 1.0)]),
    ("comfy", "glasses, smile", [("glasses, smile", 1.0)]),
    ("comfy", "(glasses:1.4), smile", [("glasses", 1.4), (", smile", 1.0)]),
    ("comfy", "((glasses)), (smile:0.5)", [("glasses", 1.1**2), (", ", 1.0), ("smile", 0.5)]),
    ("comfy", "(glasses, (smile:1.3):0.5), hat", [("glasses, ", 0.5), ("smile", 1.3), (", hat", 1.0)]),
    ("comfy", r"glasses \(round\), [hat]", [("glasses (round), [hat]", 1.0)]),
    ("comfy", LONG, [(LONG, 1.0)]),
    ("comfy", f"{LONG}, (glasses:1.3), hat", [(f"{LONG}, ", 1.0), ("glasses", 1.3), (", hat", 1.0)]),
    ("comfy", f"{'smile ' * 73}(red hat hat:1.3)", [("smile " * 73, 1.0), ("red hat hat", 1.3)]),
    ("plain", "(glasses:1.4), [smile]", [("(glasses:1.4), [smile]", 1.0)]),
    ("plain", LONG, [(LONG, 1.0)]),
]
"""Syntax, prompt, and the pieces that the syntax makes of it."""

COMPEL = [
    ("plain", NO_COMMAS, NO_COMMAS),
    ("comfy", LONG, LONG),
    ("comfy", "(glasses:1.4), smile", "(glasses)1.4, smile"),
    ("comfy", "(glasses:1.4), (smile:2)", "(glasses)1.4, (smile)2.0"),
    ("comfy", f"({LONG}:1.3)", f"({LONG})1.3"),
]
"""Syntax, prompt, and the same in compel's syntax."""


@fixture(
    {
        "prompts.json": "`prompt` and the `syntax` it is read in, in the order of the tensors",
        "prompts.safetensors": "what the bundled text encoder says of them, by A1111's and ComfyUI's formulas",
    }
)
def prompts(base: Base):
    """For `prompt.rs`: every prompt conditions the model like this."""
    return {
        "prompts.json": _listed(CASES),
        "prompts.safetensors": {
            f"{index}": _encoded(base, syntax, pieces) for index, (syntax, _, pieces) in enumerate(CASES)
        },
    }


@fixture(
    {
        "compel.json": "`prompt` and the `syntax` it is read in, in the order of the tensors",
        "compel.safetensors": "what compel makes of them with the bundled text encoder",
    }
)
def compel(base: Base):
    """For `prompt.rs`: long prompts and ComfyUI's weights above 1 are compel's."""
    encoder = Compel(
        tokenizer=base.tokenizer,
        text_encoder=base.text_encoder,
        truncate_long_prompts=False,
        split_long_text_mode=SplitLongTextMode.BRUTAL,
    )
    with torch.no_grad():
        made = {f"{index}": encoder(theirs) for index, (_, _, theirs) in enumerate(COMPEL)}
    return {"compel.json": _listed(COMPEL), "compel.safetensors": made}


@fixture({"long_guidance.safetensors": "guidance 3 of the bundled UNet, from a prompt of two chunks and an empty one"})
@torch.no_grad()
def long_guidance(base: Base):
    """For `prompt.rs`: a prompt may be longer than what it is guided away from."""
    sample, timestep = normal("long guidance", (1, 4, 16, 16)), torch.tensor([481])
    states = torch.cat(list(base.embed([LONG[:120], "glasses, smile"])))[None]
    negative = base.embed([""])
    conditional, unconditional = (base.unet(sample, timestep, given).sample for given in (states, negative))
    return {
        "long_guidance.safetensors": {
            "sample": sample,
            "timestep": timestep,
            "encoder_hidden_states": states,
            "negative_encoder_hidden_states": negative,
            "noise_pred": unconditional + 3.0 * (conditional - unconditional),
        }
    }


def _listed(cases: list[tuple]) -> Json:
    return Json([{"syntax": syntax, "prompt": prompt} for syntax, prompt, *_ in cases], lines=True)


@torch.no_grad()
def _encoded(base: Base, syntax: str, pieces: list[Piece]) -> torch.Tensor:
    """`[1, 77 * chunks, channels]`"""
    tokens = [_tokens(base, piece) for piece in pieces]
    chunks = list(_kept_together(tokens) if syntax == "comfy" else cut_at_commas(base, tokens))
    states, weights = _states(base, chunks)
    if syntax == "comfy":
        empty = base.embed([""])
        # `encode_token_weights` leaves a weight of 1 out.
        weighted = torch.where(weights == 1.0, states, (states - empty) * weights + empty)
    else:
        weighted = states * weights
        # `EmphasisOriginal`, with one prompt in the batch: every chunk keeps its mean.
        weighted *= states.mean(dim=(1, 2), keepdim=True) / weighted.mean(dim=(1, 2), keepdim=True)
    return torch.cat(list(weighted))[None]


def _tokens(base: Base, piece: Piece) -> list[Token] | None:
    if piece is BREAK:
        return None
    text, weight = piece
    return [(token, weight) for token in base.tokenizer(text, add_special_tokens=False).input_ids]


def cut_at_commas(base: Base, pieces: list[list[Token] | None]) -> Iterator[list[Token]]:
    """A1111: 75 at a time; where more follow, up to the last comma of the last 20, if there is one."""
    (comma,) = base.tokenizer(",", add_special_tokens=False).input_ids
    rest: list[Token] = []
    for piece in [*pieces, BREAK]:
        if piece is not BREAK:
            rest += piece
            continue
        while len(rest) > CHUNK:
            commas = [at for at in range(CHUNK - BACKTRACK, CHUNK) if rest[at][0] == comma]
            end = commas[-1] + 1 if commas and rest[CHUNK][0] != comma else CHUNK
            yield rest[:end]
            rest = rest[end:]
        yield rest
        rest = []


def _kept_together(pieces: list[list[Token]]) -> list[list[Token]]:
    """ComfyUI: a piece of less than 8 tokens goes into one chunk."""
    chunks: list[list[Token]] = [[]]
    for piece in pieces:
        if len(piece) < LARGE and len(chunks[-1]) + len(piece) > CHUNK:
            chunks.append([])
        for token in piece:
            if len(chunks[-1]) == CHUNK:
                chunks.append([])
            chunks[-1].append(token)
    return chunks


def _states(base: Base, chunks: list[list[Token]]) -> tuple[torch.Tensor, torch.Tensor]:
    """`last_hidden_state` of the chunks between start, end and padding; and the weights, `[chunks, 77, 1]`."""
    start, end = base.tokenizer.bos_token_id, base.tokenizer.eos_token_id
    ends = [CHUNK + 1 - len(chunk) for chunk in chunks]
    ids = [[start, *(token for token, _ in chunk), *[end] * count] for chunk, count in zip(chunks, ends)]
    weights = [[1.0, *(weight for _, weight in chunk), *[1.0] * count] for chunk, count in zip(chunks, ends)]
    return base.text_encoder(torch.tensor(ids)).last_hidden_state, torch.tensor(weights)[:, :, None]
