"""Half precision that breaks a picture is noticed, redone and remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from backplate.core.backends import precision_check
from backplate.core.backends.eager import EagerUpscaler, usable_dtype
from backplate.core.backends.precision_check import looks_broken, rounding
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision

CPU = torch.device("cpu")
SOURCE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
FLAT = torch.full((2, 3, 8, 8), 0.25)


@pytest.mark.parametrize(
    ("result", "source", "broken"),
    [
        (SOURCE, SOURCE, False),
        (torch.zeros_like(SOURCE), SOURCE, True),
        (torch.cat([SOURCE[:1], FLAT[:1]]), SOURCE, True),
        (torch.zeros_like(SOURCE), FLAT, False),
        (SOURCE, FLAT, False),
        (torch.where(SOURCE > 0.99, torch.nan, SOURCE), SOURCE, True),
        (torch.where(SOURCE > 0.99, torch.inf, SOURCE), FLAT, True),
    ],
    ids=["good", "black", "one of two flat", "flat from flat", "texture from flat", "nan", "infinite"],
)
def test_what_looks_broken(result: torch.Tensor, source: torch.Tensor, broken: bool):
    assert bool(looks_broken(result, source)) is broken


@pytest.fixture
def pretended_half(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    """A model whose half precision is said to be usable here."""
    monkeypatch.setattr(precision_check, "_unfit", set())
    monkeypatch.setattr("backplate.core.backends.eager.choose_dtype", lambda *_: (torch.float16, None))
    return build("compact")


class Black:
    """A model that gives black in half precision, as some cards do."""

    def __init__(self, runner: object) -> None:
        self.model = runner.model  # type: ignore[attr-defined]
        self.runner = runner

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(picture).repeat_interleave(2, 2).repeat_interleave(2, 3)


def place(descriptor: object, device: torch.device) -> object:
    half = next(descriptor.model.parameters()).dtype == torch.float16  # type: ignore[attr-defined]
    return Black(descriptor) if half else descriptor


def test_black_is_redone_in_single_precision_remembered_and_said_once(
    pretended_half: LoadedModel, caplog: pytest.LogCaptureFixture
):
    upscaler = EagerUpscaler(pretended_half, CPU, place=place)  # type: ignore[arg-type]
    assert upscaler.dtype == torch.float16
    expected = pretended_half.descriptor(SOURCE)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.allclose(upscaler(SOURCE), expected, atol=1e-5)
    assert upscaler.dtype == torch.float32
    assert caplog.text.count("broken pictures") == 1
    precision_check._unfit.clear()
    dtype, note = usable_dtype(Precision.AUTO, pretended_half, CPU)
    assert dtype == torch.float32, "also in a later process"
    assert note is not None
    assert "before" in note


def test_what_is_black_in_single_precision_too_is_the_models_own(
    pretended_half: LoadedModel, caplog: pytest.LogCaptureFixture
):
    upscaler = EagerUpscaler(pretended_half, CPU, place=lambda d, _: Black(d))  # type: ignore[arg-type,return-value]
    assert not upscaler(SOURCE).any()
    assert upscaler.dtype == torch.float16
    assert not precision_check.is_unfit(pretended_half.facts.sha256, torch.float16, CPU)
    assert not caplog.text


@pytest.mark.parametrize("before", [True, False])
def test_tf32_is_used_where_asked_and_then_as_before(before: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    for wanted in (True, False):
        with rounding(tf32=wanted):
            assert torch.backends.cudnn.allow_tf32 is wanted
        assert torch.backends.cudnn.allow_tf32 is before
