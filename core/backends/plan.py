"""How a model is best run on a machine: a short measured trial, kept on disk with everything that it depends on.

The trial costs a few seconds the first time a model meets a device. ``BACKPLATE_TUNE=0`` switches it off; fixed
defaults are used then.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..types import Size
from ..upscaler import StreamingUpscaler, Upscaler
from ..whole_file import write_whole
from .halo import sample_strip
from .store import cache_folder

logger = logging.getLogger(__name__)

SWITCH = "BACKPLATE_TUNE"

TRIAL_SECONDS = 5.0
"""All candidates together; one that would exceed it is left out."""

REPEAT_SECONDS = 0.3
"""A candidate is run again until this has passed, and its best run counts."""

CLEARLY_FASTER = 0.95
"""Part of the default's time that a candidate must stay under to be taken instead: less may be chance."""

TOO_LONG = "it would take too long to try"

STREAM_WIDTH = 512
STREAM_CHUNKS = (3, 12)
"""Fewest and most chunks of a trial. The first and the last pass of a stream are slower than those between, which are
most of a large picture; so it is as many as take ``STREAM_SHARE`` of the time that is left."""

STREAM_SHARE = 0.25
WARM_UP_SIDE = 64

EXACT_BAR = 1e-4
"""Largest difference, as a part of 1, that rounding in single precision may make."""

HALF_RMS = 10 ** (-50 / 20)
"""The same in half precision, as root mean square: 50 dB."""

_FORMAT = 4
_chosen: dict[str, Choice] = {}


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """How to run a model. ``pixel_budget``: most input pixels of a tile, context included; 0 for no limit.
    ``tiles_per_pass``: tiles of one size that share a forward. ``stream_pixels``: input pixels of a chunk of rows,
    where rows are streamed; 0 for tiles. ``dtype``: of PyTorch; empty for what the wished precision gives."""

    pixel_budget: int
    engine: str = "pytorch"
    dtype: str = ""
    channels_last: bool = True
    tiles_per_pass: int = 1
    stream_pixels: int = 0


@dataclass(frozen=True)
class Candidate:
    """A way to run the model that may be the fastest. ``open`` may raise ``RuntimeError`` with a reason."""

    name: str
    plan: RunPlan
    open: Callable[[], Upscaler]
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a candidate did. ``seconds``: for a million source pixels of a large picture, halo included; None if it was
    left out, for ``reason``. ``alone``: for a million pixels of pictures that are one tile, which has no halo."""

    name: str
    plan: RunPlan
    seconds: float | None = None
    alone: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """The trials in the order of the candidates, and the fastest."""

    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The fastest; the first candidate, which is the default, if none was measured or none is clearly faster."""
        measured = [trial for trial in self.trials if trial.seconds is not None]
        if not measured:
            return self.trials[0]
        fastest = min(measured, key=_seconds)
        if measured[0] is self.trials[0] and _seconds(fastest) > _seconds(measured[0]) * CLEARLY_FASTER:
            return self.trials[0]
        return fastest

    @property
    def best_alone(self) -> Trial | None:
        """Another that is clearly faster than the best for pictures of one tile."""
        best = self.best
        measured = [trial for trial in self.trials if trial.alone is not None]
        fastest = min(measured, key=_alone, default=best)
        return fastest if _alone(fastest) < _alone(best) * CLEARLY_FASTER else None


def _alone(trial: Trial) -> float:
    return float("inf") if trial.alone is None else trial.alone


def _seconds(trial: Trial) -> float:
    return float("inf") if trial.seconds is None else trial.seconds


def tuning_wanted() -> bool:
    return os.environ.get(SWITCH, "1").lower() not in ("0", "off", "no", "false")


def choose_plan(
    model_sha256: str,
    device: torch.device,
    candidates: Sequence[Candidate],
    *,
    anew: bool = False,
    limit: float = TRIAL_SECONDS,
    check: Callable[[], None] | None = None,
) -> Choice:
    """The measured choice among ``candidates``, from an earlier trial with the same model, machine, versions and
    candidates if there is one, unless ``anew``. One candidate alone, or with tuning switched off the first, is chosen
    without a trial. ``check`` is called before each candidate; what it raises ends the trial."""
    if not anew and (len(candidates) == 1 or not tuning_wanted()):
        why = "it is the only way" if len(candidates) == 1 else f"{SWITCH} switches trials off"
        return Choice((Trial(name=candidates[0].name, plan=candidates[0].plan, reason=why),))
    identity = _identity(model_sha256, device, candidates)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    choice = None if anew else _chosen.get(key) or _read(key, identity)
    if choice is None:
        choice = Choice(tuple(measure(candidates, limit, check)))
        _write(key, identity, choice)
    _chosen[key] = choice
    return choice


def measure(
    candidates: Sequence[Candidate], limit: float = TRIAL_SECONDS, check: Callable[[], None] | None = None
) -> Iterator[Trial]:
    """Tries one candidate after the other; timed runs take at most ``limit`` seconds in all, opening not counted."""
    reference, opened = _reference(candidates)
    for candidate in candidates:
        if check:
            check()
        # Opening and checking take time too, which is lost where no time is left to measure.
        late = Trial(name=candidate.name, plan=candidate.plan, reason=TOO_LONG)
        trial, spent = _tried(candidate, opened, reference, limit) if limit > 0 else (late, 0.0)
        opened = None
        limit -= spent
        yield trial


def _tried(
    candidate: Candidate, opened: Upscaler | None, reference: torch.Tensor | None, limit: float
) -> tuple[Trial, float]:
    """The trial, and the seconds that timing took. ``opened``: the candidate, if it is open already."""
    trial = Trial(name=candidate.name, plan=candidate.plan)
    try:
        upscaler = opened or candidate.open()
        if reason := _objection(upscaler, candidate, reference):
            return replace(trial, reason=reason), 0.0
        started = time.perf_counter()
        paces = _paces(upscaler, candidate.plan, limit)
        spent = time.perf_counter() - started
    except RuntimeError as error:
        return replace(trial, reason=" ".join(str(error).split())), 0.0
    if paces is None:
        return replace(trial, reason=TOO_LONG), spent
    return replace(trial, seconds=paces[0], alone=paces[1]), spent


def _reference(candidates: Sequence[Candidate]) -> tuple[torch.Tensor | None, Upscaler | None]:
    """What the first candidate in single precision makes of a small picture; and that candidate, opened, if it is the
    first of all. A later one would take memory while others are measured."""
    exact = next((candidate for candidate in candidates if not candidate.half), None)
    if exact is None:
        return None, None
    try:
        upscaler = exact.open()
        return _small_result(upscaler), upscaler if exact is candidates[0] else None
    except RuntimeError:
        return None, None


def _small_result(upscaler: Upscaler) -> torch.Tensor:
    return upscaler(_probe(upscaler, WARM_UP_SIDE, WARM_UP_SIDE)).float().cpu()


def _objection(upscaler: Upscaler, candidate: Candidate, reference: torch.Tensor | None) -> str:
    """Why the candidate's results must not be used, if so."""
    result = _small_result(upscaler)
    if not bool(torch.isfinite(result).all()):
        return "its values are not finite"
    if reference is None:
        return ""
    change = (result - reference).abs()
    found = float(change.square().mean().sqrt()) if candidate.half else float(change.max())
    allowed = HALF_RMS if candidate.half else EXACT_BAR
    return "" if found <= allowed else f"it differs by {found:.1e}, and {allowed:.1e} is allowed"


def _paces(upscaler: Upscaler, plan: RunPlan, limit: float) -> tuple[float, float] | None:
    """``seconds`` and ``alone`` of a trial; None if that takes over ``limit`` seconds to find out."""
    small = _probe(upscaler, WARM_UP_SIDE, WARM_UP_SIDE)
    warm_up = min(_timed(lambda: _finished(upscaler(small))) for _ in range(2))
    pixel = warm_up / (small.shape[2] * small.shape[3])
    run, read, useful = _work(upscaler, plan, most=round(STREAM_SHARE * limit / pixel))
    if 2 * warm_up + pixel * read > limit:
        return None
    best = passed = _timed(run)
    while passed < REPEAT_SECONDS:
        again = _timed(run)
        best, passed = min(best, again), passed + again
    return best / useful * 1e6, best / read * 1e6


def _timed(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _work(upscaler: Upscaler, plan: RunPlan, most: int) -> tuple[Callable[[], None], int, int]:
    """What is timed, the pixels that the model reads in it, and those of them that are not context. ``most``: pixels of
    a stream, unless they are too few for one."""
    spec = upscaler.spec
    if plan.stream_pixels and isinstance(upscaler, StreamingUpscaler) and upscaler.stream_height(STREAM_WIDTH):
        height = upscaler.stream_height(STREAM_WIDTH)
        fewest, largest = STREAM_CHUNKS
        count = min(max(most // (height * STREAM_WIDTH), fewest), largest)
        strip = _probe(upscaler, height * count, STREAM_WIDTH)
        chunks = [strip[:, :, top : top + height] for top in range(0, strip.shape[2], height)]
        pixels = strip.shape[2] * strip.shape[3]

        def stream() -> None:
            for _ in upscaler.stream(iter(chunks), len(chunks)):
                pass

        return stream, pixels, pixels
    side = int((plan.pixel_budget or WARM_UP_SIDE**2) ** 0.5) // spec.alignment * spec.alignment
    # An engine may take larger tiles than the one it is timed on, with less context for each pixel.
    whole = max(side, int(spec.pixel_budget**0.5))
    tiles = _probe(upscaler, side, side).repeat(plan.tiles_per_pass, 1, 1, 1)
    share = max(whole - 2 * spec.aligned_halo, whole // 4) / whole
    read = tiles.shape[0] * tiles.shape[2] * tiles.shape[3]
    return lambda: _finished(upscaler(tiles)), read, round(tiles.shape[0] * side * side * share * share)


def _finished(result: torch.Tensor) -> None:
    """Waits for the device."""
    if result.device.type == "cuda":
        torch.cuda.synchronize(result.device)


def _probe(upscaler: Upscaler, height: int, width: int) -> torch.Tensor:
    """Edges and grain, flat nowhere: (1, C, H, W) that meets the size rule."""
    size = upscaler.spec.size_rule.padded(Size(width, height))
    return sample_strip(size.height, size.width, upscaler.spec.input_channels)[1:]


def _identity(model_sha256: str, device: torch.device, candidates: Sequence[Candidate]) -> dict[str, Any]:
    engines = sorted({candidate.plan.engine for candidate in candidates} - {"pytorch", "compiled"})
    return {
        "format": _FORMAT,
        "model": model_sha256,
        "device": device_name(device),
        "torch": torch.__version__,
        "engines": {engine: _version(engine) for engine in engines},
        "candidates": [{"name": each.name, **asdict(each.plan)} for each in candidates],
    }


def device_name(device: torch.device) -> str:
    """The device as a person knows it, with what decides its speed."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return str(device)


def _version(package: str) -> str:
    for name in (package, f"{package}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _folder() -> Path:
    return cache_folder() / "plans"


def _read(key: str, identity: dict[str, Any]) -> Choice | None:
    """An earlier choice; None if there is none or the file is damaged, which only costs a new trial."""
    try:
        data = json.loads((_folder() / f"{key}.json").read_text(encoding="ascii"))
        if data["identity"] != identity:
            return None
        trials = tuple(_trial(trial) for trial in data["trials"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Choice(trials) if trials else None


def _trial(data: dict[str, Any]) -> Trial:
    values: dict[str, Any] = {**data, "plan": RunPlan(**data["plan"])}
    return Trial(**values)


def _write(key: str, identity: dict[str, Any], choice: Choice) -> None:
    content = {"identity": identity, "trials": [asdict(trial) for trial in choice.trials]}
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        write_whole(_folder() / f"{key}.json", json.dumps(content, indent=1).encode("ascii"))
    except OSError as error:
        logger.info("The measured plan could not be kept in %s: %s", _folder(), error)
