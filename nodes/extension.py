"""What ComfyUI sees: the node classes of all families that could be imported."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from comfy_api import latest  # pyright: ignore[reportMissingImports]
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
    "video_report",
    "fidelity_lock",
)


REPLACEMENTS: tuple[dict[str, Any], ...] = ()
"""Arguments of ``io.NodeReplace`` for renamed nodes, so that saved workflows open with the new node. None has been
renamed so far."""


class BackplateExtension(ComfyExtension):
    async def on_load(self) -> None:
        """Called by ComfyUI from 0.14 on."""
        for given in REPLACEMENTS:
            await latest.ComfyAPI().node_replacement.register(io.NodeReplace(**given))

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return node_classes(FAMILIES)


def node_classes(families: tuple[str, ...]) -> list[type[io.ComfyNode]]:
    """The ``NODES`` of each family; one that cannot be imported is logged and the others still load."""
    classes: list[type[io.ComfyNode]] = []
    for family in families:
        try:
            module = importlib.import_module(f".{family}", __package__)
        except Exception:  # an error in one family must not disable the others
            logger.exception("Backplate: the nodes of %r could not be loaded and are missing.", family)
        else:
            classes += map(within_limits, module.NODES)
    return classes
