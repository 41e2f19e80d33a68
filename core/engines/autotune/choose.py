"""The plan that a model is run with: from a short measured trial, kept on disk with everything that it depends on.

The trial costs a few seconds the first time a model meets a device. ``BACKPLATE_TUNE=0`` switches it off, as ``tune``
does for one call; fixed defaults are used then.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence

import torch

from ...progress import Progress
from ..memory import release_cached
from ..plan import Candidate, Choice, Trial
from .store import identify, keep, recall
from .timing import quick_pace
from .trial import TRIAL_SECONDS, measure

JOB_SHARE = 0.08
"""Longest trial, openings included, as a part of the time that the job itself would take without one."""

LEAST_TRIAL = 1.0
"""Seconds. A shorter trial would find chance; the first candidate is taken without one."""

TRIAL_PIXELS = 2 * 256 * 256
"""What the model is given to time two candidates; a trial that may take no longer than a part of that compares none.
"""

TOO_SHORT = "this job is too short for a trial"

SWITCH = "BACKPLATE_TUNE"
MEASURING = "measuring once which way of running this model is fastest here"


def tuning_wanted(tune: bool = True) -> bool:
    """Whether there may be trials: ``tune`` is what the caller wants, and the environment may forbid it."""
    return tune and os.environ.get(SWITCH, "1").lower() not in ("0", "off", "no", "false")


def choose_plan(
    model_sha256: str,
    device: torch.device,
    candidates: Sequence[Candidate],
    *,
    anew: bool = False,
    tune: bool = True,
    limit: float = TRIAL_SECONDS,
    progress: Progress | None = None,
    pixels: int = 0,
) -> Choice:
    """The measured choice among ``candidates``, from an earlier trial with the same model, machine, versions and
    candidates if there is one that ``limit`` seconds would not add to, unless ``anew``. One candidate alone, or the
    first where ``tune`` or the environment switches trials off, is chosen without one. ``progress`` is shown a trial,
    candidate by candidate; what its ``check`` raises ends it. ``pixels``: what the job gives to the model, 0 if that is
    not known; a small job gets a shorter trial, which a larger one does not take for its own, or none. A trial that
    the machine disturbed holds for this process only."""
    if not anew and (len(candidates) == 1 or not tuning_wanted(tune)):
        why = "it is the only way" if len(candidates) == 1 else "trials are switched off"
        return Choice((Trial(name=candidates[0].name, plan=candidates[0].plan, reason=why),))
    identity = identify(model_sha256, device, candidates)
    choice = None if anew else recall(identity, limit)
    if choice is None and pixels:
        enough = pixels * JOB_SHARE >= TRIAL_PIXELS
        limit = min(limit, _share_of_job(candidates[0], pixels)) if enough else 0.0
        choice = None if anew else recall(identity, limit)
        if choice is None and limit < LEAST_TRIAL:
            return Choice((Trial(name=candidates[0].name, plan=candidates[0].plan, reason=TOO_SHORT),))
    if choice is None:
        progress, on_cpu = progress or Progress(), device.type == "cpu"
        trials = measure(candidates, limit, progress, on_cpu=on_cpu, count_opening=pixels > 0)
        choice = Choice(_shown(trials, len(candidates), progress), limit)
        keep(identity, choice)
        release_cached(torch.device("cpu"))
    return choice


def _share_of_job(first: Candidate, pixels: int) -> float:
    """Seconds. Without a limit if the first candidate cannot be run: the trial finds out why."""
    try:
        return JOB_SHARE * quick_pace(first.open()) * pixels
    except RuntimeError:
        return math.inf


def _shown(trials: Iterable[Trial], count: int, progress: Progress) -> tuple[Trial, ...]:
    """The trials; each is counted when it is made."""
    progress.begin(count, MEASURING)
    made: list[Trial] = []
    for trial in trials:
        made.append(trial)
        progress.advance()
    return tuple(made)


def keep_part(model_sha256: str, device: torch.device, candidates: Sequence[Candidate], choice: Choice) -> Choice:
    """Keeps what ``choice`` says of ``candidates``, which are among those that it was made of, for a later
    ``choose_plan`` of them alone; gives it back."""
    found = {trial.plan: trial for trial in choice.trials}
    part = Choice(tuple(found[candidate.plan] for candidate in candidates), choice.limit)
    keep(identify(model_sha256, device, candidates), part)
    return part
