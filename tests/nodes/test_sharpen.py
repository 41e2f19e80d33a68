"""Inputs of other sizes: scaled as ComfyUI's own nodes do, and never without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from conftest import Host

SETTINGS = {
    "amount": 1.0, "radius": 1.5, "threshold": 0.0, "halo_limit": 0.0, "luma_only": True, "protect_lines": 0.0
}  # fmt: skip


def image(height: int = 48, width: int = 64) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pattern = 0.5 + 0.3 * torch.sin(columns * 0.7) * torch.cos(rows * 0.5)
    return pattern[None, ..., None].expand(1, -1, -1, 3).contiguous()


def sharpened(host: Host, **inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    result = host.node("sharpen", "SharpenBlend").execute(image(), **SETTINGS, **inputs)
    return result[0], result[1]


def test_a_mask_of_another_size_is_scaled_bilinearly(host: Host) -> None:
    mask = torch.zeros(1, 24, 32)
    mask[:, :, 16:] = 1
    wanted = functional.interpolate(mask[:, None], size=(48, 64), mode="bilinear")[:, 0]
    ours, theirs = sharpened(host, mask=mask), sharpened(host, mask=wanted)
    torch.testing.assert_close(ours[0], theirs[0])
    assert host.said == ["The mask is 32x24 and was scaled to the 64x48 of the image."]


def test_the_empty_mask_of_load_image_is_none(host: Host) -> None:
    torch.testing.assert_close(sharpened(host, mask=torch.zeros(1, 64, 64))[0], sharpened(host)[0])
    assert not host.said


@pytest.mark.parametrize(
    ("height", "width", "cut"), [(24, 32, False), (96, 128, False), (48, 96, True), (80, 64, True)]
)
def test_detail_of_another_size_covers_the_image(host: Host, height: int, width: int, cut: int) -> None:
    detail = torch.full((1, height, width, 3), 0.25)
    result, _ = sharpened(host, detail=detail)
    assert result.shape == (1, 48, 64, 3)
    (said,) = host.said
    assert said.startswith(f"detail is {width}x{height} and was scaled to the 64x48 of the image")
    assert ("cut from its sides" in said) is bool(cut)


def test_detail_twice_as_large_is_the_same_picture_smaller(host: Host) -> None:
    base = image()
    large = functional.interpolate(base.movedim(3, 1), scale_factor=2, mode="bilinear").movedim(1, 3)
    scaled = host.node("convert", "scaled_picture")
    from backplate.core.types import Size

    small = scaled(large.movedim(3, 1), Size(64, 48), "detail", print)
    assert float((small - base.movedim(3, 1))[..., 4:-4, 4:-4].abs().max()) < 0.03
