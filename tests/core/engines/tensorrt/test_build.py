"""Engines of TensorRT are built once and kept; the real package builds where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines.onnx.export import OnnxSettings, export_onnx
from backplate.core.engines.registry import EngineUnusable
from backplate.core.engines.tensorrt import engine as tensorrt_engine
from backplate.core.engines.tensorrt import package as tensorrt_package
from backplate.core.engines.tensorrt import runtime as tensorrt_runtime
from backplate.core.engines.tensorrt.build import BuildSettings, Profile, build_engine, parse, profile_for
from backplate.core.engines.tensorrt.package import Package
from backplate.core.progress import Cancelled, Progress
from backplate.core.types import SizeRule
from backplate.model_loader.loaded import LoadedModel
from recorder import Recorder

from .tensorrt_house import CPU, House, files

needs_rtx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorrt_rtx", "onnx", "onnxscript")),
    reason="tensorrt-rtx, onnx and onnxscript are not all installed",
)


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


@needs_rtx
def test_the_real_builder_builds_and_names_what_it_cannot_load(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "engines"))
    package = real_rtx()
    model = build("compact")
    export_onnx(model, tmp_path / "model.onnx", OnnxSettings(half=True))
    onnx = (tmp_path / "model.onnx").read_bytes()
    progress = Recorder()
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
        build_engine(package, onnx, profile_for(3, SizeRule(), 128), BuildSettings(), Recorder(checks=0))


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
