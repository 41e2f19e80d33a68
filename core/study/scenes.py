"""What each side made of a picture or clip: read from folders of results, or made here by models."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import InputError
from ..image.colour import to_rgb
from ..image.fit import Target, plan_fit
from ..image.resize import resize
from ..image.sharpen import SharpenSettings, sharpen_blend
from ..media.picture.read import read_picture
from ..media.video.decode import ReadSettings, read_video
from ..media.video.probe import probe_video
from ..progress import Progress
from ..shootout.pairing import Kind, files_in, kind_of, match_names
from ..tiled.pipeline import TileSettings, upscale_to
from ..types import Size, size_of
from ..upscaler import Upscaler

CLIP_SECONDS = 2.0
MOST_FRAMES = 48
"""A clip is stored in one picture file; phones could not open one with more frames."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture or clip as every side made it: ``results`` by label, (F, C, H, W), all of one size; one frame is a
    picture. ``source``: the small picture, or whatever the sides should be true to. ``rate``: frames per second."""

    name: str
    results: Mapping[str, torch.Tensor]
    source: torch.Tensor | None = None
    reference: torch.Tensor | None = None
    rate: float = 0.0
    caption: str = ""


@dataclass(frozen=True)
class Side:
    """One way to enlarge, with its label. ``open`` makes the model ready; None is plain Lanczos."""

    label: str
    open: Callable[[], Upscaler] | None
    sharpen: float = 0.0


@dataclass(frozen=True)
class Shown:
    """Frames (F, C, H, W) of a file and their rate; a picture has one frame and the rate 0."""

    frames: torch.Tensor
    rate: float = 0.0


def read_shown(path: Path) -> Shown:
    """The colours of a picture, composited over mid grey, or the beginning of a video. Raises ``InputError``."""
    if kind_of(path) is Kind.VIDEO:
        return _read_clip(path)
    file = read_picture(path, convert_to_srgb=True)
    picture = file.picture if file.alpha is None else file.picture * file.alpha + 0.5 * (1 - file.alpha)
    return Shown(picture)


def _read_clip(path: Path) -> Shown:
    facts = probe_video(path)
    frames: list[torch.Tensor] = []
    for frame in read_video(path, facts, ReadSettings(seconds=CLIP_SECONDS, deinterlace=True)):
        values = torch.from_numpy(frame.pixels.astype("float32")) / float(frame.white)
        frames.append(values.permute(2, 0, 1))
        if len(frames) == MOST_FRAMES:
            break
    if not frames:
        raise InputError(f"{path} has no frame; give a whole video.")
    return Shown(torch.stack(frames), float(facts.rate))


def result_scenes(
    results: Mapping[str, Path], sources: Path | None, references: Path | None, progress: Progress
) -> tuple[Iterator[tuple[str, Callable[[], Scene]]], list[str]]:
    """Names and readers of scenes from folders of finished results, by label, matched by name as in ``backplate
    compare``; and sentences about files without a partner. Raises ``InputError`` if no name is in all folders."""
    first, *others = results
    files = {label: files_in(path) for label, path in results.items()}
    partners = {first: {name: name for name in files[first]}}
    problems: list[str] = []
    for label in others:
        pairs, wrong = match_names(files[first], files[label], (str(results[first]), str(results[label])))
        partners[label] = dict(pairs)
        problems += wrong
    names = [name for name in files[first] if all(name in partners[label] for label in results)]
    if not names:
        raise InputError(" ".join(["No picture is in all folders; results need the same names.", *problems[:3]]))
    beside = [_beside(folder, files[first], problems) for folder in (sources, references)]

    def reader(name: str) -> Callable[[], Scene]:
        paths = {label: files[label][partners[label][name]] for label in results}
        return lambda: _scene(name, paths, *(found.get(name) for found in beside))

    return _counted([(name, reader(name)) for name in names], progress), problems


def _scene(name: str, paths: Mapping[str, Path], source: Path | None, reference: Path | None) -> Scene:
    shown = {label: read_shown(path) for label, path in paths.items()}
    frames = min(len(each.frames) for each in shown.values())
    return Scene(
        name=name,
        results={label: each.frames[:frames] for label, each in shown.items()},
        source=None if source is None else read_shown(source).frames,
        reference=None if reference is None else read_shown(reference).frames,
        rate=next(iter(shown.values())).rate,
    )


def _beside(folder: Path | None, names: Mapping[str, Path], problems: list[str]) -> dict[str, Path]:
    if folder is None:
        return {}
    theirs = files_in(folder)
    pairs, wrong = match_names(names, theirs, ("the results", str(folder)))
    problems += wrong
    return {ours: theirs[name] for ours, name in pairs}


def model_scenes(
    sides: Sequence[Side],
    images: Path,
    references: Path | None,
    target: Target,
    tiles: TileSettings,
    progress: Progress,
) -> tuple[Iterator[tuple[str, Callable[[], Scene]]], list[str]]:
    """Names and makers of scenes: every side enlarges every picture and clip below ``images`` (or that one file) to
    ``target``; and sentences about references without a partner. Raises ``InputError``."""
    if not images.exists():
        raise InputError(f"There is no file or folder {images}.")
    files = files_in(images) if images.is_dir() else {images.name: images}
    problems: list[str] = []
    truths = _beside(references, files, problems)
    opened: dict[str, Upscaler | None] = {}

    def maker(name: str, path: Path) -> Callable[[], Scene]:
        return lambda: _made(name, path, truths.get(name))

    def _made(name: str, path: Path, reference: Path | None) -> Scene:
        source = read_shown(path)
        for side in sides:
            if side.label not in opened:
                opened[side.label] = None if side.open is None else side.open()
        results = {
            side.label: _enlarged(source.frames, opened[side.label], side.sharpen, target, tiles) for side in sides
        }
        size = size_of(next(iter(results.values())))
        truth = None if reference is None else read_shown(reference).frames
        return Scene(
            name=name,
            results=results,
            source=_source_for(source.frames, target),
            reference=truth if truth is not None and size_of(truth) == size else None,
            rate=source.rate,
        )

    return _counted([(name, maker(name, path)) for name, path in files.items()], progress), problems


def _enlarged(
    frames: torch.Tensor, upscaler: Upscaler | None, sharpen: float, target: Target, tiles: TileSettings
) -> torch.Tensor:
    """One frame at a time, in 8-bit values, as they would be saved."""
    made = [upscale_to(frame[None], None, upscaler, target, tiles).picture.cpu() for frame in frames]
    result = torch.cat(made)
    if sharpen:
        result = sharpen_blend(result, SharpenSettings(amount=sharpen))[0]
    return (result.clamp(0, 1) * 255).round() / 255


def _source_for(frames: torch.Tensor, target: Target) -> torch.Tensor:
    """The source itself if the results show all of it; otherwise resampled, and cropped and padded like them."""
    size = size_of(frames)
    plan = plan_fit(size, target)
    if tuple(plan.source_box) == (0, 0, *size) and not plan.padded:
        return frames
    return torch.cat([upscale_to(frame[None], None, None, target).picture for frame in frames])


def fitted(picture: torch.Tensor, size: Size) -> torch.Tensor:
    """(F, 3, H, W) of that size, resampled (Lanczos) if necessary."""
    colours = to_rgb(picture)
    return colours if size_of(picture) == size else resize(colours, size).clamp(0, 1)


def _counted(
    scenes: Sequence[tuple[str, Callable[[], Scene]]], progress: Progress
) -> Iterator[tuple[str, Callable[[], Scene]]]:
    progress.begin(len(scenes), "pictures")
    for scene in scenes:
        progress.check()
        yield scene
        progress.advance()
