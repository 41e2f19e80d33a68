"""The inputs that protect regions from invented detail, and their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.image.protect import Protection, ProtectMode, fitted_mask
from ..core.jobs.protect import Mask, ProtectSettings
from ..core.types import size_of
from .convert import Note
from .schema import ADVANCED, choice_input

NAME = "connected to protect"


def protect_inputs(what: str = "The image") -> list[io.Input]:
    """``what`` the mask lies over begins a sentence."""
    return [
        io.Mask.Input(
            "protect",
            optional=True,
            tooltip=f"Nothing is invented where this is white: {what[:1].lower()}{what[1:]} stays as it is, only "
            "larger. For a label, a logo or a face. Paint it in the mask editor or connect a segmentation node. It is "
            "not transparency.",
        ),
        choice_input(
            "protect_mode",
            ProtectMode.RESAMPLE,
            optional=True,
            extra_dict=ADVANCED,
            tooltip="How the protected area is made. resample: the source, magnified (Lanczos) and sharpened, without "
            "the model. anchor: the model's edges, corrected to match the source.",
        ),
    ]


def protection_of(mask: torch.Tensor | None, mode: str, picture: torch.Tensor, note: Note) -> Protection | None:
    """What a MASK protects of pictures (B, C, H, W); None if that is nothing. One of another size is fitted, and
    ``note`` is told if its aspect differs.

    Raises ``InputError`` for what is no MASK, of another shape, or neither one nor one for each picture.
    """
    area = _checked(mask)
    if area is None:
        return None
    if len(area) not in (1, len(picture)):
        raise InputError(
            f"There are {len(area)} masks in protect for {len(picture)} images; connect one mask for all, or one for "
            "each."
        )
    fitted = fitted_mask(area, size_of(picture), "The mask in protect")
    if fitted.note:
        note(f"{fitted.note}.")
    return Protection.of(fitted.mask, picture, ProtectMode(mode))


def settings_of_mask(mask: torch.Tensor | None, mode: str, pictures: str) -> ProtectSettings:
    """What one MASK protects of every file of a job, beside what lies beside each. ``pictures``: of what there are
    many. Raises ``InputError`` as ``protection_of``."""
    return ProtectSettings(mode=ProtectMode(mode), mask=still_mask(mask, mode, pictures))


def still_mask(mask: torch.Tensor | None, mode: str, pictures: str) -> Mask | None:
    """The one MASK for many ``pictures``. Raises ``InputError`` as ``protection_of``."""
    area = _checked(mask)
    if area is None:
        return None
    if len(area) != 1:
        raise InputError(f"There are {len(area)} masks in protect; connect one, which is for all {pictures}.")
    return Mask(NAME, ProtectMode(mode), pixels=area)


def _checked(mask: torch.Tensor | None) -> torch.Tensor | None:
    """(B, 1, H, W), or None if nothing is marked: what Load Image gives for a file without transparency has a size of
    its own."""
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor) or mask.ndim not in (2, 3) or not mask.is_floating_point() or 0 in mask.shape:
        shape: Sequence[int] | str = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise InputError(f"protect is {shape}; a MASK is (batch, height, width) or (height, width), 0 to 1.")
    area = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    bad = area.numel() - int(torch.isfinite(area).sum())
    if bad:
        raise InputError(f"The mask in protect has {bad} values that are NaN or infinite; look at what made it.")
    return area if bool((area > 0).any()) else None
