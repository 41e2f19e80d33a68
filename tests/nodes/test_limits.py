"""Values that come over a link are held to the limits of the input, and prefixes to ComfyUI's folder."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy
import pytest
import torch
from backplate.core.engines.registry import EngineUnusable
from backplate.core.errors import InputError, OutOfMemory
from backplate.core.types import Size
from backplate.model_loader.errors import DamagedModelError

if TYPE_CHECKING:
    from conftest import Host


class Input(SimpleNamespace):
    """As ComfyUI's: with its limits as attributes."""


class Whole(Input): ...


class Real(Input): ...


class Choice(Input): ...


INPUTS = [
    Whole(id="threads", min=1, max=64),
    Real(id="sharpen", min=0.0, max=2.0),
    Real(id="free", min=None, max=None),
    Choice(id="edge", options=["plain", "wrap"]),
    Choice(id="model_name", options=["a.pth"]),
    Input(id="image"),
]


@pytest.fixture
def limits(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    host.node("limits", "refuse_beyond_limits")
    module = sys.modules["backplate.nodes.limits"]
    kinds = {"Int": Whole, "Float": Real, "Combo": Choice}
    io = SimpleNamespace(**{name: SimpleNamespace(Input=kind) for name, kind in kinds.items()})
    monkeypatch.setattr(module, "io", io)
    return module


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"threads": 0}, "threads is 0; give a whole number from 1 to 64"),
        ({"threads": -3}, "threads is -3"),
        ({"threads": 65}, "threads is 65"),
        ({"threads": 2.5}, "threads is '2.5'; give a whole number"),
        ({"threads": "4"}, "threads is '4'; give a whole number"),
        ({"sharpen": float("nan")}, "sharpen is 'nan'; give a number"),
        ({"sharpen": float("inf")}, "sharpen is 'inf'"),
        ({"sharpen": 2.1}, "sharpen is 2.1; give a number from 0 to 2"),
        ({"free": "x"}, "free is 'x'; give a number"),
        ({"edge": "torn"}, "edge is 'torn'; choose one of plain, wrap"),
    ],
)
def test_a_value_beyond_its_limits_is_one_sentence(limits: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        limits.refuse_beyond_limits(INPUTS, values)


def test_values_within_the_limits_pass(limits: Any) -> None:
    allowed = {"threads": numpy.int64(64), "sharpen": 1, "free": -1e30, "edge": "wrap", "model_name": "new.pth"}
    for name, value in allowed.items():
        limits.refuse_beyond_limits(INPUTS, {name: value, "image": object(), "unknown": 7})


def test_every_node_is_held_to_its_limits_once(limits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    class Node:
        @classmethod
        def define_schema(cls) -> Any:
            return SimpleNamespace(inputs=INPUTS)

        @classmethod
        def execute(cls, threads: int) -> str:
            runs.append(threads)
            return cls.__name__

    for _ in range(2):
        limits.within_limits(Node)
    assert type("Clone", (Node,), {}).execute(threads=3) == "Clone"
    with pytest.raises(InputError):
        Node.execute(threads=0)
    assert runs == [3]


def test_the_door_gives_no_node_without_limits(host: Host) -> None:
    classes = asyncio.run(asyncio.run(sys.modules["backplate"].comfy_entrypoint()).get_node_list())
    assert classes
    assert all(hasattr(each.execute.__func__, "__wrapped__") for each in classes)


@pytest.mark.parametrize(
    "prefix",
    ["a\0b", "\ud800", "a\nb", "x" * 300, "\u65e5" * 80, "deep/" * 400 + "x", "../out", "a/../../out", "/etc/x", "",
     "a/", "..", "link/x"],
    ids=range(13),
)  # fmt: skip
def test_a_prefix_that_is_no_name_inside_is_one_sentence_without_the_servers_paths(host: Host, prefix: str) -> None:
    base = host.folders / "output"
    os.symlink(host.folders, base / "link")
    for call in (
        lambda: host.node("paths", "numbered_name")(prefix, str(base)),
        lambda: host.node("shootout", "report_folder")(base, prefix),
        lambda: host.node("video_results", "result_file")(
            {"save_to": "output", "filename_prefix": prefix, "container": "mp4"}, Size(64, 48)
        ),
    ):
        with pytest.raises(InputError, match="^filename_prefix ") as refused:
            call()
        assert str(host.folders) not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_what_comfyui_refuses_is_one_sentence_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError(28, "No space left on device", "/srv/output"), Exception("**** ERROR: /srv/output")):

        def refuse(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(sys.modules["folder_paths"], "get_save_image_path", refuse)
        with pytest.raises(InputError, match="filename_prefix 'a' cannot be used") as refused:
            host.node("paths", "numbered_name")("a", str(host.folders))
        assert "srv" not in str(refused.value)


def test_a_prefix_becomes_a_numbered_name(host: Host) -> None:
    folder, name, _ = host.node("paths", "numbered_name")("video/clip", str(host.folders / "output"))
    assert folder == Path(host.folders / "output" / "video")
    assert name == "clip_00001_"


@pytest.mark.parametrize("kind", [InputError, OutOfMemory, EngineUnusable, DamagedModelError])
def test_errors_have_a_readable_name_and_can_be_sent_to_other_processes(kind: type[Exception]) -> None:
    assert f"{kind.__module__}.{kind.__qualname__}" == f"backplate.{kind.__name__}"
    sent = pickle.loads(pickle.dumps(kind("two words")))
    assert type(sent) is kind
    assert str(sent) == "two words"
    assert isinstance(sent, kind.__mro__[-3])


def test_a_node_that_fails_says_its_sentence_on_itself(host: Any) -> None:
    with pytest.raises(InputError) as refused:
        host.node("extension", "within_limits")(host.node("resolution", "FitToResolution")).execute(
            image=torch.zeros(1, 8, 8, 2), width=8, height=8
        )
    assert host.said == [str(refused.value)]
    assert "1, 3 or 4 channels" in host.said[0]


def test_a_folder_that_was_made_after_the_first_run_is_taken(host: Any) -> None:
    """The list of choices is as old as the first run."""
    node = host.node("extension", "within_limits")(host.node("folder", "UpscaleFolder"))
    wanted = host.defaults("folder", "UpscaleFolder")
    for name in ("first", "later"):
        with pytest.raises(InputError, match="There is no folder"):
            node.execute(upscale_model=None, folder=f"{name}/", **wanted)
        (host.folders / "input" / name).mkdir()
        with pytest.raises(ValueError, match="upscale_model|NoneType|no upscale model"):
            node.execute(upscale_model=None, folder=name, **wanted)
