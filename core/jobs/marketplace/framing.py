"""The size that a marketplace requires of a picture, and the part of it that is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from ...errors import InputError
from ...image.fit import Fit, FitPlan, Target, plan_fit
from ...image.trim import TOLERANCE, find_content
from ...image.white_background import whiten
from ...media.picture.read import PictureFile
from ...media.picture.write import FORMATS
from ...types import Box, Size, size_of
from .profile import USUAL_AIM, USUAL_NEAR, Profile, Rule

REJECTED = "failed"
"""The folder, beside the intended place, for results that break a rule."""
ROOM = 0.02
"""Share of the frame by which the aim stays away from the limits."""
SLACK = 0.005
"""Share of the frame by which a product must exceed the rule, or it is framed again: sizes are rounded on the way."""


def target_for(profile: Profile, size: Size) -> Target:
    """The size of the result if the user names none: the picture's own where the rules allow it, and at least the
    profile's."""
    long, short = max(size), min(size)
    least = max([profile.size, *_limits(profile, "longest_side", 1), *_limits(profile, "shortest_side", long / short)])
    most = min([math.inf, *_most(profile, long, short)])
    return Target(fit=Fit.LONGEST, width=int(min(max(long, least), most)))


def _limits(profile: Profile, kind: str, ratio: float) -> list[int]:
    return [math.ceil(rule.least * ratio) for rule in profile.all(kind) if rule.least is not None]


def _most(profile: Profile, long: int, short: int) -> list[float]:
    found: list[float] = []
    for rule in profile.rules:
        if rule.most is not None and rule.kind == "longest_side":
            found.append(rule.most)
        elif rule.most is not None and rule.kind == "shortest_side":
            found.append(rule.most * long / short)
        elif rule.most is not None and rule.kind == "megapixels":
            found.append(math.floor(math.sqrt(rule.most * 1e6 * long / short)) - 1)
    return found


def check_size(profile: Profile, size: Size) -> None:
    """Raises ``InputError`` for a size that breaks a mandatory rule."""
    figures = {"longest_side": max(size), "shortest_side": min(size), "megapixels": size.pixels / 1e6}
    for rule in profile.rules:
        if rule.must and rule.kind in figures:
            _check(profile, rule, figures[rule.kind], f"a result of {size}")


def _check(profile: Profile, rule: Rule, figure: float, what: str) -> None:
    if not rule.holds(figure):
        raise InputError(
            f"{what} is not what {profile.title} takes: {rule.text()}; ask for another size, or name none and the "
            "profile chooses it."
        )


def suffixes_for(profile: Profile) -> tuple[str, ...]:
    """Suffixes that the profile accepts and that can be written, the preferred one first; all that can be written if it
    has no rule about formats."""
    rule = profile.must("format")
    kinds = {kind.name.lower(): kind.suffixes for kind in FORMATS}
    names = rule.values if rule else tuple(kinds)
    found = tuple(suffix for name in names for suffix in kinds.get(name, ()))
    if not found:
        raise InputError(f"{profile.title} takes {', '.join(names)} only, and none of these can be written here.")
    return found


def check_outputs(profile: Profile, outputs: Iterable[Path]) -> None:
    """Raises ``InputError`` for a format that the profile does not accept, and for a file in the folder for results
    that break a rule."""
    known = suffixes_for(profile)
    for output in outputs:
        if output.suffix.lower() not in known:
            raise InputError(f"{output.name}: {profile.title} takes only files of type {', '.join(known)} only.")
        if output.parent.name == REJECTED:
            raise InputError(
                f"{output}: with a profile, the folder {REJECTED} is for results that break a rule; rename the folder "
                "of the sources, or leave it out."
            )


def check_target(profile: Profile, target: Target) -> None:
    """Raises ``InputError`` for a size that breaks a rule for every picture."""
    if target.fit in (Fit.COVER, Fit.PAD, Fit.STRETCH) and target.width and target.height:
        check_size(profile, plan_fit(Size(1, 1), target).canvas)
    side = max(target.width, target.height)
    contained = target.fit is Fit.CONTAIN and bool(target.width and target.height)
    for rule in profile.all("longest_side"):
        too_small = contained and rule.least is not None and side < rule.least
        if rule.must and side and (target.fit is Fit.LONGEST or too_small):
            _check(profile, rule, side, f"a longest side of {side} px")


class Framed(NamedTuple):
    """``frame`` may extend beyond the picture."""

    file: PictureFile
    target: Target
    frame: Box


def framed(file: PictureFile, requested: Target | None, profile: Profile, *, anew: bool) -> Framed:
    """The picture to enlarge, its target, and which part of the source it is.

    If the product would not fill the frame as the profile requires, or with ``anew``, the frame is drawn around the
    product in the shape of the result; what lies outside the source gets the colour of its border. A product that the
    source cuts off stays at that edge; one that spans the picture keeps the original frame. Raises ``InputError`` for a
    size that breaks the profile.
    """
    size = size_of(file.picture)
    target = requested or target_for(profile, size)
    plan = plan_fit(size, target)
    rule, frame = profile.must("fill"), Box(0, 0, *size)
    if rule:
        content, colour = _content(file, profile)
        cut_off = not _is_cutout(file)
        touches = min(content.x, content.y, size.width - content.right, size.height - content.bottom) == 0
        across = cut_off and size.width == content.width
        through = cut_off and size.height == content.height
        wanted = anew or not _fills(rule, content, plan) or (touches and not cut_off)
        if wanted and not (across or through):
            frame = _frame(content, size, plan, _aim(rule), keep_edges=cut_off)
            file = _reframed(file, frame, colour)
            target = target_for(profile, frame.size) if requested is None else replace(
                requested, fit=Fit.COVER, width=plan.canvas.width, height=plan.canvas.height
            )  # fmt: skip
            plan = plan_fit(frame.size, target)
    check_size(profile, plan.canvas)
    return Framed(file, target, frame)


def _content(file: PictureFile, profile: Profile) -> tuple[Box, tuple[float, ...]]:
    """The box of the product, and the colour around it. A background that will be made white is not part of it."""
    picture, rule = file.picture, profile.must("white_background")
    if file.alpha is not None and _is_cutout(file):
        return _visible(file.alpha), (1.0,) * picture.shape[1]
    found = find_content(picture)
    if rule and (whitened := whiten(picture, rule.near or USUAL_NEAR)) is not None:
        found = found._replace(box=find_content(whitened).box)
    return found.box, found.colour or (1.0,) * picture.shape[1]


def _is_cutout(file: PictureFile) -> bool:
    return file.alpha is not None and float(file.alpha.min()) < 1


def _visible(alpha: torch.Tensor) -> Box:
    """The smallest box around the visible pixels; the whole picture if there are none."""
    seen = alpha[0, 0] > TOLERANCE
    if not seen.any():
        return Box(0, 0, alpha.shape[3], alpha.shape[2])
    rows, columns = (torch.nonzero(seen.any(dim=axis)) for axis in (1, 0))
    top, bottom, left, right = (int(each) for each in (rows.min(), rows.max(), columns.min(), columns.max()))
    return Box(left, top, right - left + 1, bottom - top + 1)


def fill_of(content: Size, frame: Size) -> float:
    """The share of the frame's width or height that the product fills, whichever is larger."""
    return max(content.width / frame.width, content.height / frame.height)


def _fills(rule: Rule, content: Box, plan: FitPlan) -> bool:
    """Whether the product, as the plan places it, fills as much of the canvas as the rule requires."""
    shown, placed = plan.source_box, plan.placed
    across = _overlap(content.x, content.width, shown.x, shown.width) * placed.width / shown.width
    down = _overlap(content.y, content.height, shown.y, shown.height) * placed.height / shown.height
    fill = max(across / plan.canvas.width, down / plan.canvas.height)
    return rule.holds(fill) and rule.holds(min(1.0, max(fill - SLACK, 0.0)))


def _aim(rule: Rule) -> float:
    """The share of the frame that a reframed product fills."""
    least, most = rule.least or 0.0, rule.most or 1.0
    middle = (least + most) / 2
    return rule.aim or min(max(USUAL_AIM, min(least + ROOM, middle)), max(most - ROOM, middle))


def _overlap(start: float, length: float, other: float, other_length: float) -> float:
    return max(0.0, min(start + length, other + other_length) - max(start, other))


def _frame(content: Box, size: Size, plan: FitPlan, aim: float, *, keep_edges: bool) -> Box:
    """The frame around the product, in the shape of the canvas and whole source pixels; it may extend beyond the
    source."""
    shape = plan.canvas.width / plan.canvas.height
    width = max(content.width, content.height * shape) / aim
    frame = Size(math.ceil(width), math.ceil(width / shape))
    x = _start(content.x, content.width, frame.width, size.width, keep_edges)
    y = _start(content.y, content.height, frame.height, size.height, keep_edges)
    return Box(x, y, *frame)


def _start(start: int, length: int, frame: int, whole: int, keep_edges: bool) -> int:
    if keep_edges and start == 0:
        return 0
    if keep_edges and start + length == whole:
        return whole - frame
    return start + (length - frame) // 2


def _reframed(file: PictureFile, frame: Box, colour: tuple[float, ...]) -> PictureFile:
    alpha = None if file.alpha is None else cut_out(file.alpha, frame, (0.0,))
    return replace(file, picture=cut_out(file.picture, frame, colour), alpha=alpha)


def cut_out(layer: torch.Tensor, frame: Box, colour: tuple[float, ...]) -> torch.Tensor:
    """The part of (1, C, H, W) inside ``frame``, with ``colour``, one value per channel, beyond the picture."""
    canvas = torch.tensor(colour, dtype=layer.dtype)[None, :, None, None].repeat(1, 1, frame.height, frame.width)
    size = size_of(layer)
    left, top = max(frame.x, 0), max(frame.y, 0)
    right, bottom = min(frame.right, size.width), min(frame.bottom, size.height)
    target = canvas[..., top - frame.y : bottom - frame.y, left - frame.x : right - frame.x]
    target.copy_(layer[..., top:bottom, left:right])
    return canvas
