"""A real picture with a real model to a delivery size: over HTTP, and through the pipeline directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.fit import Anchor, Fit, Target
from backplate.core.tiled.pipeline import TileSettings, upscale_to
from backplate.model_loader.loaded import load_model as read_model
from backplate.model_loader.precision import Precision
from comfy_server import Client
from graphs import fitting, graph_with, load_model
from PIL import Image
from reference import PNG_TOLERANCE, largest_difference

pytestmark = [pytest.mark.comfyui, pytest.mark.real_weights]


def test_the_prompt_and_the_pipeline_deliver_the_same(
    comfy: Client, shared: Path, real_weights: Callable[[str], Path]
) -> None:
    weights = real_weights("realesr-animevideov3")
    listed = comfy.server.base / "models" / "upscale_models" / weights.name
    if not listed.exists():
        listed.symlink_to(weights)
    # Decoded here: ComfyUI versions differ in the JPEG decoder they use.
    picture = np.asarray(Image.open(shared / "images" / "realesrgan" / "0014.jpg").convert("RGB"))

    graph, image = graph_with(comfy, picture, "0014.png")
    inputs = fitting(width=2000, height=2000) | {"tile_size": 0, "edge": "plain"}
    model = load_model(graph, weights.name)
    node = graph.add("BackplateUpscaleToResolution", upscale_model=model, image=image, **inputs)
    result = comfy.result(graph, [node, 0])

    values = torch.from_numpy(picture.astype(np.float32) / 255).movedim(2, 0)[None]
    upscaler = EagerUpscaler(read_model(weights), torch.device("cpu"), Precision.AUTO)
    target = Target(width=2000, height=2000, fit=Fit.COVER, anchor=Anchor.CENTER)
    expected = upscale_to(values, None, upscaler, target, TileSettings(keep_colours=True)).picture
    assert largest_difference(result, expected[0].movedim(0, 2).numpy() * 255) <= PNG_TOLERANCE
