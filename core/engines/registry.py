"""The engines that can run a model, and the one function that opens a model in one of them.

An engine is a module of this folder, imported on use, that meets ``EngineModule``. To add one: write the module and
give it a line in ``names.Engine``.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, cast

import torch

from ...model_loader.errors import Named
from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import Precision
from ..progress import Progress
from ..upscaler import StreamingUpscaler, Upscaler
from .autotune.candidates import pytorch_candidates
from .autotune.choose import choose_plan, tuning_wanted
from .autotune.tiles_and_rows import TilesAndRows
from .autotune.timing import STREAM_WIDTH
from .autotune.trial import TRIAL_SECONDS
from .memory import make_room, total_memory
from .names import MODULES, Engine
from .plan import Candidate, Choice, EngineRequest, Placer, RunPlan, Trial
from .pytorch.eager import usable_dtype
from .spec import sight_of

logger = logging.getLogger(__name__)


AUTO_ENGINES = (Engine.NCNN, Engine.ONNXRUNTIME)
AUTO_SECONDS = 90.0
"""Longest trial of ``auto``; it is made once for a model."""

SMALL_JOB = 256 * 256
"""Pixels given to the model below which opening another engine takes longer than it can win."""

ENGINE_SHARE = 0.25
"""Part of a device's memory that a host is asked to free for an engine that does not allocate through PyTorch."""

AUTO_TILE = 256
"""Side of the tile, context included, in which ``auto`` tries an engine that takes tiles."""


class EngineUnusable(Named, RuntimeError):
    """An engine cannot be used here. The message is a clause, without a full stop, that says why and what to do."""


class EngineModule(Protocol):
    """A module of this folder that runs models."""

    def unusable(self) -> str | None:
        """Why this machine cannot use the engine, and which package to install, as a clause without a full stop;
        None if it can. Quick: called for lists."""
        ...

    def open_model(self, request: EngineRequest) -> Upscaler:
        """The model, ready to run. May take minutes the first time; shows progress and asks ``progress.check``.

        Raises ``EngineUnusable`` for a model, device or precision that the engine cannot run.
        """
        ...


@dataclass(frozen=True)
class EngineRow:
    """One line of ``list_engines``: ``reason`` says why the engine cannot be used here; None if it can."""

    engine: Engine
    reason: str | None


def engine_module(engine: Engine) -> EngineModule:
    """Raises ``EngineUnusable`` for an engine that this version does not have."""
    if engine not in MODULES:
        raise EngineUnusable(f"this version of Backplate does not have the engine {engine.value}")
    return cast("EngineModule", importlib.import_module(MODULES[engine], __package__))


def list_engines() -> list[EngineRow]:
    """Every engine, and whether this machine can use it."""
    return [EngineRow(Engine.PYTORCH, None), *(EngineRow(engine, _reason(engine)) for engine in MODULES)]


def _reason(engine: Engine) -> str | None:
    try:
        return engine_module(engine).unusable()
    except EngineUnusable as reason:
        return str(reason)


def open_upscaler(
    model: LoadedModel,
    device: torch.device,
    precision: Precision = Precision.AUTO,
    engine: Engine = Engine.PYTORCH,
    *,
    place: Placer | None = None,
    tile: int = 0,
    tune: bool = True,
    progress: Progress | None = None,
    pixels: int = 0,
) -> Upscaler:
    """The model in the engine that was asked for, or in PyTorch if that engine cannot run it; a sentence about that,
    and about another precision than the one asked for, goes to ``progress.note``.

    See ``EngineRequest`` for ``place``, ``tile``, ``tune`` and ``pixels``. Whatever ``progress.check`` raises ends
    the building of an engine, or the trial of a plan, and passes through.
    """
    progress = progress or Progress()
    request = EngineRequest(model, device, precision, place, tile, tune, progress, pixels)
    sight_of(model.facts, model.descriptor, device, progress)
    if engine is Engine.AUTO:
        return _open_auto(request)
    if engine is not Engine.PYTORCH:
        try:
            return _open(request, engine)
        except EngineUnusable as reason:
            progress.note(f"{model.facts.name} runs in PyTorch instead of {engine.value}: {reason}.")
    return _open_pytorch(request)


def auto_candidates(request: EngineRequest) -> list[Candidate]:
    """The ways in which ``Engine.AUTO`` may run the model: PyTorch's default, on a CPU the engines that are ready in
    seconds, and other ways of PyTorch. The first is what runs where there is no time to measure: ncnn for plain chains
    of convolutions, which it runs faster on every CPU tried (docs/engines.md), PyTorch's default for the rest. On
    other devices ncnn would be Vulkan on the same card, which is slower and takes memory past everybody's count."""
    default, *others = pytorch_candidates(request)
    if request.device.type != "cpu":
        return [default, *others]
    plan = RunPlan(max_tile_pixels=AUTO_TILE**2, stream_min_pixels=AUTO_TILE**2)
    engines = [
        Candidate(engine.value, replace(plan, engine=engine.value), partial(_open, request, engine))
        for engine in AUTO_ENGINES
        if engine in MODULES
    ]
    sight = sight_of(request.model.facts, request.model.descriptor, request.device)
    if sight.halo.exact and engines and engines[0].plan.engine == Engine.NCNN.value and not _reason(Engine.NCNN):
        return [engines[0], default, *engines[1:], *others]
    return [default, *engines, *others]


def _open_auto(request: EngineRequest) -> Upscaler:
    if not tuning_wanted(request.tune):
        return _open_pytorch(request)
    if request.device.type != "cpu" or 0 < request.pixels < SMALL_JOB:
        reason = "this job is too small for another engine" if request.device.type == "cpu" else "as auto does on a GPU"
        request.progress.note(f"{request.model.facts.name} runs in pytorch: {reason}.")
        return _open_pytorch(request)
    candidates, progress = auto_candidates(request), request.progress
    choice = _choose(request, candidates, AUTO_SECONDS)
    try:
        best = _opened(candidates, choice.best)
    except EngineUnusable as reason:
        progress.note(f"{request.model.facts.name} runs in PyTorch: {reason}.")
        return _open_pytorch(request)
    alone = choice.best_alone
    if alone is None or not (isinstance(best, StreamingUpscaler) and best.stream_height(STREAM_WIDTH)):
        request.progress.note(_auto_sentence(request.model.facts.name, choice))
        return best
    both = TilesAndRows(_opened(candidates, alone), best)
    side = math.isqrt(both.spec.max_tile_pixels)
    request.progress.note(_auto_sentence(request.model.facts.name, choice, f"{alone.name} up to {side}x{side} pixels"))
    return both


def _open_pytorch(request: EngineRequest) -> Upscaler:
    _, note = usable_dtype(request.precision, request.model, request.device)
    if note:
        request.progress.note(note)
    candidates = pytorch_candidates(request)
    return _opened(candidates, _choose(request, candidates, TRIAL_SECONDS).best)


def _choose(request: EngineRequest, candidates: Sequence[Candidate], limit: float) -> Choice:
    return choose_plan(
        request.model.facts.sha256, request.device, candidates, tune=request.tune, limit=limit,
        progress=request.progress, pixels=request.pixels,
    )  # fmt: skip


def _opened(candidates: Sequence[Candidate], trial: Trial) -> Upscaler:
    return next(candidate for candidate in candidates if candidate.plan == trial.plan).open()


def _auto_sentence(name: str, choice: Choice, small: str = "") -> str:
    """What was chosen, with the figures of the fastest way of each engine that was measured. ``small``: what was chosen
    for small pictures, and for which."""
    paces: dict[str, float] = {}
    for trial in choice.trials:
        if trial.seconds is not None:
            paces[trial.plan.engine] = min(trial.seconds, paces.get(trial.plan.engine, trial.seconds))
    if not paces:
        return f"{name} runs in {choice.best.name}, unmeasured: {choice.best.reason}."
    figures = ", ".join(f"{engine} {pace:.3g}" for engine, pace in sorted(paces.items(), key=lambda item: item[1]))
    what = f"{choice.best.name}, and in {small}" if small else choice.best.name
    return f"{name} runs in {what}, the fastest that computes the same here (seconds a megapixel: {figures})."


def _open(request: EngineRequest, engine: Engine) -> Upscaler:
    module = engine_module(engine)
    if reason := module.unusable():
        raise EngineUnusable(reason)
    make_room(request.device, round(ENGINE_SHARE * total_memory(request.device)))
    return module.open_model(request)
