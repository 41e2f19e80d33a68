"""How long a model takes for a pixel, and whether the machine let it run meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...types import Size
from ...upscaler import StreamingUpscaler, Upscaler
from ..influence import sample_strip
from ..plan import RunPlan

REPEAT_SECONDS = 0.3
"""A candidate is run again until this has passed, and its best run counts."""

STREAM_WIDTH = 1024
"""As wide as the pictures that take long: an engine that splits rows into strips pays more for narrow ones."""

STREAM_CHUNKS = (3, 24)
"""Fewest and most chunks of a trial. The first and the last pass of a stream are slower than those between, which are
most of a large picture; so it is as many as take ``STREAM_SHARE`` of the time that is left."""

STREAM_SHARE = 0.25
WARM_UP_SIDE = 64

CPU_SHARE = 0.7
BUSY_THREADS = 2
"""A model on the CPU keeps so many threads busy, if PyTorch has them, and every engine takes as many as PyTorch; the
process that takes less than ``CPU_SHARE`` of that processor time could not run. More threads are never sure to be busy.
"""

FAIR_SECONDS = 0.1
"""Shorter timings are not judged by that: some systems count a process's time in steps of 16 ms."""

Paces = tuple[float, float]
"""``seconds`` and ``alone`` of a ``Trial``."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """``paces``: None if they would take too long to find out. ``spent``: seconds that the search for them took.
    ``disturbed``: the process was stopped, or had to leave the processor to others, and the paces are too slow."""

    paces: Paces | None
    spent: float
    disturbed: bool = False


def time_model(upscaler: Upscaler, plan: RunPlan, limit: float, *, on_cpu: bool) -> Timing:
    """Takes about ``limit`` seconds at most. What was disturbed on the CPU is timed once more if there is time;
    elsewhere the process waits for the device, and its own time says nothing."""
    first = _timing(upscaler, plan, limit, on_cpu=on_cpu)
    if not first.disturbed or limit < 2 * first.spent:
        return first
    second = _timing(upscaler, plan, limit - first.spent, on_cpu=on_cpu)
    spent = first.spent + second.spent
    cut_short = second.paces is None and first.paces is not None
    if not second.disturbed and not cut_short:
        return Timing(paces=second.paces, spent=spent)
    found = [timing.paces for timing in (first, second) if timing.paces is not None]
    return Timing(paces=min(found, default=None), spent=spent, disturbed=True)


def _timing(upscaler: Upscaler, plan: RunPlan, limit: float, *, on_cpu: bool) -> Timing:
    started, cpu_started = time.perf_counter(), time.process_time()
    paces = _paces(upscaler, plan, limit)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    could_run = cpu / min(torch.get_num_threads(), BUSY_THREADS)
    if on_cpu and wall > FAIR_SECONDS and could_run < CPU_SHARE * wall:
        # The time in which the process could not run is not taken from other candidates.
        return Timing(paces=paces, spent=could_run, disturbed=True)
    return Timing(paces=paces, spent=wall)


def quick_pace(upscaler: Upscaler) -> float:
    """Seconds for a pixel of a small picture; more than for those of a large one."""
    small = probe(upscaler, WARM_UP_SIDE, WARM_UP_SIDE)
    return min(_timed(lambda: _finished(upscaler(small))) for _ in range(2)) / (small.shape[2] * small.shape[3])


def _paces(upscaler: Upscaler, plan: RunPlan, limit: float) -> Paces | None:
    """``seconds`` and ``alone`` of a trial; None if that takes over ``limit`` seconds to find out."""
    small = probe(upscaler, WARM_UP_SIDE, WARM_UP_SIDE)
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
    if plan.stream_min_pixels and isinstance(upscaler, StreamingUpscaler) and upscaler.stream_height(STREAM_WIDTH):
        height = upscaler.stream_height(STREAM_WIDTH)
        fewest, largest = STREAM_CHUNKS
        count = min(max(most // (height * STREAM_WIDTH), fewest), largest)
        strip = probe(upscaler, height * count, STREAM_WIDTH)
        chunks = [strip[:, :, top : top + height] for top in range(0, strip.shape[2], height)]
        pixels = strip.shape[2] * strip.shape[3]

        def stream() -> None:
            for _ in upscaler.stream(iter(chunks), len(chunks)):
                pass

        return stream, pixels, pixels
    side = int((plan.max_tile_pixels or WARM_UP_SIDE**2) ** 0.5) // spec.alignment * spec.alignment
    # An engine may take larger tiles than the one it is timed on, with less context for each pixel.
    whole = max(side, int(spec.max_tile_pixels**0.5))
    tiles = probe(upscaler, side, side).repeat(plan.batch_size, 1, 1, 1)
    share = max(whole - 2 * spec.aligned_halo, whole // 4) / whole
    read = tiles.shape[0] * tiles.shape[2] * tiles.shape[3]
    return lambda: _finished(upscaler(tiles)), read, round(tiles.shape[0] * side * side * share * share)


def _finished(result: torch.Tensor) -> None:
    """Waits for the device."""
    if result.device.type == "cuda":
        torch.cuda.synchronize(result.device)


def probe(upscaler: Upscaler, height: int, width: int) -> torch.Tensor:
    """Edges and grain, flat nowhere: (1, C, H, W) that meets the size rule."""
    size = upscaler.spec.size_rule.padded(Size(width, height))
    return sample_strip(size.height, size.width, upscaler.spec.input_channels)[1:]
