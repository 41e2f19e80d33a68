"""What a node does before anybody sets it: nothing of a picture is lost, and the best model that is there is taken."""

from __future__ import annotations

from typing import Any

import pytest
import torch

SIZED = [
    ("resolution", "UpscaleToResolution"),
    ("resolution", "FitToResolution"),
    ("folder", "UpscaleFolder"),
    ("video", "UpscaleVideo"),
]


@pytest.mark.parametrize(("module", "name"), SIZED)
def test_nothing_is_cropped_unless_asked(host: Any, module: str, name: str) -> None:
    (fit,) = [port for port in host.node(module, name).define_schema().inputs if port.id == "fit"]
    assert fit.given["default"] == "contain"
    assert "cover" in fit.given["options"]


def test_a_portrait_keeps_its_shape_and_says_so(host: Any) -> None:
    _, _, width, height, _ = host.run("resolution", "FitToResolution", image=torch.rand(1, 36, 24, 3))
    assert (width, height) == (1365, 2048)


@pytest.mark.parametrize(
    ("installed", "first"),
    [
        ([], "backplate-standard-x4.safetensors"),
        (["1x-mine.pth", "4x-UltraSharp.pth"], "backplate-standard-x4.safetensors"),
        (["realesr-general-x4v3.pth"], "realesr-general-x4v3.pth"),
        (["realesr-animevideov3.pth"], "backplate-standard-x4.safetensors"),
        (["realesr-animevideov3.pth", "realesr-general-x4v3.pth"], "realesr-general-x4v3.pth"),
        (["1x-mine.pth", "realesr-general-x4v3.pth", "RealESRGAN_x4plus.pth"], "RealESRGAN_x4plus.pth"),
    ],
)
def test_the_first_model_is_the_best_that_everybody_may_use(host: Any, installed: list[str], first: str) -> None:
    for name in installed:
        (host.models / name).touch()
    names = host.node("comfy_host", "model_names")()
    assert names[0] == first
    assert set(installed) < set(names)
    assert len(names) == len(set(names))
