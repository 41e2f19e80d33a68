"""The plan that a model is run with: from a short measured trial, kept on disk with everything that it depends on.

The trial costs a few seconds the first time a model meets a device. ``BACKPLATE_TUNE=0`` switches it off; fixed
defaults are used then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch

from .plan import Candidate, Choice, Trial
from .plan_store import identify, keep, recall
from .plan_trial import TRIAL_SECONDS, measure

SWITCH = "BACKPLATE_TUNE"


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
    identity = identify(model_sha256, device, candidates)
    choice = None if anew else recall(identity)
    if choice is None:
        choice = Choice(tuple(measure(candidates, limit, check)))
        keep(identity, choice)
    return choice
