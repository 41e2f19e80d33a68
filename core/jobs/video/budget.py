"""Measures before the work starts how long a frame takes on this device, and which model is fast enough."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch

from ....model_loader.errors import ModelError
from ...errors import InputError, ModelOutputError, OutOfMemory
from ...media.video.decode import Frame, read_video
from ...progress import Progress
from ...types import Size
from ...upscaler import Upscaler
from ..model_info import Model
from .frame import FrameSettings, FrameUpscaler
from .plan import VideoJob, VideoPlan

RUNS = 5
"""Timed frames after one warm-up frame; the median counts."""

LONGEST_TRIAL = 20.0
"""Seconds after which no more frames are timed."""

CROP = 128
"""Side, in pixels, of the crop that rules out hopeless models before a whole frame is tried."""

PRECISIONS = {torch.float16: "fp16", torch.bfloat16: "bf16"}

HOPELESS = 3.0
"""A model whose crop predicts more than this many times the budget is not tried on a whole frame."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The time of one model for a frame: upscaling and fitting, without decoding and encoding, which run in parallel;
    infinite if the model cannot run here. ``precision`` is the one it ran in. ``estimated``: from a crop, because the
    model is far too slow for a whole frame."""

    model: Model
    precision: str
    milliseconds: float
    estimated: bool = False

    @property
    def rate(self) -> float:
        """Expected frames per second."""
        return 1000 / self.milliseconds

    def text(self) -> str:
        if math.isinf(self.milliseconds):
            return f"{self.model.name} does not run here"
        about = "about " if self.estimated else ""
        time = f"{self.milliseconds:.{0 if self.milliseconds >= 10 else 1}f} ms"
        return f"{self.model.name} in {self.precision}: {about}{time}, {self.rate:.1f} fps"


Candidate = Callable[[], tuple[Upscaler, Model]]
"""Loads a model; called only when it is needed."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The model to continue with, and a sentence about the measurement."""

    upscaler: Upscaler
    model: Model
    holds: bool
    sentence: str
    trials: tuple[Trial, ...]


def settle_budget(
    job: VideoJob,
    plan: VideoPlan,
    upscaler: Upscaler,
    milliseconds: float,
    others: Iterable[Candidate] = (),
    *,
    live: bool = False,
    progress: Progress | None = None,
) -> Budget:
    """Measures the job's model on its first frame. If it takes longer than ``milliseconds``, ``others`` are measured,
    and the one that makes the best use of the budget is named; with ``live`` it replaces the model for the whole job. A
    model that cannot be opened, such as a damaged file, is left out with a note.

    Raises ``InputError`` in ``live`` when no model is fast enough, and for a budget that is not positive.
    """
    if not milliseconds > 0:
        raise InputError(f"A budget of {milliseconds:g} ms a frame is not possible; give a number above 0.")
    progress = progress or Progress()
    frame = next(iter(read_video(job.source, plan.facts, job.settings.read)), None)
    if frame is None:
        raise InputError(f"The requested part of {plan.facts.name} has no frames.")
    trial_of = partial(_measure, job, plan, frame, milliseconds, progress)
    wanted = trial_of(upscaler, job.model)
    if wanted.milliseconds <= milliseconds:
        sentence = f"{wanted.text()} on {job.device}; the budget of {milliseconds:g} ms holds."
        return Budget(upscaler=upscaler, model=job.model, holds=True, sentence=sentence, trials=(wanted,))
    tried: list[Trial] = []
    best: tuple[Trial, Upscaler] | None = None
    for load in others:
        try:
            other, model = load()
        except (ModelError, InputError) as error:
            progress.note(f"A model is left out of the trial: {error}")
            continue
        progress.check()
        trial = trial_of(other, model)
        tried.append(trial)
        if trial.milliseconds <= milliseconds and (best is None or trial.milliseconds > best[0].milliseconds):
            best = (trial, other)
    trials = (wanted, *tried)
    over = f"{wanted.text()} on {job.device}, over the budget of {milliseconds:g} ms"
    if best is None:
        slow = "; ".join(trial.text() for trial in tried) or "no other model that runs was found here"
        if live:
            raise InputError(f"{over}, and none is fast enough: {slow}; allow more time or ask for a smaller size.")
        return Budget(upscaler=upscaler, model=job.model, holds=False, sentence=f"{over}; {slow}.", trials=trials)
    trial, faster = best
    if not live:
        sentence = f"{over}; {trial.text()} would hold it."
        return Budget(upscaler=upscaler, model=job.model, holds=False, sentence=sentence, trials=trials)
    sentence = f"{over}; continuing with {trial.text()}."
    return Budget(upscaler=faster, model=trial.model, holds=True, sentence=sentence, trials=trials)


def _measure(
    job: VideoJob,
    plan: VideoPlan,
    frame: Frame,
    milliseconds: float,
    progress: Progress,
    upscaler: Upscaler,
    model: Model,
) -> Trial:
    """The median of a few runs over the frame, or an estimate from a crop if that already rules the model out."""

    def trial(time: float, *, estimated: bool = False) -> Trial:
        precision = precision_of(upscaler, model)
        return Trial(model=model, precision=precision, milliseconds=time, estimated=estimated)

    try:
        estimate = _crop_milliseconds(upscaler, frame, job.device)
        if estimate > HOPELESS * milliseconds:
            return trial(estimate, estimated=True)
        settings = FrameSettings.of(job, plan, flicker=False)
        frames = FrameUpscaler(upscaler, settings, progress)

        def run() -> None:
            frames.forget()
            frames.finish(frame, 0.0)

        return trial(_median_milliseconds(run))
    except (OutOfMemory, ModelOutputError, InputError):
        return trial(math.inf)


def precision_of(upscaler: Upscaler, model: Model) -> str:
    """The precision that the model actually runs in: half precision may be broken here, and ``auto`` is not one."""
    requested = "fp32" if model.precision == "auto" else model.precision
    dtype = getattr(upscaler, "dtype", None)
    if dtype == torch.float32 and requested in PRECISIONS.values():
        return "fp32"
    return PRECISIONS.get(dtype, requested) if isinstance(dtype, torch.dtype) else model.precision


def _crop_milliseconds(upscaler: Upscaler, frame: Frame, device: torch.device) -> float:
    """The time for the whole frame, extrapolated by its number of pixels."""
    height, width = frame.pixels.shape[:2]
    across, down = min(width, CROP), min(height, CROP)
    smallest = upscaler.spec.size_rule.padded(Size(across, down))
    crop = torch.full((1, upscaler.spec.input_channels, smallest.height, smallest.width), 0.5, device=device)

    def run() -> None:
        upscaler(crop).sum().item()

    return _median_milliseconds(run) * height * width / smallest.pixels


def _median_milliseconds(run: Callable[[], object]) -> float:
    run()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < RUNS and (not times or time.perf_counter() - begun < LONGEST_TRIAL):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def for_live(job: VideoJob) -> VideoJob:
    """The job with the lowest latency: one frame between stages, and no measurements during the work."""
    return replace(job, room=1, measure=False)
