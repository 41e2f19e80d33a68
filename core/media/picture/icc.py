"""Embedded ICC profiles: which to keep, and how to bring colours to sRGB.

8-bit pictures, CMYK and Lab go through LittleCMS. LittleCMS is reached through Pillow, which hands it 8 bits only, so
16-bit pictures are converted here, in floating point, for the profiles that consist of a matrix and tone curves
(ICC.1:2022, section 8.3.3 and 10.6, 10.18): sRGB, Display P3, Adobe RGB, ProPhoto, Rec. 2020 and the grey profiles.
"""

# Pillow, NumPy and OpenCV publish partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import io
import struct

import torch
from PIL import Image, ImageCms

from ...errors import InputError

SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK", "LAB": b"Lab "}

# Colorants of sRGB IEC61966-2.1 as columns, adapted to the D50 white of the profile connection space.
SRGB_TO_PCS = torch.tensor(
    [[0.43606567, 0.38514709, 0.14306641], [0.22248840, 0.71687317, 0.06060791], [0.01391602, 0.09707642, 0.71409607]],
    dtype=torch.float64,
)


def fitting_profile(icc: bytes | None, mode: str) -> bytes | None:
    """The profile if it is one for pictures of that mode (L, RGB, CMYK, LAB), else None.

    A profile for another kind of picture says nothing about these numbers, and readers ignore it, as they do one that
    is cut off.
    """
    if not icc or len(icc) < 132 or icc[36:40] != b"acsp" or int.from_bytes(icc[:4], "big") > len(icc):
        return None
    return icc if icc[16:20] == SPACES[mode] else None


def image_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """An 8-bit L, RGB, CMYK or LAB image in sRGB: L stays L, the others become RGB.

    Relative colorimetric with black point compensation, so that white stays white and shadows keep their detail.
    CMYK without a profile is taken as ideal inks. Raises ``InputError`` for a profile that LittleCMS refuses.
    """
    mode = "L" if image.mode == "L" else "RGB"
    if icc is None and image.mode != "LAB":
        return image.convert(mode)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc) if icc else ImageCms.createProfile("LAB"))
        converted = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise InputError(
            f"the embedded colour profile cannot be used ({error}); convert the picture to sRGB elsewhere."
        ) from error
    assert converted is not None
    return converted.getchannel("G") if mode == "L" else converted


def picture_to_srgb(picture: torch.Tensor, icc: bytes) -> torch.Tensor:
    """A picture (B, C, H, W) in the colours of a matrix or grey profile -> the same in sRGB, 0 to 1, at full
    precision. Colours outside of sRGB are cut off at its border. Raises ``InputError`` for a profile made of tables.
    """
    tags = _tags(icc)
    names = (b"rTRC", b"gTRC", b"bTRC") if picture.shape[1] == 3 else (b"kTRC",)
    colorants = (b"rXYZ", b"gXYZ", b"bXYZ") if picture.shape[1] == 3 else ()
    if b"A2B0" in tags or any(name not in tags for name in (*names, *colorants)):
        raise InputError(
            "the embedded colour profile is table-based, and can be converted at 8 bits only; keep the profile "
            "or reduce the picture to 8 bits first."
        )
    linear = torch.cat([_linear(picture[:, i : i + 1].float(), tags[name]) for i, name in enumerate(names)], dim=1)
    if colorants:
        to_pcs = torch.tensor([struct.unpack(">3i", tags[name][8:20]) for name in colorants], dtype=torch.float64).T
        matrix = (torch.linalg.inv(SRGB_TO_PCS) @ to_pcs / 65536).to(linear)
        linear = torch.einsum("ij,bjhw->bihw", matrix, linear)
    return _srgb_encoded(linear.clamp(0, 1))


def _tags(icc: bytes) -> dict[bytes, bytes]:
    count = int.from_bytes(icc[128:132], "big")
    tags: dict[bytes, bytes] = {}
    for entry in range(132, min(132 + 12 * count, len(icc) - 11), 12):
        name, offset, length = struct.unpack(">4sII", icc[entry : entry + 12])
        tags[name] = icc[offset : offset + length]
    return tags


def _linear(values: torch.Tensor, tag: bytes) -> torch.Tensor:
    """Light behind the encoded ``values``, by a tone curve of an ICC profile."""
    try:
        return _parametric(values, tag) if tag[:4] == b"para" else _sampled(values, tag)
    except (struct.error, KeyError, IndexError) as error:
        raise InputError("the embedded colour profile is damaged: one of its tone curves is unreadable.") from error


def _sampled(values: torch.Tensor, tag: bytes) -> torch.Tensor:
    if tag[:4] != b"curv":
        raise KeyError(tag[:4])
    (count,) = struct.unpack(">I", tag[8:12])
    samples = struct.unpack(f">{count}H", tag[12 : 12 + 2 * count])
    if count < 2:
        return values ** (samples[0] / 256) if count else values
    table = torch.tensor(samples, dtype=torch.float32, device=values.device) / 65535
    position = values * (count - 1)
    lower = position.floor().clamp(0, count - 2).long()
    return torch.lerp(table[lower], table[lower + 1], position - lower)


def _parametric(values: torch.Tensor, tag: bytes) -> torch.Tensor:
    """ICC.1:2022 table 68: a power above ``d``, a line below it."""
    kind = int.from_bytes(tag[8:10], "big")
    length = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[kind]
    numbers = [n / 65536 for n in struct.unpack(f">{length}i", tag[12 : 12 + 4 * length])]
    gamma, a, b, c, d, e, f = (numbers + [0.0] * 6)[:7] if kind else (numbers[0], 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if kind in (1, 2):
        c, d, e, f = 0.0, -b / a if a else 0.0, c, c
    curve = (a * values + b).clamp(min=0) ** gamma + e
    return torch.where(values >= d, curve, c * values + f)


def _srgb_encoded(linear: torch.Tensor) -> torch.Tensor:
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
