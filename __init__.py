"""Backplate: super-resolution for ComfyUI, the command line and Python. This file is only the door: the nodes and the
library are imported when somebody asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.jobs.library import load_model, upscale, upscale_to
    from .nodes.extension import BackplateExtension

    __version__: str

__all__ = ["load_model", "upscale", "upscale_to"]

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> BackplateExtension:
    """Called by ComfyUI when it loads its custom nodes; nothing of ComfyUI is imported before."""
    from .nodes.extension import BackplateExtension

    return BackplateExtension()


def __getattr__(name: str) -> object:
    if name == "__version__":
        from .core.version import VERSION

        return VERSION
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .core.jobs import library

    return getattr(library, name)
