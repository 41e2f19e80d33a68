"""Which mask belongs to which file, and what it protects there."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ...model_loader.files import sha256_of
from ..errors import InputError
from ..image.protect import FittedMask, Protection, ProtectMode, fitted_mask
from ..media.picture.mask import read_mask, sidecar_of
from ..media.picture.read import PictureFile
from ..types import Box, Size, size_of
from .marketplace.framing import cut_out


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask, from the file ``path`` or in memory, (1, 1, h, w); ``name`` is for messages."""

    name: str
    mode: ProtectMode
    path: Path | None = None
    pixels: torch.Tensor | None = None

    @cached_property
    def sha256(self) -> str:
        """The hash of the mask and its mode. Raises ``InputError`` for a file that cannot be read."""
        return hashlib.sha256(f"{self.mode.value} {self._content()}".encode()).hexdigest()

    def _content(self) -> str:
        if self.pixels is not None:
            plain = self.pixels.float().cpu().contiguous().numpy()
            return f"{plain.shape} {hashlib.sha256(plain.tobytes()).hexdigest()}"
        assert self.path is not None, "a mask is in a file or in memory"
        try:
            return sha256_of(self.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be opened ({error.strerror or error}).") from error

    def read(self) -> torch.Tensor:
        """(1, 1, h, w). Raises ``InputError``."""
        if self.pixels is not None:
            return self.pixels.float().clamp(0, 1)
        assert self.path is not None, "a mask is in a file or in memory"
        return read_mask(self.path)

    def refuse_as_output(self, output: Path) -> None:
        """Raises ``InputError`` if the result would replace the mask."""
        if self.path is not None and os.path.realpath(self.path) == os.path.realpath(output):
            raise InputError(f"the output {output} is the protection mask; name another file or folder.")


@dataclass(frozen=True, kw_only=True, eq=False)
class ProtectSettings:
    """``mask`` is for every picture without a mask file beside it; ``sidecars``: whether such files count."""

    mode: ProtectMode = ProtectMode.RESAMPLE
    mask: Mask | None = None
    sidecars: bool = True

    def mask_for(self, source: Path) -> Mask | None:
        beside = sidecar_of(source) if self.sidecars else None
        return self.mask if beside is None else Mask(beside.name, self.mode, beside)


def mask_in_file(path: Path, mode: ProtectMode) -> Mask:
    """Reads the mask immediately: once for many pictures, and rejected before the work. Raises ``InputError``."""
    return Mask(path.name, mode, path, read_mask(path))


@dataclass(frozen=True)
class Protected:
    """What is protected of a picture, if anything, and notes about it."""

    protection: Protection | None = None
    notes: tuple[str, ...] = ()


def protect(mask: Mask | None, size: Size) -> Protected:
    """What a mask protects of a picture of that size. Raises ``InputError`` for a file that cannot be read, and for a
    mask with other proportions."""
    fitted = _fitted(mask, size)
    return Protected() if mask is None or fitted is None else _protected(mask, fitted, fitted.mask)


def protect_file(mask: Mask | None, file: PictureFile, box: Box) -> Protected:
    """``protect`` for a picture of which only ``box`` is enlarged, which may extend beyond it; the mask is for the
    whole picture."""
    fitted = _fitted(mask, size_of(file.picture))
    if mask is None or fitted is None:
        return Protected()
    return _protected(mask, fitted, cut_out(fitted.mask, box, (0.0,)))


def _fitted(mask: Mask | None, size: Size) -> FittedMask | None:
    return None if mask is None else fitted_mask(mask.read(), size, f"The mask {mask.name}")


def _protected(mask: Mask, fitted: FittedMask, pixels: torch.Tensor) -> Protected:
    protection = Protection.of(pixels, pixels, mask.mode)
    notes = [fitted.note] if fitted.note else []
    if protection is None:
        notes.append(f"the mask {mask.name} marks nothing, so nothing is protected")
    return Protected(protection, tuple(notes))
