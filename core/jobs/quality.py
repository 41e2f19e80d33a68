"""Checks whether a result still shows its source: the metrics and the verdict for the manifest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..image.canvas import inside
from ..image.colour import to_rgb
from ..image.resize import resize
from ..metrics.defects import find_defects
from ..metrics.fidelity import fidelity
from ..types import FloatBox, Size, size_of
from .picture import Enlarged, SourcePicture, over, solid_colour

MID_GREY = (0.5, 0.5, 0.5)
DEFECT_PIXELS = 1 << 20
"""Defects are searched on at most this many pixels of the source, so that a large one does not take minutes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A result is suspicious if the PSNR between source and reduced result is below ``lr_psnr`` (dB), or the mean
    colour difference (CIEDE2000) is above ``delta_e``. 0 and infinity disable these limits."""

    lr_psnr: float = 18.0
    delta_e: float = 8.0


@dataclass(frozen=True)
class Figures:
    """``lr_psnr`` in dB (infinite if nothing differs) and ``delta_e`` as in ``core.metrics.fidelity``; ``defects`` is a
    sentence, empty if there are none."""

    lr_psnr: float
    delta_e: float
    defects: str

    def suspicion(self, limits: Limits) -> str:
        """Why the result should be reviewed; empty if there is no reason."""
        reasons = [self.defects] if self.defects else []
        if self.lr_psnr < limits.lr_psnr:
            reasons.append(f"LR-PSNR {self.lr_psnr:.1f} dB is below {limits.lr_psnr:g} dB")
        if self.delta_e > limits.delta_e:
            reasons.append(f"the mean colour difference {self.delta_e:.1f} is above {limits.delta_e:g}")
        return "; ".join(reasons)


def measure(source: SourcePicture, enlarged: Enlarged) -> Figures:
    """Metrics over the visible part of the source, without padding, both over the same background.

    Both are compared at the size of the shown part, or at that of the result along an axis that shrank.
    """
    before, after = _in_front(source, enlarged)
    size, placed = size_of(before), size_of(after)
    box = FloatBox(0, 0, *size)
    if enlarged.plan:
        box = enlarged.plan.source_box
        after = inside(after, enlarged.plan.placed)
        placed = enlarged.plan.placed.size
    shown = Size(*(max(1, min(round(a), b)) for a, b in zip((box.width, box.height), placed, strict=True)))
    reference = resize(before, shown, box).clamp_(0, 1)
    agreement = fidelity(reference, resize(after, shown).clamp_(0, 1))[0]
    defects = find_defects(_reduced(reference), after)[0]
    return Figures(agreement.lr_psnr, agreement.delta_e, "" if defects.none else defects.text)


def _in_front(source: SourcePicture, enlarged: Enlarged) -> tuple[torch.Tensor, torch.Tensor]:
    """Source and result with the same number of channels, composited over the job's colour or mid grey."""
    before, after = source.file.picture, enlarged.picture
    if source.file.alpha is not None:
        before = over(before, source.file.alpha, solid_colour(source.background) or MID_GREY)
    if enlarged.alpha is not None:
        after = over(after, enlarged.alpha, MID_GREY)
    if before.shape[1] != after.shape[1]:
        before, after = to_rgb(before), to_rgb(after)
    return before, after


def _reduced(picture: torch.Tensor) -> torch.Tensor:
    height, width = picture.shape[-2:]
    ratio = math.sqrt(height * width / DEFECT_PIXELS)
    if ratio <= 1:
        return picture
    return resize(picture, Size(max(1, round(width / ratio)), max(1, round(height / ratio)))).clamp_(0, 1)
