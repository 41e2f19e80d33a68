"""The views of a picture before and after lie over each other, whatever was cropped or padded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from backplate.core.image.fit import Fit, Target
from backplate.core.tiled.pipeline import upscale_to
from PIL import Image
from torchvision.transforms import functional as convert_image

if TYPE_CHECKING:
    from conftest import Host


def smooth(height: int, width: int) -> torch.Tensor:
    """(1, 3, height, width)"""
    rows, columns = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 5, width), indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(rows + phase + columns) for phase in range(3)])[None]


def shown(host: Host, files: list[dict[str, str]]) -> list[torch.Tensor]:
    folder = Path(host.folders / "temp")
    return [convert_image.to_tensor(Image.open(folder / file["filename"])) for file in files]


@pytest.mark.parametrize(
    "target",
    [
        Target(fit=Fit.COVER, width=90, height=40),
        Target(fit=Fit.PAD, width=60, height=90),
        Target(fit=Fit.CONTAIN, width=90, height=90),
        Target(fit=Fit.FACTOR, factor=2),
        Target(fit=Fit.MEGAPIXELS, megapixels=0.01, multiple_of=8),
        Target(fit=Fit.LONGEST, width=4000, height=4000),
    ],
    ids=lambda target: target.fit.value,
)
def test_what_a_plain_scaler_made_looks_the_same_before_and_after(host: Host, target: Target) -> None:
    from backplate.nodes import before_after, convert

    received = convert.Received(picture=smooth(48, 64), alpha=None, has_channel=False)
    result = upscale_to(received.picture, None, None, target)
    before, after = shown(host, before_after.of_resolution(received, result, target)[before_after.KEY])
    assert before.shape == after.shape
    assert max(before.shape) <= before_after.LONGEST_SIDE
    assert (before - after).abs().mean() < 0.01


def test_views_show_transparency_as_a_checkerboard(host: Host) -> None:
    from backplate.nodes import before_after, comfy_host

    picture, alpha = smooth(40, 40), torch.zeros(1, 1, 40, 40)
    files = before_after.of_same_frame(picture, picture, alpha, alpha)[before_after.KEY]
    for view in shown(host, files):
        assert (view - comfy_host.checkerboard(40, 40)).abs().mean() < 0.02
