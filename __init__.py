"""Backplate: super-resolution nodes for ComfyUI. This file is only the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.extension import BackplateExtension

__version__ = "0.1.0"

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> BackplateExtension:
    """Called by ComfyUI when it loads its custom nodes; nothing of ComfyUI is imported before."""
    from .nodes.extension import BackplateExtension

    return BackplateExtension()
