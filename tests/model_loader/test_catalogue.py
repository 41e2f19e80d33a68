"""The known models, and fetching against a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from backplate.model_loader import download as download_module
from backplate.model_loader.catalogue import CATALOGUE, CatalogueEntry, entry_by_hash, entry_by_name, fetch
from backplate.model_loader.errors import DownloadError, LicenceError

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes


def test_the_catalogue_is_well_formed():
    assert len(CATALOGUE) == len({entry.sha256 for entry in CATALOGUE}) == len({entry.file for entry in CATALOGUE}) == 8
    for entry in CATALOGUE:
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.url.startswith("https://")
        assert entry.url.endswith("/" + entry.file)
        assert entry.good_at.endswith(".")
    assert [entry.file for entry in CATALOGUE if not entry.commercial_use] == ["4x-UltraSharp.pth"]


@pytest.mark.parametrize("name", ["4x-UltraSharp", "4x-ultrasharp.PTH", " 4x-UltraSharp.safetensors "])
def test_entries_by_name(name):
    entry = entry_by_name(name)
    assert entry is not None
    assert entry.file == "4x-UltraSharp.pth"
    assert entry_by_hash(entry.sha256.upper()) is entry


def test_no_entry():
    assert entry_by_name("4x-Ultra") is None
    assert entry_by_hash("0" * 64) is None


@dataclass
class Server:
    """Serves ``content`` at every address, with the faults that are asked for."""

    url: str = ""
    content: bytes = CONTENT
    knows_range: bool = True
    full_status: int = 200
    cut_after: int | None = None
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked[6:].rstrip("-")) if asked and self.knows_range else 0
        if self.status or start >= len(self.content):
            handler.send_error(self.status or 416)
            return
        body = self.content[start:]
        status = 206 if start else self.full_status
        handler.send_response(status)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cut_after])


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}/tiny.pth"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def entry(server: Server) -> CatalogueEntry:
    return CatalogueEntry(
        file="tiny.pth",
        url=server.url,
        bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="MIT",
        commercial_use=True,
        architecture="Compact",
        scale=4,
        good_at="Tests.",
    )


def ignore(done: int, total: int) -> None:
    pass


def only(folder: Path, name: str) -> bool:
    return [path.name for path in folder.iterdir()] == [name]


def test_fetch(entry, server, tmp_path):
    steps: list[tuple[int, int]] = []
    path = fetch(entry, tmp_path / "new" / "folder", on_progress=lambda done, total: steps.append((done, total)))
    assert path == tmp_path / "new" / "folder" / "tiny.pth"
    assert path.read_bytes() == CONTENT
    assert only(path.parent, "tiny.pth")
    assert steps[0] == (0, len(CONTENT))
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert steps == sorted(steps)


def test_a_good_file_is_not_downloaded_again(entry, server, tmp_path):
    (tmp_path / "tiny.pth").write_bytes(CONTENT)
    closed = replace(entry, commercial_use=False)
    assert fetch(closed, tmp_path, on_progress=ignore).read_bytes() == CONTENT
    assert server.ranges == []


def test_another_file_of_that_name_is_left_alone(entry, server, tmp_path):
    (tmp_path / "tiny.pth").write_bytes(b"mine")
    mine = hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(DownloadError, match=f"{mine}.*{entry.sha256}.*move it away"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert (tmp_path / "tiny.pth").read_bytes() == b"mine"
    assert server.ranges == []


def test_an_interrupted_transfer_goes_on_where_it_broke_off(entry, server, tmp_path):
    server.cut_after = 400_000
    with pytest.raises(DownloadError, match=r"broke off after 400000 of 1024000 bytes: fetch again"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert only(tmp_path, "tiny.pth.part")
    server.cut_after = None
    steps: list[int] = []
    path = fetch(entry, tmp_path, on_progress=lambda done, total: steps.append(done))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=400000-"]
    assert steps[0] == 400_000
    assert only(tmp_path, "tiny.pth")


@pytest.mark.parametrize("status", [200, 206])
def test_a_server_that_sends_everything_again(entry, server, tmp_path, status):
    (tmp_path / "tiny.pth.part").write_bytes(CONTENT[:1000])
    server.knows_range, server.full_status = False, status
    assert fetch(entry, tmp_path, on_progress=ignore).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_complete_part_is_only_checked(entry, server, tmp_path):
    (tmp_path / "tiny.pth.part").write_bytes(CONTENT)
    assert fetch(entry, tmp_path, on_progress=ignore).read_bytes() == CONTENT
    assert server.ranges == []


def test_a_part_that_is_too_long_is_dropped(entry, server, tmp_path):
    (tmp_path / "tiny.pth.part").write_bytes(CONTENT + b"more")
    assert fetch(entry, tmp_path, on_progress=ignore).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_part_longer_than_what_the_server_has_is_dropped_once(entry, server, tmp_path):
    (tmp_path / "tiny.pth.part").write_bytes(CONTENT[:5000])
    server.content = CONTENT[:4000]
    with pytest.raises(DownloadError, match="offers 4000 bytes where 1024000 are expected"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert server.ranges == ["bytes=5000-", None]


def test_wrong_content_is_removed_and_both_hashes_are_named(entry, server, tmp_path):
    server.content = CONTENT[::-1]
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(DownloadError, match=f"SHA-256 {found} .*{entry.sha256} are expected; the download was removed"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_file_is_found_out(entry, server, tmp_path):
    (tmp_path / "tiny.pth.part").write_bytes(b"other" * 100)
    with pytest.raises(DownloadError, match="the download was removed"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert fetch(entry, tmp_path, on_progress=ignore).read_bytes() == CONTENT


def test_a_page_in_place_of_the_file_costs_no_part(entry, server, tmp_path):
    (tmp_path / "tiny.pth.part").write_bytes(CONTENT[:1000])
    server.knows_range, server.content = False, b"<html>sign in</html>"
    with pytest.raises(DownloadError, match="offers 20 bytes"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert (tmp_path / "tiny.pth.part").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_http_errors(entry, server, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError, match=rf"tiny\.pth answered {status} .*: try again later"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert list(tmp_path.iterdir()) == []


def test_no_network(entry, tmp_path):
    unused = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = unused.server_address[1]
    unused.server_close()
    with pytest.raises(
        DownloadError, match=r"could not be read \(.*refused.*\), 0 of 1024000 bytes are kept: check the"
    ):
        fetch(replace(entry, url=f"http://127.0.0.1:{port}/tiny.pth"), tmp_path, on_progress=ignore)


def test_a_non_commercial_licence_must_be_accepted(entry, server, tmp_path):
    closed = replace(entry, licence="CC-BY-NC-SA-4.0", commercial_use=False)
    with pytest.raises(LicenceError, match=r"tiny\.pth is under CC-BY-NC-SA-4\.0, which forbids commercial use"):
        fetch(closed, tmp_path, on_progress=ignore)
    assert server.ranges == []
    assert fetch(closed, tmp_path, on_progress=ignore, accept_non_commercial=True).read_bytes() == CONTENT


def test_what_the_listener_raises_stops_the_transfer_and_keeps_the_part(entry, server, tmp_path):
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > 300_000:
            raise Stop

    with pytest.raises(Stop):
        fetch(entry, tmp_path, on_progress=stop)
    assert 300_000 < (tmp_path / "tiny.pth.part").stat().st_size < len(CONTENT)
    assert fetch(entry, tmp_path, on_progress=ignore).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_no_room_on_the_disk(entry, server, tmp_path, monkeypatch):
    (tmp_path / "tiny.pth.part").write_bytes(CONTENT[:24_000])
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 60_000})())
    with pytest.raises(DownloadError, match=r"has 0\.1 MB free and 1\.0 MB are needed for tiny\.pth: free some space"):
        fetch(entry, tmp_path, on_progress=ignore)
    assert server.ranges == []


def test_the_disk_fills_up_on_the_way(entry, server, tmp_path, monkeypatch):
    class Full:
        name = "tiny.pth.part"

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module, "_open", lambda part, done: Full())
    with pytest.raises(DownloadError, match=r"after 0 of 1024000 bytes: No space left on device; free some space"):
        fetch(entry, tmp_path, on_progress=ignore)


def test_a_folder_that_cannot_be_made(entry, server, tmp_path):
    (tmp_path / "file").write_bytes(b"-")
    with pytest.raises(DownloadError, match="cannot be written.*name another folder"):
        fetch(entry, tmp_path / "file" / "models", on_progress=ignore)


def test_two_threads_that_fetch_the_same_file_download_it_once(entry, server, tmp_path):
    results: list[bytes] = []
    work = [
        threading.Thread(target=lambda: results.append(fetch(entry, tmp_path, on_progress=ignore).read_bytes()))
        for _ in range(3)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert results == [CONTENT] * 3
    assert server.ranges == [None]
