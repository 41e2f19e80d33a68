"""The node that writes models as files of other engines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_models
import torch
from backplate.core.engines.tensorrt import export as tensorrt_export
from backplate.core.errors import InputError

if TYPE_CHECKING:
    from conftest import Host, Interrupted


@pytest.fixture(autouse=True)
def compact(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save({"params": tiny_models.compact(seed=1)}, host.models / "compact.pth")


def export(host: Host, name: str, **options: object) -> tuple[str, str]:
    model, _ = host.node("load", "LoadUpscaleModel").execute("compact.pth", "auto")
    wanted = {"format": "ncnn", "file_name": name, "half_precision": False, "overwrite": False, **options}
    return host.node("export", "ExportModel").execute(model, **wanted)


@pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")
def test_files_are_written_into_the_output_folder_with_a_bar(host: Host) -> None:
    report, file = export(host, "engines/tiny")
    assert Path(file) == host.folders / "output" / "engines" / "tiny.param"
    assert "largest difference to PyTorch" in report
    assert sorted(path.name for path in Path(file).parent.iterdir()) == ["tiny.bin", "tiny.param", "tiny.param.json"]
    assert host.bars[-1][0] == host.bars[-1][1] > 1


@pytest.mark.parametrize("kind", ["onnx", "ncnn", "tensorrt"])
@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "engines/../../outside", "", "engines/"])
def test_no_name_leads_out_of_the_output_folder(host: Host, kind: str, name: str) -> None:
    with pytest.raises(InputError):
        export(host, name, format=kind)
    assert list((host.folders / "output").rglob("*.*")) == []


def test_tensorrt_that_is_missing_is_said_before_any_work(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backplate.core.engines.tensorrt.package.missing_package", lambda: "pip install something")
    original = tensorrt_export.open_package.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(tensorrt_export, "open_package", original)
    monkeypatch.setattr(tensorrt_export, "export_with", None)
    with pytest.raises(InputError, match=r"compact is not exported: pip install something\."):
        export(host, "engines/tiny", format="tensorrt")
    assert list((host.folders / "output").rglob("*")) == []


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorrt_rtx", "onnx", "onnxscript"))
    or importlib.util.find_spec("tensorrt") is not None,
    reason="tensorrt-rtx, onnx and onnxscript are not all installed, or tensorrt is too",
)
def test_an_engine_is_built_with_a_bar_and_cancel_leaves_nothing(host: Host, interrupted: type[Interrupted]) -> None:
    host.interrupt_after = 3
    with pytest.raises(interrupted):
        export(host, "engines/tiny", format="tensorrt")
    assert list((host.folders / "output").rglob("*")) == []
    host.interrupt_after = None
    report, file = export(host, "engines/tiny", format="tensorrt")
    assert file.endswith("tiny.engine")
    assert file in report
    assert sorted(path.name for path in Path(file).parent.iterdir()) == ["tiny.engine", "tiny.engine.json"]
    assert max(total for _, total in host.bars) > 20
    assert host.bars[-1][0] == host.bars[-1][1]
