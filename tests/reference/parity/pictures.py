"""Pictures in other colours than sRGB, and what LittleCMS (in Pillow) makes of them, for `tests/parity/pictures.rs`.

Each picture is 6 x 4 patches of 16 px; of each, the colour of one pixel in its middle is kept.
"""

import io
import struct
import zlib

import numpy
import torch
from PIL import Image, ImageCms

from parity import icc
from parity.base import Base
from parity.registry import Bytes, fixture

ACROSS, DOWN, SIDE = 6, 4, 16

ADOBE_RGB = [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)]
DISPLAY_P3 = [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)]

FILES = {
    "adobe_rgb.png": "8 bits, gamma 2.2 and the primaries of Adobe RGB",
    "adobe_rgb.webp": "the same, lossless",
    "display_p3.jpg": "a profile of version 4 with a parametric curve",
    "display_p3_16.png": "the same in 16 bits",
    "code_points.png": "Display P3 by the chunk cICP",
    "primaries.png": "Adobe RGB by the chunks gAMA and cHRM",
    "scanner.png": "a profile with a table of three channels",
    "grey.png": "grey with gamma 1.8, and transparent in part",
    "grey.jpg": "grey with a curve of samples, as for dot gain",
    "grey_in_rgb.png": "grey with a profile for RGB",
    "press.jpg": "CMYK as Adobe stores it",
    "press_ycck.jpg": "the same file said to be YCCK",
    "srgb.jpg": "LittleCMS' own profile of sRGB: nothing changes",
    "progressive.jpg": "a drawing in ten scans, 4:2:0",
    "restarts.jpg": "the same in one, with restart markers",
}


@fixture(
    {f"pictures/{name}": what for name, what in FILES.items()}
    | {"pictures.safetensors": "colours of their patches in sRGB, by file, 0 to 255"}
)
def pictures(_base: Base):
    """For `pictures.rs`: every file, and its patches as Pillow decodes and LittleCMS converts them."""
    adobe = icc.matrix_profile("Adobe RGB of the tests", ADOBE_RGB, icc.gamma_curve(2.19921875))
    p3 = icc.matrix_profile("Display P3 of the tests", DISPLAY_P3, icc.srgb_curve(), version=4)
    grey = icc.grey_profile("Grey 1.8 of the tests", icc.gamma_curve(1.8))
    dots = icc.grey_profile("Dot gain of the tests", icc.sampled_curve(numpy.linspace(0, 1, 33) ** 1.6))
    press = icc.table_profile("Press of the tests", b"CMYK", 4, 5, _inks_to_xyz)
    scanner = icc.table_profile("Scanner of the tests", b"RGB ", 3, 5, _scanner_to_xyz)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Without the date of today.
    srgb = srgb[:24] + bytes(12) + srgb[36:]

    colours = _patches(_colours())
    greys = _patches(numpy.linspace(0, 255, ACROSS * DOWN).round().astype(numpy.uint8))
    inks = _patches(_ink_amounts())
    alpha = _patches(numpy.full(ACROSS * DOWN, 255, numpy.uint8))
    alpha[:, -SIDE // 4 :] = 0
    drawing = _drawing()
    ycck = _saved(inks, "JPEG", "CMYK", quality=95, icc_profile=press)

    files = {
        "adobe_rgb.png": _saved(colours, "PNG", icc_profile=adobe),
        "adobe_rgb.webp": _saved(colours, "WEBP", lossless=True, icc_profile=adobe),
        "display_p3.jpg": _saved(colours, "JPEG", quality=95, subsampling=0, icc_profile=p3),
        "display_p3_16.png": _png(colours.astype(numpy.uint16) * 257, [_icc_chunk(p3)]),
        "code_points.png": _png(colours, [_chunk(b"cICP", bytes([12, 13, 0, 1]))]),
        "primaries.png": _png(colours, [_gamma_chunk(1 / 2.2), _primaries_chunk(ADOBE_RGB)]),
        "scanner.png": _saved(colours, "PNG", icc_profile=scanner),
        "grey.png": _saved(numpy.stack([greys, alpha], -1), "PNG", "LA", icc_profile=grey),
        "grey.jpg": _saved(greys, "JPEG", "L", quality=95, icc_profile=dots),
        "grey_in_rgb.png": _saved(greys, "PNG", "L", icc_profile=adobe),
        "press.jpg": ycck,
        "press_ycck.jpg": _said_to_be_ycck(ycck),
        "srgb.jpg": _saved(colours, "JPEG", quality=95, subsampling=0, icc_profile=srgb),
        "progressive.jpg": _saved(drawing, "JPEG", quality=90, progressive=True),
        "restarts.jpg": _saved(drawing, "JPEG", quality=90, restart_marker_blocks=4),
    }
    # What these two say without a profile, said by one; sRGB's curve is meant by that gamma (PNG, 11.3.2.5).
    said = {
        "code_points.png": p3,
        "primaries.png": icc.matrix_profile("as said", ADOBE_RGB, icc.srgb_curve()),
    }
    seen = {name: torch.from_numpy(_seen(file, said.get(name))) for name, file in files.items()}
    made = {f"pictures/{name}": Bytes(file) for name, file in files.items()}
    return made | {"pictures.safetensors": seen}


def _colours() -> numpy.ndarray:
    """Greys, the corners of the cube and what lies between."""
    levels = [0, 64, 128, 191, 255]
    rest = [(a, b, c) for a in levels for b in levels for c in levels if len({a, b, c}) == 3]
    corners = [(a, b, c) for a in (0, 255) for b in (0, 255) for c in (0, 255)]
    found = [(level,) * 3 for level in levels] + corners + rest[::5]
    return numpy.array(found[: ACROSS * DOWN], numpy.uint8)


def _ink_amounts() -> numpy.ndarray:
    """At the nodes of the table and between them."""
    single = [tuple(amount if at == ink else 0 for at in range(4)) for ink in range(4) for amount in (96, 255)]
    mixed = [(a, b, c, k) for k in (0, 64) for a in (0, 128) for b in (40, 255) for c in (0, 200)]
    return numpy.array((single + mixed)[: ACROSS * DOWN], numpy.uint8)


def _inks_to_xyz(inks: numpy.ndarray) -> numpy.ndarray:
    """Each ink lets some of the light pass; black a little, as in print."""
    passed = numpy.array([[0.14, 0.20, 0.53], [0.33, 0.16, 0.17], [0.72, 0.78, 0.10], [0.03, 0.03, 0.03]])
    paper = numpy.array([0.85, 0.88, 0.72])
    return paper * numpy.prod(1 - inks[..., None] * (1 - passed), axis=-2)


def _scanner_to_xyz(numbers: numpy.ndarray) -> numpy.ndarray:
    """Adobe RGB's primaries at gamma 2, as a table."""
    return numbers**2 @ icc.colorants(ADOBE_RGB).T


def _drawing() -> numpy.ndarray:
    """Waves in all directions: every coefficient of a block is used."""
    y, x = numpy.mgrid[: DOWN * SIDE, : ACROSS * SIDE].astype(float)
    waves = [numpy.sin(x * x / 90), numpy.sin(y * y / 60 + x / 5), numpy.sin((x + y) ** 2 / 300)]
    return (numpy.stack(waves, -1) * 100 + 128).round().astype(numpy.uint8)


def _patches(values: numpy.ndarray) -> numpy.ndarray:
    grid = values.reshape(DOWN, ACROSS, *values.shape[1:])
    return grid.repeat(SIDE, axis=0).repeat(SIDE, axis=1)


def _saved(pixels: numpy.ndarray, kind: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    height, width = pixels.shape[:2]
    # Inks are turned upside down by Pillow, as Adobe's programs do.
    image = Image.frombytes(mode, (width, height), pixels.tobytes())
    image.save(file, kind, optimize=kind != "WEBP", **options)
    return file.getvalue()


def _said_to_be_ycck(jpeg: bytes) -> bytes:
    """With 2 for 0 as Adobe's transform, which is the last byte of its segment."""
    transform = jpeg.index(b"Adobe") + 11
    return jpeg[:transform] + b"\x02" + jpeg[transform + 1 :]


def _png(pixels: numpy.ndarray, chunks: list[bytes]) -> bytes:
    """By hand: Pillow writes neither 16-bit colours nor these chunks."""
    height, width, _channels = pixels.shape
    depth = pixels.itemsize * 8
    rows = pixels.astype(f">u{pixels.itemsize}").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = _chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, 2, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _icc_chunk(profile: bytes) -> bytes:
    return _chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile, 9))


def _gamma_chunk(gamma: float) -> bytes:
    return _chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def _primaries_chunk(primaries) -> bytes:
    points = [value for point in [icc.D65, *primaries] for value in point]
    return _chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in points)))


def _seen(file: bytes, profile: bytes | None) -> numpy.ndarray:
    """The middles of the patches in sRGB, `[down, across, 3]`."""
    image = Image.open(io.BytesIO(file))
    profile = profile or image.info.get("icc_profile")
    if profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "LA":
            image = image.getchannel("L")
        if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
            image = image.convert("RGB")
        image = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            outputMode="RGB",
            flags=ImageCms.Flags.NOOPTIMIZE | ImageCms.Flags.HIGHRESPRECALC,
        )
    middles = numpy.asarray(image.convert("RGB"))[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE]
    return middles.astype(numpy.float32)
