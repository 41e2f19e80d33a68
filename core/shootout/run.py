"""Runs models on pictures and measures the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from operator import attrgetter

import torch

from ..errors import EXPECTED, InputError, sentence_for
from ..image.canvas import inside
from ..image.colour import to_rgb
from ..image.fit import Fit, Target
from ..metrics.compare import Comparer
from ..metrics.registry import METRICS, CompareSettings
from ..metrics.source_figures import source_row
from ..progress import Progress
from ..tiled.pipeline import TileSettings, upscale_to
from ..types import Box, size_of
from ..upscaler import Upscaler
from .crops import choose_spots
from .results import BASELINE, REFERENCE, SOURCE, Cell, Crop, PictureFacts, ShootoutResult
from .samples import Sample, SampleFile

CROP_SIDE = 40
"""Side of a crop in source pixels."""
CROPS_A_PICTURE = 2
MOST_CROPS = 12
WARM_UP = 48
"""Side, in source pixels, of the crop on which each model runs once before it is timed."""


@dataclass(frozen=True)
class ModelEntry:
    """A model with its name in the report; ``open`` makes it ready to run, and may fail."""

    name: str
    open: Callable[[], Upscaler]


@dataclass(frozen=True, kw_only=True)
class ShootoutSettings:
    """``compare``: metrics and conventions where there are references; papers use the Y channel and leave out a border
    as wide as the scale. ``setting``: sentences for the report about where the pictures come from."""

    scale: int
    compare: CompareSettings
    tiles: TileSettings = field(default_factory=TileSettings)
    setting: tuple[str, ...] = ()


class _Inner(Progress):
    """Passes on notes and checks for cancelling from the work on one picture; its tiles are not counted."""

    def __init__(self, outer: Progress) -> None:
        self.note = outer.note
        self.check = outer.check


def run_shootout(
    entries: Sequence[ModelEntry],
    samples: Sequence[SampleFile],
    settings: ShootoutSettings,
    progress: Progress | None = None,
    problems: Sequence[str] = (),
) -> ShootoutResult:
    """Runs every entry and plain Lanczos on every sample. A model that cannot be opened, a picture that cannot be
    read and a model that fails on a picture are listed; the rest continues.

    Results are rounded to 8 bits before they are measured, as they would be saved. A model's time is that of one
    picture after a small warm-up run; loading is not counted. All models are in memory at once, but the results of only
    one picture. ``problems``: sentences for the report to list beside its own.

    Raises ``InputError`` without samples, or for two entries with the same name.
    """
    progress = progress or Progress()
    _check_names(entries, samples)
    problems = list(problems)
    upscalers: dict[str, Upscaler | None] = {BASELINE: None}
    for entry in entries:
        try:
            upscalers[entry.name] = entry.open()
        except EXPECTED as error:
            problems.append(f"{entry.name} cannot be used: {sentence_for(error)}")
    comparer = Comparer(settings.compare)
    facts: list[PictureFacts] = []
    cells: list[Cell] = []
    crops: list[Crop] = []
    progress.begin(len(samples) * len(upscalers), "results")
    for file in samples:
        try:
            sample = file.load()
        except EXPECTED as error:
            problems.append(f"{file.name} is left out: {sentence_for(error)}")
            progress.advance(len(upscalers))
            continue
        source = size_of(sample.source)
        facts.append(PictureFacts(file.name, source, source.scaled(settings.scale), sample.reference is not None))
        first = not cells
        results, found = _run_models(file.name, sample, upscalers, settings, comparer, progress, warm_up=first)
        cells += found
        crops += _crops(file.name, sample, results, settings.scale)
        crops = nlargest(MOST_CROPS, crops, attrgetter("spread"))
    return ShootoutResult(
        scale=settings.scale,
        models=tuple(upscalers),
        pictures=tuple(facts),
        cells=tuple(cells),
        crops=tuple(crops),
        setting=settings.setting,
        conventions=_conventions(comparer, cells),
        problems=(*problems, *comparer.unavailable.values()),
    )


def _check_names(entries: Sequence[ModelEntry], samples: Sequence[SampleFile]) -> None:
    if not samples:
        raise InputError("There is no picture to run the models on; give at least one.")
    names = [BASELINE, SOURCE, REFERENCE, *(entry.name for entry in entries)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"The name {twice[0]!r} is used twice; give each model its own name.")


def _run_models(
    name: str,
    sample: Sample,
    upscalers: Mapping[str, Upscaler | None],
    settings: ShootoutSettings,
    comparer: Comparer,
    progress: Progress,
    *,
    warm_up: bool,
) -> tuple[dict[str, torch.Tensor], list[Cell]]:
    """The results of one picture by model, and all cells of that picture. ``warm_up``: run each model once on a small
    crop before it is timed."""
    results: dict[str, torch.Tensor] = {}
    cells: list[Cell] = []
    for model, upscaler in upscalers.items():
        progress.check()
        try:
            result, seconds = _enlarge(sample.source, upscaler, settings, progress, warm_up=warm_up)
            figures = {"seconds_per_megapixel": 1e6 * seconds / size_of(result).pixels}
            cells.append(_measure(model, name, sample, result, results.get(BASELINE, result), comparer, figures))
            results[model] = result
        except EXPECTED as error:
            cells.append(Cell(model, name, {}, (sentence_for(error),)))
        progress.advance()
    if sample.reference is not None and BASELINE in results:
        alone = Sample(sample.source, None)
        cells.append(_measure(REFERENCE, name, alone, sample.reference, results[BASELINE], comparer, {}))
    return results, cells


def _enlarge(
    source: torch.Tensor, upscaler: Upscaler | None, settings: ShootoutSettings, progress: Progress, *, warm_up: bool
) -> tuple[torch.Tensor, float]:
    """The result in 8-bit values, and how many seconds it took."""
    target = Target(fit=Fit.FACTOR, factor=float(settings.scale))
    inner = _Inner(progress)
    if warm_up:
        upscale_to(source[..., :WARM_UP, :WARM_UP], None, upscaler, target, settings.tiles, progress=inner)
    started = time.perf_counter()
    result = upscale_to(source, None, upscaler, target, settings.tiles, progress=inner).picture
    seconds = time.perf_counter() - started
    return (result.clamp(0, 1) * 255).round() / 255, seconds


def _measure(
    model: str,
    name: str,
    sample: Sample,
    result: torch.Tensor,
    guide: torch.Tensor,
    comparer: Comparer,
    values: dict[str, float],
) -> Cell:
    """All metrics of one result; ``guide`` is the result at whose edges sharpness is measured."""
    alone = source_row(name, sample.source, result, guide=guide)
    values |= alone.values
    problems = alone.problems
    if sample.reference is not None:
        scores = comparer.score(result, sample.reference)
        values |= scores.values
        problems = (*problems, *scores.missing.values())
    return Cell(model, name, values, problems)


def _crops(name: str, sample: Sample, results: Mapping[str, torch.Tensor], scale: int) -> list[Crop]:
    models = [result for model, result in results.items() if model != BASELINE]
    versions = models if len(models) > 1 else list(results.values())
    spots = choose_spots(versions, CROP_SIDE * scale, CROPS_A_PICTURE) if len(versions) > 1 else []
    crops: list[Crop] = []
    for box, spread in spots:
        small = Box(box.x // scale, box.y // scale, box.width // scale, box.height // scale)
        views = {SOURCE: _view(sample.source, small)} | {model: _view(each, box) for model, each in results.items()}
        if sample.reference is not None:
            views[REFERENCE] = _view(sample.reference, box)
        crops.append(Crop(name, box, spread, views))
    return crops


def _view(picture: torch.Tensor, box: Box) -> torch.Tensor:
    part = inside(to_rgb(picture), box)[0]
    return (part.clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _conventions(comparer: Comparer, cells: Sequence[Cell]) -> dict[str, str]:
    """How each measured metric was computed."""
    by_reference = comparer.conventions()
    measured = dict.fromkeys(metric for cell in cells for metric in cell.values)
    return {metric: by_reference.get(metric, METRICS[metric].about) for metric in measured}
