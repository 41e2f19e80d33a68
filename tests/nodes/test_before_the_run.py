"""What can be known before a prompt runs is refused there, with the sentence that a run would give."""

from __future__ import annotations

from typing import Any

import pytest

SIZED = [
    ("resolution", "UpscaleToResolution"),
    ("resolution", "FitToResolution"),
    ("folder", "UpscaleFolder"),
    ("video", "UpscaleVideo"),
]
GOOD = {"width": 640, "height": 480, "fit": "pad", "pad_with": "colour", "pad_colour": "#102030"}


@pytest.mark.parametrize(("module", "name"), SIZED)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pad_colour": "grass"}, "pad_colour: 'grass' is not an opaque colour"),
        ({"width": 0, "height": 0}, "width"),
        ({"width": -1}, "width is -1; give a whole number from 0 to 16384."),
        ({"fit": "squeeze"}, "fit is 'squeeze'; choose one of"),
    ],
)
def test_a_size_or_colour_that_cannot_be_is_refused(
    host: Any, module: str, name: str, change: dict[str, Any], said: str
) -> None:
    node = host.node(module, name)
    assert node.validate_inputs(**GOOD) is True
    assert said in node.validate_inputs(**GOOD | change)


@pytest.mark.parametrize(("module", "name"), SIZED)
def test_what_is_not_used_or_comes_over_a_link_is_not_refused(host: Any, module: str, name: str) -> None:
    node = host.node(module, name)
    assert node.validate_inputs() is True
    assert node.validate_inputs(**GOOD | {"pad_colour": "grass", "pad_with": "edge"}) is True
    assert node.validate_inputs(**GOOD | {"width": 0, "height": None}) is True
    for fit in ("factor", "megapixels"):
        assert node.validate_inputs(**GOOD | {"width": 0, "height": 0, "fit": fit}) is True


@pytest.mark.parametrize(("module", "name"), [("measure", "CompareToReference"), ("shootout", "ModelShootout")])
def test_metrics_that_there_are_not_are_refused(host: Any, module: str, name: str) -> None:
    node = host.node(module, name)
    assert node.validate_inputs("psnr, SSIM") is True
    assert node.validate_inputs(None) is True
    assert node.validate_inputs("psnr,sim").endswith("did you mean ssim?")
