"""Jobs on the clips of these tests."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.model_info import Model
from backplate.core.jobs.video.plan import VideoJob, VideoSettings
from backplate.core.jobs.video.run import VideoProgress
from backplate.core.media.video.encode import EncodeSettings

FAST = EncodeSettings(preset="ultrafast", crf=4)
DOUBLE = Target(fit=Fit.FACTOR, factor=2)


class Stop(Exception):
    """Somebody pressed Cancel."""


class StopAfter(VideoProgress):
    def __init__(self, frames: int) -> None:
        self.left = frames

    def check(self) -> None:
        if self.left == 0:
            raise Stop
        self.left -= 1


def job(source: Path | io.BytesIO, output: Path, changed: dict | None = None, **settings: object) -> VideoJob:
    wanted = VideoSettings(**{"target": DOUBLE, "encode": FAST, "segment_frames": 7, **settings})
    return VideoJob(
        source=source,
        output=output,
        settings=wanted,
        model=Model(name="nearest", sha256="0"),
        device=torch.device("cpu"),
        **(changed or {}),
    )
