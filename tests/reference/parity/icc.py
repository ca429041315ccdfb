"""ICC profiles as bytes (ICC.1:2001-04 and ICC.1:2010), small enough to lie in a fixture.

Those that people's files carry are of hundreds of kilobytes, or may not be passed on.
"""

import struct

import numpy

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)

# Bradford's cone responses, by which ICC profiles are adapted to D50 (ICC.1:2010, annex E).
BRADFORD = numpy.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def matrix_profile(name: str, primaries, curve: bytes, version: int = 2) -> bytes:
    """A display: three primaries around D65, x and y each, and one curve for all channels."""
    columns = colorants(primaries)
    tags = {b"wtpt": _xyz(D50)}
    for channel, column in zip("rgb", columns.T):
        tags[f"{channel}XYZ".encode()] = _xyz(column)
        tags[f"{channel}TRC".encode()] = curve
    return _profile(name, b"mntr", b"RGB ", b"XYZ ", tags, version)


def grey_profile(name: str, curve: bytes) -> bytes:
    """Grey by a curve from number to light."""
    return _profile(name, b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": curve}, 2)


def table_profile(name: str, space: bytes, channels: int, steps: int, xyz) -> bytes:
    """A press or scanner: `xyz` of `[nodes, channels]` in 0..1, kept as Lab at `steps` nodes a channel."""
    axis = numpy.linspace(0.0, 1.0, steps)
    nodes = numpy.stack(numpy.meshgrid(*[axis] * channels, indexing="ij"), -1).reshape(-1, channels)
    lab = _lab(xyz(nodes))
    # 16 bits as version 2 counts them: 0xFF00 is 100 of L, 0x8000 is 0 of a and b.
    words = numpy.round(lab / [100.0, 255.0, 255.0] * 0xFF00 + [0, 0x8000, 0x8000])
    words = words.clip(0, 0xFFFF).astype(">u2")
    straight = struct.pack(">2H", 0, 0xFFFF)
    identity = struct.pack(">9i", *(int(value * 65536) for value in numpy.eye(3).flatten()))
    table = b"mft2\0\0\0\0" + bytes([channels, 3, steps, 0]) + identity + struct.pack(">2H", 2, 2)
    table += straight * channels + words.tobytes() + straight * 3
    kind = b"prtr" if space == b"CMYK" else b"scnr"
    return _profile(name, kind, space, b"Lab ", {b"wtpt": _xyz(D50), b"A2B0": table}, 2)


def gamma_curve(gamma: float) -> bytes:
    """Light is the number to this power; as 8.8 fixed point."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def sampled_curve(values) -> bytes:
    """Light at numbers of equal distance, 0..1."""
    words = [round(value * 65535) for value in values]
    return b"curv\0\0\0\0" + struct.pack(f">I{len(words)}H", len(words), *words)


def srgb_curve() -> bytes:
    """The curve of sRGB by its parameters (type 3)."""
    parameters = [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045]
    return b"para\0\0\0\0" + struct.pack(">2H5i", 3, 0, *(round(value * 65536) for value in parameters))


def colorants(primaries) -> numpy.ndarray:
    """XYZ of red, green and blue as columns, adapted from D65 to D50."""
    columns = numpy.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    x, y = D65
    white = numpy.array([x / y, 1.0, (1 - x - y) / y])
    columns = columns * numpy.linalg.solve(columns, white)
    ratio = (BRADFORD @ numpy.array(D50)) / (BRADFORD @ white)
    return numpy.linalg.inv(BRADFORD) @ numpy.diag(ratio) @ BRADFORD @ columns


def _lab(xyz: numpy.ndarray) -> numpy.ndarray:
    ratio = xyz / numpy.array(D50)
    root = numpy.where(ratio > 216 / 24389, numpy.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root.T
    return numpy.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _xyz(values) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _description(name: str, version: int) -> bytes:
    if version == 4:
        text = name.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">2I4s2I", 1, 12, b"enUS", len(text), 28) + text
    text = name.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(8 + 3 + 67)


def _profile(name: str, kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes], version: int) -> bytes:
    copyright_text = b"text\0\0\0\0No rights are claimed\0"
    tags = {b"desc": _description(name, version), b"cprt": copyright_text, **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, data, places = b"", b"", {}
    for tag, content in tags.items():
        if content not in places:
            places[content] = offset + len(data)
            data += content + bytes(-len(content) % 4)
        table += struct.pack(">4s2I", tag, places[content], len(content))
    head = struct.pack(
        ">I4sI4s4s4s12s4s", offset + len(data), b"\0" * 4, version << 24, kind, space, pcs, bytes(12), b"acsp"
    )
    head += bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + data
