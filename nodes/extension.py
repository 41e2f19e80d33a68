"""What ComfyUI gets to see: the node classes of all families that could be imported."""

from __future__ import annotations

import importlib
import logging

from comfy_api.latest import ComfyExtension, io  # pyright: ignore[reportMissingImports]

from .limits import within_limits

logger = logging.getLogger(__name__)

FAMILIES = (
    "load",
    "export",
    "upscale",
    "resolution",
    "sharpen",
    "folder",
    "measure",
    "shootout",
    "study",
    "video",
    "fidelity_lock",
)


class BackplateExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return node_classes(FAMILIES)


def node_classes(families: tuple[str, ...]) -> list[type[io.ComfyNode]]:
    """The ``NODES`` of each family; one that cannot be imported is logged and the others still load."""
    classes: list[type[io.ComfyNode]] = []
    for family in families:
        try:
            module = importlib.import_module(f".{family}", __package__)
        except Exception:  # whatever is broken in one family must not take the others away
            logger.exception("Backplate: the nodes of %r could not be loaded and are missing.", family)
        else:
            classes += map(within_limits, module.NODES)
    return classes
