"""One real ComfyUI for all tests of this folder, driven over HTTP and the websocket.

``COMFYUI_PATH`` names the checkout (else ``~/comfy/ComfyUI``), ``COMFYUI_PYTHON`` its interpreter (else the
virtual environment inside the checkout, else the interpreter that runs the tests).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# These modules are helpers of this folder only; nothing here shares a name with a module of ComfyUI.
from comfy_server import Client, Server
from expected import absent
from tiny_models import write_tiny_models

RUNNING: list[Server] = []
REQUIRED = ("aiohttp", "alembic", "sqlalchemy", "torchsde", "transformers")
"""Some of ComfyUI's requirements: an interpreter that lacks one of them cannot run it."""


@pytest.fixture(scope="session")
def comfyui_home() -> Path:
    """The checkout to test against, or a skip that says where it was looked for."""
    home = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    if not (home / "main.py").is_file():
        absent("comfyui", f"no ComfyUI at {home} (set COMFYUI_PATH)")
    return home.resolve()


@pytest.fixture(scope="session")
def comfyui_python(comfyui_home: Path) -> Path:
    """The interpreter that has ComfyUI's requirements."""
    if named := os.environ.get("COMFYUI_PYTHON"):
        if not Path(named).is_file():
            absent("comfyui", f"COMFYUI_PYTHON is {named}, which is not a file")
        return Path(named)
    inside = [comfyui_home / folder / "bin" / "python" for folder in (".venv", "venv")]
    for python in filter(Path.is_file, inside):
        return python
    if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
        absent("comfyui", f"{sys.executable} has no {', '.join(missing)}, which ComfyUI needs (set COMFYUI_PYTHON)")
    return Path(sys.executable)


@pytest.fixture(scope="session")
def server(comfyui_home: Path, comfyui_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if importlib.util.find_spec("websocket") is None:
        absent("comfyui", "the package websocket-client is not installed")
    base = tmp_path_factory.mktemp("comfyui")
    write_tiny_models(base / "models" / "upscale_models")
    server = Server(comfyui_home, comfyui_python, base)
    RUNNING.append(server)
    try:
        server.wait_until_ready()
        yield server
    finally:
        RUNNING.remove(server)
        server.stop()


@pytest.fixture
def models(server: Server) -> Path:
    return server.base / "models" / "upscale_models"


@pytest.fixture
def comfy(server: Server) -> Iterator[Client]:
    """A client with its own websocket on the session's server."""
    server.check_alive()
    client = Client(server)
    yield client
    client.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of the server's log."""
    report = yield
    if report.failed:
        report.sections += [(f"log of ComfyUI at {each.home}", each.log_tail()) for each in RUNNING]
    return report
