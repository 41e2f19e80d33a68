"""--strip-metadata, --source-type, --commercial and ``models index`` on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from backplate.model_loader.files import sha256_of
from backplate.model_loader.find import BUNDLED
from PIL import Image, PngImagePlugin

TEXT = {"workflow": '{"nodes": []}', "prompt": "{}", "parameters": "a castle\nSteps: 20"}


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for name, text in TEXT.items():
        chunks.add_text(name, text)
    path = tmp_path / "generated.png"
    Image.new("RGB", (12, 10), (90, 60, 30)).save(path, pnginfo=chunks)
    return path


pytestmark = pytest.mark.usefixtures("data_folder")


def text_of(path: Path) -> dict[str, str]:
    with Image.open(path) as seen:
        seen.load()
        return {name: text for name, text in seen.text.items() if name != "Software"}


def test_metadata_is_carried_unless_it_is_stripped(backplate, generated, model, tmp_path):
    assert backplate("upscale", generated, "-o", tmp_path / "kept.png", "-m", model).exit_code == 0
    assert text_of(tmp_path / "kept.png") == TEXT
    words = ("upscale", generated, "-o", tmp_path / "bare.png", "-m", model, "--strip-metadata")
    assert backplate(*words).exit_code == 0
    with Image.open(tmp_path / "bare.png") as seen:
        seen.load()
        assert seen.text == {}


def test_a_source_type_is_one_of_two(backplate, generated, model, tmp_path):
    words = ("upscale", generated, "-o", tmp_path / "out.png", "-m", model, "--source-type")
    result = backplate(*words, "humanEdits", code=2)
    assert "choose one of algorithmicallyEnhanced, compositeWithTrainedAlgorithmicMedia" in result.stderr
    assert backplate(*words, "algorithmicallyEnhanced").exit_code == 0
    assert "digitalsourcetype/algorithmicallyEnhanced" in text_of(tmp_path / "out.png")["XML:com.adobe.xmp"]


@pytest.mark.parametrize("how", ["options", "environment", "a folder"])
def test_a_signed_source_is_carried_on(backplate, model, tmp_path, monkeypatch, how):
    pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")
    from c2pa_signing import Authority, actions_in, active, camera_file, read_manifests

    chain, key = Authority(tmp_path).issue()
    source, output = tmp_path / "in" / "photo.jpg", tmp_path / "out" / "photo.jpg"
    source.parent.mkdir()
    source.write_bytes(camera_file("jpg", (chain, key)))
    words = ("upscale", source, "-o", output, "-m", model)
    if how == "a folder":
        words = ("upscale", source.parent, "-o", output.parent, "-m", model)
    if how == "environment":
        monkeypatch.setenv("BACKPLATE_C2PA_CERTIFICATE", str(chain))
        monkeypatch.setenv("BACKPLATE_C2PA_KEY", str(key))
    else:
        words = (*words, "--c2pa-certificate", chain, "--c2pa-key", key)
    result = backplate(*words)
    assert result.exit_code == 0
    assert "left out" not in result.stderr
    state, store = read_manifests(output)
    assert state == "Valid"
    expected = ["c2pa.opened", "c2pa.edited", "c2pa.resized.proportional"]
    assert [action["action"] for action in actions_in(active(store))] == expected


@pytest.mark.parametrize("given", ["--c2pa-certificate", "--c2pa-key"])
def test_half_a_signature_is_refused_before_any_work(backplate, generated, model, tmp_path, given):
    result = backplate("upscale", generated, "-o", tmp_path / "out.png", "-m", model, given, generated)
    assert result.exit_code == 2
    assert "both a certificate and its private key" in result.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("command", ["upscale", "upscale a folder", "video", "batch"])
def test_a_model_of_unknown_licence_is_refused_before_any_work(backplate, generated, model, tmp_path, command):
    source, output = generated, tmp_path / "out.png"
    if "folder" in command or command == "batch":
        source, output = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        shutil.copy(generated, source)
    elif command == "video":
        output = tmp_path / "out.mp4"
    result = backplate(command.split()[0], source, "-o", output, "-m", model, "--commercial", code=1)
    assert f"(SHA-256 {sha256_of(model)}) is not known" in result.stderr
    assert not output.exists()


def test_an_allowed_model_works_and_the_manifest_says_so(backplate, generated, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(generated, folder)
    lite = BUNDLED / "backplate-lite-x2.safetensors"
    backplate("upscale", folder, "-o", tmp_path / "out", "-m", lite, "--commercial", code=0)
    entry = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
    found = (entry["model_licence"], entry["model_commercial_use"], entry["model_sha256"])
    assert found == ("Apache-2.0", True, sha256_of(lite))


def test_a_folder_of_an_earlier_version_is_still_done(backplate, generated, model, tmp_path):
    """Its settings had no words for what is new, so their hash must stay."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(generated, folder)
    words = ("upscale", folder, "-o", tmp_path / "out", "-m", model, "--resume")
    assert backplate(*words).exit_code == 0
    before = (tmp_path / "out" / "manifest.jsonl").read_text()
    assert backplate(*words).exit_code == 0
    assert (tmp_path / "out" / "manifest.jsonl").read_text() == before
    result = backplate(*words, "--strip-metadata")
    assert "other settings; they are made again" in result.stderr


def test_a_list_is_imported_and_answers(backplate, generated, model, tmp_path):
    assert "No list of licences is here" in backplate("models", "index").stdout
    listed = {"2x-Closed": {"license": "CC-BY-NC-SA-4.0", "resources": [{"sha256": sha256_of(model)}]}}
    (tmp_path / "models.json").write_text(json.dumps(listed))
    assert (
        "1 files, 1 of them with a licence" in backplate("models", "index", "import", tmp_path / "models.json").stdout
    )
    shown = backplate("info", model).stdout
    assert "CC-BY-NC-SA-4.0: commercial use NOT allowed (https://openmodeldb.info/models/2x-Closed)" in shown
    assert json.loads(backplate("info", model, "--json").stdout)["commercial_use"] is False
    result = backplate("upscale", generated, "-o", tmp_path / "out.png", "-m", model, "--commercial", code=1)
    assert "is under CC-BY-NC-SA-4.0, which forbids commercial use" in result.stderr


def test_a_damaged_list_is_one_sentence(backplate, model, data_folder):
    data_folder.mkdir()
    (data_folder / "openmodeldb.json").write_text("{")
    backplate("models", "index", code=1, says="is damaged; fetch it again with `backplate models index fetch`")
    backplate("info", model, code=0, says="is damaged; fetch it again")


def test_an_address_that_does_not_answer(backplate):
    result = backplate("models", "index", "fetch", "--url", "http://127.0.0.1:9/models.json", code=1)
    assert "http://127.0.0.1:9/models.json" in result.stderr
    assert "import a file that you downloaded" in result.stderr
