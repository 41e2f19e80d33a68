"""Masks from files: one that is named, and one that lies beside a picture as ``NAME.protect.png``."""

from __future__ import annotations

from pathlib import Path, PurePath

import torch

from ...image.colour import luma
from .read import READABLE_SUFFIXES, read_picture

SIDECAR = ".protect.png"


def is_sidecar(name: str | PurePath) -> bool:
    """Whether a file of that name is the mask of a picture, by its name alone."""
    return PurePath(name).name.casefold().endswith(SIDECAR)


def sidecar_names(picture: PurePath) -> tuple[str, str]:
    """What the mask of a picture may be called: ``photo.jpg.protect.png`` goes before ``photo.protect.png``, so that
    ``photo.jpg`` and ``photo.png`` can have one each."""
    return f"{picture.name}{SIDECAR}", f"{picture.stem}{SIDECAR}"


def sidecar_of(picture: Path) -> Path | None:
    """The mask that lies beside a picture, if there is one."""
    if is_sidecar(picture):
        return None
    beside = (picture.with_name(name) for name in sidecar_names(picture))
    return next((path for path in beside if path.is_file()), None)


def is_of_a_picture(sidecar: str, others: frozenset[str]) -> bool:
    """Whether the picture that a mask belongs to is among the ``others``, all in one folder."""
    stem = sidecar[: -len(SIDECAR)]
    pictures = (name for name in (stem, *(f"{stem}{suffix}" for suffix in READABLE_SUFFIXES)) if name)
    folded = {name.casefold() for name in others if not is_sidecar(name)}
    return any(name.casefold() in folded for name in pictures if name.casefold().endswith(READABLE_SUFFIXES))


def read_mask(path: Path) -> torch.Tensor:
    """(1, 1, H, W), 0 to 1: the brightness of the file's picture, turned upright as it is shown; what is transparent is
    black. Raises ``InputError`` for a file that cannot be read."""
    file = read_picture(path)
    bright = luma(file.picture) if file.picture.shape[1] == 3 else file.picture
    return bright if file.alpha is None else bright * file.alpha
