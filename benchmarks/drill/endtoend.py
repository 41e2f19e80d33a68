"""Part 5: a video and a folder from file to file, decoding and encoding included."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pack import ours

from .models import load, open_ours, picture, precision_of
from .rows import Facts, Row, Settings
from .timing import busy_share, seconds_of

VIDEO_MODELS = ("lite-x2", "animevideov3", "general")
FRAMES = 48
PICTURES = 16
SIDE = 2000


def rows(settings: Settings) -> list[Row]:
    videos = [
        Row(name=f"video {model}", part=5, seconds=40, work=partial(_in_folder, partial(video, model, settings)))
        for model in VIDEO_MODELS
    ]
    return [*videos, Row(name="folder", part=5, seconds=60, work=partial(_in_folder, partial(folder, settings)))]


def _in_folder(work: Callable[[Path], Facts]) -> Facts:
    with tempfile.TemporaryDirectory(prefix="backplate-drill-") as name:
        return work(Path(name))


def video(name: str, settings: Settings, work_folder: Path) -> Facts:
    """48 frames of 720p to 1080p, every frame new; the second of two runs, and a third one for the card's share."""
    from clips import KINDS, make_clip

    size, target, frames = ((96, 64), (144, 96), 4) if settings.dry else ((1280, 720), (1920, 1080), FRAMES)
    device = torch.device(settings.device)
    clip = make_clip(work_folder / "clip.mp4", next(iter(KINDS)), size, frames)
    model, kind = load(name, settings)
    upscaler = open_ours(model, device)
    run = partial(_run_video, clip, work_folder / "result.mp4", target, upscaler, device)
    run()
    report = run()
    busy = busy_share(run, device)
    stages = {stage: each.milliseconds() for stage, each in report.latency.items()}
    return {
        "weights": kind,
        "frames a second": round(report.rate, 2),
        "p50 ms": stages["total"]["p50"],
        "p99 ms": stages["total"]["p99"],
        "stages, p50 and p99 ms": {stage: [each["p50"], each["p99"]] for stage, each in stages.items()},
        "card busy": busy,
        "encoder": report.encoding.encoder,
        "frames": report.counts.frames,
        "precision": precision_of(upscaler),
    }


def _run_video(clip: Path, output: Path, target: tuple[int, int], upscaler: Any, device: torch.device) -> Any:
    plan, fit = ours("core.jobs.video.plan"), ours("core.image.fit")
    settings = plan.VideoSettings(
        target=fit.Target(fit=fit.Fit.STRETCH, width=target[0], height=target[1]),
        encode=ours("core.media.video.encode").EncodeSettings(preset="veryfast"),
    )
    job = plan.VideoJob(
        source=clip, output=output, settings=settings, model=_model(), device=device, overwrite=True, measure=False
    )
    return ours("core.jobs.video.run").run_video(job, upscaler)


def folder(settings: Settings, work_folder: Path) -> Facts:
    """16 product pictures to 2000x2000, padded with white; the first picture was done before."""
    count, side = (3, 96) if settings.dry else (PICTURES, SIDE)
    device = torch.device(settings.device)
    sources = _product_pictures(work_folder / "pictures", count, dry=settings.dry)
    model, kind = load("general", settings)
    upscaler = open_ours(model, device)
    run = partial(_run_folder, upscaler, side)
    run(sources[:1], work_folder / "warm")
    found: list[Any] = []
    seconds = seconds_of(lambda: found.append(run(sources, work_folder / "results")), device)
    busy = busy_share(lambda: run(sources, work_folder / "again"), device)
    failed = [entry.reason for entry in found[0].entries if entry.status.value != "done"]
    if failed:
        raise RuntimeError(f"{len(failed)} pictures failed: {failed[0]}")
    return {
        "weights": kind,
        "pictures": count,
        "pictures a second": round(count / seconds, 3),
        "card busy": busy,
        "precision": precision_of(upscaler),
    }


def _product_pictures(place: Path, count: int, *, dry: bool) -> list[Path]:
    place.mkdir()
    write, paths = ours("core.media.picture.read").write_picture, list[Path]()
    for index in range(count):
        width, height = (48 + index, 40) if dry else (600 + 20 * index, 500 + 10 * index)
        paths.append(place / f"item {index}{('.png', '.jpg')[index % 2]}")
        write(paths[-1], picture(width, height, seed=index))
    return paths


def _run_folder(upscaler: Any, side: int, sources: list[Path], results: Path) -> Any:
    fit, place = ours("core.image.fit"), ours("core.image.canvas")
    settings = ours("core.jobs.picture").PictureSettings(
        target=fit.Target(fit=fit.Fit.PAD, width=side, height=side),
        background=place.Background(fill=place.Fill.COLOUR, colour="white"),
    )
    task = ours("core.media.picture_folder").FileTask
    tasks = tuple(task(path.name, path, f"{path.stem}.png", results / f"{path.stem}.png") for path in sources)
    job = ours("core.jobs.folder.job").FolderJob(tasks=tasks, output=results, settings=settings, model=_model())
    return ours("core.jobs.folder.run").run_folder(job, upscaler)


def _model() -> Any:
    return ours("core.jobs.model_info").Model(name="drill", sha256="0")
