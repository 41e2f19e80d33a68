"""TensorRT: everything up to the builder with the real package, execution through a stand-in that uses PyTorch."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.backends import tensorrt_engine, tensorrt_package, tensorrt_runtime
from backplate.core.backends.artifacts import artifact_folder
from backplate.core.backends.eager import EagerUpscaler
from backplate.core.backends.engines import Engine, EngineRequest, EngineUnusable, open_upscaler
from backplate.core.backends.onnx_export import OnnxSettings, export_onnx
from backplate.core.backends.tensorrt_builder import BuildSettings, Profile, build_engine, parse, profile_for
from backplate.core.backends.tensorrt_package import Package, package_of, target_identity
from backplate.core.pipeline import TileSettings, upscale
from backplate.core.progress import Cancelled, Progress
from backplate.core.types import Size, SizeRule
from backplate.core.upscaler import ModelOutputError, OutOfMemory, Upscaler
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision

from .fake_tensorrt import FakeLane, FakeTensorRT

CPU = torch.device("cpu")
needs_rtx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorrt_rtx", "onnx", "onnxscript")),
    reason="tensorrt-rtx, onnx and onnxscript are not all installed",
)


class Listening(Progress):
    def __init__(self, checks: float = math.inf) -> None:
        self.notes: list[str] = []
        self.labels: list[str] = []
        self.checks = checks
        self.total = self.done = 0

    def begin(self, total: int, what: str = "") -> None:
        self.labels.append(what)
        self.total, self.done = total, 0

    def extend(self, steps: int) -> None:
        self.total += steps

    def advance(self, steps: int = 1) -> None:
        self.done += steps

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise Cancelled


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5))


class House:
    """A model, the stand-in for TensorRT, and the way to open one in the other."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.fake = FakeTensorRT(model.descriptor.model, model.facts.scale)
        self.package = package_of(self.fake, rtx=False)
        self.lane = FakeLane()
        self.progress = Listening()

    def open(self, **options: object) -> Upscaler:
        request = EngineRequest(**{"model": self.model, "device": CPU, "progress": self.progress, **options})
        return tensorrt_engine.open_with(self.package, request, lambda: self.lane)


@pytest.fixture
def house(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], House]:
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setattr(tensorrt_engine, "exported", lambda request, options: b"onnx")
    monkeypatch.setattr(tensorrt_engine, "onnx_identity", lambda model, options: {"weights": model.facts.sha256})
    monkeypatch.setattr(
        tensorrt_engine, "target_identity", lambda package, device: {"package": package.name, "gpu": "NVIDIA T4"}
    )
    return lambda name: House(build(name))


def files(kind: str) -> list[Path]:
    return sorted(artifact_folder().glob(f"*.{kind}"))


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_the_profile_is_sized_by_the_tile_that_is_run():
    profile = profile_for(3, SizeRule(multiple_of=4), 301, batch=2)
    assert profile.shapes == ((1, 3, 4, 4), (2, 3, 304, 304), (2, 3, 304, 304))
    assert profile.holds(Size(304, 8))
    assert not profile.holds(Size(305, 8))


@pytest.mark.parametrize("name", ["compact", "rrdbnet x2"])
@pytest.mark.parametrize("asked", [0, 32])
def test_every_tile_of_the_pipeline_fits_the_profile(
    house: Callable[[str], House], monkeypatch: pytest.MonkeyPatch, name: str, asked: int
):
    monkeypatch.setattr(tensorrt_engine, "TILE", 64)
    monkeypatch.setattr("backplate.core.backends.verify.SAMPLE_SIDE", 16)
    monkeypatch.setattr(tensorrt_engine, "SAMPLE_SIDE", 16)
    each = house(name)
    upscaler, progress = each.open(tile=asked), Listening()
    for height, width in ((90, 77), (20, 150), (150, 20), (64, 64)):
        upscale(noise(1, 3, height, width), upscaler, TileSettings(size=asked), progress)
    assert progress.notes == []


# -- execution, in PyTorch ---------------------------------------------------------------------------------------------


def test_tiles_of_every_size_run_through_the_addresses_that_were_given(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open(tile=32)
    picture = noise(1, 3, 90, 71)
    result = upscale(picture, upscaler, TileSettings(size=32))
    assert (result - each.model.descriptor(picture)).abs().max() < 1e-4
    tiny = noise(1, 3, 3, 2)
    assert (upscaler(tiny) - each.model.descriptor(tiny)).abs().max() < 1e-4
    block = each.fake.contexts[0].memory
    assert block[1] == 4096
    assert all(context.memory == block and set(context.streams) == {77} for context in each.fake.contexts)
    assert each.fake.builds[0].network.flags == 2


def test_batches_are_split_as_the_engine_takes_them(house: Callable[[str], House]):
    each = house("compact")
    picture = noise(3, 3, 20, 24)
    assert (each.open()(picture) - each.model.descriptor(picture)).abs().max() < 1e-4


def test_shapes_that_come_back_are_recorded_once(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open()
    pictures = [noise(1, 3, 20, 24), 1 - noise(1, 3, 20, 24), noise(1, 3, 20, 24).flip(3)]
    before = each.lane.captured
    results = [upscaler(picture) for picture in pictures]
    assert each.lane.captured == before + 1
    for picture, result in zip(pictures, results, strict=True):
        assert (result - each.model.descriptor(picture)).abs().max() < 1e-4
    for side in range(8, 20):
        upscaler(noise(1, 3, side, side))
        upscaler(noise(1, 3, side, side))
    assert each.lane.captured == tensorrt_runtime.MOST_GRAPHS


def test_a_stream_that_cannot_be_recorded_runs_without(house: Callable[[str], House]):
    each = house("compact")
    each.lane.fails = True
    upscaler = each.open()
    picture = noise(1, 3, 20, 24)
    for _ in range(3):
        assert (upscaler(picture) - each.model.descriptor(picture)).abs().max() < 1e-4


def test_a_tile_over_the_profile_is_cut_by_the_pipeline(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open(tile=32)
    with pytest.raises(OutOfMemory, match="tiles of up to"):
        upscaler(noise(1, 3, 300, 20))
    picture = noise(1, 3, 100, 40)
    result = upscale(picture, upscaler, TileSettings(size=100))
    assert (result - each.model.descriptor(picture)).abs().max() < 1e-4


def test_a_run_that_fails_gives_the_reason(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open()
    each.fake.runs, each.fake.said = False, "Cuda failure: illegal address"
    with pytest.raises(ModelOutputError, match=r"TensorRT failed on compact at 9x8 .*illegal address"):
        upscaler(noise(1, 3, 8, 9))
    each.fake.said = "Requested amount of GPU memory could not be allocated: out of memory"
    with pytest.raises(OutOfMemory, match="out of memory"):
        upscaler(noise(1, 3, 8, 9))


def test_half_precision_that_breaks_is_left_to_pytorch(house: Callable[[str], House]):
    each = house("compact")
    runner = SimpleNamespace(run=lambda batch: torch.full((1, 3, 16, 16), math.nan))
    opened: list[Upscaler] = []

    def fallback() -> Upscaler:
        opened.append(EagerUpscaler(each.model, CPU))
        return opened[-1]

    spec = tensorrt_engine.tiled_spec(each.model, profile_for(3, SizeRule(), 64))
    upscaler = tensorrt_engine.TensorRTUpscaler(runner, spec, profile_for(3, SizeRule(), 64), CPU, fallback)
    picture = noise(1, 3, 8, 8)
    for _ in range(2):
        assert (upscaler(picture) - each.model.descriptor(picture)).abs().max() < 1e-5
    assert len(opened) == 1


def test_an_engine_that_computes_something_else_is_not_used(house: Callable[[str], House]):
    each = house("compact")
    network = each.fake.network
    each.fake.network = lambda batch: network(batch) * 1.01
    with pytest.raises(EngineUnusable, match="differs by"):
        each.open()


# -- building and files ------------------------------------------------------------------------------------------------


def test_an_engine_is_built_once_and_found_again(house: Callable[[str], House]):
    each = house("compact")
    each.open(tile=32)
    each.open(tile=32)
    assert len(each.fake.builds) == 1
    config = each.fake.builds[0].config
    assert config.limits == {"workspace": BuildSettings().workspace}
    assert config.cleared == ["tf32"]
    assert config.known == b""
    assert each.progress.labels == ["building the TensorRT engine"]
    assert each.progress.done == each.progress.total == 4
    each.open(tile=40)
    assert each.fake.builds[1].config.known == b"timings"
    assert len(files("engine")) == 2
    assert len(files("timing")) == 1
    assert each.progress.notes == []


def test_every_part_of_the_identity_makes_another_file(house: Callable[[str], House]):
    each = house("compact")
    settings = tensorrt_engine.TensorRTSettings()
    profile = profile_for(3, SizeRule(), 64)

    def name(model: LoadedModel, settings: tensorrt_engine.TensorRTSettings, profile: Profile) -> str:
        return tensorrt_engine.engine_artifact(each.package, model, settings, profile, CPU).path.name

    names = {
        name(each.model, settings, profile),
        name(house("span").model, settings, profile),
        name(each.model, replace(settings, build=BuildSettings(tf32=True)), profile),
        name(each.model, replace(settings, build=BuildSettings(workspace=1)), profile),
        name(each.model, settings, replace(profile, batch=2)),
    }
    each.fake.__version__ = "11.4"
    names.add(name(each.model, settings, profile))
    assert len(names) == 6


def test_a_flipped_byte_is_noticed_and_built_again(house: Callable[[str], House]):
    each = house("compact")
    each.open()
    (file,) = files("engine")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    each.open()
    assert len(each.fake.builds) == 2
    assert len(each.progress.notes) == 1
    assert "not as it was built" in each.progress.notes[0]
    each.open()
    assert len(each.fake.builds) == 2


def test_an_engine_of_another_gpu_is_built_again_once_and_said_once(house: Callable[[str], House]):
    each = house("compact")
    each.open()
    each.fake.loads, each.fake.said = False, "The engine plan file is generated on an incompatible device"
    with pytest.raises(EngineUnusable, match=r"built an engine and then could not load it .*incompatible device"):
        each.open()
    assert len(each.fake.builds) == 2
    assert len(each.progress.notes) == 1
    assert "incompatible device" in each.progress.notes[0]
    assert files("engine") == []
    each.fake.loads = True
    each.open()
    assert len(files("engine")) == 1


def test_timings_of_another_gpu_are_left_out(house: Callable[[str], House]):
    each = house("compact")
    built = build_engine(
        each.package, b"onnx", profile_for(3, SizeRule(), 64), BuildSettings(), Progress(), timings=b"of another GPU"
    )
    assert each.fake.builds[0].config.known == b""
    assert built.timings == b"timings"


def test_out_of_memory_while_building_names_the_workspace(house: Callable[[str], House]):
    each = house("compact")
    each.fake.builds_succeed, each.fake.said = False, "[virtualMemoryBuffer.cpp] Error Code 2: OutOfMemory"
    with pytest.raises(EngineUnusable, match=r"512x512 pixels ran out of GPU memory with a workspace of 2048 MB"):
        each.open()
    each.fake.said = "Could not find any implementation for node {ForeignNode[a]}"
    with pytest.raises(EngineUnusable, match="could not build the engine.*any implementation for node"):
        each.open()
    assert files("engine") == []


def test_an_unknown_operator_is_named(house: Callable[[str], House]):
    each = house("compact")
    error = SimpleNamespace(node_operator=lambda: "Roll", desc=lambda: "no importer\nregistered")
    each.fake.parse_errors = [error]
    with pytest.raises(EngineUnusable, match=r"the operator Roll of the model \(no importer registered\)"):
        each.open()


def test_building_can_be_stopped(house: Callable[[str], House]):
    each = house("compact")
    each.progress.checks = 0
    with pytest.raises(Cancelled):
        each.open()
    assert files("engine") == []


# -- reasons, and PyTorch in its place ---------------------------------------------------------------------------------


def test_pytorch_takes_over_with_one_sentence(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    progress = Listening()
    monkeypatch.setattr(tensorrt_engine, "unusable", lambda: None)
    upscaler = open_upscaler(build("compact"), CPU, engine=Engine.TENSORRT, progress=progress)
    assert isinstance(upscaler, EagerUpscaler)
    (note,) = progress.notes
    assert note.startswith("compact runs in PyTorch instead of tensorrt: TensorRT runs on NVIDIA GPUs")


def test_missing_packages_and_gpus_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    assert tensorrt_engine.unusable() == "PyTorch finds no NVIDIA GPU, on which TensorRT runs"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install tensorrt, or tensorrt-rtx" in str(tensorrt_engine.unusable())


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (SimpleNamespace(__version__="10.9.0"), "TensorRT 10.9.0 is too old"),
        (ImportError("libnvonnxparser.so.11: cannot open shared object file"), "does not start.*libnvonnxparser"),
    ],
)
def test_packages_that_do_not_work_are_named(monkeypatch: pytest.MonkeyPatch, module: object, said: str):
    def load(name: str) -> object:
        if isinstance(module, ImportError):
            raise module
        return module

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(importlib, "import_module", load)
    with pytest.raises(EngineUnusable, match=said):
        tensorrt_package.open_package.__wrapped__()


def rtx(names: str) -> Package:
    members = {name: SimpleNamespace(name=name) for name in names.split()}
    trt = SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(__members__=members))
    return Package(trt, True, tensorrt_package.Messages(), None)


def test_targets_are_gpus_or_generations(house: Callable[[str], House], monkeypatch: pytest.MonkeyPatch):
    native = package_of(FakeTensorRT(torch.nn.Identity(), 1), rtx=False)
    with pytest.raises(EngineUnusable, match="builds for the GPU it runs on, and PyTorch finds none"):
        target_identity(native, None)
    portable = rtx("CURRENT NONE SM75 SM89")
    assert target_identity(portable, None)["targets"] == ["SM75", "SM89"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    cuda = torch.device("cuda")
    assert target_identity(native, cuda)["capability"] == "9.0"
    with pytest.raises(EngineUnusable, match=r"does not serve NVIDIA H100 \(compute capability 9\.0; it serves SM75"):
        target_identity(portable, cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert target_identity(portable, cuda) == target_identity(portable, None)


# -- the real package, which builds without a GPU ----------------------------------------------------------------------


@needs_rtx
def test_the_real_builder_builds_and_names_what_it_cannot_load(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "engines"))
    package = real_rtx()
    model = build("compact")
    export_onnx(model, tmp_path / "model.onnx", OnnxSettings(half=True))
    onnx = (tmp_path / "model.onnx").read_bytes()
    progress = Listening()
    built = build_engine(package, onnx, profile_for(3, SizeRule(), 128), BuildSettings(), progress)
    assert len(built.engine) > 10_000
    assert built.timings == b""
    assert progress.total > 20
    assert progress.done == progress.total
    if not torch.cuda.is_available():
        assert tensorrt_runtime.load_engine(package, built.engine) is None
        assert "CUDA" in package.messages.reason
    broken = bytearray(built.engine)
    broken[3] ^= 255
    assert tensorrt_runtime.load_engine(package, bytes(broken)) is None
    with pytest.raises(Cancelled):
        build_engine(package, onnx, profile_for(3, SizeRule(), 128), BuildSettings(), Listening(checks=0))


@needs_rtx
def test_the_real_parser_names_an_operator_it_does_not_know():
    onnx = importlib.import_module("onnx")
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in ("input", "output")]
    node = helper.make_node("Det", ["input"], ["output"])
    graph = helper.make_graph([node], "graph", value[:1], value[1:])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    package = real_rtx()
    builder = package.trt.Builder(package.logger)
    with pytest.raises(EngineUnusable, match="operator Det of the model"):
        parse(package, builder, content)
    with pytest.raises(EngineUnusable, match="cannot take the file of the model"):
        parse(package, builder, b"no model")


def real_rtx() -> Package:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed, and only one of the packages can be open in a process")
    return tensorrt_package.open_package()


@pytest.mark.cuda
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.FP32])
def test_a_real_engine_computes_what_the_model_computes(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
):
    if reason := tensorrt_engine.unusable():
        pytest.skip(reason)
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "engines"))
    model = build("compact")
    request = EngineRequest(model=model, device=torch.device("cuda", 0), precision=precision, tile=64)
    upscaler = tensorrt_engine.open_model(request)
    bar = 5e-3 if precision is Precision.FP16 else 1e-4
    picture = noise(1, 3, 200, 150)
    for _ in range(3):
        result = upscale(picture, upscaler, TileSettings(size=64))
        assert (result - model.descriptor(picture)).abs().max() < bar
