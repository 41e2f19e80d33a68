"""Pictures for a shoot-out: what the models are given, and what they should make of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
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
    """How pictures that are references themselves are reduced."""

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
    """A picture (1, C, h, w) and, if known, the original that it was reduced from, (1, C, h*scale, w*scale)."""

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

    ``references``: a folder of the originals that the pictures were reduced from, matched by name. ``how``: the
    pictures are references themselves and are reduced first. Without either, results can only be compared with the
    source.

    Raises ``InputError`` for both at once, and where ``pair_files`` does.
    """
    if references is not None and how is not None:
        raise InputError("With references the pictures are not degraded; give references or a degradation, not both.")
    found, problems = _pictures(images), list[str]()
    originals: dict[str, Callable[[], torch.Tensor]] = {}
    if references is not None:
        theirs = _pictures(references)
        pairs, problems = match_names(found, theirs, (str(images), str(references)))
        originals = {name: partial(_read, theirs[partner]) for name, partner in pairs}
    samples = [
        sample_file(name, partial(_read, path), originals.get(name), how, scale, seed) for name, path in found.items()
    ]
    return samples, problems


def sample_file(
    name: str,
    picture: Callable[[], torch.Tensor],
    reference: Callable[[], torch.Tensor] | None,
    how: Degrade | None,
    scale: int,
    seed: int = 0,
) -> SampleFile:
    """A sample whose ``picture``, and ``reference`` if there is one, are read later. ``how`` as in ``samples_in``."""

    def load() -> Sample:
        if how is not None:
            return degraded_sample(picture(), name, how, scale, seed)
        return Sample(picture(), None) if reference is None else paired_sample(picture(), reference(), scale)

    return SampleFile(name, load)


def describe_samples(with_references: bool, how: Degrade | None, scale: int, seed: int = 0) -> str:
    """Where the pictures come from, for the report."""
    if how is None:
        return "The pictures were given with references." if with_references else "The pictures have no references."
    by_chance = f" (seed {seed})" if how is Degrade.REALESRGAN else ""
    return f"The pictures are references, made {scale} times smaller by {DEGRADATIONS[how][1]}{by_chance}."


def degraded_sample(reference: torch.Tensor, name: str, how: Degrade, scale: int, seed: int = 0) -> Sample:
    """A reference cropped to a multiple of the scale, and its reduction. ``name`` and ``seed`` determine every random
    draw, so that a picture is degraded in the same way in every run."""
    size = size_of(reference)
    if min(size) < scale:
        raise InputError(f"A picture of {size} cannot be reduced by {scale}; use larger pictures.")
    reference = reference[..., : size.height // scale * scale, : size.width // scale * scale]
    settings, _ = DEGRADATIONS[how]
    return Sample(degrade(reference, scale, settings, seed, zlib.crc32(name.encode())).degraded, reference)


def paired_sample(source: torch.Tensor, reference: torch.Tensor, scale: int) -> Sample:
    """A pair whose reference may be up to ``scale`` - 1 pixels larger or smaller than the source times the scale,
    because its size was not a multiple; both are then cropped to whole source pixels.

    Raises ``InputError`` with both sizes for larger differences.
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


def _read(path: Path) -> torch.Tensor:
    """The colours without alpha, which models do not process."""
    return read_picture(path, convert_to_srgb=True).picture
