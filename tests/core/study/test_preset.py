"""The setting that won, as a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from backplate.core.errors import InputError
from backplate.core.study.preset import Preset, model_of, preset_of, read_preset, write_preset

DIGEST = hashlib.sha256(b"weights").hexdigest()
PRESET = Preset(label="B", model="b.safetensors", sha256=DIGEST, engine="ncnn", sharpen=0.5, scale=4.0)


def test_a_preset_comes_back(tmp_path: Path):
    write_preset(tmp_path / "p.json", PRESET)
    assert read_preset(tmp_path / "p.json") == PRESET


def test_a_model_is_found_by_its_content_under_any_name(tmp_path: Path):
    (tmp_path / "b.safetensors").write_bytes(b"something else")
    (tmp_path / "renamed.pth").write_bytes(b"weights")
    assert model_of(PRESET, [tmp_path]) == tmp_path / "renamed.pth"
    (tmp_path / "renamed.pth").unlink()
    with pytest.raises(InputError, match=r"needs the model b\.safetensors .* none of the 1 models"):
        model_of(PRESET, [tmp_path])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"\xff\xfe", b"3", b"{}", b'{"kind": "something"}', b"[" * 100_000,
        b'{"kind": "backplate preset", "format": 9}', b'{"kind": "backplate preset", "format": 1}',
    ],
)  # fmt: skip
def test_what_is_no_preset_is_a_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.json"):
        read_preset(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sharpen", "much"), ("sharpen", -1), ("scale", True), ("model", 3), ("sha256", "abc"), ("sha256", "G" * 64),
        ("sharpen", float("nan")), ("model", ""), ("engine", None),
    ],
)  # fmt: skip
def test_a_field_that_makes_no_sense_is_a_sentence(tmp_path: Path, field: str, value: object):
    write_preset(tmp_path / "p.json", PRESET)
    data = json.loads((tmp_path / "p.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps({**data, field: value}))
    with pytest.raises(InputError, match=r"p\.json"):
        read_preset(tmp_path / "p.json")


def test_later_fields_are_passed_over(tmp_path: Path):
    write_preset(tmp_path / "p.json", PRESET)
    data = json.loads((tmp_path / "p.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps({**data, "later": [1]}))
    assert read_preset(tmp_path / "p.json") == PRESET


def test_finished_results_and_plain_resampling_have_no_preset():
    with pytest.raises(InputError, match="finished results"):
        preset_of("B", {})
    with pytest.raises(InputError, match="needs no model"):
        preset_of("Lanczos", {"label": "Lanczos", "model": "Lanczos"})
