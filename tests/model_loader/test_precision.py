from __future__ import annotations

import dataclasses

import pytest
import torch
from backplate.model_loader.errors import DeviceError, ModelError
from backplate.model_loader.loaded import ModelFacts
from backplate.model_loader.precision import Precision, choose_device, choose_dtype

FACTS = ModelFacts(
    name="tiny",
    architecture="DAT",
    tags=(),
    purpose="SR",
    scale=4,
    input_channels=3,
    output_channels=3,
    supports_half=True,
    supports_bfloat16=True,
    minimum_size=0,
    multiple_of=1,
    square=False,
    tiling="supported",
    parameters=1,
    size_bytes=4,
    sha256="0" * 64,
    licence=None,
    commercial_use=None,
)
CUDA = torch.device("cuda:0")
FP16, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32


def facts(half: bool, bfloat16: bool) -> ModelFacts:
    return dataclasses.replace(FACTS, supports_half=half, supports_bfloat16=bfloat16)


@pytest.fixture
def card(monkeypatch):
    def pretend(name: str, capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)

    return pretend


@pytest.mark.parametrize(
    ("name", "capability", "half", "bfloat16", "expected"),
    [
        ("Tesla T4", (7, 5), True, True, FP16),
        ("Tesla V100-SXM2-16GB", (7, 0), True, True, FP16),
        ("NVIDIA GeForce RTX 4090", (8, 9), True, True, FP16),
        ("NVIDIA GeForce RTX 4090", (8, 9), False, True, BF16),
        ("NVIDIA GeForce RTX 4090", (8, 9), False, False, FP32),
        ("Tesla T4", (7, 5), False, True, FP32),
        ("NVIDIA GeForce GTX 1080 Ti", (6, 1), True, True, FP32),
        ("NVIDIA GeForce GTX 1660 SUPER", (7, 5), True, True, FP32),
        ("NVIDIA GeForce GTX 1650", (7, 5), True, True, FP32),
        ("NVIDIA T1000 8GB", (7, 5), True, True, FP32),
        ("NVIDIA H200", (9, 0), True, True, FP16),
    ],
)
def test_automatic_precision_on_cuda(card, name, capability, half, bfloat16, expected):
    card(name, capability)
    assert choose_dtype(Precision.AUTO, facts(half, bfloat16), CUDA) == (expected, None)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_automatic_precision_elsewhere(device):
    assert choose_dtype(Precision.AUTO, FACTS, torch.device(device)) == (FP32, None)


@pytest.mark.parametrize("device", [torch.device("cpu"), torch.device("mps"), CUDA])
def test_fp32_is_always_followed(device):
    assert choose_dtype(Precision.FP32, FACTS, device) == (FP32, None)


@pytest.mark.parametrize(("requested", "dtype"), [(Precision.FP16, FP16), (Precision.BF16, BF16)])
def test_requests_that_the_card_can_do_are_followed(card, requested, dtype):
    card("NVIDIA GeForce RTX 3060", (8, 6))
    assert choose_dtype(requested, FACTS, CUDA) == (dtype, None)


@pytest.mark.parametrize(
    ("requested", "model", "name", "capability", "reason"),
    [
        ("fp16", facts(False, True), "RTX 3060", (8, 6), "the architecture DAT does not support fp16"),
        ("bf16", facts(True, False), "RTX 3060", (8, 6), "the architecture DAT does not support bf16"),
        ("bf16", FACTS, "Tesla T4", (7, 5), "Tesla T4 has compute capability 7.5, and bf16 is fast from 8.0 on"),
        ("fp16", FACTS, "GTX 1080", (6, 1), "GTX 1080 has compute capability 6.1, and fp16 is fast from 7.0 on"),
        ("fp16", FACTS, "GTX 1650", (7, 5), "fp16 gives black pictures on GTX 1650"),
    ],
)
def test_requests_that_cannot_be_followed_on_cuda(card, requested, model, name, capability, reason):
    card(name, capability)
    dtype, sentence = choose_dtype(Precision(requested), model, CUDA)
    assert dtype == FP32
    assert sentence == f"tiny runs in fp32 instead of {requested}: {reason}."


@pytest.mark.parametrize("requested", [Precision.FP16, Precision.BF16])
@pytest.mark.parametrize(("device", "reason"), [("cpu", "a hundred times slower"), ("mps", "on CUDA devices only")])
def test_half_precision_is_for_cuda_only(requested, device, reason):
    dtype, sentence = choose_dtype(requested, FACTS, torch.device(device))
    assert dtype == FP32
    assert reason in str(sentence)


@pytest.fixture
def machine(monkeypatch):
    def pretend(cuda: int, mps: bool, current: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "requested", "expected"),
    [
        (2, False, None, "cuda:1"),
        (2, False, "auto", "cuda:1"),
        (2, False, "cuda", "cuda:1"),
        (2, False, "CUDA:0", "cuda:0"),
        (1, False, "cpu", "cpu"),
        (0, True, None, "mps"),
        (0, True, "mps:0", "mps"),
        (0, False, None, "cpu"),
        (0, False, "cpu:0", "cpu"),
    ],
)
def test_devices_that_are_there(machine, cuda, mps, requested, expected):
    machine(cuda, mps, current=max(0, cuda - 1))
    assert str(choose_device(requested)) == expected


@pytest.mark.parametrize(
    ("cuda", "requested", "there"),
    [
        (0, "cuda", "cpu"),
        (0, "mps", "cpu"),
        (2, "cuda:2", "cuda:0 or cuda:1 or cpu"),
        (1, "gpu", "cuda:0 or cpu"),
        (1, "cuda:x", "cuda:0 or cpu"),
    ],
)
def test_a_device_that_is_not_there_names_those_that_are(machine, cuda, requested, there):
    machine(cuda, mps=False)
    with pytest.raises(DeviceError, match=f"^There is no device {requested} on this machine: use {there}\\.$"):
        choose_device(requested)


def test_all_errors_are_model_errors():
    assert issubclass(DeviceError, ModelError)


@pytest.mark.cuda
def test_a_real_card_runs_what_is_chosen_for_it():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = choose_device(None)
    dtype, _ = choose_dtype(Precision.AUTO, FACTS, device)
    picture = torch.rand(1, 3, 32, 32, device=device)
    weights = torch.rand(3, 3, 3, 3, device=device) / 27
    exact = torch.nn.functional.conv2d(picture.double(), weights.double())
    found = torch.nn.functional.conv2d(picture.to(dtype), weights.to(dtype))
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-2)
