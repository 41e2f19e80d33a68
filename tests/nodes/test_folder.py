"""The folder node: what may be read and written, and what is left of a run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from backplate.core.errors import InputError
from PIL import Image

if TYPE_CHECKING:
    from conftest import Host, Interrupted


@pytest.fixture
def products(host: Host) -> Path:
    folder = host.folders / "input" / "products"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(("a 10.png", "a 9.jpg", "sub/b.webp")):
        Image.new("RGB", (12, 8 + index), (40 * index, 90, 200)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def run(host: Host, **changed: Any) -> tuple[str, str]:
    wanted = {"folder": "products", "output_folder": "done", "width": 32, "height": 32, "fit": "pad"}
    return host.run("folder", "UpscaleFolder", **{"upscale_model": host.model(), **wanted, **changed})


def written(host: Host) -> list[str]:
    output = host.folders / "output"
    return sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())


def test_a_folder_goes_through_and_is_resumed(host: Host, products: Path) -> None:
    summary, results = run(host, pad_with="colour", format="png")
    assert "3 of 4 pictures are done, 1 failed." in summary
    assert Path(results) == host.folders / "output" / "done"
    beside = ["done/index.html", "done/manifest.jsonl", "done/summary.json"]
    assert written(host) == sorted(["done/a 10.png", "done/a 9.png", "done/sub/b.png", *beside])
    with Image.open(host.folders / "output" / "done" / "a 9.png") as image:
        assert image.size == (32, 32)
        assert image.getpixel((0, 0)) == (255, 255, 255)
    again, _ = run(host, pad_with="colour", format="png")
    assert "3 of 4 pictures are done, 3 of them from before, 1 failed." in again


def test_the_bar_counts_pictures(host: Host, products: Path) -> None:
    run(host)
    assert host.bars[-1] == (4, 4)
    assert [done for done, total in host.bars if total == 4] == [1, 2, 3, 4]
    assert any("broken.png: not a readable picture" in sentence for sentence in host.said)


def test_cancel_keeps_what_is_done(host: Host, products: Path, interrupted: type[Interrupted]) -> None:
    host.interrupt_after = 5
    with pytest.raises(interrupted):
        run(host)
    manifest = host.folders / "output" / "done" / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    kept = sum(line["status"] != "failed" for line in lines)
    assert 1 <= kept < 3
    host.interrupt_after = None
    summary, _ = run(host)
    assert f"3 of 4 pictures are done, {kept} of them from before" in summary


ATTACKS = [
    "../secret", "/etc", "products/../../secret", "products/link", "a\0b", "x" * 300, "y/" * 600, "nowhere",
    "..\\secret",
]  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_folders_outside_of_input_are_not_read(host: Host, products: Path, name: str) -> None:
    secret = host.folders / "secret"
    secret.mkdir()
    Image.new("RGB", (8, 8)).save(secret / "secret.png")
    (products / "link").symlink_to(secret)
    with pytest.raises(ValueError, match="leads outside|not a path|There is no folder"):
        run(host, folder=name)
    assert written(host) == []


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "link/x", "a\0b", "x" * 300, "", ".", " "])
def test_nothing_is_written_outside_of_output(host: Host, products: Path, name: str) -> None:
    elsewhere = host.folders / "elsewhere"
    elsewhere.mkdir()
    (host.folders / "output" / "link").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="leads outside|not a path|output_folder is empty"):
        run(host, output_folder=name)
    assert list(elsewhere.iterdir()) == []


def test_pictures_that_are_links_out_of_the_folder_fail_alone(host: Host, products: Path) -> None:
    Image.new("RGB", (8, 8)).save(host.folders / "secret.png")
    (products / "link.png").symlink_to(host.folders / "secret.png")
    summary, _ = run(host)
    assert "3 of 5 pictures are done, 2 failed." in summary
    assert "link.png" not in " ".join(written(host))


def test_extra_roots_are_offered_read_and_written(host: Host, products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = host.folders / "extra"
    (extra / "shop").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(extra / "shop" / "a.png")
    monkeypatch.setenv("BACKPLATE_EXTRA_ROOTS", str(extra))
    offered = host.node("paths", "picture_folders")()
    assert offered == [".", "products", "products/sub", str(extra), str(extra / "shop")]
    summary, results = run(host, folder=str(extra / "shop"), output_folder=str(extra / "done"))
    assert "1 of 1 pictures are done" in summary
    assert (Path(results) / "a.png").is_file()


def test_every_prompt_looks_at_the_files_again(host: Host) -> None:
    fingerprint = host.node("folder", "UpscaleFolder").fingerprint_inputs
    assert fingerprint(folder=".") != fingerprint(folder=".")


def preset(host: Host, name: str, sha256: str, sharpen: float) -> None:
    data = {"kind": "backplate preset", "format": 1, "label": "B", "model": "compact.pth", "sha256": sha256}
    (host.folders / "input" / name).write_text(json.dumps({**data, "sharpen": sharpen}))


def test_a_preset_sharpens_and_names_its_model(host: Host, products: Path) -> None:
    host.model()
    content = hashlib.sha256((host.models / "compact.pth").read_bytes()).hexdigest()
    preset(host, "winner.json", content, 0.7)
    preset(host, "other.json", "0" * 64, 0.7)
    run(host, format="png")
    run(host, format="png", output_folder="by hand", sharpen=0.7)
    run(host, format="png", output_folder="by preset", preset="winner.json")
    plain, hand, won = (
        Image.open(host.folders / "output" / folder / "a 9.png").tobytes()
        for folder in ("done", "by hand", "by preset")
    )
    assert won == hand != plain
    with pytest.raises(InputError, match=r"other\.json is about the model compact\.pth .* is connected"):
        run(host, preset="other.json")
    with pytest.raises(InputError, match="leads out"):
        run(host, preset="../output/winner.json")
    with pytest.raises(InputError, match="cannot be read"):
        run(host, preset="none.json")


def test_a_profile_mends_and_chooses_the_size(host: Host, products: Path) -> None:
    good = Image.new("RGB", (40, 40), (246, 246, 246))
    good.paste((20, 60, 140), (12, 10, 26, 30))
    good.save(products / "good.png")
    rules = {
        "name": "small",
        "size": 64,
        "rules": [{"rule": "white_background"}, {"rule": "format", "values": ["png"]}],
    }
    (host.folders / "input" / "rules.json").write_text(json.dumps(rules))
    summary, results = run(host, profile_file="rules.json", width=0, height=0, fit="contain")
    with Image.open(Path(results) / "good.png") as image:
        assert image.size == (64, 64)
        assert image.getpixel((0, 0)) == (255, 255, 255)
    assert (Path(results) / "failed" / "a 9.png").is_file()
    assert "background exactly 255, 255, 255 all along the border: 1 mended, 3 failed" in summary
    with pytest.raises(InputError, match="at least 500 px"):
        run(host, profile="amazon", width=300, height=300)


def test_the_running_workflow_is_in_the_files_but_not_in_those_for_a_shop(
    host: Host, products: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = SimpleNamespace(prompt={"1": {"class_type": "X"}}, extra_pnginfo={"workflow": {"nodes": []}})
    monkeypatch.setattr(host.node("folder", "UpscaleFolder"), "hidden", hidden, raising=False)
    rules = {"name": "small", "size": 64, "rules": [{"rule": "format", "values": ["png"]}]}
    (host.folders / "input" / "rules.json").write_text(json.dumps(rules))
    _, own = run(host, format="png", output_folder="own")
    _, shop = run(host, profile_file="rules.json", width=0, height=0, fit="contain", output_folder="shop")
    with Image.open(Path(own) / "a 9.png") as image:
        assert json.loads(image.info["workflow"]) == {"nodes": []}
    with Image.open(Path(shop) / "a 9.png") as image:
        assert not {"workflow", "prompt"} & set(image.info)


@pytest.mark.parametrize("name", ["rules.json", "/etc/passwd", "../amazon"])
def test_a_graph_cannot_name_a_file_as_profile(host: Host, products: Path, name: str) -> None:
    with pytest.raises(InputError, match="is not a profile"):
        run(host, profile=name)
    with pytest.raises(InputError):
        run(host, profile_file="../secret.json")


def test_no_size_is_known_before_the_run_to_be_wrong_unless_a_profile_chooses_it(host: Host) -> None:
    node = host.node("folder", "UpscaleFolder")
    sizes = {"width": 0, "height": 0, "fit": "contain", "pad_with": "edge", "pad_colour": "#ffffff"}
    assert node.validate_inputs(**sizes) is not True
    assert node.validate_inputs(**sizes, profile="amazon") is True
    assert node.validate_inputs(**sizes, profile_file="rules.json") is True
    assert node.validate_inputs(**sizes | {"width": 9}, profile="amazon") is True


def test_dither_and_grain_reach_the_settings(host: Host) -> None:
    wanted = host.defaults("folder", "UpscaleFolder")
    settings_of = host.node("folder", "settings_of")
    model = host.node("folder", "Model")(name="x", sha256="0")
    plain = settings_of(wanted, model)
    assert (plain.dither.value, plain.grain, plain.profile) == ("auto", False, None)
    changed = settings_of(wanted | {"dither": "off", "grain": "keep"}, model)
    assert (changed.dither.value, changed.grain) == ("off", True)
    # As a workflow from before has them: not at all.
    for name in ("dither", "grain", "profile", "profile_file"):
        del wanted[name]
    assert settings_of(wanted, model) == plain
