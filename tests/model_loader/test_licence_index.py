"""OpenModelDB's list: read field by field, kept whole or not at all."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from backplate.model_loader import licence_index
from backplate.model_loader.errors import LicenceIndexError
from backplate.model_loader.licence_index import (
    fetch_index,
    import_index,
    index_note,
    index_path,
    indexed,
    read_index,
    rows_of,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64
MODELS: dict[str, Any] = {
    "4x-Closed": {
        "name": "Closed", "author": ["one", "two"], "license": "CC-BY-NC-SA-4.0", "scale": 4, "Training epochs": 3,
        "resources": [
            {"platform": "pytorch", "type": "pth", "size": 5, "sha256": A.upper(), "urls": ["https://example.org/a"]},
            {"platform": "onnx", "type": "onnx", "size": None, "sha256": None, "urls": []},
        ],
    },
    "2x-Silent": {"name": "Silent", "license": None, "resources": [{"sha256": B}]},
    "1x-Either": {"name": "Either", "license": "MIT OR Apache-2.0", "resources": [{"sha256": C}]},
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("data_folder")


@contextlib.contextmanager
def served(content: bytes, status: int = 200, cut: int = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) + cut))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v1/models.json"
    finally:
        server.shutdown()
        server.server_close()


def test_a_list_from_the_web_is_kept() -> None:
    assert read_index() is None
    assert indexed(A) is None
    with served(json.dumps(MODELS).encode()) as url:
        fetched = fetch_index(url)
    kept = read_index()
    assert kept == fetched
    assert kept is not None
    assert (kept.source, len(kept.files)) == (url, 3)
    found = indexed(A.upper())
    assert found is not None
    assert (found.licence, found.page) == ("CC-BY-NC-SA-4.0", "https://openmodeldb.info/models/4x-Closed")
    assert [each.licence for each in kept.files.values()] == ["CC-BY-NC-SA-4.0", "", "MIT OR Apache-2.0"]
    assert index_note() == ""


def test_the_folder_of_its_repository_is_the_same_list(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name, model in MODELS.items():
        (folder / f"{name}.json").write_text(json.dumps(model))
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    assert import_index(folder).files == import_index(tmp_path / "models.json").files


def test_one_file_under_two_names_has_both_licences(tmp_path: Path) -> None:
    def twice(first: str | None, second: str | None) -> str:
        models = {
            "a": {"license": first, "resources": [{"sha256": A}]},
            "b": {"license": second, "resources": [{"sha256": A}]},
        }
        (tmp_path / "models.json").write_text(json.dumps(models))
        return import_index(tmp_path / "models.json").files[A].licence

    assert twice("MIT", "MIT") == "MIT"
    assert twice("MIT", "CC-BY-NC-4.0") == "CC-BY-NC-4.0 AND MIT"
    assert twice("MIT", None) == ""


BAD: dict[str, tuple[Any, str]] = {
    "a page": (b"<html>not found</html>", "is not JSON"),
    "cut off": (json.dumps(MODELS).encode()[:-40], "is not JSON"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "not text": (b"\xff\xfe\x00", "is not JSON"),
    "a list": ([], "is not a list of models"),
    "empty": ({}, "is not a list of models"),
    "a name": ({"../etc": MODELS["2x-Silent"]}, "'../etc' has an invalid name"),
    "a model": ({"x": 7}, "'x' is not an object"),
    "a licence": ({"x": {"license": "do <b>what</b>", "resources": []}}, "is not an SPDX expression: 'do <b>what</b>'"),
    "a licence of another kind": ({"x": {"license": ["MIT"], "resources": []}}, "is not an SPDX expression"),
    "no resources": ({"x": {"license": "MIT"}}, "has no list of resources"),
    "a resource": ({"x": {"license": "MIT", "resources": ["y"]}}, "invalid SHA-256: '0'"),
    "a hash": ({"x": {"license": "MIT", "resources": [{"sha256": "abc"}]}}, "invalid SHA-256: 'abc'"),
    "no hash at all": ({"x": {"license": "MIT", "resources": [{"sha256": None}]}}, "names no file with a SHA-256"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_list_is_one_sentence_and_the_old_one_stays(kind: str, tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    before = import_index(tmp_path / "models.json")
    content, reason = BAD[kind]
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(LicenceIndexError, match=".*") as caught:
        import_index(tmp_path / "bad.json")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    with served(data) as url, pytest.raises(LicenceIndexError):
        fetch_index(url)
    assert read_index() == before
    assert [path.name for path in index_path().parent.iterdir()] == [index_path().name]


def test_a_list_without_end_is_read_to_the_limit_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(licence_index, "LARGEST", 1000)
    with served(b" " * 5000) as url, pytest.raises(LicenceIndexError, match="is larger than 1000 bytes"):
        fetch_index(url)
    (tmp_path / "models.json").write_bytes(b" " * 5000)
    with pytest.raises(LicenceIndexError, match="is larger than 1000 bytes"):
        import_index(tmp_path / "models.json")


def test_addresses_and_answers_that_are_none() -> None:
    with pytest.raises(LicenceIndexError, match="not a web address"):
        fetch_index("file:///etc/passwd")
    with served(b"gone", 404) as url, pytest.raises(LicenceIndexError, match="answered 404"):
        fetch_index(url)
    with served(b"{", cut=10) as url, pytest.raises(LicenceIndexError, match="could not be read|is not JSON"):
        fetch_index(url)
    with pytest.raises(LicenceIndexError, match=r"could not be read .* import a file that you downloaded"):
        fetch_index("http://127.0.0.1:9/models.json")


DAMAGED = {
    "cut off": lambda text: text[:-30],
    "another version": lambda text: text.replace('"version": 1', '"version": 2'),
    "another kind": lambda text: "[]",
    "a hash": lambda text: text.replace(A, "z" * 64),
    "a row": lambda text: text.replace('"4x-Closed",', ""),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_table_is_said_and_read_as_none(kind: str, tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    import_index(tmp_path / "models.json")
    index_path().write_text(DAMAGED[kind](index_path().read_text()))
    assert indexed(C) is None
    assert index_note().endswith("fetch it again with `backplate models index fetch`.")
    with pytest.raises(LicenceIndexError):
        read_index()


def test_an_old_table_is_used_and_its_age_said(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    made = import_index(tmp_path / "models.json").made
    old = index_path().read_text().replace(str(made), str(time.time() - 400 * 86_400))
    index_path().write_text(old)
    assert index_note() == "The table of licences is 400 days old; fetch it again with `backplate models index fetch`."
    assert indexed(C) is not None


def test_a_folder_that_cannot_be_written(tmp_path: Path, data_folder: Path) -> None:
    data_folder.write_text("a file in the way")
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    with pytest.raises(LicenceIndexError, match="cannot be written"):
        import_index(tmp_path / "models.json")


def test_rows_name_every_hash() -> None:
    rows = rows_of(json.dumps(MODELS).encode(), "x")
    assert [(row.sha256, row.model) for row in rows] == [(A, "4x-Closed"), (B, "2x-Silent"), (C, "1x-Either")]
