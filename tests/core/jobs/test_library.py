"""The library's face does what the parts behind it do."""

from __future__ import annotations

from pathlib import Path

import backplate
import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.fit import Fit, Target
from backplate.core.tiled import pipeline
from backplate.model_loader import loaded
from backplate.model_loader.errors import ModelError
from backplate.model_loader.find import BUNDLED

FILE = BUNDLED / "backplate-lite-x2.safetensors"
CPU = torch.device("cpu")


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(1, 3, 30, 44, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", [FILE, str(FILE), "backplate-lite-x2"])
def test_a_picture_is_enlarged_as_by_the_pipeline(picture: torch.Tensor, name: str | Path) -> None:
    upscaler = backplate.load_model(name, device="cpu")
    own = EagerUpscaler(loaded.load_model(FILE), CPU)
    for keep in (True, False):
        expected = pipeline.upscale(picture, own, pipeline.TileSettings(keep_colours=keep))
        assert torch.equal(backplate.upscale(picture, upscaler, keep_colours=keep), expected)


@pytest.mark.parametrize(("fit", "size"), [("contain", (82, 120)), ("cover", (100, 120)), ("pad", (100, 120))])
def test_a_picture_is_brought_to_size(picture: torch.Tensor, fit: str, size: tuple[int, int]) -> None:
    upscaler = backplate.load_model(FILE, device="cpu")
    result = backplate.upscale_to(picture, upscaler, width=120, height=100, fit=fit)
    assert result.shape[2:] == size
    target = Target(fit=Fit(fit), width=120, height=100)
    tiles = pipeline.TileSettings(keep_colours=True)
    assert torch.equal(result, pipeline.upscale_to(picture, None, upscaler, target, tiles).picture)


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ModelError, match="no such model"):
        backplate.load_model("no such model", device="cpu")
    with pytest.raises(ValueError, match="'fast' is not a valid Precision"):
        backplate.load_model(FILE, precision="fast")
    with pytest.raises(AttributeError, match="downscale"):
        _ = backplate.downscale  # type: ignore[attr-defined]
