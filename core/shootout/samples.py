"""Pictures for a shoot-out: what the models are given, and what they should have made of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import torch

from ..errors import InputError
from ..media.picture.read import read_picture
from ..training.degrade.pipeline import DegradationSettings, Mode, SimpleSettings, degrade
from ..types import Size, size_of
from .pairing import Kind, files_in, kind_of, match_names

JPEG_QUALITY = 75.0


class Degrade(str, Enum):
    """How pictures are made small when they are references themselves."""

    BICUBIC = "bicubic"
    JPEG = "jpeg"
    REALESRGAN = "realesrgan"


DEGRADATIONS = {
    Degrade.BICUBIC: (DegradationSettings(mode=Mode.BICUBIC), "antialiased bicubic reduction"),
    Degrade.JPEG: (
        DegradationSettings(mode=Mode.JPEG, simple=SimpleSettings(jpeg_quality=(JPEG_QUALITY, JPEG_QUALITY))),
        f"antialiased bicubic reduction and JPEG of quality {JPEG_QUALITY:g}",
    ),
    Degrade.REALESRGAN: (
        DegradationSettings(mode=Mode.SECOND_ORDER),
        "the second-order degradation of Real-ESRGAN (Wang 2021), drawn from a seed and the picture's name",
    ),
}


class Sample(NamedTuple):
    """A picture (1, C, h, w) and, if it is known, what it is a reduction of, (1, C, h*scale, w*scale)."""

    source: torch.Tensor
    reference: torch.Tensor | None


@dataclass(frozen=True)
class SampleFile:
    """A sample that is read when its turn comes; ``load`` raises ``InputError``."""

    name: str
    load: Callable[[], Sample]


def samples_in(
    images: Path, references: Path | None, how: Degrade | None, scale: int, seed: int = 0
) -> tuple[list[SampleFile], list[str]]:
    """Samples from the pictures below a folder, or one picture, and sentences about files that are left out.

    ``references``: a folder with what the pictures are reductions of, matched by name. ``how``: the pictures are
    references themselves and are reduced first. Neither: there is nothing to compare with but the source.

    Raises ``InputError`` for both at once, and where ``pair_files`` does.
    """
    if references is not None and how is not None:
        raise InputError("With references the pictures are not degraded; give references or a degradation, not both.")
    found = _pictures(images)
    if how is not None:
        return [SampleFile(name, _degraded(path, name, how, scale, seed)) for name, path in found.items()], []
    if references is None:
        return [SampleFile(name, _plain(path, None, scale)) for name, path in found.items()], []
    theirs = _pictures(references)
    pairs, problems = match_names(found, theirs, (str(images), str(references)))
    partner = dict(pairs)
    samples = [
        SampleFile(name, _plain(path, theirs[partner[name]] if name in partner else None, scale))
        for name, path in found.items()
    ]
    return samples, problems


def describe_samples(with_references: bool, how: Degrade | None, scale: int, seed: int = 0) -> str:
    """For the report: where the pictures come from."""
    if how is None:
        return "The pictures were given with references." if with_references else "The pictures have no references."
    by_chance = f" (seed {seed})" if how is Degrade.REALESRGAN else ""
    return f"The pictures are references, made {scale} times smaller by {DEGRADATIONS[how][1]}{by_chance}."


def degraded_sample(reference: torch.Tensor, name: str, how: Degrade, scale: int, seed: int = 0) -> Sample:
    """A reference cut to a multiple of the scale, and its reduction. ``name`` and ``seed`` decide every chance, so
    that a picture is degraded alike in every run."""
    size = size_of(reference)
    if min(size) < scale:
        raise InputError(f"A picture of {size} cannot be reduced by {scale}; use larger pictures.")
    reference = reference[..., : size.height // scale * scale, : size.width // scale * scale]
    settings, _ = DEGRADATIONS[how]
    return Sample(degrade(reference, scale, settings, seed, zlib.crc32(name.encode())).degraded, reference)


def paired_sample(source: torch.Tensor, reference: torch.Tensor, scale: int) -> Sample:
    """A pair of which the reference may be up to ``scale`` - 1 pixels larger or smaller than the source times the
    scale, because its size was no multiple; both are then cut to whole source pixels.

    Raises ``InputError`` that names both sizes for anything further apart.
    """
    small, large = size_of(source), size_of(reference)
    wanted = small.scaled(scale)
    if abs(large.width - wanted.width) >= scale or abs(large.height - wanted.height) >= scale:
        raise InputError(
            f"The reference is {large}, but {small} enlarged by {scale} is {wanted}; give the scale that the pictures "
            "were reduced by."
        )
    whole = Size(min(small.width, large.width // scale), min(small.height, large.height // scale))
    cut = whole.scaled(scale)
    return Sample(source[..., : whole.height, : whole.width], reference[..., : cut.height, : cut.width])


def _pictures(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise InputError(f"There is no folder or picture {path}.")
    found = {name: file for name, file in files_in(path).items() if kind_of(file) is Kind.PICTURE}
    if not found:
        raise InputError(f"{path} holds no picture.")
    return found


def _plain(path: Path, reference: Path | None, scale: int) -> Callable[[], Sample]:
    def load() -> Sample:
        source = _read(path)
        return Sample(source, None) if reference is None else paired_sample(source, _read(reference), scale)

    return load


def _degraded(path: Path, name: str, how: Degrade, scale: int, seed: int) -> Callable[[], Sample]:
    return lambda: degraded_sample(_read(path), name, how, scale, seed)


def _read(path: Path) -> torch.Tensor:
    """The colours; models are compared on what they make of colour, so alpha is left out."""
    return read_picture(path, convert_to_srgb=True).picture
