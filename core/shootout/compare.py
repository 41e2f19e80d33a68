"""Compares files, folders and videos, pair by pair; one bad pair does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import torch

from ..errors import InputError
from ..image.resize import resize
from ..jobs.video.frame import to_picture
from ..media.picture.read import read_picture
from ..media.video.decode import BrokenVideo, ReadSettings, read_video
from ..media.video.probe import probe_video
from ..metrics.compare import Comparer, ComparisonReport, Row, report
from ..metrics.errors import MetricUnavailable
from ..metrics.pair import settle_alpha
from ..metrics.registry import CompareSettings
from ..metrics.vmaf import vmaf_videos
from ..progress import Progress
from ..types import size_of
from .pairing import FilePair, Kind, kind_of, pair_files


def compare_paths(
    result: Path, reference: Path, settings: CompareSettings, progress: Progress | None = None
) -> ComparisonReport:
    """Metrics for two files, or for the pairs of two folders (see ``pair_files``, whose ``InputError`` is raised).

    A pair that cannot be compared becomes a row without metrics that says why.

    Pictures are compared as sRGB at the depth of their files, composited over mid grey where both are transparent. A
    video is decoded frame by frame and gets one row with the mean over its frames; VMAF reads the files itself.
    """
    progress = progress or Progress()
    pairing = pair_files(result, reference)
    comparer = Comparer(settings)
    rows: list[Row] = []
    progress.begin(len(pairing.pairs), "pairs")
    for pair in pairing.pairs:
        progress.check()
        try:
            rows.append(_compare(pair, comparer, progress))
        except InputError as error:
            rows.append(Row(pair.name, {}, (str(error),)))
        progress.advance()
    return report(comparer, tuple(rows), pairing.problems)


def _compare(pair: FilePair, comparer: Comparer, progress: Progress) -> Row:
    kinds = [kind_of(path) for path in (pair.result, pair.reference)]
    if Kind.VIDEO not in kinds:
        return _compare_pictures(pair, comparer)
    if kinds[0] != kinds[1]:
        raise InputError(f"{pair.result.name} and {pair.reference.name} are not both videos; compare like with like.")
    return _compare_videos(pair, comparer, progress)


def _compare_pictures(pair: FilePair, comparer: Comparer) -> Row:
    ours, theirs = (read_picture(path, convert_to_srgb=True) for path in (pair.result, pair.reference))
    scores = comparer.score(*settle_alpha(ours.picture, ours.alpha, theirs.picture, theirs.alpha))
    notes = [
        f"only the first of the {file.frames} pictures in {path.name} was compared."
        for path, file in ((pair.result, ours), (pair.reference, theirs))
        if file.frames > 1
    ]
    return Row(pair.name, scores.values, (*scores.missing.values(), *notes))


def _compare_videos(pair: FilePair, comparer: Comparer, progress: Progress) -> Row:
    by_frame = [name for name in comparer.settings.metrics if name != "vmaf"]
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    frames = 1
    if by_frame:
        frames, values, problems = _frame_means(pair, comparer, progress)
    if "vmaf" in comparer.settings.metrics and "vmaf" not in comparer.unavailable:
        try:
            score = vmaf_videos(
                pair.result, pair.reference, comparer.settings.vmaf_model, border=comparer.settings.border
            )
            values["vmaf"], frames = score.mean, len(score.frames)
        except MetricUnavailable as error:
            problems["vmaf"] = str(error)
    return Row(pair.name, values, tuple(problems.values()), frames)


def frames_of(path: Path) -> Iterator[torch.Tensor]:
    """Each frame as a picture (1, 3, H, W), 0 to 1, as a player shows it. Raises ``InputError`` for a video that cannot
    be read to its end."""
    facts = probe_video(path)
    try:
        for frame in read_video(path, facts, ReadSettings(deinterlace=True)):
            picture = to_picture(frame, torch.device("cpu"))
            stored = size_of(picture)
            yield picture if stored == facts.shown else resize(picture, facts.shown).clamp_(0, 1)
    except BrokenVideo as error:
        raise InputError(f"{error.fact}; compare whole files.") from error


def _frame_means(
    pair: FilePair, comparer: Comparer, progress: Progress
) -> tuple[int, dict[str, float], dict[str, str]]:
    """The number of frames, the mean of each metric over them, and why metrics are missing."""
    sums: dict[str, float] = {}
    missing: dict[str, str] = {}
    counts = [0, 0]
    for ours, theirs in zip_longest(frames_of(pair.result), frames_of(pair.reference)):
        progress.check()
        counts[0] += ours is not None
        counts[1] += theirs is not None
        if ours is None or theirs is None:
            continue
        scores = comparer.score(ours, theirs, leave_out=("vmaf",))
        missing.update(scores.missing)
        for name, value in scores.values.items():
            sums[name] = sums.get(name, 0.0) + value
    if counts[0] != counts[1]:
        raise InputError(
            f"{pair.result.name} has {counts[0]} frames and {pair.reference.name} {counts[1]}; cut both to the same "
            "frames."
        )
    if not counts[0]:
        raise InputError(f"{pair.result.name} and {pair.reference.name} hold no frames.")
    means = {name: total / counts[0] for name, total in sums.items() if name not in missing}
    return counts[0], means, missing
