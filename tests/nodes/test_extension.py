"""Which node classes ComfyUI gets."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Host


def test_the_door_gives_every_node(host: Host) -> None:
    entrypoint = sys.modules["backplate"].comfy_entrypoint
    classes = asyncio.run(asyncio.run(entrypoint()).get_node_list())
    ids = [each.define_schema().node_id for each in classes]
    assert len(set(ids)) == len(ids) >= 6
    assert all(each.startswith("Backplate") for each in ids)


def test_a_broken_family_is_logged_and_the_others_load(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Importing a module that is None in sys.modules fails, as one does whose dependency is missing.
    monkeypatch.setitem(sys.modules, "backplate.nodes.sharpen", None)
    with caplog.at_level(logging.ERROR):
        classes = host.node("extension", "node_classes")(("sharpen", "load", "upscale"))
    ids = [each.define_schema().node_id for each in classes]
    assert ids == ["BackplateLoadUpscaleModel", "BackplateBlendUpscaleModels", "BackplateTiledUpscale"]
    (record,) = caplog.records
    assert "sharpen" in record.getMessage()
    assert record.exc_info is not None
