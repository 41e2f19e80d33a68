"""Finding, fetching and loading of upscale models. It knows nothing of the rest of the pack.

The names below are loaded when they are first used, so that listing files and fetching does not wait for
PyTorch and Spandrel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .blend import blend_models
    from .cache import CACHE, ModelCache
    from .catalogue import CATALOGUE, CatalogueEntry, entry_by_hash, entry_by_name, fetch
    from .errors import ModelError
    from .find import default_folders, find_model, model_files, user_folder
    from .loaded import LoadedModel, ModelFacts, describe_foreign, load_model
    from .precision import Precision, choose_device, choose_dtype
    from .safe_load import read_model, read_state_dict

_HOME = {
    "blend_models": "blend",
    "CACHE": "cache",
    "ModelCache": "cache",
    "CATALOGUE": "catalogue",
    "CatalogueEntry": "catalogue",
    "entry_by_hash": "catalogue",
    "entry_by_name": "catalogue",
    "fetch": "catalogue",
    "ModelError": "errors",
    "default_folders": "find",
    "find_model": "find",
    "model_files": "find",
    "user_folder": "find",
    "LoadedModel": "loaded",
    "ModelFacts": "loaded",
    "describe_foreign": "loaded",
    "load_model": "loaded",
    "Precision": "precision",
    "choose_device": "precision",
    "choose_dtype": "precision",
    "read_model": "safe_load",
    "read_state_dict": "safe_load",
}

__all__ = [
    "CACHE",
    "CATALOGUE",
    "CatalogueEntry",
    "LoadedModel",
    "ModelCache",
    "ModelError",
    "ModelFacts",
    "Precision",
    "blend_models",
    "choose_device",
    "choose_dtype",
    "default_folders",
    "describe_foreign",
    "entry_by_hash",
    "entry_by_name",
    "fetch",
    "find_model",
    "load_model",
    "model_files",
    "read_model",
    "read_state_dict",
    "user_folder",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
