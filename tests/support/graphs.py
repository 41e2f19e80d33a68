"""Prompts that several tests build."""

from __future__ import annotations

import numpy as np
from comfy_server import Client, Graph

Link = list[object]
SHOOTING = {
    "degrade": "none",
    "scale": 4,
    "metrics": "psnr",
    "names": "",
    "filename_prefix": "tests/shootout",
    "degrade_seed": 0,
    "tile_size": 0,
    "edge": "plain",
}


def load_model(graph: Graph, name: str, precision: str = "auto") -> Link:
    return [graph.add("BackplateLoadUpscaleModel", model_name=name, precision=precision), 0]


def load_image(graph: Graph, comfy: Client, picture: np.ndarray, name: str) -> Link:
    """The image output of Load Image; its mask is output 1 of the same node."""
    return [graph.add("LoadImage", image=comfy.upload(picture, name)), 0]


def graph_with(comfy: Client, picture: np.ndarray, name: str) -> tuple[Graph, Link]:
    """A new prompt, and the picture in it as ``load_image`` gives it."""
    graph = Graph()
    return graph, load_image(graph, comfy, picture, name)


def mask_of(image: Link) -> Link:
    return [image[0], 1]


def tiled_upscale(graph: Graph, model: Link, image: Link, **changed: object) -> str:
    """With the colours of the model, which are compared."""
    inputs = {"tile_size": 0, "edge": "plain", "keep_colours": False, **changed}
    return graph.add("BackplateTiledUpscale", upscale_model=model, image=image, **inputs)


def fitting(**changed: object) -> dict[str, object]:
    """Every input of the nodes that fit an image into a size, at values that change nothing by themselves."""
    inputs: dict[str, object] = {"width": 128, "height": 128, "fit": "cover", "anchor": "center"}
    inputs |= {"megapixels": 1.0, "factor": 1.0, "multiple_of": 1, "pad_with": "edge", "pad_colour": "#ffffff"}
    return inputs | changed
