"""ICC profiles made of primaries and a tone curve (ICC.1:2022, matrix and grey profiles)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Matrix = npt.NDArray[np.floating[Any]]

D50 = (0.9642, 1.0, 0.8249)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
VERSION = 0x04300000
COPYRIGHT = "No copyright, use freely"


class Primaries(NamedTuple):
    """CIE x and y."""

    red: Point
    green: Point
    blue: Point
    white: Point

    def make_sense(self) -> bool:
        """Whether the colours span a triangle and the white lies inside of what can be seen."""
        (rx, ry), (gx, gy), (bx, by), (wx, wy) = self
        area = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry)
        return abs(area) > 0.01 and all(0 <= n <= 1 for point in self for n in point) and wx > 0.1 and wy > 0.1


class Curve(NamedTuple):
    """Light behind an encoded value x: (a x + b) ** gamma from ``border`` on, slope * x below it."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    slope: float = 0.0
    border: float = 0.0


def rgb_profile(primaries: Primaries, curve: Curve, name: str) -> bytes:
    to_pcs = colorants(primaries)
    tags = {label: _xyz(tuple(to_pcs[:, column])) for column, label in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _parametric(curve))
    tags[b"chad"] = b"sf32\0\0\0\0" + struct.pack(
        ">9i", *(_fixed(float(n)) for n in _adaptation(primaries.white).flatten())
    )
    return _profile(b"RGB ", tags, name)


def grey_profile(curve: Curve, name: str) -> bytes:
    return _profile(b"GRAY", {b"kTRC": _parametric(curve)}, name)


def colorants(primaries: Primaries) -> Matrix:
    """Columns: XYZ of red, green and blue, adapted to the white of the profile connection space."""
    columns: Matrix = np.stack([np.array(_to_xyz(point)) for point in primaries[:3]], axis=1)
    strengths: Matrix = np.linalg.solve(columns, np.array(_to_xyz(primaries.white)))
    return _adaptation(primaries.white) @ (columns * strengths)


def _to_xyz(point: Point) -> tuple[float, float, float]:
    x, y = point
    y = max(y, 1e-6)
    return x / y, 1.0, (1 - x - y) / y


def _adaptation(white: Point) -> Matrix:
    """Of colours under ``white`` to D50, by Bradford's cone responses (ICC.1:2022, annex E)."""
    ratio = (BRADFORD @ np.array(D50)) / (BRADFORD @ np.array(_to_xyz(white)))
    return np.linalg.inv(BRADFORD) @ (np.eye(3) * ratio) @ BRADFORD


def _fixed(value: float) -> int:
    return round(float(value) * 65536)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(_fixed(value) for value in values))


def _parametric(curve: Curve) -> bytes:
    kind, numbers = (3, tuple(curve)) if curve.slope else (0, (curve.gamma,))
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + struct.pack(f">{len(numbers)}i", *map(_fixed, numbers))


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(content), 28) + content


def _profile(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    tags = {b"desc": _text(name), b"cprt": _text(COPYRIGHT), b"wtpt": _xyz(D50), **tags}
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for label, value in tags.items():
        table += struct.pack(">4sII", label, start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    body = bytes(8) + struct.pack(">I", VERSION) + b"mntr" + space + b"XYZ "
    body += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    body += struct.pack(">3i", *(_fixed(value) for value in D50)) + bytes(48)
    whole = body + struct.pack(">I", len(tags)) + table + content
    return struct.pack(">I", len(whole)) + whole[4:]
