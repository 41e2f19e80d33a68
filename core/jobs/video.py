"""The video job: read, upscale and fit, encode, each on its own thread with short queues between them, so that memory
does not depend on the length; then one file out of the finished segments and the source's sound."""

from __future__ import annotations

import hashlib
import io
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from av.error import FFmpegError

from ..image.held import HeldSettings
from ..image.place import Background, Fill
from ..image.target import Fit, Target, plan_fit
from ..media.video_decode import ReadSettings, check_scanning
from ..media.video_encode import EncodeSettings, Encoding, plan_encoding
from ..media.video_join import Carry, check_joinable, join_segments, kind_of
from ..media.video_probe import Source, VideoFacts, probe_video, reason_of
from ..pipeline import TileSettings
from ..progress import Progress
from ..types import Size
from ..upscaler import InputError, Upscaler
from ..whole_file import whole_file
from .belt import Cut
from .folder_job import Model
from .latency import Latency
from .video_compare import vmaf_of
from .video_frame import Finished, FrameSettings, FrameUpscaler
from .video_report import VideoReport
from .video_segments import SegmentStore
from .video_stages import Reader, Writer

ROOM = 3
"""Frames that wait between two stages: enough to even out their pace."""


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """What is done to a video. ``target`` None is the model's own scale. ``round_even`` lets odd sizes become even
    where the format needs it. ``segment_frames`` is how much an interrupted run loses at most."""

    target: Target | None = None
    background: Background = Background()
    tiles: TileSettings = TileSettings()
    held: HeldSettings = HeldSettings()
    read: ReadSettings = ReadSettings()
    encode: EncodeSettings = EncodeSettings()
    carry: Carry = Carry()
    round_even: bool = False
    segment_frames: int = 120

    def __post_init__(self) -> None:
        if self.segment_frames < 1:
            raise InputError(f"segment_frames is {self.segment_frames}; give at least 1.")
        if self.background.fill is Fill.TRANSPARENT:
            raise InputError("Video has no transparency here; pad with the edge or a colour.")


@dataclass(frozen=True, kw_only=True)
class VideoJob:
    """``parts`` is the folder of finished segments, by default beside ``output``. ``resume``: what an earlier run
    finished there is used, otherwise removed. ``keep_partial``: a source that breaks off gives a result up to there.
    ``reference``: a video of the result's size, to compare with. ``measure``: whether flicker is. ``room``: frames
    that wait between stages."""

    source: Source
    output: Path
    settings: VideoSettings
    model: Model
    device: torch.device
    parts: Path | None = None
    resume: bool = True
    overwrite: bool = False
    keep_partial: bool = False
    measure: bool = True
    reference: Path | None = None
    room: int = ROOM
    software: str = ""

    @property
    def parts_folder(self) -> Path:
        return self.parts or self.output.with_name(f".{self.output.name}.parts")


class VideoProgress(Progress):
    """What the host hears, beside ``begin`` with the number of frames. All calls come from the thread that runs the
    job."""

    def finish_frame(self, frame: Finished) -> None:
        """One frame was upscaled, or reused."""


class _Quiet(Progress):
    """Lets checks pass and each sentence once; the steps within a frame are nobody's business."""

    def __init__(self, host: Progress, notes: list[str]) -> None:
        self._host, self._notes = host, notes

    def check(self) -> None:
        self._host.check()

    def note(self, sentence: str) -> None:
        if sentence not in self._notes:
            self._notes.append(sentence)
            self._host.note(sentence)


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """What is known before the first frame."""

    facts: VideoFacts
    target: Target
    size: Size
    encoding: Encoding


def plan_video(job: VideoJob, upscaler: Upscaler) -> VideoPlan:
    """Reads the source's header, works out the result and tries the encoder and the container.

    Raises ``InputError`` for everything that can be known before the work.
    """
    kind_of(job.output)
    _check_places(job)
    settings = job.settings
    facts = probe_video(job.source, settings.read.untagged_matrix)
    check_scanning(facts, settings.read)
    target = settings.target or Target(fit=Fit.FACTOR, factor=float(upscaler.spec.scale))
    if settings.round_even:
        target = replace(target, multiple_of=math.lcm(target.multiple_of, 2))
    size = plan_fit(facts.shown, target).canvas
    encoding = plan_encoding(settings.encode, size, facts.bit_depth, facts.time_base, facts.rate, facts.tags)
    check_joinable(job.output, job.source, encoding, settings.carry)
    if job.reference is not None:
        reference = probe_video(job.reference)
        if reference.shown != size:
            raise InputError(
                f"The reference {reference.name} is {reference.shown} and the result will be {size}; compare videos of "
                "one size."
            )
    return VideoPlan(facts=facts, target=target, size=size, encoding=encoding)


def run_video(
    job: VideoJob, upscaler: Upscaler, progress: VideoProgress | None = None, plan: VideoPlan | None = None
) -> VideoReport:
    """Upscales the whole video. ``plan`` is that of ``plan_video`` if the caller has it already.

    If the progress stops the job, or it fails, the finished segments stay in the parts folder and the same job goes
    on after them. The result appears under its name when it is whole.

    Raises ``InputError`` for a source that breaks off (unless ``keep_partial``), and what ``plan_video`` and
    ``upscale_to`` raise.
    """
    progress = progress or VideoProgress()
    plan = plan or plan_video(job, upscaler)
    store = SegmentStore(job.parts_folder, identity_of(job, plan))
    store.open(job.resume)
    resumed = store.counts.frames
    notes = _first_notes(plan, resumed)
    for note in notes:
        progress.note(note)
    started = time.perf_counter()
    latency, problem = _Stream(job, plan, upscaler, store, progress, notes).run()
    if not store.segments:
        store.remove()
        raise InputError(problem or f"There is no frame in the part of {plan.facts.name} that was asked for.")
    seconds = time.perf_counter() - started
    _join(job, plan, store, partial=bool(problem))
    store.remove()
    if store.counts.damaged:
        notes.append(f"{store.counts.damaged} frames of {plan.facts.name} are damaged; they were used as decoded.")
    return VideoReport(
        source=plan.facts,
        output=job.output,
        size=plan.size,
        encoding=plan.encoding,
        model=job.model.name,
        counts=store.counts,
        resumed=resumed,
        seconds=seconds,
        latency=latency,
        problem=problem,
        vmaf=vmaf_of(job.output, job.reference, plan.size, notes),
        notes=tuple(notes),
    )


class _Stream:
    """The three stages from the first frame that is missing to the last."""

    def __init__(
        self,
        job: VideoJob,
        plan: VideoPlan,
        upscaler: Upscaler,
        store: SegmentStore,
        progress: VideoProgress,
        notes: list[str],
    ) -> None:
        self._job, self._progress, self._facts = job, progress, plan.facts
        read = job.settings.read
        if store.segments:
            read = replace(read, after=store.segments[-1].last[0])
        self._done = store.counts.frames
        self._reader = Reader(job.source, plan.facts, read, job.room)
        self._writer = Writer(store, plan.encoding, job.settings.segment_frames, job.room)
        frame_settings = FrameSettings(
            shown=plan.facts.shown,
            target=plan.target,
            background=job.settings.background,
            tiles=job.settings.tiles,
            held=job.settings.held,
            device=job.device,
            deep=plan.encoding.deep,
            flicker=job.measure,
        )
        self._frames = FrameUpscaler(upscaler, frame_settings, _Quiet(progress, notes))

    def run(self) -> tuple[dict[str, Latency], str]:
        """Latencies by stage, and why the source ended early."""
        expected = max(1, _expected(self._facts, self._job.settings.read) - self._done)
        self._progress.begin(expected, "frames")
        self._reader.start()
        self._writer.start()
        try:
            self._work(expected)
        finally:
            self._reader.belt.cut()
            self._writer.belt.end()
            self._reader.join()
            self._writer.join()
        self._raise_writing()
        error = self._reader.error
        if error is None:
            return self._writer.latency, ""
        if isinstance(error, InputError) and self._job.keep_partial:
            return self._writer.latency, str(error)
        raise error

    def _work(self, expected: int) -> None:
        for number, (frame, seconds) in enumerate(self._reader.belt):
            if number % self._job.settings.segment_frames == 0:
                self._frames.forget()
            if number >= expected:
                self._progress.extend(1)
            finished = self._frames.finish(frame, seconds)
            try:
                self._writer.belt.put(finished)
            except Cut:
                return
            self._progress.finish_frame(finished)
            self._progress.advance()

    def _raise_writing(self) -> None:
        error = self._writer.error
        if isinstance(error, FFmpegError):
            raise InputError(f"The video could not be encoded ({reason_of(error)}).") from error
        if isinstance(error, OSError):
            raise InputError(f"{self._job.output.name} could not be written ({error.strerror or error}).") from error
        if error is not None:
            raise error


def identity_of(job: VideoJob, plan: VideoPlan) -> dict[str, Any]:
    """All that shapes the frames of the result; a run with the same goes on where an earlier one stopped."""
    settings = asdict(job.settings)
    for name in ("carry", "round_even", "segment_frames", "encode"):
        settings.pop(name)
    settings["target"] = asdict(plan.target)
    identity = {
        "source": fingerprint(job.source),
        "model": job.model.sha256,
        "precision": job.model.precision,
        "encoding": asdict(plan.encoding),
        **settings,
    }
    return _plain(identity)


def fingerprint(source: Source) -> str:
    """Changes when the source is replaced."""
    if isinstance(source, io.BytesIO):
        return hashlib.sha256(source.getbuffer()).hexdigest()
    facts = source.stat()
    return f"{source.name} {facts.st_size} {facts.st_mtime_ns}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _check_places(job: VideoJob) -> None:
    output = job.output
    if isinstance(job.source, Path) and output.resolve() == job.source.resolve():
        raise InputError(f"The result would replace its own source {output}; choose another name.")
    if output.exists() and not job.overwrite:
        raise InputError(f"{output} exists already; --overwrite replaces it.")
    if output.is_dir():
        raise InputError(f"{output} is a folder; name the file that is to be written in it.")
    output.parent.mkdir(parents=True, exist_ok=True)


def _first_notes(plan: VideoPlan, resumed: int) -> list[str]:
    facts = plan.facts
    said = {
        f"{facts.name} does not say which colours it means; read, and tagged from now on, as {facts.tags.text()}.": (
            facts.tags_assumed
        ),
        f"The transparency of {facts.name} is left out.": facts.has_alpha,
        f"{resumed} frames are there from an earlier run.": bool(resumed),
    }
    return [sentence for sentence, applies in said.items() if applies]


def _expected(facts: VideoFacts, read: ReadSettings) -> int:
    if not read.start and not read.seconds:
        return facts.expected_frames
    seconds = max(0.0, facts.seconds - read.start)
    if read.seconds:
        seconds = min(seconds, read.seconds) if facts.seconds else read.seconds
    return max(1, round(seconds * facts.rate))


def _join(job: VideoJob, plan: VideoPlan, store: SegmentStore, *, partial: bool) -> None:
    pts, duration = store.segments[-1].last
    try:
        with whole_file(job.output) as temporary:
            join_segments(
                temporary,
                kind_of(job.output),
                store.segments,
                job.source,
                plan.facts,
                job.settings.read,
                job.settings.carry,
                until=float((pts + duration) * plan.facts.time_base) if partial else None,
                metadata={"software": job.software} if job.software else None,
            )
    except OSError as error:
        raise InputError(f"{job.output.name} could not be written ({error.strerror or error}).") from error
