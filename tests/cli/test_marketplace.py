"""``--profile``, ``backplate check`` and ``backplate profiles``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
RULES = {
    "name": "small",
    "size": 60,
    "rules": [
        {"rule": "longest_side", "least": 50, "most": 400},
        {"rule": "white_background"},
        {"rule": "fill", "least": 0.85},
        {"rule": "format", "values": ["png", "jpeg"]},
    ],
}


@pytest.fixture
def rules(tmp_path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(RULES))
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A good picture, one on grey, one of a format that is not taken."""
    (tmp_path / "in").mkdir()
    for name, background in (("good.png", 246), ("grey.jpg", 120), ("web.webp", 255)):
        image = Image.new("RGB", (40, 40), (background,) * 3)
        image.paste((20, 60, 140), (12, 10, 26, 30))
        image.save(tmp_path / "in" / name, **({"lossless": True} if name == "web.webp" else {"quality": 95}))
    return tmp_path / "in"


def entries(output: Path) -> dict[str, dict]:
    lines = map(json.loads, (output / "manifest.jsonl").read_text().splitlines())
    return {line["source"]: line for line in lines}


def test_a_folder_is_mended_and_what_breaks_a_rule_is_set_apart(backplate, folder, rules, model, tmp_path) -> None:
    output = tmp_path / "out"
    words = ("upscale", folder, "-o", output, "--model", model, "--profile", rules, "--report")
    result = backplate(*words, code=2)
    assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*g")) == [
        "failed/grey.jpg", "good.png", "web.png",
    ]  # fmt: skip
    found = entries(output)
    assert [found[name]["status"] for name in ("good.png", "grey.jpg", "web.webp")] == ["done", "failed", "done"]
    assert {rule["rule"]: rule["verdict"] for rule in found["good.png"]["rules"]} == {
        "longest_side": "mended", "white_background": "mended", "fill": "mended", "format": "passed",
    }  # fmt: skip
    assert "background exactly 255" in found["grey.jpg"]["reason"]
    assert "1 failed" in result.stderr
    assert "Rules of the marketplace" in (output / "index.html").read_text()
    assert len(json.loads((output / "summary.json").read_text())["rules"]) == 3
    backplate("check", output, "--profile", rules, code=0)
    backplate("upscale", output, "-o", tmp_path / "again", "--model", model, "--profile", rules, code=0)
    for name in ("good.png", "web.png"):
        assert (tmp_path / "again" / name).read_bytes() == (output / name).read_bytes()
    resumed = backplate(*words, "--resume")
    assert "2 of 3 pictures are done, 2 of them from before, 1 failed" in resumed.stderr
    rules.write_text(json.dumps({**RULES, "size": 80}))
    changed = backplate(*words, "--resume")
    assert "were made with other settings; they are made again" in changed.stderr
    assert Image.open(output / "good.png").size == (80, 80)


def test_where_all_break_a_rule_the_exit_code_still_says_look(backplate, folder, rules, model, tmp_path) -> None:
    for name in ("good.png", "web.webp"):
        (folder / name).unlink()
    backplate("upscale", folder, "-o", tmp_path / "out", "--model", model, "--profile", rules, code=2)


def test_one_picture(backplate, folder, rules, model, tmp_path) -> None:
    good = backplate("upscale", folder / "good.png", "-o", tmp_path / "a.png", "--model", model, "--profile", rules)
    assert good.exit_code == 0, good.stderr
    assert "fill: mended" in good.stderr
    backplate("upscale", folder / "grey.jpg", "-o", tmp_path / "b.jpg", "--model", model, "--profile", rules, code=1)
    assert not (tmp_path / "b.jpg").exists()
    assert (tmp_path / "failed" / "b.jpg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "30"], "longest side at least 50 px"),
        (["--size", "900x900", "--fit", "pad"], "at most 400 px"),
        (["--background", "black"], "requires a white background"),
        (["--format", "webp"], "takes only files of type .png"),
        (["--multiple-of", "8"], "--multiple-of needs"),
        (["--profile", "ebay"], "'ebay' is not a profile"),
    ],
)
def test_contradictions_are_refused_before_the_work(backplate, folder, rules, model, tmp_path, words, said) -> None:
    profile = [] if "--profile" in words else ["--profile", rules]
    backplate("upscale", folder, "-o", tmp_path / "out", "--model", model, *profile, *words, code=2, says=said)
    assert not (tmp_path / "out").exists()


def test_check_reads_only(backplate, folder, rules) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    result = backplate("check", folder, "--profile", rules, code=2)
    assert "failed: product fills at least 85 % of the frame (50.0 %)" in result.stdout
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    lines = [json.loads(line) for line in backplate("check", folder, "--profile", rules, "--json").stdout.splitlines()]
    assert [len(line["rules"]) for line in lines] == [4, 4, 4]
    assert backplate("check", folder / "nothing.png", "--profile", rules).exit_code == 1
    (folder / "broken.png").write_bytes(b"no picture")
    assert backplate("check", folder / "broken.png", folder / "web.webp", "--profile", "shopify").exit_code == 2


def test_the_page_has_the_tables_of_the_data(backplate) -> None:
    printed = backplate("profiles").stdout
    assert printed.count("\n### ") + printed.startswith("### ") == 3
    assert printed.strip() in (ROOT / "docs" / "marketplace.md").read_text()
