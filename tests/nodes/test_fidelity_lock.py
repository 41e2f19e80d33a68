"""The node that locks any enlarged image to its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from conftest import Host


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 40, 48, 3), and what a careless upscaler made of it at 2.5 times."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 5, 6, generator=generator)
    large = functional.interpolate(coarse, size=(100, 120), mode="bicubic").clamp(0, 1)
    source = functional.interpolate(large, size=(40, 48), mode="area")
    wrong = (large + 0.05 + 0.1 * (torch.rand(large.shape, generator=generator) - 0.5)).clamp(0, 1)
    return source.movedim(1, 3), wrong.movedim(1, 3)


def test_the_image_agrees_with_its_source_and_the_report_says_so(host: Host) -> None:
    source, image = images()
    result, report = host.node("fidelity_lock", "FidelityLock").execute(image, source, 1.0, 0.0)
    assert result.shape == image.shape
    small = functional.interpolate(result.movedim(3, 1), size=(40, 48), mode="area").movedim(1, 3)
    assert (small - source).abs().mean() < 2 / 255
    assert report.startswith("120x100, locked to 48x40: reduced to the source's size it agrees with the source to")
    assert "a change of all colours by" in report


def test_alpha_is_kept_and_one_source_serves_a_batch(host: Host) -> None:
    source, image = images()
    alpha = torch.linspace(0.5, 1, 120).expand(1, 100, 120)[..., None]
    batch = torch.cat([image, alpha], dim=3).repeat(2, 1, 1, 1)
    result, report = host.node("fidelity_lock", "FidelityLock").execute(batch, source, 1.0, 0.0)
    assert torch.equal(result[..., 3:], batch[..., 3:])
    assert "Image 2: " in report


def test_a_source_that_is_too_large_is_refused(host: Host) -> None:
    source, image = images()
    with pytest.raises(Exception, match="120x100 is smaller than its source of 48x40|48x40 is smaller"):
        host.node("fidelity_lock", "FidelityLock").execute(source, image, 1.0, 0.0)
