"""An engine of TensorRT as a file of its own: what identifies it lies beside it, and nothing else is run."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines.export.files import open_engine_file, read_record, record_path
from backplate.core.engines.registry import EngineUnusable
from backplate.core.engines.tensorrt import engine as tensorrt_engine
from backplate.core.engines.tensorrt import export as tensorrt_export
from backplate.core.engines.tensorrt import file as tensorrt_file
from backplate.core.engines.verify import Difference
from backplate.core.errors import InputError, ModelOutputError
from backplate.core.progress import Cancelled
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.model_loader.loaded import LoadedModel

from .tensorrt_house import CPU, House, noise


@pytest.fixture(autouse=True)
def proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison needs ONNX Runtime or a GPU, and its packages."""
    monkeypatch.setattr(tensorrt_export, "missing_packages", lambda: None)
    monkeypatch.setattr(tensorrt_export, "_proof", lambda request, half: ("compared", Difference(1e-6, 1e-7)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that could run engines, as far as is looked at before a file is."""
    monkeypatch.setattr(tensorrt_file, "unusable", lambda: None)


@pytest.mark.parametrize("name", ["compact", "rrdbnet x2"])
@pytest.mark.parametrize("half", [False, True])
def test_a_file_runs_alone(house: Callable[[str], House], tmp_path: Path, name: str, half: bool):
    each, main = house(name), tmp_path / "out" / "m.engine"
    built = each.export(main, half=half)
    assert sorted(path.name for path in main.parent.iterdir()) == ["m.engine", "m.engine.json"]
    assert str(main) in built.text()
    assert str(record_path(main)) in built.text()
    upscaler = each.open_file(main)
    assert upscaler.spec.scale == each.model.facts.scale
    picture = noise(1, 3, 90, 71)
    same = upscale(picture, each.open(tile=32), TileSettings(size=32))
    result = upscale(picture, upscaler, TileSettings(size=32))
    assert torch.equal(result, same)
    bar = 1e-4 if upscaler.spec.halo.exact else 0.5 / 255
    assert (result - each.model.descriptor(picture)).abs().max() < bar


def test_the_record_says_what_the_engine_is_and_for_whom(house: Callable[[str], House], tmp_path: Path):
    each, main = house("compact"), tmp_path / "m.engine"
    each.export(main, half=True)
    record = read_record(main)
    assert record is not None
    assert (record.scale, record.input_channels, record.half, record.largest_difference) == (2, 3, True, 1e-6)
    assert record.model_sha256 == each.model.facts.sha256
    assert list(record.files) == ["m.engine"]
    spec = tensorrt_engine.untiled_spec(each.model)
    side = 32 + 2 * spec.aligned_halo
    assert record.built["profile"]["tile"] == [max(side, tensorrt_engine.SAMPLE_SIDE)] * 2
    assert record.built["target"]["gpu"] == "NVIDIA T4"


def test_files_that_are_there_stay(house: Callable[[str], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    each, main = house("compact"), tmp_path / "m.engine"
    monkeypatch.setattr(tensorrt_export, "open_package", lambda: each.package)
    record_path(main).write_text("mine")
    with pytest.raises(InputError, match=r"m\.engine\.json already exists"):
        tensorrt_export.export_tensorrt(each.model, main)
    assert not main.exists()
    tensorrt_export.export_tensorrt(each.model, main, overwrite=True)
    with pytest.raises(InputError, match=r"m\.engine already exists"):
        tensorrt_export.export_tensorrt(each.model, main)


def test_an_export_that_is_stopped_leaves_nothing(house: Callable[[str], House], tmp_path: Path):
    each, main = house("compact"), tmp_path / "m.engine"
    each.progress.checks = 0
    with pytest.raises(Cancelled):
        each.export(main)
    assert not main.exists()
    assert not record_path(main).exists()


def test_an_export_without_tensorrt_is_refused_before_any_work(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(
        tensorrt_export, "open_package", tensorrt_export.open_package.__wrapped__  # pyright: ignore
    )  # fmt: skip
    monkeypatch.setattr(tensorrt_export, "export_with", None)
    with pytest.raises(InputError, match="compact is not exported: neither tensorrt nor tensorrt-rtx is installed"):
        tensorrt_export.export_tensorrt(build("compact"), tmp_path / "out" / "m.engine")
    assert not (tmp_path / "out").exists()


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_noticed(house: Callable[[str], House], tmp_path: Path, here: None):
    each, main = house("compact"), tmp_path / "m.engine"
    each.export(main)
    content = bytearray(main.read_bytes())
    content[-3] ^= 1
    main.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.engine has changed since it was exported .*; export compact again\."):
        open_engine_file(main, CPU)


def test_an_engine_without_its_record_is_not_touched(tmp_path: Path, here: None):
    main = tmp_path / "foreign.engine"
    main.write_bytes(b"somebody's engine")
    with pytest.raises(InputError, match=r"foreign\.engine cannot be run, .*: foreign\.engine\.json is not beside it"):
        open_engine_file(main, CPU)


@pytest.mark.parametrize("built", [{}, {"profile": {"tile": 1}}, {"profile": [], "target": {}}])
def test_a_record_that_does_not_say_for_whom_is_refused(
    house: Callable[[str], House], tmp_path: Path, here: None, built: dict[str, object]
):
    each, main = house("compact"), tmp_path / "m.engine"
    each.export(main)
    values = json.loads(record_path(main).read_text())
    record_path(main).write_text(json.dumps({**values, "built": built}))
    with pytest.raises(EngineUnusable, match=r"m\.engine\.json does not say what it was built for"):
        each.open_file(main)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"gpu": "NVIDIA A100", "capability": "8.0"},
            r"for NVIDIA T4 \(.*7\.5\), and here is .*NVIDIA A100 \(.*8\.0\)",
        ),
        ({"package": "TensorRT 11.4"}, "built by TensorRT 10.16.1 on .*, and here is TensorRT 11.4"),
        ({"system": "Windows"}, "on Linux x86_64 for .*, and here is .*on Windows x86_64"),
    ],
)
def test_an_engine_for_others_is_refused(
    house: Callable[[str], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, str], said: str
):
    each, main = house("compact"), tmp_path / "m.engine"
    each.export(main)
    target = tensorrt_file.target_identity(each.package, CPU)
    monkeypatch.setattr(tensorrt_file, "target_identity", lambda package, device: {**target, **other})
    with pytest.raises(EngineUnusable, match=f"{said}.*; export compact here again"):
        each.open_file(main)


def test_an_engine_for_many_gpus_names_them(
    house: Callable[[str], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    each, main = house("compact"), tmp_path / "m.engine"
    portable = {"package": "TensorRT for RTX 1.7", "system": "Linux", "machine": "x86_64", "targets": ["SM75", "SM89"]}
    monkeypatch.setattr(tensorrt_export, "target_identity", lambda package, device: portable)
    each.export(main)
    with pytest.raises(EngineUnusable, match="built by TensorRT for RTX 1.7 on Linux x86_64 for GPUs of SM75, SM89"):
        each.open_file(main)


def test_an_engine_that_tensorrt_does_not_take_gives_its_reason(house: Callable[[str], House], tmp_path: Path):
    each, main = house("compact"), tmp_path / "m.engine"
    each.export(main)
    each.fake.loads, each.fake.said = False, "Serialization assertion failed: version tag does not match"
    with pytest.raises(EngineUnusable, match=r"does not take it \(Serialization assertion failed.*\); export compact"):
        each.open_file(main)


@pytest.mark.parametrize(
    ("installed", "gpu", "said"),
    [
        (False, False, "neither tensorrt nor tensorrt-rtx is installed; pip install tensorrt"),
        (True, False, "PyTorch finds no NVIDIA GPU"),
        (True, True, "TensorRT runs on NVIDIA GPUs, and the device is cpu; choose cuda"),
    ],
)
def test_nothing_takes_its_place_and_that_is_said(
    house: Callable[[str], House],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
    gpu: bool,
    said: str,
):
    each, main = house("compact"), tmp_path / "m.engine"
    each.export(main)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace() if installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with pytest.raises(InputError, match=rf"m\.engine cannot be run, and PyTorch cannot run it instead: {said}"):
        open_engine_file(main, CPU)


def test_half_precision_that_breaks_is_an_error(
    house: Callable[[str], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    each = house("compact")
    for half in (True, False):
        each.export(tmp_path / f"{half}.engine", half=half)
    broken = each.open_file(tmp_path / "True.engine")
    network = each.fake.network
    each.fake.network = lambda batch: network(batch) * math.nan
    with pytest.raises(ModelOutputError, match=r"True\.engine gives broken pictures .* export compact again in single"):
        broken(noise(1, 3, 20, 24))


def test_an_engine_that_was_built_for_the_cache_is_taken_from_there(house: Callable[[str], House], tmp_path: Path):
    each = house("compact")
    each.export(tmp_path / "a.engine", half=True)
    each.export(tmp_path / "b.engine", half=True)
    assert len(each.fake.builds) == 1
    assert (tmp_path / "a.engine").read_bytes() == (tmp_path / "b.engine").read_bytes()
