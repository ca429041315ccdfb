"""Text encoder fixtures, for `tests/parity/clip.rs`."""

from parity.base import Base
from parity.registry import fixture

PROMPTS = [
    "",
    "glasses, smile",
    "bob hair, black hair, tan skin, open eyes, serious mouth, red t-shirt, gray background",
    ", ".join(["long hair, blonde hair, pale skin, round glasses, wink, tongue out, purple overalls"] * 5),
]


@fixture({"clip_text.safetensors": "bundled text encoder on four prompts: empty, short, a caption, cut at 77"})
def clip_text(base: Base):
    """For `clip.rs`: `CLIPTextModel` gives `last_hidden_state` for these ids."""
    return {"clip_text.safetensors": {"ids": base.tokens(PROMPTS), "last_hidden_state": base.embed(PROMPTS)}}
