"""The sharpening node, against the function it hands over to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backplate.core.image.sharpen import SharpenSettings, sharpen_blend
from comfy_server import Client, Graph
from graphs import graph_with, load_image, mask_of
from reference import PNG_TOLERANCE, drawing, largest_difference

pytestmark = pytest.mark.comfyui

STRONG = {
    "amount": 2.0,
    "radius": 1.5,
    "threshold": 0.01,
    "halo_limit": 0.1,
    "luma_only": True,
    "protect_lines": 0.0,
}


def planes(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).movedim(2, 0)[None]


def levels(plane: torch.Tensor) -> np.ndarray:
    return plane[0].movedim(0, 2).numpy() * 255


def test_detail_of_another_image_within_a_mask(comfy: Client) -> None:
    base, detail = drawing(40, 60, seed=1), drawing(40, 60, seed=2)
    painted = np.concatenate([base, np.full((40, 60, 1), 255, np.uint8)], axis=-1)
    painted[:, 30:, 3] = 0
    graph = Graph()
    images = [load_image(graph, comfy, each, f"sharpen{i}.png") for i, each in enumerate((painted, detail))]
    node = graph.add("BackplateSharpenBlend", base=images[0], detail=images[1], mask=mask_of(images[0]), **STRONG)
    saved, acted = graph.save([node, 0]), graph.save_mask([node, 1])
    run = comfy.succeed(graph)
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 30:] = 1
    expected, area = sharpen_blend(planes(base), SharpenSettings(**STRONG), planes(detail), mask)
    assert largest_difference(comfy.picture(run, saved), levels(expected)) <= PNG_TOLERANCE
    assert largest_difference(comfy.picture(run, acted)[..., :1], levels(area)) <= PNG_TOLERANCE
    assert area[..., 30:].mean() > 0.1


def test_a_cutout_keeps_its_alpha_and_hidden_colours_do_not_show(comfy: Client) -> None:
    """The same cutout over two hidden colours gives the same visible pixels."""
    results = []
    for name, hidden in (("black.png", 0), ("white.png", 255)):
        picture = np.concatenate([drawing(32, 48), np.full((32, 48, 1), 255, np.uint8)], axis=-1)
        picture[:, 24:] = (hidden, hidden, hidden, 0)
        graph, image = graph_with(comfy, picture, name)
        joined = graph.add("JoinImageWithAlpha", image=image, alpha=mask_of(image))
        node = graph.add("BackplateSharpenBlend", base=[joined, 0], **{**STRONG, "halo_limit": 1.0})
        saved = graph.save([node, 0])
        results.append(comfy.picture(comfy.succeed(graph), saved))
        assert largest_difference(results[-1][..., 3], picture[..., 3]) == 0
    assert largest_difference(results[0][:, :24], results[1][:, :24]) == 0
