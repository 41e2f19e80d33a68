"""Builds an engine of TensorRT while progress is shown and can be stopped."""

from __future__ import annotations

import threading
from typing import Any

import torch

from ...progress import Progress
from .package import Package

_POLL = 0.1


def build_watched(
    package: Package, builder: Any, network: Any, config: Any, progress: Progress, device: torch.device | None
) -> Any:
    """The serialized engine, or None if TensorRT could not build it. Builds in a thread of its own, so that this one
    can ask for cancellation while a step takes minutes; whatever ``progress.check`` raises passes through when TensorRT
    has stopped."""
    steps = _Steps()
    monitor = _monitor(package.trt, steps)
    config.progress_monitor = monitor
    plans: list[Any] = []

    def work() -> None:
        if device is not None and device.type == "cuda":
            torch.cuda.set_device(device)
        plans.append(builder.build_serialized_network(network, config))

    thread = threading.Thread(target=work, name="TensorRT build", daemon=True)
    progress.begin(1, "building the TensorRT engine")
    progress.check()
    thread.start()
    reported = _Reported()
    try:
        while thread.is_alive():
            thread.join(_POLL)
            reported.update(steps, progress)
            progress.check()
    finally:
        steps.stop.set()
        thread.join()
    reported.update(steps, progress)
    progress.advance(reported.left)
    return plans[0] if plans else None


class _Steps:
    """What the threads of TensorRT report."""

    def __init__(self) -> None:
        self.announced, self.done = 0, 0
        self.stop = threading.Event()
        self.lock = threading.Lock()


class _Reported:
    """How much of it the caller knows; one step is kept back until the engine is there."""

    def __init__(self) -> None:
        self.total, self.done = 1, 0

    def update(self, steps: _Steps, progress: Progress) -> None:
        with steps.lock:
            total, done = steps.announced + 1, min(steps.done, steps.announced)
        if total > self.total:
            progress.extend(total - self.total)
            self.total = total
        if done > self.done:
            progress.advance(done - self.done)
            self.done = done

    @property
    def left(self) -> int:
        return self.total - self.done


def _monitor(trt: Any, steps: _Steps) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with steps.lock:
                steps.announced += num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            with steps.lock:
                steps.done += 1
            return not steps.stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()
