"""The trial: each way of running a model is compared with the first, and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from ....model_loader.errors import one_line
from ...progress import Progress, Stretch
from ...upscaler import Upscaler
from ..plan import EXACT_BAR, HALF_RMS, Candidate, Trial
from ..streamed import CHUNK, streamed, streams
from .timing import WARM_UP_SIDE, probe, time_model

TRIAL_SECONDS = 5.0
"""All candidates together; one that would exceed it is left out."""

TOO_LONG = "it would take too long to try"


def measure(
    candidates: Sequence[Candidate],
    limit: float = TRIAL_SECONDS,
    progress: Progress | None = None,
    *,
    on_cpu: bool = False,
    count_opening: bool = False,
) -> Iterator[Trial]:
    """Tries one candidate after the other; timed runs take at most ``limit`` seconds in all, not counting the opening,
    unless ``count_opening``, and, ``on_cpu``, the time in which the process could not run. ``progress`` can end it."""
    progress = progress or Progress()
    reference, opened = _reference(candidates, progress)
    for candidate in candidates:
        progress.check()
        # Opening and checking take time too, which is lost where no time is left to measure.
        late = Trial(name=candidate.name, plan=candidate.plan, reason=TOO_LONG, cut_short=True)
        started = time.perf_counter()
        trial, spent = _tried(candidate, opened, reference, limit, on_cpu=on_cpu) if limit > 0 else (late, 0.0)
        opened = None
        limit -= time.perf_counter() - started if count_opening else spent
        yield trial


def _tried(
    candidate: Candidate, opened: Upscaler | None, reference: torch.Tensor | None, limit: float, *, on_cpu: bool
) -> tuple[Trial, float]:
    """The trial, and the seconds that timing took. ``opened``: the candidate, if it is open already."""
    trial = Trial(name=candidate.name, plan=candidate.plan)
    try:
        upscaler = opened or candidate.open()
        if reason := _objection(upscaler, candidate, reference):
            return replace(trial, reason=reason), 0.0
        timing = time_model(upscaler, candidate.plan, limit, on_cpu=on_cpu)
    except RuntimeError as error:
        return replace(trial, reason=one_line(error)), 0.0
    trial = replace(trial, disturbed=timing.disturbed)
    if timing.paces is None:
        return replace(trial, reason=TOO_LONG, cut_short=True), timing.spent
    return replace(trial, seconds=timing.paces[0], alone=timing.paces[1]), timing.spent


def _reference(candidates: Sequence[Candidate], progress: Progress) -> tuple[torch.Tensor | None, Upscaler | None]:
    """What the first candidate in single precision that opens makes of a small picture; and that candidate, opened, if
    it is the first of all. A later one would take memory while others are measured. The halo that all of them need is
    found on the way, which is no part of anybody's time."""
    for exact in (candidate for candidate in candidates if not candidate.half):
        try:
            upscaler = exact.open()
            upscaler.spec.halo.measure(Stretch(progress, 0.0))
            return _small_result(upscaler), upscaler if exact is candidates[0] else None
        except RuntimeError:
            continue
    return None, None


def _sample(upscaler: Upscaler) -> torch.Tensor:
    """The same for every engine: tall enough to be streamed by models with an exact halo."""
    reach = upscaler.spec.halo.pixels if upscaler.spec.halo.exact else 0
    return probe(upscaler, max(WARM_UP_SIDE, 2 * reach + 3 * CHUNK), WARM_UP_SIDE)


def _small_result(upscaler: Upscaler) -> torch.Tensor:
    return upscaler(_sample(upscaler)).float().cpu()


def _objection(upscaler: Upscaler, candidate: Candidate, reference: torch.Tensor | None) -> str:
    """Why the candidate's results must not be used, if so. One that streams large pictures is tried that way too."""
    reason = _difference_from(reference, _small_result(upscaler), candidate)
    if not reason and streams(upscaler):
        reason = _difference_from(reference, streamed(upscaler, _sample(upscaler)).float().cpu(), candidate)
    return reason


def _difference_from(reference: torch.Tensor | None, result: torch.Tensor, candidate: Candidate) -> str:
    if not bool(torch.isfinite(result).all()):
        return "its values are not finite"
    if reference is None:
        return ""
    change = (result - reference).abs()
    found = float(change.square().mean().sqrt()) if candidate.half else float(change.max())
    allowed = HALF_RMS if candidate.half else EXACT_BAR
    return "" if found <= allowed else f"it differs by {found:.1e}, and {allowed:.1e} is allowed"
