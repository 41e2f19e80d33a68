"""The trial: each way of running a model is compared with the first, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from ..types import Size
from ..upscaler import StreamingUpscaler, Upscaler
from .halo import sample_strip
from .plan import EXACT_BAR, HALF_RMS, Candidate, RunPlan, Trial

TRIAL_SECONDS = 5.0
"""All candidates together; one that would exceed it is left out."""

REPEAT_SECONDS = 0.3
"""A candidate is run again until this has passed, and its best run counts."""

TOO_LONG = "it would take too long to try"

STREAM_WIDTH = 512
STREAM_CHUNKS = (3, 12)
"""Fewest and most chunks of a trial. The first and the last pass of a stream are slower than those between, which are
most of a large picture; so it is as many as take ``STREAM_SHARE`` of the time that is left."""

STREAM_SHARE = 0.25
WARM_UP_SIDE = 64


def measure(
    candidates: Sequence[Candidate], limit: float = TRIAL_SECONDS, check: Callable[[], None] | None = None
) -> Iterator[Trial]:
    """Tries one candidate after the other; timed runs take at most ``limit`` seconds in all, opening not counted."""
    reference, opened = _reference(candidates)
    for candidate in candidates:
        if check:
            check()
        # Opening and checking take time too, which is lost where no time is left to measure.
        late = Trial(name=candidate.name, plan=candidate.plan, reason=TOO_LONG, cut_short=True)
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
        return replace(trial, reason=TOO_LONG, cut_short=True), spent
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
