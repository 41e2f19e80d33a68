"""A real cutout has no halo: over black and over white it differs from plain resampling no more at its edge than
inside, where only the model's own work is seen; its colours are left as it made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.filters import local_maximum, local_minimum
from backplate.core.image.resize import resize
from backplate.core.media.picture.read import read_picture
from backplate.core.tiled.pipeline import TileSettings, upscale_with_alpha
from backplate.core.types import Size
from backplate.model_loader.loaded import load_model

EDGE = 12
"""Pixels of the result on both sides of the cut: three of the source."""


@pytest.mark.real_weights
@pytest.mark.parametrize("ground", [0.0, 1.0], ids=["black", "white"])
def test_a_cutout_has_no_halo(shared: Path, real_weights: Callable[[str], Path], ground: float):
    source = read_picture(shared / "images/realesrgan/children-alpha.png")
    assert source.alpha is not None
    picture, alpha = source.picture, source.alpha
    model = EagerUpscaler(load_model(real_weights("realesr-animevideov3")), torch.device("cpu"))
    result, cover = upscale_with_alpha(picture, alpha, model, TileSettings(keep_colours=False))
    assert cover is not None
    ours = result * cover + ground * (1 - cover)
    size = Size(picture.shape[3], picture.shape[2]).scaled(4)
    plain = resize(picture * alpha + ground * (1 - alpha), size).clamp(0, 1)
    difference = (ours - plain).mean(dim=1, keepdim=True)
    opaque, clear = local_minimum(cover, EDGE) == 1, local_maximum(cover, EDGE) == 0
    edge = ~opaque & ~clear
    assert difference[edge].abs().mean() <= difference[opaque].abs().mean()
    assert difference[edge].mean().abs() <= difference[opaque].mean().abs()
    assert difference[clear].abs().max() < 1e-5
