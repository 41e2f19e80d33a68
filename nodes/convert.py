"""ComfyUI's IMAGE and MASK to our pictures and alpha, and back: once on the way in, once on the way out.

IMAGE is (B, H, W, C) with 1, 3 or 4 channels, MASK is (B, H, W) or (H, W) with 1 where the image is transparent.
An image of four channels carries its alpha; it comes out with four channels again. A mask beside an image of
fewer channels comes out as a mask again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch.nn import functional

from ..core.errors import InputError
from ..core.image.alpha import bleed
from ..core.image.crop_resize import resize_part
from ..core.image.tiling import Edge
from ..core.image.validate import check_alpha, check_picture
from ..core.types import FloatBox, Size, size_of

Note: TypeAlias = "Callable[[str], None]"
"""Receives a sentence about a change to an input."""

NO_MASK = Size(64, 64)
"""An all-zero mask of this size comes from core's Load Image for a file without transparency."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """``picture`` (B, C, H, W) float32, ``alpha`` (B, 1, H, W) or None; ``has_channel``: alpha came in the image."""

    picture: torch.Tensor
    alpha: torch.Tensor | None
    has_channel: bool

    @property
    def continued(self) -> torch.Tensor:
        """The picture for filters that look at neighbours: hidden colours replaced by those of visible pixels."""
        return self.picture if self.alpha is None else bleed(self.picture, self.alpha)


def receive(image: torch.Tensor, mask: torch.Tensor | None = None) -> Received:
    """Picture and alpha of an IMAGE, and of the MASK beside it if there is one.

    Raises ``InputError`` for anything that is not an IMAGE or MASK, for a mask of another size or batch, for values
    that are not finite, and if both the image and the mask define transparency.
    """
    if not isinstance(image, torch.Tensor) or image.ndim != 4 or image.shape[3] not in (1, 3, 4):
        raise InputError(
            f"image is {_describe(image)}; an IMAGE is (batch, height, width, channels) with 1, 3 or 4 channels."
        )
    planes = _float(image).movedim(3, 1)
    has_channel = planes.shape[1] == 4
    picture, alpha = (planes[:, :3], planes[:, 3:]) if has_channel else (planes, None)
    check_picture(picture, "image")
    drawn = receive_area(mask, picture)
    if drawn is not None and has_channel:
        raise InputError(
            "The image has an alpha channel and a mask is connected as well; disconnect the mask, or split the "
            "alpha off the image first."
        )
    alpha = alpha if drawn is None else 1 - drawn
    if alpha is not None:
        check_alpha(alpha, picture)
    return Received(picture=picture, alpha=alpha, has_channel=has_channel)


def receive_area(mask: torch.Tensor | None, picture: torch.Tensor) -> torch.Tensor | None:
    """A MASK as (B, 1, H, W) float32 beside ``picture``, 1 where it was painted; None without a mask.

    Raises ``InputError`` as ``receive`` does.
    """
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor) or mask.ndim not in (2, 3):
        raise InputError(f"mask is {_describe(mask)}; a MASK is (batch, height, width) or (height, width).")
    area = _float(mask.reshape(-1, 1, *mask.shape[-2:])).to(picture.device)
    size, wanted = size_of(area), size_of(picture)
    if size != wanted:
        if size == NO_MASK and not area.any():
            return None
        raise InputError(f"The mask is {size} and the image {wanted}; scale the mask to the size of the image first.")
    if len(area) not in (1, len(picture)):
        raise InputError(
            f"There are {len(area)} masks for {len(picture)} images; connect one mask for all, or one for each."
        )
    area = area.expand(len(picture), -1, -1, -1)
    check_alpha(area, picture)
    return area


def scaled_mask(mask: torch.Tensor | None, picture: torch.Tensor, note: Note) -> torch.Tensor | None:
    """The mask at the size of ``picture``, as ComfyUI's own nodes that lay one image over another bring it there.
    What is no mask, or none for a picture without transparency, is left for ``receive_area``."""
    if not isinstance(mask, torch.Tensor) or mask.ndim not in (2, 3) or not mask.is_floating_point():
        return mask
    size, wanted = size_of(mask), size_of(picture)
    if size == wanted or 0 in size or (size == NO_MASK and not mask.any()):
        return mask
    note(f"The mask is {size} and was scaled to the {wanted} of the image.")
    planes = mask.float().reshape(-1, 1, size.height, size.width)
    return functional.interpolate(planes, size=wanted[::-1], mode="bilinear")[:, 0]


def scaled_picture(picture: torch.Tensor, size: Size, what: str, note: Note) -> torch.Tensor:
    """A picture (B, C, H, W) that covers ``size``, with the excess cropped from both sides; ``what`` is its input."""
    given = size_of(picture)
    if given == size:
        return picture
    ratio = max(size.width / given.width, size.height / given.height)
    part = FloatBox(
        (given.width - size.width / ratio) / 2,
        (given.height - size.height / ratio) / 2,
        size.width / ratio,
        size.height / ratio,
    )
    cut = "" if part.width + part.height > sum(given) - 1 else ", and what was over was cut from its sides"
    note(f"{what} is {given} and was scaled to the {size} of the image{cut}.")
    return resize_part(picture, part, size, Edge.PLAIN)


def to_image(
    picture: torch.Tensor, alpha: torch.Tensor | None, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """IMAGE (B, H, W, C); with alpha it has one more channel (and grey becomes RGB)."""
    if alpha is not None:
        picture = torch.cat([picture.expand(-1, 3, -1, -1), alpha], dim=1)
    return picture.to(device=device, dtype=dtype).movedim(1, 3)


def to_mask(
    alpha: torch.Tensor | None, picture: torch.Tensor, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """MASK (B, H, W), 1 where transparent; all zero, of the size of ``picture``, if there is no alpha."""
    transparent = torch.zeros_like(picture[:, :1]) if alpha is None else 1 - alpha
    return area_to_mask(transparent, device, dtype)


def area_to_mask(area: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """MASK (B, H, W) of an area (B, 1, H, W) that is 1 where it applies."""
    return area[:, 0].to(device=device, dtype=dtype)


def _float(values: torch.Tensor) -> torch.Tensor:
    """Half precision to single; integers stay, so that the check refuses them."""
    return values.float() if values.is_floating_point() else values


def _describe(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
