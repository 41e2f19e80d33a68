"""ncnn computes what PyTorch computes, and says what it cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines.fuse import fuse_for_export
from backplate.core.engines.ncnn import engine as ncnn_engine
from backplate.core.engines.ncnn.convert import NotWritable, ncnn_files
from backplate.core.engines.ncnn.engine import (
    LARGEST_TILE,
    WORKSPACE,
    WORKSPACE_FACTOR,
    NcnnSettings,
    NcnnUpscaler,
    max_tile_pixels,
    open_model,
    settings_for,
)
from backplate.core.engines.ncnn.param import parse_param
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.registry import Engine, EngineRequest, EngineUnusable, open_upscaler
from backplate.core.errors import ModelOutputError
from backplate.core.media.picture.read import read_picture
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.model_loader.loaded import LoadedModel, load_model
from backplate.model_loader.precision import Precision
from devices import noise
from recorder import Recorder
from torch import nn
from torch.nn import functional

CPU = torch.device("cpu")
needs_ncnn = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")


def run(network: nn.Module, picture: torch.Tensor, folder: Path, **options: bool) -> torch.Tensor:
    param, weights = ncnn_files(network, **options)
    (folder / "m.param").write_bytes(param)
    (folder / "m.bin").write_bytes(weights)
    net = ncnn_engine._load(folder / "m.param", folder / "m.bin", NcnnSettings(threads=1))
    import ncnn
    import numpy

    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(picture[0].numpy()))
    code, result = extractor.extract("output")
    assert code == 0
    return torch.from_numpy(numpy.array(result)).unsqueeze(0)


@needs_ncnn
@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2", "rrdbnet x1", "span", "span without mean"])
@pytest.mark.parametrize("size", [(1, 1), (8, 64), (37, 61)], ids=str)
def test_tiles_through_ncnn_equal_pytorch(build: Callable[[str], LoadedModel], name: str, size: tuple[int, int]):
    model, picture = build(name), noise(*size)
    upscaler = open_model(EngineRequest(model=model, device=CPU))
    expected = model.descriptor(picture)
    exact = upscaler.spec.halo.exact
    for tile in (0, 32):
        result = upscale(picture, upscaler, TileSettings(size=tile))
        assert result.shape == expected.shape
        assert (result - expected).abs().max() < (1e-4 if exact or not tile else 0.5 / 255)


@needs_ncnn
def test_a_batch_is_run_picture_by_picture_and_not_changed(build: Callable[[str], LoadedModel]):
    model = build("compact")
    upscaler = open_model(EngineRequest(model=model, device=CPU))
    batch = torch.cat([noise(9, 12), noise(9, 12).flip(2)]).double()
    before = batch.clone()
    result = upscaler(batch)
    assert result.dtype == torch.float32
    assert (result - model.descriptor(batch.float())).abs().max() < 1e-5
    assert torch.equal(batch, before)


class Residual(nn.Module):
    """Every operation that the writer knows beside those of the real architectures."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.grouped = nn.Conv2d(12, 12, (3, 5), padding=(2, 2), dilation=(2, 1), groups=4)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.leaky_relu(self.first(x), 0.3)
        z = torch.relu(self.grouped(y)) - 2 * y
        z = functional.silu(1.5 - z) * torch.sigmoid(y)
        z = functional.pixel_shuffle(functional.pixel_unshuffle(z, 2), 2)
        z = torch.cat([z, y - 0.25], dim=1)
        return self.enlarge(z) + functional.interpolate(z, scale_factor=2, mode="nearest")


class InPlace(nn.Module):
    """Reads a value after an activation has overwritten it, as SPAN does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.act = nn.SiLU(inplace=True)
        self.leaky = nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        z = self.act(y)
        z = z + y
        w = self.leaky(z)
        return w + z


@needs_ncnn
@pytest.mark.parametrize("network", [Residual(), InPlace()], ids=lambda each: type(each).__name__)
def test_every_operation_is_written_as_pytorch_means_it(tmp_path: Path, network: nn.Module):
    picture = noise(8, 12)
    with torch.no_grad():
        expected = network(picture.clone())
    assert (run(network, picture, tmp_path) - expected).abs().max() < 1e-5


@needs_ncnn
def test_half_precision_weights_are_rounded_not_flushed(tmp_path: Path):
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1))
    with torch.no_grad():
        network[0].weight.mul_(1e-6)
        network[0].bias.zero_()
        rounded = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1))
        rounded[0].weight.copy_(network[0].weight.half().float())
        rounded[0].bias.zero_()
        expected = rounded(noise(8, 8))
    assert expected.abs().max() > 0
    torch.testing.assert_close(run(network, noise(8, 8), tmp_path, half=True), expected, rtol=1e-3, atol=1e-9)


class Rolling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, 1, dims=2)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.mean() > 0 else -x


def test_an_operation_that_is_not_known_is_named():
    with pytest.raises(NotWritable, match="roll"):
        ncnn_files(Rolling())
    with pytest.raises(NotWritable, match="depends on the picture"):
        ncnn_files(Branching())


@needs_ncnn
def test_an_unknown_operation_leaves_the_model_to_pytorch(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ncnn_engine, "fuse_for_export", lambda descriptor: Rolling())
    progress = Recorder()
    assert isinstance(open_upscaler(build("compact"), CPU, engine=Engine.NCNN, progress=progress), EagerUpscaler)
    assert len(progress.notes) == 1
    assert "Compact" in progress.notes[0]
    assert "roll" in progress.notes[0]


@needs_ncnn
def test_files_that_ncnn_cannot_read_are_refused_before_they_are_run(
    build: Callable[[str], LoadedModel], tmp_path: Path
):
    spec = open_model(EngineRequest(model=build("compact"), device=CPU)).spec
    param, weights = ncnn_files(fuse_for_export(build("compact").descriptor.model))
    (tmp_path / "m.param").write_bytes(param.replace(b"Convolution", b"Konvolution"))
    (tmp_path / "m.bin").write_bytes(weights)
    with pytest.raises(EngineUnusable, match=r"cannot read m\.param"):
        NcnnUpscaler(tmp_path / "m.param", tmp_path / "m.bin", spec)
    with pytest.raises(EngineUnusable):
        NcnnUpscaler(tmp_path / "absent.param", tmp_path / "m.bin", spec)


@needs_ncnn
def test_a_result_that_is_not_there_is_an_error(build: Callable[[str], LoadedModel], tmp_path: Path):
    spec = open_model(EngineRequest(model=build("compact"), device=CPU)).spec
    for suffix, content in zip(
        (".param", ".bin"), ncnn_files(fuse_for_export(build("compact").descriptor.model)), strict=True
    ):
        (tmp_path / f"m{suffix}").write_bytes(content)
    upscaler = NcnnUpscaler(tmp_path / "m.param", tmp_path / "m.bin", spec, names=("data", "result"))
    with pytest.raises(ModelOutputError, match="8x9"):
        upscaler(noise(9, 8))


@needs_ncnn
@pytest.mark.parametrize("change", [{"winograd": False}, {"sgemm": False}, {"winograd": False, "sgemm": False}])
def test_switches_change_nothing_but_rounding(
    build: Callable[[str], LoadedModel], tmp_path: Path, change: dict[str, bool]
):
    model, picture = build("compact"), noise(20, 20)
    spec = open_model(EngineRequest(model=model, device=CPU)).spec
    for suffix, content in zip((".param", ".bin"), ncnn_files(fuse_for_export(model.descriptor.model)), strict=True):
        (tmp_path / f"m{suffix}").write_bytes(content)
    upscaler = NcnnUpscaler(tmp_path / "m.param", tmp_path / "m.bin", spec, replace(NcnnSettings(), **change))
    assert (upscaler(picture) - model.descriptor(picture)).abs().max() < 1e-5


@needs_ncnn
def test_half_precision_is_used_only_when_asked_for():
    assert settings_for(CPU, Precision.AUTO) == NcnnSettings()
    assert settings_for(CPU, Precision.FP32) == NcnnSettings()
    assert settings_for(CPU, Precision.BF16) == NcnnSettings(bf16=True)


@needs_ncnn
def test_a_machine_without_vulkan_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ncnn.get_gpu_count", lambda: 0)
    with pytest.raises(EngineUnusable, match="no Vulkan device"):
        settings_for(torch.device("cuda"), Precision.AUTO)


@needs_ncnn
@pytest.mark.real_weights
def test_real_weights_differ_by_rounding_only(real_weights: Callable[[str], Path], shared: Path):
    model = load_model(real_weights("realesr-general-x4v3"))
    picture = read_picture(shared / "images/realesrgan/OST_009.png").picture[:, :, 40:240, 60:300]
    upscaler = open_model(EngineRequest(model=model, device=CPU))
    assert (upscale(picture, upscaler, TileSettings(size=100)) - model.descriptor(picture)).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2", "span"])
def test_the_largest_layer_is_read_from_the_graph(build: Callable[[str], LoadedModel], name: str):
    network = fuse_for_export(build(name).descriptor.model)
    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _module, given, result: sizes.extend((given[0].numel(), result.numel()))
            )
    network(noise(16, 24))
    graph = parse_param(ncnn_files(network)[0].decode("ascii"))
    assert graph.values_per_pixel == max(sizes) / (16 * 24)


def test_what_a_convolution_reads_counts_where_it_is_more_than_any_writes():
    graph = parse_param(
        "7767517\n5 6\nInput i 0 1 a\nSplit s 1 2 a b c\nConvolution f 1 1 b d 0=8 1=3 6=216\n"
        "Concat t 2 1 c d e 0=0\nConvolution l 1 1 e f 0=2 1=3 6=198"
    )
    assert graph.values_per_pixel == 3 + 8


def test_tiles_are_small_where_layers_are_large_or_memory_is_short():
    graph = parse_param(
        "7767517\n3 3\nInput i 0 1 a\nConvolution c 1 1 a b 0=64 1=3 6=1728\nPixelShuffle p 1 1 b c 0=4"
    )
    large = parse_param(
        "7767517\n3 3\nInput i 0 1 a\nInterp p 1 1 a b 1=4.0 2=4.0\nConvolution c 1 1 b c 0=64 1=3 6=1728"
    )
    assert (graph.values_per_pixel, large.values_per_pixel) == (64, 1024)
    assert max_tile_pixels(graph, 64 * 2**30) == LARGEST_TILE
    assert max_tile_pixels(large, 64 * 2**30) == WORKSPACE // (4 * 1024 * WORKSPACE_FACTOR)
    assert max_tile_pixels(large, 2 * 2**30) == 2**29 // (4 * 1024 * WORKSPACE_FACTOR)


@pytest.mark.parametrize(("index", "number"), [(0, 1), (1, 3)])
def test_a_card_is_found_by_its_name_among_vulkans_devices(monkeypatch: pytest.MonkeyPatch, index: int, number: int):
    names = ["Intel(R) UHD Graphics", "NVIDIA GeForce RTX 4090", "llvmpipe (LLVM 15)", "NVIDIA GeForce RTX 4090"]
    fake = SimpleNamespace(get_gpu_info=lambda n: SimpleNamespace(device_name=lambda: names[n]))
    monkeypatch.setattr(ncnn_engine, "_ncnn", lambda: fake)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA GeForce RTX 4090")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ncnn_engine.vulkan_number(torch.device("cuda", index), len(names)) == number
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA T4")
    with pytest.raises(EngineUnusable, match="Vulkan has no device NVIDIA T4"):
        ncnn_engine.vulkan_number(torch.device("cuda", index), len(names))
