"""The first steps of every comparison with a reference: check the pair, choose the channel, cut the border."""

from __future__ import annotations

from enum import Enum

import torch

from ..errors import InputError
from ..image.colour import luma, to_rgb
from ..image.resize import resize
from ..image.validate import check_alpha, check_picture
from ..types import Size, size_of


class Channel(str, Enum):
    """The channels on which PSNR and SSIM are computed."""

    RGB = "rgb"
    Y = "y"
    """Luma of BT.601 in studio range (16 to 235 of 255), as MATLAB's ``rgb2ycbcr``: what SR papers report."""


class Align(str, Enum):
    """What to do with a result whose size differs from its reference."""

    NONE = "none"
    CROP = "crop"
    """Crop both to the size they share, from the top left (a reference that was not a multiple of the scale)."""
    RESIZE = "resize"
    """Resample the result to the size of the reference (Lanczos)."""


def studio_luma(picture: torch.Tensor) -> torch.Tensor:
    """(B, 1 or 3, H, W) -> (B, 1, H, W): BT.601 luma in studio range, 16/255 to 235/255."""
    return (16 + 219 * luma(picture)) / 255


def check_pair(result: torch.Tensor, reference: torch.Tensor) -> None:
    """Raises ``InputError`` unless both are pictures of one size and number; grey beside RGB is allowed."""
    check_picture(result, "result")
    check_picture(reference, "reference")
    check_same_size(size_of(result), size_of(reference))
    if len(result) != len(reference):
        raise InputError(
            f"The result holds {len(result)} pictures and the reference {len(reference)}; give the same number of both."
        )


def check_same_size(result: Size, reference: Size) -> None:
    """Raises an ``InputError`` that states both sizes and how to align them."""
    if result != reference:
        shared = Size(min(result.width, reference.width), min(result.height, reference.height))
        raise InputError(
            f"The result is {result} and the reference {reference}; align 'crop' cuts both to {shared} from the "
            f"top left, align 'resize' resamples the result to {reference}."
        )


def with_float64(picture: torch.Tensor) -> torch.Tensor:
    """The picture on a device that has float64: itself, or a copy on the CPU (Apple's MPS has none)."""
    return picture if picture.device.type in ("cpu", "cuda") else picture.cpu()


def prepare(
    result: torch.Tensor, reference: torch.Tensor, channel: Channel, border: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two checked pictures as (B, C, H - 2*border, W - 2*border), float32 or float64, in the wanted channel.

    ``border`` pixels are left out on every side. Raises ``InputError`` where ``check_pair`` does, and for a
    border that leaves nothing.
    """
    check_pair(result, reference)
    size = size_of(result)
    if border < 0 or 2 * border >= min(size):
        raise InputError(
            f"A border of {border} pixels leaves nothing of a {size} picture; use 0 to {(min(size) - 1) // 2}."
        )
    return _select(result, reference, channel, border), _select(reference, result, channel, border)


def _select(picture: torch.Tensor, other: torch.Tensor, channel: Channel, border: int) -> torch.Tensor:
    cut = picture[..., border : picture.shape[-2] - border, border : picture.shape[-1] - border]
    cut = with_float64(cut if cut.dtype == torch.float64 else cut.float())
    if channel is Channel.Y:
        return studio_luma(cut)
    return to_rgb(cut) if other.shape[1] == 3 else cut


def align_pair(result: torch.Tensor, reference: torch.Tensor, align: Align) -> tuple[torch.Tensor, torch.Tensor]:
    """The pair at one size, as ``align`` says; unchanged where the sizes already agree."""
    ours, theirs = size_of(result), size_of(reference)
    if ours == theirs or align is Align.NONE:
        return result, reference
    if align is Align.RESIZE:
        return resize(result, theirs).clamp_(0, 1), reference
    width, height = min(ours.width, theirs.width), min(ours.height, theirs.height)
    return result[..., :height, :width], reference[..., :height, :width]


def settle_alpha(
    result: torch.Tensor,
    result_alpha: torch.Tensor | None,
    reference: torch.Tensor,
    reference_alpha: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The colours to compare: both pictures over mid grey where both have an alpha channel (B, 1, H, W), so that
    differences in alpha count and invisible colours do not. An alpha of one everywhere counts as none.

    Raises ``InputError`` when only one of them is transparent somewhere, or an alpha does not fit its picture.
    """
    for picture, alpha, what in ((result, result_alpha, "result"), (reference, reference_alpha, "reference")):
        if alpha is not None:
            check_alpha(alpha, picture, f"alpha of the {what}")
    ours, theirs = _transparent(result_alpha), _transparent(reference_alpha)
    if ours is None and theirs is None:
        return result, reference
    if ours is None or theirs is None:
        has, lacks = ("result", "reference") if theirs is None else ("reference", "result")
        raise InputError(
            f"The {has} is transparent in places and the {lacks} is not; put both on the same background first."
        )
    return _over_grey(result, ours), _over_grey(reference, theirs)


def _transparent(alpha: torch.Tensor | None) -> torch.Tensor | None:
    return None if alpha is None or bool((alpha >= 1).all()) else alpha


def _over_grey(picture: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    return picture * alpha + 0.5 * (1 - alpha)
