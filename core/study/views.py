"""What voters see of a scene: the part where the sides differ most, as pictures under tokens, with the metrics."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import InputError
from ..image.canvas import inside
from ..image.colour import to_rgb
from ..image.filters import gaussian
from ..metrics.compare import Comparer
from ..metrics.errors import MetricUnavailable
from ..metrics.source_figures import source_row
from ..shootout.crops import choose_spots
from ..types import Box, Size, size_of
from .design import PICTURES, Design, Item, Key, new_token
from .pictures import decode, encode, picture_path
from .scenes import Scene, fitted

BLURRED = 4.0
"""Standard deviation, in pixels, of the blur that makes a side obviously worse."""
CLIP_SIDE = 384
"""Longest side of a clip, whose frames are all in one file."""


@dataclass(frozen=True, kw_only=True)
class View:
    """``tokens`` by label; ``middle``: the token of the source. ``pngs`` by token, including controls made from this
    view. ``figures`` by token."""

    name: str
    caption: str
    size: Size
    frames: int
    rate: float
    tokens: Mapping[str, str]
    middle: str | None
    pngs: dict[str, bytes]
    figures: Mapping[str, Mapping[str, float]]
    pixels: torch.Tensor

    def add(self, picture: torch.Tensor) -> str:
        token = new_token()
        self.pngs[token] = encode(picture)
        return token

    def control(self, *, same: bool) -> tuple[str, str]:
        """Two new tokens: the picture of a randomly chosen side, and the same again or an obviously worse version."""
        pixels = self.pixels / 255
        original = self.add(pixels)
        return original, self.add(pixels if same else gaussian(pixels, BLURRED).clamp(0, 1))


def view_of(scene: Scene, labels: Sequence[str], side: int, comparer: Comparer | None) -> View:
    """Raises ``InputError`` for a missing side and for unequal sizes."""
    if missing := [label for label in labels if label not in scene.results]:
        raise InputError(f"{missing[0]} has no picture; every side needs one.")
    results = [to_rgb(scene.results[label]) for label in labels]
    sizes = [size_of(result) for result in results]
    if len(set(sizes)) > 1 or len({len(result) for result in results}) > 1:
        listed = ", ".join(f"{label} {size}" for label, size in zip(labels, sizes, strict=True))
        raise InputError(f"the sides have different sizes ({listed}); make them all the same size.")
    frames = len(results[0])
    box = choose_spots([_middle(each) for each in results], min(side, CLIP_SIDE) if frames > 1 else side, 1)[0].box
    pngs: dict[str, bytes] = {}
    tokens = {label: new_token() for label in labels}
    crops = {label: inside(result, box) for label, result in zip(labels, results, strict=True)}
    pngs |= {tokens[label]: encode(crop) for label, crop in crops.items()}
    view = View(
        name=scene.name,
        caption=scene.caption,
        size=box.size,
        frames=frames,
        rate=scene.rate,
        tokens=tokens,
        middle=_add_source(scene, box, sizes[0], frames, pngs),
        pngs=pngs,
        figures={
            tokens[label]: _measure(scene, _middle(result), box, comparer)
            for label, result in zip(labels, results, strict=True)
        },
        pixels=_bytes(crops[secrets.choice(labels)]),
    )
    return view


def _middle(frames: torch.Tensor) -> torch.Tensor:
    """The middle frame, (1, C, H, W)."""
    place = len(frames) // 2
    return frames[place : place + 1]


def _bytes(picture: torch.Tensor) -> torch.Tensor:
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def _add_source(scene: Scene, box: Box, size: Size, frames: int, pngs: dict[str, bytes]) -> str | None:
    truth = scene.source if scene.source is not None else scene.reference
    if truth is None:
        return None
    if len(truth) < frames:
        truth = torch.cat([truth, truth[-1:].expand(frames - len(truth), -1, -1, -1)])
    token = new_token()
    pngs[token] = encode(inside(fitted(truth[:frames], size), box))
    return token


def _measure(scene: Scene, result: torch.Tensor, box: Box, comparer: Comparer | None) -> dict[str, float]:
    """Metrics against the reference on the visible part, and against the source on the whole picture."""
    values: dict[str, float] = {}
    reference = None if scene.reference is None else _middle(scene.reference)
    if reference is not None and comparer is not None and size_of(reference) == size_of(result):
        values |= comparer.score(inside(result, box), inside(to_rgb(reference), box)).values
    source = None if scene.source is None else to_rgb(_middle(scene.source))
    if source is not None and size_of(source) != size_of(result):
        try:
            values |= source_row(scene.name, source, result, guide=fitted(source, size_of(result))).values
        except (InputError, MetricUnavailable):
            return values
    values.pop("defects", None)
    return values


def views_in(folder: Path, design: Design, key: Key) -> list[View]:
    """The views of a study on disk, under their tokens. Raises ``InputError`` if a picture is missing."""
    by_name: dict[str, list[Item]] = {}
    for item in design.items:
        if key.answers[item.item].kind == "pair":
            by_name.setdefault(key.answers[item.item].picture, []).append(item)
    return [_view_in(folder / PICTURES, name, items, key) for name, items in by_name.items()]


def _view_in(folder: Path, name: str, items: Sequence[Item], key: Key) -> View:
    one = items[0]
    tokens = {key.models[token]: token for item in items for token in (item.first, item.second)}
    middle = next((item.middle for item in items if item.middle), None)
    wanted = [*tokens.values(), *([middle] if middle else [])]
    size = Size(one.width, one.height)
    try:
        pictures = {token: decode(picture_path(folder, token), size, one.frames) for token in wanted}
    except OSError as error:
        raise InputError(f"A picture of {name} is missing in {folder} ({error.strerror}); restore it.") from error
    return View(
        name=name,
        caption=key.captions.get(name, ""),
        size=size,
        frames=one.frames,
        rate=one.rate,
        tokens=tokens,
        middle=middle,
        pngs={token: encode(picture) for token, picture in pictures.items()},
        figures={token: key.figures.get(token, {}) for token in tokens.values()},
        pixels=_bytes(pictures[secrets.choice(list(tokens.values()))]),
    )
