"""What nodes write into files beside pictures, and which models they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import tiny_models
import torch
from backplate.core.errors import InputError
from backplate.model_loader.errors import LicenceError
from backplate.model_loader.find import BUNDLED
from PIL import Image, PngImagePlugin

if TYPE_CHECKING:
    from conftest import Host

PROMPT = {"3": {"class_type": "BackplateUpscaleFolder", "inputs": {"folder": "products"}}}
WORKFLOW = {"nodes": [{"id": 3, "title": "\u96ea"}], "version": 0.4}
RUNNING = SimpleNamespace(prompt=PROMPT, extra_pnginfo={"workflow": WORKFLOW})
OLD = {"prompt": '{"1": {}}', "workflow": '{"nodes": []}', "parameters": "a castle\nSteps: 20"}


@pytest.fixture
def products(host: Host) -> Path:
    folder = host.folders / "input" / "products"
    folder.mkdir(parents=True)
    chunks = PngImagePlugin.PngInfo()
    for name, text in OLD.items():
        chunks.add_text(name, text)
    Image.new("RGB", (12, 9), (40, 90, 200)).save(folder / "a.png", pnginfo=chunks)
    torch.save({"params": tiny_models.compact(seed=1)}, host.models / "compact.pth")
    shutil.copy(BUNDLED / "backplate-lite-x2.safetensors", host.models / "lite.safetensors")
    return folder


def run(host: Host, model: str = "compact.pth", hidden: Any = RUNNING, **changed: Any) -> None:
    host.node("folder", "UpscaleFolder").hidden = hidden
    given, _ = host.node("load", "LoadUpscaleModel").execute(model, "auto")
    wanted = {"folder": "products", "output_folder": "done", "fit": "factor", "factor": 1.0, "overwrite": True}
    host.run("folder", "UpscaleFolder", **{"upscale_model": given, **wanted, **changed})


def text_of(host: Host, name: str = "a.png") -> dict[str, str]:
    with Image.open(host.folders / "output" / "done" / name) as seen:
        seen.load()
        return dict(seen.text) if name.endswith("png") else dict(
            str(seen.getexif()[tag]).split(":", 1) for tag in (0x0110, 0x010F) if tag in seen.getexif()
        )  # fmt: skip


def test_a_result_brings_its_workflow_back(host: Host, products: Path) -> None:
    run(host)
    text = text_of(host)
    assert (json.loads(text["prompt"]), json.loads(text["workflow"])) == (PROMPT, WORKFLOW)
    assert text["parameters"] == OLD["parameters"]
    run(host, format="webp")
    text = text_of(host, "a.webp")
    assert (json.loads(text["prompt"]), json.loads(text["workflow"])) == (PROMPT, WORKFLOW)


@pytest.mark.parametrize("how", ["source", "without", "disabled", "by another program"])
def test_the_workflow_of_the_source_stays_where_none_is_to_be_written(how: str, host: Host, products: Path) -> None:
    host.args.disable_metadata = how == "disabled"
    hidden = {"without": None, "by another program": SimpleNamespace(prompt=None, extra_pnginfo=None)}.get(how, RUNNING)
    run(host, hidden=hidden, **({"metadata": "source"} if how == "source" else {}))
    assert {name: text for name, text in text_of(host).items() if name in OLD} == OLD


def test_none_is_nothing(host: Host, products: Path) -> None:
    run(host, metadata="none")
    assert text_of(host) == {}


def test_a_moved_node_does_not_do_the_folder_again(host: Host, products: Path) -> None:
    run(host)
    before = (host.folders / "output" / "done" / "manifest.jsonl").read_text()
    moved = SimpleNamespace(prompt=PROMPT, extra_pnginfo={"workflow": {**WORKFLOW, "version": 0.5}})
    run(host, hidden=moved, overwrite=False)
    assert (host.folders / "output" / "done" / "manifest.jsonl").read_text() == before


def test_a_source_type_is_written(host: Host, products: Path) -> None:
    run(host, source_type="algorithmicallyEnhanced")
    assert "newscodes/digitalsourcetype/algorithmicallyEnhanced" in text_of(host)["XML:com.adobe.xmp"]


def test_credentials_are_signed_as_the_environment_says(
    host: Host, products: Path, tmp_path: Path, monkeypatch
) -> None:
    pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")
    from c2pa_signing import Authority, active, camera_file, read_manifests

    chain, key = Authority(tmp_path).issue()
    (products / "a.png").unlink()
    (products / "signed.jpg").write_bytes(camera_file("jpg", (chain, key)))
    monkeypatch.setenv("BACKPLATE_C2PA_CERTIFICATE", str(chain))
    with pytest.raises(InputError, match="both a certificate and its private key"):
        run(host)
    monkeypatch.setenv("BACKPLATE_C2PA_KEY", str(key))
    run(host)
    state, store = read_manifests(host.folders / "output" / "done" / "signed.jpg")
    assert state == "Valid"
    assert [part["title"] for part in active(store)["ingredients"]] == ["signed.jpg"]
    run(host, metadata="none")
    assert b"c2pa" not in (host.folders / "output" / "done" / "signed.jpg").read_bytes()


def test_a_model_of_unknown_licence_is_refused_before_any_work(host: Host, products: Path) -> None:
    with pytest.raises(LicenceError, match="The licence of compact .* is not known"):
        run(host, commercial_use=True)
    assert not (host.folders / "output" / "done").exists()
    run(host, "lite.safetensors", commercial_use=True)
    (line,) = (host.folders / "output" / "done" / "manifest.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["model_licence"], entry["model_commercial_use"]) == ("Apache-2.0", True)


def test_the_model_of_another_loader_is_refused_with_a_way_on(host: Host, products: Path) -> None:
    given, _ = host.node("load", "LoadUpscaleModel").execute("lite.safetensors", "auto")
    del given.backplate
    for family, node in (("folder", "UpscaleFolder"), ("video", "UpscaleVideo")):
        inputs = {port.id: port.given.get("default") for port in host.node(family, node).define_schema().inputs}
        inputs |= {"upscale_model": given, "commercial_use": True, "folder": "products", "video": _clip(host)}
        if family == "folder":
            del inputs["video"]
        else:
            del inputs["folder"]
        with pytest.raises(LicenceError, match=r"connect Load Upscale Model \(Backplate\)"):
            host.node(family, node).execute(**inputs)


def _clip(host: Host) -> Any:
    return SimpleNamespace(get_stream_source=lambda: str(host.folders / "clip.mp4"))


def test_the_loader_says_the_licence_under_itself(host: Host, products: Path) -> None:
    _, facts = host.node("load", "LoadUpscaleModel").execute("lite.safetensors", "auto")
    assert "licence Apache-2.0: commercial use allowed" in facts
    assert any("licence Apache-2.0: commercial use allowed" in line for line in host.said)
    _, facts = host.node("load", "LoadUpscaleModel").execute("compact.pth", "auto")
    assert "licence not known" in facts
