"""Exported models of others: every number is checked, and the first run is in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from backplate.core.engines import worker_process as child
from backplate.core.engines.export import foreign
from backplate.core.engines.export.files import open_engine_file, read_record, record_path
from backplate.core.engines.fuse import fuse_for_export
from backplate.core.engines.ncnn.check import check_pair
from backplate.core.engines.ncnn.convert import ncnn_files
from backplate.core.engines.onnx.check import check_onnx
from backplate.core.engines.onnx.export import OnnxSettings
from backplate.core.engines.registry import EngineUnusable
from backplate.core.engines.worker_process import Limits, run_limited, run_program
from backplate.core.errors import InputError
from backplate.core.jobs.export import export_proved
from backplate.core.progress import Cancelled, Progress
from backplate.core.tiled.pipeline import upscale
from backplate.model_loader.loaded import LoadedModel
from recorder import Recorder

CPU = torch.device("cpu")
needs_ncnn = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")), reason="onnx is not installed"
)

GRAPH = """7767517
8 9
Input data 0 1 data
Split s 1 2 data a b
Convolution c 1 1 a c 0=12 1=3 4=1 5=1 6=324 9=2 -23310=1,2.000000e-01
PReLU p 1 1 c p 0=12
PixelShuffle x 1 1 p x 0=2
Interp i 1 1 b i 0=1 1=2.0 2=2.0
BinaryOp o 2 1 x i o 0=0
Clip e 1 1 o output 0=0.0 1=1.0
"""


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Files of ``GRAPH`` with other words in it, and with so many bytes of weights more or fewer."""

    def write(old: str = "", new: str = "", more: int = 0, value: float = 0.01) -> tuple[Path, Path]:
        assert old in GRAPH
        files = tmp_path / "m.param", tmp_path / "m.bin"
        files[0].write_text(GRAPH.replace(old, new, 1) if old else GRAPH)
        values = numpy.full(324 + 12 + 12, value, dtype="<f4").tobytes()
        content = b"\0\0\0\0" + values + b"\0" * max(more, 0)
        files[1].write_bytes(content[: len(content) + min(more, 0)])
        return files

    return write


def test_a_graph_that_fits_passes(pair: Callable[..., tuple[Path, Path]]):
    assert check_pair(*pair()) == 1
    assert check_pair(*pair("\nPReLU p 1 1 c p 0=12", "\nPReLU   p 1 1 c p   0=12 ")) == 1


def test_a_part_that_small_pictures_do_not_have_makes_them_too_small(pair: Callable[..., tuple[Path, Path]]):
    crop = "9 10\nInput data 0 1 data"
    files = pair("8 9\nInput data 0 1 data", crop)
    cut = "Crop e 1 1 o d -23309=1,9 -23310=1,-233 -23311=1,1\nNoop n 1 1 d output"
    files[0].write_text(files[0].read_text().replace("Clip e 1 1 o output 0=0.0 1=1.0", cut))
    # The picture has twice as many rows there; 4 gives 8 of them, and the tenth is wanted.
    assert check_pair(*files) == 8


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("8 9", "9 9"),
        ("8 9", "8 99999999"),
        ("Input data 0 1 data", "Input data 0 2 data z"),
        ("Split s 1 2 data a b", "Split s 1 2 data a a"),
        ("1 1 a c", "1 1 data c"),
        ("1 1 a c", "1 1 b c"),
        ("1 1 a c", "1 1 missing c"),
        ("1 1 a c", "1 1 c a"),
        ("0=12 1=3", "0=13 1=3"),
        ("0=12 1=3", "0=0 1=3"),
        ("0=12 1=3", "0=12 1=0"),
        ("0=12 1=3", "0=12 1=1e999"),
        ("0=12 1=3", "0=12 1=3.0"),
        ("0=12 1=3", "0=12 1=3 1=3"),
        ("0=12 1=3", "0=12 1=3 3=0"),
        ("0=12 1=3", "0=12 1=3 2=99999"),
        ("0=12 1=3", "0=12 1=3 3=-1"),
        ("0=12 1=3", "0=12 1=3 11=5"),
        ("0=12 1=3", "0=12 1=3 8=1"),
        ("0=12 1=3", "0=12 1=3 19=1"),
        ("0=12 1=3", "0=12 1=3 29=1"),
        ("4=1", "4=65536"),
        ("4=1", "4=-2"),
        ("5=1", "5=7"),
        ("5=1", "5=0"),
        ("6=324", "6=325"),
        ("6=324", "6=-324"),
        ("9=2 -23310=1,2.000000e-01", "9=2"),
        ("9=2 -23310=1,2.000000e-01", "9=2 -23310=9,2.000000e-01"),
        ("9=2 -23310=1,2.000000e-01", "9=2 -23310=1,nan"),
        ("9=2 -23310=1,2.000000e-01", "9=77"),
        ("p 0=12", "p 0=1000"),
        ("p 0=12", "p 0=0"),
        ("p 0=12", "p"),
        ("x 0=2", "x 0=0"),
        ("x 0=2", "x 0=3"),
        ("x 0=2", "x 0=99999"),
        ("1=2.0 2=2.0", "1=99999 2=2.0"),
        ("1=2.0 2=2.0", "1=0.0 2=2.0"),
        ("1=2.0 2=2.0", "1=2.0 2=3.0"),
        ("1=2.0 2=2.0", "1=2.0 2=2.0 3=100000"),
        ("BinaryOp o 2 1 x i o 0=0", "BinaryOp o 1 1 x o 0=0"),
        ("BinaryOp o 2 1 x i o 0=0", "BinaryOp o 2 1 x i o 0=999"),
        ("BinaryOp o 2 1 x i o 0=0", "BinaryOp o 1000000 1 x i o 0=0"),
        ("BinaryOp o 2 1 x i o 0=0", "Proposal o 2 1 x i o"),
        ("Clip e 1 1 o output", "Clip e 1 1 o output\x0bextra"),
        ("Clip e 1 1 o output", f"Clip e 1 1 o {'o' * 300}"),
        ("Clip e 1 1 o output 0=0.0", "Slice e 1 1 o output -23300=1,9999"),
        ("Clip e 1 1 o output 0=0.0 1=1.0", "Crop e 1 1 o output -23309=1,5 -23310=1,2 -23311=1,1"),
        ("Clip e 1 1 o output 0=0.0 1=1.0", "Crop e 1 1 o output -23309=1,0 -23310=1,1 -23311=1,7"),
        ("Clip e 1 1 o output 0=0.0 1=1.0", "Reshape e 1 1 o output 0=-1 1=-1 2=3"),
        ("Clip e 1 1 o output 0=0.0 1=1.0", "Reshape e 1 1 o output 0=7 1=7 2=7"),
        ("Clip e 1 1 o output 0=0.0 1=1.0", "Eltwise e 1 1 o output 0=1"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_fit_is_named(pair: Callable[..., tuple[Path, Path]], old: str, new: str):
    with pytest.raises(EngineUnusable, match=r"^it .*; get both files again, or another model$"):
        check_pair(*pair(old, new))


@pytest.mark.parametrize("more", [-4, -1, 1, 4, 4000])
def test_weights_are_as_many_as_the_graph_needs(pair: Callable[..., tuple[Path, Path]], more: int):
    with pytest.raises(EngineUnusable, match=r"1,396 bytes of weights"):
        check_pair(*pair(more=more))


def test_weights_that_are_no_numbers_are_refused(pair: Callable[..., tuple[Path, Path]]):
    with pytest.raises(EngineUnusable, match="324 are not finite"):
        check_pair(*pair(value=float("nan")))


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2", "rrdbnet x1", "span", "span without mean"])
@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_here_passes(build: Callable[[str], LoadedModel], tmp_path: Path, name: str, half: bool):
    contents = ncnn_files(fuse_for_export(build(name).descriptor.model), half=half)
    for suffix, content in zip((".param", ".bin"), contents, strict=True):
        (tmp_path / f"m{suffix}").write_bytes(content)
    assert check_pair(tmp_path / "m.param", tmp_path / "m.bin") <= 4


def test_a_text_changed_anywhere_gives_one_sentence_or_a_graph_that_fits(pair: Callable[..., tuple[Path, Path]]):
    dice = random.Random(7)
    sentences: list[str] = []
    for _ in range(400):
        files = pair()
        words = files[0].read_bytes()
        place = dice.randrange(len(words))
        for _ in range(dice.choice((1, 1, 3))):
            place = dice.randrange(len(words))
            new = dice.choice((bytes([dice.randrange(256)]), b"-", b"9" * dice.randrange(1, 30), b"", b"=", b"1e9"))
            words = words[:place] + new + words[place + 1 :]
        files[0].write_bytes(words)
        try:
            check_pair(*files)
        except EngineUnusable as reason:
            sentences.append(str(reason))
    assert len(sentences) > 200
    assert all("\n" not in sentence and len(sentence) < 400 for sentence in sentences)


# -- ONNX -------------------------------------------------------------------------------------------------------------


def onnx_model(**changes: object) -> object:
    """Twice as large by nearest neighbours, with ``nodes``, ``inputs``, ``outputs`` or ``weights`` of the caller's."""
    import onnx
    from onnx import helper

    kind = onnx.TensorProto.FLOAT
    weights = [helper.make_tensor("sizes", kind, [4], [1.0, 1.0, 2.0, 2.0])]
    nodes = [helper.make_node("Resize", ["x", "", "sizes"], ["y"], mode="nearest")]
    parts: dict[str, list[object]] = {
        "nodes": nodes,
        "inputs": [helper.make_tensor_value_info("x", kind, ["b", 3, "h", "w"])],
        "outputs": [helper.make_tensor_value_info("y", kind, ["b", 3, "h2", "w2"])],
        "weights": weights,
    }
    for name, change in changes.items():
        parts[name] = change(parts[name])  # pyright: ignore[reportCallIssue]
    graph = helper.make_graph(parts["nodes"], "g", parts["inputs"], parts["outputs"], parts["weights"])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def picture(name: str, *shape: object, kind: str = "FLOAT") -> object:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DataType.Value(kind), shape)


def onnx_node(kind: str, **options: object) -> object:
    import onnx

    return onnx.helper.make_node(kind, ["x"], ["z"], **options)


def outside(tensors: list[object]) -> list[object]:
    import onnx

    tensors[0].ClearField("float_data")
    tensors[0].raw_data = bytes(16)
    onnx.external_data_helper.set_external_data(tensors[0], "../../secret.bin", 0, 16)
    return tensors


def graph() -> object:
    return onnx_model().graph


def shorter(tensors: list[object]) -> list[object]:
    tensors[0].dims[0] = 1 << 40
    return tensors


@needs_onnx
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": lambda n: [*n, onnx_node("Loop", body=graph())]}, "a step Loop"),
        ({"nodes": lambda n: [*n, onnx_node("If", then_branch=graph(), else_branch=graph())]}, "a step If"),
        ({"nodes": lambda n: [*n, onnx_node("Relu", inside=graph())]}, "holds another graph"),
        ({"nodes": lambda n: [*n, onnx_node("Relu", domain="evil")]}, "Relu of evil"),
        ({"nodes": lambda n: [*n, *[onnx_node("Relu")] * 100_000]}, "100,001 steps"),
        ({"inputs": lambda i: []}, "0 inputs"),
        ({"inputs": lambda i: [*i, picture("more", "b", 3, "h", "w")]}, "2 inputs"),
        ({"inputs": lambda i: [picture("x", "b", 10**9, "h", "w")]}, "1000000000"),
        ({"inputs": lambda i: [picture("x", "b", 0, "h", "w")]}, "bx0xhxw"),
        ({"inputs": lambda i: [picture("x", "b", 3, 64, 64)]}, "one size only"),
        ({"inputs": lambda i: [picture("x", "b", 3, "h")]}, "4 dimensions"),
        ({"inputs": lambda i: [picture("x", "b", 3, "h", "w", kind="FLOAT16")]}, "type FLOAT16"),
        ({"outputs": lambda o: []}, "no output"),
        ({"outputs": lambda o: [picture("nothing", "b", 3, "h", "w")]}, "no step gives"),
        ({"weights": outside}, "in another file"),
        ({"weights": shorter}, "of the shape"),
    ],
)
def test_an_onnx_graph_that_is_no_network_for_pictures_is_refused(tmp_path: Path, change: dict[str, object], said: str):
    (tmp_path / "m.onnx").write_bytes(onnx_model().SerializeToString())
    check_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(onnx_model(**change).SerializeToString())
    with pytest.raises(EngineUnusable, match=said):
        check_onnx(tmp_path / "m.onnx")


@needs_onnx
def test_sparse_weights_functions_and_noise_are_refused(tmp_path: Path):
    import onnx

    model = onnx_model()
    model.graph.sparse_initializer.add().dims.append(1 << 40)
    (tmp_path / "sparse.onnx").write_bytes(model.SerializeToString())
    model = onnx_model()
    model.functions.append(onnx.helper.make_function("d", "f", ["x"], ["y"], [], []))
    (tmp_path / "function.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "noise.onnx").write_bytes(random.Random(1).randbytes(3000))
    for name, said in (("sparse", "sparse weights"), ("function", "functions"), ("noise", "not a model of ONNX")):
        with pytest.raises(EngineUnusable, match=said):
            check_onnx(tmp_path / f"{name}.onnx")


# -- the trial --------------------------------------------------------------------------------------------------------


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The processes that were started for trials."""
    started: list[str] = []

    def noted(module: str, *rest: object) -> object:
        started.append(module)
        return run_limited(module, *rest)

    monkeypatch.setattr(foreign, "run_limited", noted)
    return started


@needs_ncnn
def test_what_is_written_here_is_opened_at_once_and_what_comes_from_elsewhere_once_in_a_process(
    build: Callable[[str], LoadedModel], tmp_path: Path, trials: list[str], monkeypatch: pytest.MonkeyPatch
):
    export_proved(build("compact"), tmp_path / "m.param", OnnxSettings())
    own = open_engine_file(tmp_path / "m.param", CPU)
    assert trials == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    for _ in range(2):
        there = open_engine_file(tmp_path / "m.param", CPU)
    assert len(trials) == 1
    assert there.upscaler.spec == own.upscaler.spec
    sample = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    assert torch.equal(upscale(sample, there.upscaler), upscale(sample, own.upscaler))
    record = record_path(tmp_path / "m.param")
    record.write_text(record.read_text().replace('"scale": 2', '"scale": 4'))
    with pytest.raises(InputError, match=r"m\.param cannot be run.* separate process failed .*\(1, 3, "):
        open_engine_file(tmp_path / "m.param", CPU)
    assert len(trials) == 2


@needs_ncnn
def test_a_model_that_ends_its_process_ends_no_other(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    export_proved(build("compact"), tmp_path / "m.param", OnnxSettings())
    record_path(tmp_path / "m.param").unlink()
    ending = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(child, "SCRIPT", ending)
    monkeypatch.setattr(child.tempfile, "tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match="failed.*ended by signal 11"):
        open_engine_file(tmp_path / "m.param", CPU)
    assert list((tmp_path / "own").iterdir()) == []


@needs_ncnn
def test_a_trial_can_be_cancelled(build: Callable[[str], LoadedModel], tmp_path: Path):
    export_proved(build("compact"), tmp_path / "m.param", OnnxSettings())
    record_path(tmp_path / "m.param").unlink()
    with pytest.raises(Cancelled):
        open_engine_file(tmp_path / "m.param", CPU, Recorder(0))


@pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")
def test_a_process_has_limits_of_memory_and_time(tmp_path: Path):
    limits = Limits(memory=32 << 20, seconds=1, longest=60)
    found, cause = run_limited("export.foreign_worker", {}, Progress(), limits)
    assert found == {}
    assert cause
    busy = [sys.executable, "-c", "while True: pass"]
    assert run_program(busy, tmp_path, Progress(), time.monotonic() + 0.3) == child.TOO_LONG
    lines = "import resource as r; r.setrlimit(r.RLIMIT_CPU, (1, r.RLIM_INFINITY))\nwhile True: pass"
    assert run_program([sys.executable, "-c", lines], tmp_path, Progress()) == child.TOO_LONG


# -- the record -------------------------------------------------------------------------------------------------------


@pytest.fixture
def record(build: Callable[[str], LoadedModel], tmp_path: Path) -> Path:
    """Of a pair that was written here."""
    export_proved(build("compact"), tmp_path / "m.param", OnnxSettings())
    return record_path(tmp_path / "m.param")


def nested(levels: int) -> str:
    return '{"format": 1, "built": ' + "[" * levels + "]" * levels + "}"


@needs_ncnn
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2), ("format", True), ("format", [1]), ("scale", -2), ("scale", 0), ("scale", 17), ("scale", "2"),
        ("scale", 2.0), ("scale", True), ("scale", None), ("scale", [2]), ("input_channels", 0),
        ("output_channels", 10**9), ("size_rule", 3), ("size_rule", {}), ("size_rule", {"multiple_of": 10**9}),
        ("size_rule", {"multiple_of": 0}), ("size_rule", {"square": 1}), ("size_rule", {"other": 1}),
        ("halo", {"pixels": -1, "exact": True}), ("halo", {"pixels": 10**9, "exact": True}), ("halo", {"pixels": 1}),
        ("halo", []), ("tile", -1), ("tile", 10**9), ("half", "no"), ("largest_difference", "small"),
        ("largest_difference", -1), ("name", 7), ("name", "a\nb"), ("name", "a" * 1000), ("model_sha256", "x"),
        ("made_by", None), ("files", ["x"]), ("files", {"a/b": "0" * 64}), ("files", {"a": 3}), ("built", 3),
        ("unknown", 3),
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_value_is_one_sentence(record: Path, name: str, value: object):
    values = json.loads(record.read_text())
    if (name, value) == ("size_rule", {}):
        values.pop("halo")
    record.write_text(json.dumps({**values, name: value}))
    with pytest.raises(InputError, match=r"^m\.param\.json is not the record of an exported model \(.*\); export"):
        read_record(record.with_name("m.param"))


@needs_ncnn
@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", "\0", nested(100_000), nested(9), '{"format": NaN}', '{"a": 1, "a": 2}', " " * (1 << 17),
     '{"format": ' + "9" * 9000 + "}"],
    ids=range(11),
)  # fmt: skip
def test_a_record_that_is_no_json_of_ours_is_one_sentence(record: Path, text: str):
    record.write_text(text)
    with pytest.raises(InputError, match=r"^m\.param\.json is not the record of an exported model \(.*\); export"):
        read_record(record.with_name("m.param"))


@needs_ncnn
def test_a_record_is_read_as_it_was_written(record: Path):
    found = read_record(record.with_name("m.param"))
    assert found is not None
    assert (found.scale, found.halo.exact, found.size_rule.multiple_of) == (2, True, 1)
    shutil.copy(record, record.with_name("again.param.json"))
    assert read_record(record.with_name("again.param")) == found
