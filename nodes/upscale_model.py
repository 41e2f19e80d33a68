"""An UPSCALE_MODEL as our nodes send and receive it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..core.engines.export.files import OpenedFile, open_engine_file
from ..core.engines.registry import Engine, open_upscaler
from ..core.errors import InputError
from ..core.jobs.model_info import Model, exported_model, model_of
from ..core.progress import Progress
from ..core.upscaler import Upscaler
from ..model_loader.errors import WrongModelError
from ..model_loader.loaded import LoadedModel, describe_foreign
from ..model_loader.precision import Precision
from . import comfy_host as host


@dataclass(frozen=True, kw_only=True)
class Received:
    """A model, and the requested way to run it."""

    model: LoadedModel
    precision: Precision = Precision.AUTO
    engine: Engine = Engine.AUTO


class NoNetwork(WrongModelError, AttributeError):
    """An exported model was asked for its network. Also an ``AttributeError``, because ComfyUI looks whether there is
    a ``patcher``."""


class ExportedModel:
    """An UPSCALE_MODEL without a network of PyTorch: a file that an engine runs in our nodes. It is opened on use, so
    that it takes no memory between runs. Other packs' nodes that access the network get the reason why there is
    none."""

    def __init__(self, path: Path, opened: OpenedFile, precision: Precision) -> None:
        self.path, self.precision = path, precision
        self.name, self.sha256, self.scale = opened.name, opened.sha256, opened.upscaler.spec.scale
        self.record = opened.record

    @property
    def patcher(self) -> NoReturn:
        raise self.refusal()

    @property
    def model(self) -> NoReturn:
        raise self.refusal()

    def to(self, *_: object) -> NoReturn:
        raise self.refusal()

    def __call__(self, *_: object) -> NoReturn:
        raise self.refusal()

    def refusal(self) -> NoNetwork:
        return NoNetwork(
            f"{self.path.name} is an exported model, which only the nodes of Backplate that upscale can run: load the"
            " model it was made from."
        )

    def open(self) -> Upscaler:
        opened = open_engine_file(self.path, host.model_device())
        if opened.sha256 != self.sha256:
            raise InputError(f"{self.path.name} was replaced while it was in use; queue the workflow again.")
        return opened.upscaler


def send_model(received: Received) -> Any:
    """An UPSCALE_MODEL for our nodes and all other packs': the shared model in single precision, with the patcher
    that core asks for and, for us, ``.backplate``."""
    host.attach_patcher(received.model.descriptor, host.model_device())
    descriptor: Any = copy.copy(received.model.descriptor)
    descriptor.backplate = received
    return descriptor


def receive_model(upscale_model: Any) -> Received:
    """Any loader's UPSCALE_MODEL in our form. Raises ``ModelError`` if it is not one, or has no network."""
    if isinstance(upscale_model, ExportedModel):
        raise upscale_model.refusal()
    ours = getattr(upscale_model, "backplate", None)
    return ours if ours is not None else Received(model=describe_foreign(upscale_model))


def is_foreign(upscale_model: Any) -> bool:
    """Whether it comes from another pack's loader, so that its file is unknown."""
    return not isinstance(upscale_model, ExportedModel) and getattr(upscale_model, "backplate", None) is None


def identify(upscale_model: Any) -> Model:
    """What is recorded about the model that made a result. Raises ``ModelError`` if it is not one."""
    if isinstance(upscale_model, ExportedModel):
        given = upscale_model
        return exported_model(given.name, given.sha256, given.precision, given.record)
    received = receive_model(upscale_model)
    return model_of(received.model.facts, received.precision)


def upscaler_for(upscale_model: Any, progress: Progress, tile: int = 0, pixels: int = 0) -> Upscaler:
    """Ready to run on the device that ComfyUI has for the model, brought there by its memory management. An engine that
    cannot run it is replaced by PyTorch, with a note; building one shows progress and can be cancelled.
    ``tile`` and ``pixels``: see ``EngineRequest``."""
    if isinstance(upscale_model, ExportedModel):
        return upscale_model.open()
    received = receive_model(upscale_model)
    host.leave_handles_out_of_copies(received.model.descriptor.model)
    patcher = getattr(upscale_model, "patcher", None)
    device = host.model_device() if patcher is None else patcher.load_device
    return open_upscaler(
        received.model,
        device,
        received.precision,
        received.engine,
        place=host.place,
        tile=tile,
        progress=progress,
        pixels=pixels,
    )
