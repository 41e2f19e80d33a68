"""Exported models in the folder for upscale models: our nodes run them, all others read why they cannot."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiny_models
import torch
from backplate.core.engines.onnx.export import OnnxSettings
from backplate.core.errors import InputError
from backplate.core.jobs.export import export_proved
from backplate.model_loader.errors import WrongModelError
from backplate.model_loader.loaded import load_model

if TYPE_CHECKING:
    from conftest import Host

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")
IMAGE = torch.rand(1, 20, 24, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def exported(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "compact.pth"
    torch.save({"params": tiny_models.compact(seed=1)}, weights)
    export_proved(load_model(weights), host.models / "sub" / "tiny.param", OnnxSettings())
    return host.models / "sub" / "tiny.param"


def load(host: Host, name: str = "sub/tiny.param") -> tuple[Any, str]:
    return host.node("load", "LoadUpscaleModel").execute(name, "auto", "pytorch")


def upscale(host: Host, model: Any) -> torch.Tensor:
    image, _ = host.node("upscale", "TiledUpscale").execute(model, IMAGE, 0, "plain")
    return image


def test_an_exported_model_is_listed_and_gives_what_the_model_gives(host: Host, exported: Path) -> None:
    assert "sub/tiny.param" in host.node("comfy_host", "model_names")()
    model, facts = load(host)
    assert "compact: x4, 3 to 3 channels" in facts
    assert "exported from RealESRGAN Compact" in facts
    assert model.scale == 4
    expected, _ = host.node("load", "LoadUpscaleModel").execute("compact.pth", "auto")
    torch.testing.assert_close(upscale(host, model), upscale(host, expected), atol=1e-4, rtol=0)
    identity = host.node("upscale_model", "identify")(model)
    assert identity.name == "compact"
    assert identity.sha256 in facts


@pytest.mark.parametrize("ask", [lambda m: m.patcher, lambda m: m.model, lambda m: m.to("cpu"), lambda m: m(IMAGE)])
def test_nodes_of_others_read_why_there_is_no_network(host: Host, exported: Path, ask: Any) -> None:
    model, _ = load(host)
    with pytest.raises(WrongModelError, match=r"tiny\.param is an exported model, .*: load the model it was made from"):
        ask(model)


def test_our_nodes_that_need_the_network_say_so(host: Host, exported: Path) -> None:
    model, _ = load(host)
    with pytest.raises(WrongModelError, match="exported model"):
        host.node("load", "BlendUpscaleModels").execute(model, model, 0.5)
    with pytest.raises(WrongModelError, match="exported model"):
        host.node("export", "ExportModel").execute(model, "ncnn", "again", False, False)


def test_a_changed_byte_is_noticed_when_it_is_loaded_and_when_it_is_run(host: Host, exported: Path) -> None:
    model, _ = load(host)
    weights = exported.with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[-20] ^= 1
    weights.write_bytes(content)
    for again in (lambda: upscale(host, model), lambda: load(host)):
        with pytest.raises(InputError, match=r"tiny\.bin has changed since it was exported"):
            again()


def test_a_model_that_was_replaced_is_not_run_under_the_old_name(host: Host, exported: Path) -> None:
    model, _ = load(host)
    other = host.models / "other.pth"
    torch.save({"params": tiny_models.compact(seed=2)}, other)
    export_proved(load_model(other), exported, OnnxSettings(), overwrite=True)
    with pytest.raises(InputError, match="replaced while it was in use"):
        upscale(host, model)


def test_an_engine_of_tensorrt_says_that_nothing_takes_its_place(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backplate.core.engines.tensorrt.file.unusable", lambda: "pip install something")
    (host.models / "m.engine").write_bytes(b"engine")
    with pytest.raises(InputError, match=r"m\.engine cannot be run, and PyTorch cannot run it instead: pip install"):
        load(host, "m.engine")


def test_engines_are_built_for_the_tile_of_the_node(
    host: Host, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = host.node("load", "LoadUpscaleModel").execute("compact.pth", "auto")
    exchange = importlib.import_module("backplate.nodes.upscale_model")
    opened, tiles = exchange.open_upscaler, list[int]()

    def noted(*given: Any, tile: int, **named: Any) -> Any:
        tiles.append(tile)
        return opened(*given, tile=tile, **named)

    monkeypatch.setattr(exchange, "open_upscaler", noted)
    host.node("upscale", "TiledUpscale").execute(model, IMAGE, 64, "plain")
    assert tiles == [64]
