"""Everything that we use of ComfyUI: model folders, device and memory, progress, cancelling, where results go."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import comfy.model_management as mm  # pyright: ignore[reportMissingImports]
import comfy.model_patcher  # pyright: ignore[reportMissingImports]
import comfy.utils  # pyright: ignore[reportMissingImports]
import folder_paths  # pyright: ignore[reportMissingImports]
import torch
from comfy.cli_args import args  # pyright: ignore[reportMissingImports]
from comfy_execution.utils import get_executing_context  # pyright: ignore[reportMissingImports]
from PIL import Image
from server import PromptServer  # pyright: ignore[reportMissingImports]
from torch.nn import functional

from ..core.engines.export.files import SUFFIXES as ENGINE_SUFFIXES
from ..core.engines.memory import set_free_memory
from ..core.engines.pytorch.eager import tile_bytes, usable_dtype
from ..core.progress import Progress
from ..core.types import Size
from ..model_loader.find import BUNDLED, DEFAULT_MODEL, FOR_ANY_PICTURE, SUFFIXES, find_model, model_files
from ..model_loader.licence_index import index_note, index_path
from ..model_loader.loaded import LoadedModel
from ..model_loader.precision import Precision

logger = logging.getLogger(__name__)

MODEL_FOLDER = "upscale_models"
PREVIEW_SIDE = 512
LIVE_PREVIEW = "backplate.preview"
"""The message that ``web/js/text.js`` listens for."""

SECONDS_BETWEEN_VIEWS = 2.0
UNFINISHED = 0.25
"""Grey of the rows that a view of the work does not have yet."""

CHECKS = (0.6, 0.8)
"""Greys of the checkerboard behind transparent areas."""
CHECK_SIDE = 8


HANDLES = ("dynamic_pins", "dynamic_vbars", "dynamic_patchers")
"""Where ComfyUI's dynamic memory management keeps its handles on a network, by device."""


class UncopiedDict(dict[Any, Any]):
    """A copy of a network that included such handles would free them a second time, so it starts without them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return {}


class UncopiedSet(set[Any]):
    """As ``UncopiedDict``."""

    def __deepcopy__(self, memo: dict[int, Any]) -> set[Any]:
        return set()


def model_names() -> list[str]:
    """The models that ComfyUI offers, the first as the default: those of ``FOR_ANY_PICTURE``, in that order, the
    bundled models, other files that can hold weights for us (ncnn's ``.bin`` cannot), then exported models, which
    ComfyUI does not list."""
    names = folder_paths.get_filename_list(MODEL_FOLDER)
    found = [name for name in names if name.lower().endswith(SUFFIXES)]
    known = sorted((name for name in found if _rank(name) < len(FOR_ANY_PICTURE)), key=_rank)
    bundled = sorted(model_files([BUNDLED]), key=lambda name: Path(name).stem != DEFAULT_MODEL)
    exported = model_files(model_folders(), tuple(ENGINE_SUFFIXES))
    return list(dict.fromkeys([*known, *bundled, *found, *exported]))


def _rank(name: str) -> int:
    """Position in ``FOR_ANY_PICTURE``; all others come after."""
    file = name.replace("\\", "/").rpartition("/")[2]
    places = (place for place, each in enumerate(FOR_ANY_PICTURE) if file == f"{each}.pth")
    return next(places, len(FOR_ANY_PICTURE))


def model_folders() -> list[Path]:
    return [Path(folder) for folder in folder_paths.get_folder_paths(MODEL_FOLDER)]


def model_path(name: str) -> Path:
    """The file behind a name of ``model_names``, never one outside of the folders. Raises ``ModelError``."""
    return find_model(name, [*model_folders(), BUNDLED], allow_paths=False)


def model_fingerprint(name: str) -> str:
    """Changes when the file behind the name is replaced."""
    path = folder_paths.get_full_path(MODEL_FOLDER, name)
    file = f"{path} {Path(path).stat().st_mtime_ns}" if path else name
    # The licence that the loader reports may change with the table of licences.
    return f"{file} {index_path().stat().st_mtime_ns}" if index_path().is_file() else file


def model_device() -> torch.device:
    return mm.get_torch_device()


def attach_patcher(descriptor: Any, device: torch.device) -> Any:
    """The descriptor's patcher, which core has demanded of every UPSCALE_MODEL since 0.29; made if missing."""
    if getattr(descriptor, "patcher", None) is None:
        # Looked up now: ComfyUI chooses the class at start.
        patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        offload = mm.unet_offload_device()
        descriptor.patcher = patcher(descriptor.model, load_device=device, offload_device=offload)
    return descriptor.patcher


def leave_handles_out_of_copies(network: torch.nn.Module) -> None:
    """The network stays as it is for ComfyUI; ``deepcopy`` of it gets none of ``HANDLES``."""
    for name in HANDLES:
        handles = getattr(network, name, None)
        if type(handles) is dict:
            setattr(network, name, UncopiedDict(handles))
        elif type(handles) is set:
            setattr(network, name, UncopiedSet(handles))


def free_memory(device: torch.device, needed: int) -> None:
    """Makes ComfyUI unload models until this many bytes are free, for allocations that it does not count."""
    mm.free_memory(needed, device)


set_free_memory(free_memory)


def place(descriptor: Any, device: torch.device) -> Any:
    """Brings the model to the device; ComfyUI counts its memory and may take it off again when we are done."""
    patcher = attach_patcher(descriptor, device)
    leave_handles_out_of_copies(descriptor.model)
    needed = tile_bytes(descriptor, device) if device.type != "cpu" else 0
    mm.load_models_gpu([patcher], memory_required=needed, force_full_load=True)
    # --novram leaves weights behind, and core before 0.29 moves models without telling the patcher.
    if any(weights.device != device for weights in descriptor.model.parameters()):
        descriptor.model.to(device)
    return descriptor


def describe(model: LoadedModel, precision: Precision) -> str:
    """The model's facts, and whether this device supports the requested precision."""
    _, note = usable_dtype(precision, model, model_device())
    unknown = index_note() if model.facts.licence is None else ""
    return "\n".join(filter(None, [model.facts.text(), note, unknown]))


def where() -> tuple[torch.device, torch.dtype]:
    """Device and type that ComfyUI expects of images and masks between nodes."""
    dtype = mm.intermediate_dtype() if hasattr(mm, "intermediate_dtype") else torch.float32
    return mm.intermediate_device(), dtype


def printable(text: str) -> str:
    """File names that are not valid Unicode can be shown and sent only with replacement characters."""
    return text.encode("utf-8", "replace").decode()


def running_workflow(hidden: Any) -> tuple[tuple[str, str], ...]:
    """Name and JSON of the running workflow, from the node's hidden inputs; nothing under ComfyUI's
    --disable-metadata."""
    if hidden is None or args.disable_metadata:
        return ()
    found = {"prompt": hidden.prompt} if hidden.prompt is not None else {}
    return tuple((name, json.dumps(value)) for name, value in (found | (hidden.extra_pnginfo or {})).items())


def say(text: str) -> None:
    """A line under the node that is running."""
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        server.send_progress_text(printable(text), context.node_id)


def show_live(picture: torch.Tensor) -> None:
    """A small view of (B, C, H, W) on the node while it runs, which goes when it ends. ComfyUI's own preview would
    stay, and where nodes are drawn with Vue it would be played in the place of a video."""
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if context is None or server is None:
        return
    stream = io.BytesIO()
    thumbnail(picture).save(stream, "JPEG", quality=85)
    address = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
    server.send_sync(LIVE_PREVIEW, {"node": context.node_id, "image": address}, server.client_id)


class HostProgress(Progress):
    """ComfyUI's progress bar and Cancel button; the current step is shown under the node, and notes go to the log and
    into the node's final text."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0
        self.bar = comfy.utils.ProgressBar(1)
        self.notes: list[str] = []
        self.next_view = time.monotonic() + SECONDS_BETWEEN_VIEWS

    def begin(self, total: int, what: str = "") -> None:
        self.total, self.done = max(total, 1), 0
        self.bar = comfy.utils.ProgressBar(self.total)
        if what:
            say(what if " " in what else f"{total} {what}")
        self.check()

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        self.bar.update_absolute(self.done, self.total)

    def extend(self, steps: int) -> None:
        self.total += steps

    def show_rows(self, picture: torch.Tensor, rows: int) -> None:
        """Shows every few seconds what is finished so far, the rest in grey; the view takes at most a twentieth of the
        time."""
        now = time.monotonic()
        if now < self.next_view:
            return
        step = max(1, max(picture.shape[-2:]) // PREVIEW_SIDE)
        view = picture[:1, :, ::step, ::step].float().cpu()
        done = -(-rows // step)
        show_live(torch.cat([view[:, :, :done], torch.full_like(view[:, :, done:], UNFINISHED)], dim=2))
        self.next_view = time.monotonic() + max(SECONDS_BETWEEN_VIEWS, 20 * (time.monotonic() - now))

    def note(self, sentence: str) -> None:
        logger.warning("Backplate: %s", printable(sentence))
        if sentence not in self.notes:
            self.notes.append(sentence)
        say(sentence)

    def check(self) -> None:
        mm.throw_exception_if_processing_interrupted()

    def show(self, picture: torch.Tensor, alpha: torch.Tensor | None = None) -> None:
        """A small view of the first picture of (B, C, H, W) on the node, on a checkerboard where transparent."""
        total = max(self.total, 1)
        self.bar.update_absolute(total, total, ("JPEG", thumbnail(picture, alpha), PREVIEW_SIDE))

    def told(self, *lines: str) -> dict[str, Any]:
        """The node's final text, which ``/history`` keeps: these lines, then the notes that they do not contain."""
        text = "\n".join(lines)
        rest = [note for note in self.notes if note not in text]
        return {"text": (printable("\n".join([*lines, *rest])),)}


def size_of_view(picture: torch.Tensor, longest_side: int) -> Size:
    """Of (B, C, H, W) in a view of at most ``longest_side`` pixels; never larger than it is."""
    height, width = picture.shape[-2:]
    reduction = max(1.0, max(height, width) / longest_side)
    return Size(max(1, round(width / reduction)), max(1, round(height / reduction)))


def thumbnail(
    picture: torch.Tensor, alpha: torch.Tensor | None = None, longest_side: int = PREVIEW_SIDE
) -> Image.Image:
    """The first picture of (B, C, H, W), reduced to at most ``longest_side`` pixels; with its ``alpha`` (B, 1, H, W)
    over a checkerboard."""
    width, height = size_of_view(picture, longest_side)
    size = (height, width)
    small = functional.interpolate(picture[:1].float(), size=size, mode="area")[0].expand(3, -1, -1)
    if alpha is not None:
        visible = functional.interpolate(alpha[:1].float(), size=size, mode="area")[0]
        small = torch.lerp(checkerboard(*size).to(small.device), small, visible)
    values = small.mul(255).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(values.movedim(0, 2).cpu().numpy())


def checkerboard(height: int, width: int) -> torch.Tensor:
    """(1, height, width)"""
    rows, columns = torch.arange(height) // CHECK_SIDE, torch.arange(width) // CHECK_SIDE
    dark, light = CHECKS
    return torch.where((rows[:, None] + columns) % 2 == 0, dark, light)[None]
