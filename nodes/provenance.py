"""Inputs about the origin and permitted use of a result, for nodes that write files."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.jobs.model_info import Model
from ..core.media.picture.sign import Signatory, signatory_of_environment
from ..core.media.picture.xmp import SOURCE_TYPES
from ..model_loader.errors import LicenceError
from . import comfy_host as host
from .schema import ADVANCED
from .upscale_model import is_foreign

WITH_WORKFLOW, AS_SOURCE, NOTHING = "source and workflow", "source", "none"
NOT_SAID = "not said"


def metadata_input() -> io.Input:
    return io.Combo.Input(
        "metadata",
        options=[WITH_WORKFLOW, AS_SOURCE, NOTHING],
        default=WITH_WORKFLOW,
        optional=True,
        extra_dict=ADVANCED,
        tooltip="What is written into the files. source and workflow: the source's metadata and this workflow, so that "
        "a result can be dropped back into ComfyUI. source: the source's metadata only. none: only the colour profile.",
    )


def source_type_input() -> io.Input:
    return io.Combo.Input(
        "source_type",
        options=[NOT_SAID, *SOURCE_TYPES],
        default=NOT_SAID,
        optional=True,
        extra_dict=ADVANCED,
        tooltip="IPTC's term for how the result was made, written into XMP if the source has none: "
        "algorithmicallyEnhanced adds no content; compositeWithTrainedAlgorithmicMedia was "
        "edited by generative AI.",
    )


def commercial_input() -> io.Input:
    return io.Boolean.Input(
        "commercial_use",
        default=False,
        optional=True,
        extra_dict=ADVANCED,
        tooltip="Refuse a model whose licence forbids commercial use or is unknown, before any work.",
    )


def check_licence(upscale_model: Any, model: Model, wanted: dict[str, Any]) -> None:
    """Raises ``LicenceError`` if commercial use was asked for and is not known to be allowed."""
    if not wanted.get("commercial_use"):
        return
    if is_foreign(upscale_model):
        raise LicenceError(
            f"The licence of {model.name} is not known, because another loader gave it without its file: connect Load "
            "Upscale Model (Backplate), which looks the file up, or switch commercial_use off."
        )
    model.check_commercial_use()


def strips(wanted: dict[str, Any]) -> bool:
    return wanted.get("metadata") == NOTHING


def signatory(wanted: dict[str, Any]) -> Signatory | None:
    """Whose signature results get, as the environment says: a workflow from elsewhere is not to choose a key. Raises
    ``InputError``."""
    return None if strips(wanted) else signatory_of_environment()


def text_to_embed(node: type[io.ComfyNode], wanted: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The prompt and the workflow that run, by the names under which ComfyUI's savers write them."""
    if wanted.get("metadata", WITH_WORKFLOW) != WITH_WORKFLOW:
        return ()
    return host.running_workflow(getattr(node, "hidden", None))


def source_type(wanted: dict[str, Any]) -> str:
    asked = wanted.get("source_type", NOT_SAID)
    return "" if asked == NOT_SAID else asked
