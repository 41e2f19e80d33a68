"""The Cancel button, in the middle of a long upscale."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
from comfy_server import Client
from graphs import graph_with, load_model, tiled_upscale
from reference import PNG_TOLERANCE, drawing, largest_difference, untiled

pytestmark = pytest.mark.comfyui


def test_cancel_stops_within_the_image_and_leaves_everything_usable(comfy: Client) -> None:
    long, image = graph_with(comfy, drawing(1024, 1024), "long.png")
    node = tiled_upscale(long, load_model(long, tiny_models.RRDB_OLD, "bf16"), image, tile_size=32)
    long.save([node, 0])
    begun = comfy.follow(comfy.queue(long), until="progress")
    assert not begun.finished
    comfy.post("/interrupt", b"{}")
    run = comfy.follow(begun.prompt_id)
    assert run.ending["type"] == "execution_interrupted"
    assert run.ending["data"]["node_id"] == node

    picture = drawing(40, 40)
    after, image = graph_with(comfy, picture, "after.png")
    model = load_model(after, tiny_models.RRDB_OLD, "fp32")
    ours = after.save([tiled_upscale(after, model, image), 0])
    theirs = after.save([after.add("ImageUpscaleWithModel", upscale_model=model, image=image), 0])
    result = comfy.succeed(after)
    models: Path = comfy.server.base / "models" / "upscale_models"
    expected = untiled(models / tiny_models.RRDB_OLD, picture)
    assert largest_difference(comfy.picture(result, ours), expected) <= PNG_TOLERANCE
    assert largest_difference(comfy.picture(result, theirs), expected) <= PNG_TOLERANCE
