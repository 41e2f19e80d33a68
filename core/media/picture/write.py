"""Writing picture files: complete under their final name, or not at all."""

# Pillow, NumPy and OpenCV publish partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image

from ...atomic_write import whole_file
from ...errors import InputError
from ...image.dither import Dither, Still, to_levels
from ...types import Size, size_of
from .deep import write_png16, write_tiff
from .description import Description, fitting, jpeg_options, png_text
from .icc import fitting_profile
from .metadata import HIGHEST_DPI, exif_to_write

OPAQUE = 1 - 0.5 / 65535


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """What a file format can hold. ``longest`` is the longest side in pixels."""

    name: str
    suffixes: tuple[str, ...]
    longest: int
    alpha: bool = True
    deep: bool = False
    profile: bool = True


FORMATS = (
    FileFormat(name="PNG", suffixes=(".png",), longest=2**31 - 1, deep=True),
    FileFormat(name="TIFF", suffixes=(".tif", ".tiff"), longest=2**31 - 1, deep=True),
    FileFormat(name="JPEG", suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"), longest=65500, alpha=False),
    FileFormat(name="WEBP", suffixes=(".webp",), longest=16383),
    FileFormat(name="AVIF", suffixes=(".avif",), longest=65536),
    FileFormat(name="BMP", suffixes=(".bmp",), longest=2**31 - 1, alpha=False, profile=False),
)


def format_of(path: str | PathLike[str]) -> FileFormat:
    """The format that the suffix of ``path`` stands for; ``InputError`` if there is none that can be written."""
    suffix = Path(path).suffix.lower()
    for file_format in FORMATS:
        if suffix in file_format.suffixes:
            return file_format
    known = ", ".join(suffix for file_format in FORMATS for suffix in file_format.suffixes)
    raise InputError(f"{path}: {suffix or 'a name without suffix'} cannot be written; choose one of {known}.")


def check_writable(
    path: str | PathLike[str], size: Size, *, alpha: bool = False, bit_depth: int = 8, profile: bool = False
) -> FileFormat:
    """The format of ``path``, if it can hold such a picture; ``InputError`` with what to choose instead if not.

    For asking before the work is done. ``write_picture`` asks the same.
    """
    kind = format_of(path)
    if bit_depth not in (8, 16):
        raise InputError(f"A bit depth of {bit_depth} cannot be written; choose 8 or 16.")
    if bit_depth == 16 and not kind.deep:
        raise InputError(f"{path}: {kind.name} holds 8 bits a channel, not 16; PNG and TIFF hold 16.")
    if alpha and not kind.alpha:
        raise InputError(
            f"{path}: {kind.name} holds no transparency; choose PNG, WebP or TIFF, or a background colour."
        )
    if profile and not kind.profile:
        raise InputError(f"{path}: {kind.name} holds no colour profile; choose PNG, or convert to sRGB.")
    if max(size) > kind.longest:
        raise InputError(
            f"{path}: {size} is beyond the {kind.longest} pixels a side of {kind.name}; choose PNG or TIFF."
        )
    Image.init()
    if kind.name not in Image.SAVE:
        raise InputError(f"{path}: the installed Pillow cannot write {kind.name}; choose PNG, or update Pillow.")
    return kind


def write_picture(
    path: str | PathLike[str],
    picture: torch.Tensor,
    alpha: torch.Tensor | None = None,
    *,
    bit_depth: int = 8,
    icc: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    quality: int = 95,
    software: str | None = None,
    description: Description | None = None,
    dither: Dither = Dither.OFF,
    still: Still | None = None,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Write a picture (1, C, H, W), C = 1 or 3, with straight alpha (1, 1, H, W) in the format of the suffix.

    Values are cut to 0..1 and rounded to the nearest level. ``bit_depth`` 16 is for PNG and TIFF. ``quality`` (1 to
    100) is for JPEG (never subsampled), WebP (100 is lossless) and AVIF. ``software`` is recorded as what made the
    file; BMP holds no metadata at all, and what else the format cannot hold of ``exif`` and ``description`` is left
    out (``fitting`` says what). Alpha that is opaque everywhere is left out where the format has none. ``dither`` is
    for 8 bits a channel, and never for alpha; ``still`` says where not. ``finish`` gets the path of the finished file
    before it has its name, and may change it.

    The file appears complete or not at all. Raises ``InputError`` for what the format cannot hold, for values that
    are not finite, and when the file cannot be written.
    """
    path = Path(path)
    _check_tensors(picture, alpha)
    if not 1 <= quality <= 100:
        raise InputError(f"A quality of {quality} is outside 1 to 100.")
    if dpi and not all(0 < value <= HIGHEST_DPI for value in dpi):
        raise InputError(f"A resolution of {dpi[0]:g}x{dpi[1]:g} dpi is outside 1 to {HIGHEST_DPI}.")
    kind = format_of(path)
    if alpha is not None and not kind.alpha and float(alpha.min()) >= OPAQUE:
        alpha = None
    if icc and fitting_profile(icc, "L" if picture.shape[1] == 1 else "RGB") is None:
        raise InputError(f"{path}: the colour profile is not one for pictures of {picture.shape[1]} channels.")
    size = size_of(picture)
    check_writable(path, size, alpha=alpha is not None, bit_depth=bit_depth, profile=icc is not None)
    samples = _to_samples(picture, alpha, bit_depth, dither, still)
    described, exif, _ = fitting(description or Description(), kind.name, exif)
    details = exif_to_write(exif, dpi, software)
    try:
        with whole_file(path) as temporary:
            with temporary.open("xb") as file:
                if kind.name == "TIFF":
                    _write_tiff(file, samples, icc=icc, exif=details, dpi=dpi, xmp=described.xmp, iptc=described.iptc)
                elif bit_depth == 16:
                    write_png16(file, samples, icc=icc, exif=details, dpi=dpi, text=png_text(described, software))
                else:
                    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
                    options = _options(kind, dpi, quality, software, described)
                    if kind.profile:
                        # An empty profile keeps Pillow from looking for one elsewhere.
                        options.update(icc_profile=icc or b"", exif=details.tobytes() if details else b"")
                    image.save(file, format=kind.name, **options)
            if finish:
                finish(temporary)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise InputError(f"{path}: cannot be written ({reason}).") from error


def _check_tensors(picture: torch.Tensor, alpha: torch.Tensor | None) -> None:
    shape = tuple(picture.shape)
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3) or 0 in shape or not picture.is_floating_point():
        raise InputError(f"A picture to write has shape (1, 1 or 3, H, W) and floats, not {shape} of {picture.dtype}.")
    if alpha is not None and (tuple(alpha.shape) != (1, 1, *shape[2:]) or not alpha.is_floating_point()):
        raise InputError(f"Alpha of shape {tuple(alpha.shape)} does not belong to a picture of shape {shape}.")
    for what, values in (("picture", picture), ("alpha", alpha)):
        if values is not None and not torch.isfinite(values).all():
            raise InputError(
                f"The {what} to write has {int((~torch.isfinite(values)).sum())} values that are not finite."
            )


def _to_samples(
    picture: torch.Tensor, alpha: torch.Tensor | None, bit_depth: int, dither: Dither, still: Still | None
) -> np.ndarray:
    """(H, W, C) unsigned samples, rounded to the nearest level, or dithered."""
    layers = [picture] if alpha is None else [picture, alpha]
    height, width = picture.shape[2:]
    samples = np.empty((height, width, sum(layer.shape[1] for layer in layers)), f"uint{bit_depth}")
    highest = 2**bit_depth - 1
    for top in range(0, height, 256):
        band = torch.cat([layer[0, :, top : top + 256].detach().to("cpu", torch.float32) for layer in layers])
        samples[top : top + 256] = band.clamp(0, 1).mul_(highest).add_(0.5).permute(1, 2, 0).numpy()
        if bit_depth == 8 and dither is not Dither.OFF:
            rows = to_levels(picture, dither, top, min(top + 256, height), still)
            samples[top : top + 256, :, : rows.shape[2]] = rows
    return samples


def _options(
    kind: FileFormat, dpi: tuple[float, float] | None, quality: int, software: str | None, described: Description
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if kind.name == "PNG":
        options = {"compress_level": 4, "pnginfo": png_text(described, software)}
    elif kind.name == "JPEG":
        options = {"quality": quality, "subsampling": 0, **jpeg_options(described)}
    elif kind.name == "WEBP":
        # Exact: colour under transparent pixels is somebody's data too.
        options = {"quality": quality, "lossless": quality == 100, "exact": True, "xmp": described.xmp or b""}
    elif kind.name == "AVIF":
        options = {"quality": quality, "subsampling": "4:4:4", "xmp": described.xmp or b""}
    if dpi and kind.name in ("PNG", "JPEG", "BMP"):
        options["dpi"] = dpi
    return options


def _write_tiff(file: BinaryIO, samples: np.ndarray, **details: Any) -> None:
    if samples.shape[2] == 2 and samples.itemsize == 2:
        # Few readers know 16-bit grey with alpha in a TIFF; as RGB it is the same picture.
        samples = samples[..., [0, 0, 0, 1]]
    write_tiff(file, samples, **details)
