"""Rejects tensors that are not pictures, with one sentence that states the numbers."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import InputError


def check_picture(picture: torch.Tensor, what: str = "image") -> None:
    """Raises ``InputError`` unless ``picture`` is a float (B, C, H, W) with C 1 or 3 and finite values."""
    _check_tensor(picture, what)
    if picture.shape[1] not in (1, 3):
        raise InputError(
            f"The {what} has {picture.shape[1]} channels; give 3 for colour or 1 for grey, and alpha apart from them."
        )
    _check_finite(picture, what)


def check_alpha(alpha: torch.Tensor, picture: torch.Tensor, what: str = "alpha") -> None:
    """Raises ``InputError`` unless ``alpha`` is a finite float (B, 1, H, W) of the size of ``picture``, for each of
    its pictures or one for all."""
    _check_tensor(alpha, what)
    if alpha.shape[1] != 1:
        raise InputError(f"The {what} has {alpha.shape[1]} channels instead of 1; give it as (B, 1, H, W).")
    if alpha.shape[-2:] != picture.shape[-2:]:
        raise InputError(
            f"The {what} is {alpha.shape[3]}x{alpha.shape[2]} but the image is {picture.shape[3]}x{picture.shape[2]}; "
            "bring them to one size first."
        )
    if len(alpha) not in (1, len(picture)):
        raise InputError(
            f"There are {len(alpha)} {what} planes for {len(picture)} images; give one for each or one for all."
        )
    _check_finite(alpha, what)


def _check_tensor(tensor: torch.Tensor, what: str) -> None:
    if tensor.ndim != 4:
        raise InputError(
            f"The {what} has {tensor.ndim} dimensions, {tuple(tensor.shape)}; a batch of pictures has 4, (B, C, H, W)."
        )
    if not tensor.is_floating_point():
        raise InputError(f"The {what} holds {tensor.dtype} values; give floating-point values from 0 to 1.")
    if 0 in tensor.shape:
        raise InputError(f"The {what} is empty, {tuple(tensor.shape)}; give at least one picture of 1x1 pixels.")


def _check_finite(tensor: torch.Tensor, what: str) -> None:
    # The sum is not finite if any value is not: one pass and no second tensor in the usual case.
    if torch.isfinite(tensor.sum(dtype=torch.float32)):
        return
    bad = ~torch.isfinite(tensor)
    count = int(bad.sum())
    if not count:
        return
    first = int(bad.flatten().byte().argmax())
    batch, channel, row, column = (int(i) for i in np.unravel_index(first, tuple(tensor.shape)))
    raise InputError(
        f"The {what} has {count} values that are NaN or infinite, the first in picture {batch}, channel {channel}, "
        f"row {row}, column {column}; an earlier step failed."
    )
