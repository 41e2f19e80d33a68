"""Measures the time and memory that work takes on a device, and the share of the time in which the device is busy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

Work = Callable[[], Any]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Work, device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def median_seconds(work: Work, device: torch.device, most: float = 5.0) -> float:
    """``alternate`` of a single work."""
    return alternate({"": work}, device, most)[""]


def alternate(works: Mapping[str, Work], device: torch.device, most: float = 8.0) -> dict[str, float]:
    """The median of each in up to five rounds, run in turns, after a first run of each that does not count; fewer
    rounds if they would take longer than ``most`` seconds."""
    first = sum(seconds_of(work, device) for work in works.values())
    rounds = max(1, min(5, int(most / max(first, 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work, device))
    return {name: statistics.median(each) for name, each in times.items()}


def device_peak(work: Work, device: torch.device) -> tuple[Any, float | None]:
    """The result of the work, and the peak of megabytes allocated on the device meanwhile; None on the CPU."""
    if device.type != "cuda":
        return work(), None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    result = work()
    wait(device)
    return result, torch.cuda.max_memory_allocated(device) / 2**20


def busy_share(work: Work, device: torch.device) -> float | str | None:
    """Part of the work's time in which a kernel or a copy ran on the card, by CUPTI; None without a card, a sentence
    where it cannot be told. Profiling slows the host down, so the share is at least that."""
    if device.type != "cuda":
        work()
        return None
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            taken = seconds_of(work, device)
        raw: Any = profiler.profiler
        events = raw.kineto_results.events()
        on_card = [event for event in events if "cuda" in str(event.device_type()).lower()]
        spans = ((event.start_ns(), event.start_ns() + event.duration_ns()) for event in on_card)
        return round(covered(spans) / 1e9 / taken, 3)
    except Exception as error:  # noqa: BLE001  a failure here must not lose earlier measurements
        return f"unknown ({type(error).__name__}: {error})"


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """Length of the union of spans."""
    total, end = 0, -1
    for begin, finish in sorted(spans):
        total += max(0, finish - max(begin, end))
        end = max(end, finish)
    return total


def psnr(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """In decibels, of values from 0 to 1; 200 for equal ones."""
    error = float((found.double().cpu() - wanted.double().cpu()).square().mean())
    return 200.0 if error == 0 else -10 * torch.log10(torch.tensor(error)).item()


def largest_difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.cpu() - wanted.cpu()).abs().max())
