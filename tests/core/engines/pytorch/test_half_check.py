"""Half precision that breaks a picture is noticed, redone and remembered."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backplate.core.engines.pytorch import half_check as precision_check
from backplate.core.engines.pytorch.eager import EagerUpscaler, usable_dtype
from backplate.core.engines.pytorch.half_check import allow_tf32, is_degenerate
from backplate.core.errors import OutOfMemory
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[4]
LOAD = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("backplate", {str(ROOT / "__init__.py")!r},
                                              submodule_search_locations=[{str(ROOT)!r}])
sys.modules["backplate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["backplate"])
"""
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
    assert bool(is_degenerate(result, source)) is broken


@pytest.fixture
def pretended_half(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    """A model whose half precision is said to be usable here."""
    monkeypatch.setattr(precision_check, "_unfit", set())
    monkeypatch.setattr("backplate.core.engines.pytorch.eager.choose_dtype", lambda *_: (torch.float16, None))
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
        with allow_tf32(tf32=wanted):
            assert torch.backends.cudnn.allow_tf32 is wanted
        assert torch.backends.cudnn.allow_tf32 is before


def test_switches_of_any_age_are_used_and_left_as_they_were():
    """PyTorch raises for the old switch once anybody in the process has set one of the new ones."""
    program = """
import torch
from backplate.core.engines.pytorch.half_check import allow_tf32
torch.backends.cudnn.conv.fp32_precision = "tf32"
torch.backends.cudnn.rnn.fp32_precision = "ieee"
with allow_tf32(tf32=False):
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"
assert torch.backends.cudnn.conv.fp32_precision == "tf32"
assert torch.backends.cudnn.rnn.fp32_precision == "ieee"
"""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has the old switches only")
    done = subprocess.run([sys.executable, "-c", LOAD + program], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr


def test_no_room_for_single_precision_is_never_a_black_picture(pretended_half: LoadedModel):
    """The precision and the network change together, so the next try is checked as well."""

    def no_room(descriptor: object, device: torch.device) -> object:
        if next(descriptor.model.parameters()).dtype == torch.float16:  # type: ignore[attr-defined]
            return Black(descriptor)
        raise torch.OutOfMemoryError("CUDA out of memory: the copy does not fit")

    upscaler = EagerUpscaler(pretended_half, CPU, place=no_room)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(OutOfMemory):
            upscaler(SOURCE)
        assert upscaler.dtype == torch.float16


def test_two_broken_tiles_in_flight_do_not_condemn_single_precision(
    pretended_half: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    upscaler = EagerUpscaler(pretended_half, CPU, place=place)  # type: ignore[arg-type]
    monkeypatch.setattr(upscaler, "_transfers", Copies())
    expected = pretended_half.descriptor(SOURCE)
    first, second = upscaler.submit(SOURCE), upscaler.submit(SOURCE)
    assert torch.allclose(first(), expected, atol=1e-5)
    assert torch.allclose(second(), expected, atol=1e-5)
    assert upscaler.dtype == torch.float32
    assert not precision_check.is_unfit(pretended_half.facts.sha256, torch.float32, CPU)


class Copies:
    """Transfers of a device whose memory is the machine's."""

    def upload(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.clone()

    def download(self, result: torch.Tensor) -> Callable[[], torch.Tensor]:
        return lambda: result
