"""The video job: read, upscale and fit, encode, each on its own thread with short queues in between, so that memory
does not depend on the length; then one file from the finished segments and the source's sound."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from av.error import FFmpegError

from ...atomic_write import whole_file
from ...errors import InputError
from ...media.picture.content_credentials import DROPPED, video_has_credentials
from ...media.video.decode import BrokenVideo
from ...media.video.join import join_segments, kind_of
from ...media.video.probe import reason_of
from ...progress import Progress
from ...upscaler import Upscaler
from .channel import Closed
from .compare import vmaf_of
from .frame import Finished, FrameSettings, FrameUpscaler
from .latency import Latency
from .plan import VideoJob, VideoPlan, expected_frames, identity_of, plan_video
from .report import VideoReport
from .segments import SegmentStore
from .stages import Reader, Writer


class VideoProgress(Progress):
    """Progress on a video, in addition to ``begin`` with the number of frames. All calls come from the thread that runs
    the job."""

    def finish_frame(self, frame: Finished) -> None:
        """One frame was upscaled or reused."""


class _NotesOnly(Progress):
    """Forwards checks, and each note once, but not the steps within a frame."""

    def __init__(self, host: Progress, notes: list[str]) -> None:
        self._host, self._notes = host, notes

    def check(self) -> None:
        self._host.check()

    def note(self, sentence: str) -> None:
        if sentence not in self._notes:
            self._notes.append(sentence)
            self._host.note(sentence)


def run_video(
    job: VideoJob, upscaler: Upscaler, progress: VideoProgress | None = None, plan: VideoPlan | None = None
) -> VideoReport:
    """Upscales the whole video. ``plan``: the result of ``plan_video``, if the caller already has it.

    If the progress stops the job, or it fails, the finished segments stay in the parts folder and the same job
    continues after them. The result appears under its name when it is complete.

    Raises ``InputError`` for a truncated source (unless ``keep_partial``), and what ``plan_video`` and ``upscale_to``
    raise.
    """
    progress = progress or VideoProgress()
    plan = plan or plan_video(job, upscaler)
    store = SegmentStore(job.parts_folder, identity_of(job, plan))
    store.open(job.resume)
    resumed = store.counts.frames
    signed = isinstance(job.source, Path) and video_has_credentials(job.source)
    notes = _first_notes(plan, resumed, signed)
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
        model_sha256=job.model.sha256,
        licence=job.model.licence,
        commercial_use=job.model.commercial_use,
        counts=store.counts,
        resumed=resumed,
        seconds=seconds,
        latency=latency,
        problem=problem,
        vmaf=vmaf_of(job.output, job.reference, plan.size, notes),
        notes=tuple(notes),
    )


class _Stream:
    """The three stages, from the first missing frame to the last."""

    def __init__(
        self,
        job: VideoJob,
        plan: VideoPlan,
        upscaler: Upscaler,
        store: SegmentStore,
        progress: VideoProgress,
        notes: list[str],
    ) -> None:
        self._job, self._progress, self._facts, self._notes = job, progress, plan.facts, notes
        read = job.settings.read
        if store.segments:
            read = replace(read, after=store.segments[-1].last[0])
        self._done = store.counts.frames
        self._reader = Reader(job.source, plan.facts, read, job.room)
        self._writer = Writer(store, plan.encoding, job.settings.segment_frames, job.room)
        frame_settings = FrameSettings.of(job, plan, flicker=job.measure)
        self._frames = FrameUpscaler(upscaler, frame_settings, _NotesOnly(progress, notes))

    def run(self) -> tuple[dict[str, Latency], str]:
        """Latencies by stage, and why the source ended early, if it did."""
        expected = max(1, expected_frames(self._facts, self._job.settings.read) - self._done)
        self._progress.begin(expected, "frames")
        self._reader.start()
        self._writer.start()
        try:
            self._work(expected)
        finally:
            self._reader.channel.cut()
            self._writer.channel.end()
            self._reader.join()
            self._writer.join()
        self._raise_writing()
        if sentence := self._frames.change.sentence:
            self._notes.append(sentence)
        error = self._reader.error
        if error is None:
            return self._writer.latency, ""
        if isinstance(error, InputError) and self._job.keep_partial:
            fact = f"{error.fact}; the result ends there." if isinstance(error, BrokenVideo) else str(error)
            return self._writer.latency, fact
        raise error

    def _work(self, expected: int) -> None:
        for number, (frame, seconds) in enumerate(self._reader.channel):
            if number % self._job.settings.segment_frames == 0:
                self._frames.forget()
            if number >= expected:
                self._progress.extend(1)
            finished = self._frames.finish(frame, seconds)
            try:
                self._writer.channel.put(finished)
            except Closed:
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


def _first_notes(plan: VideoPlan, resumed: int, signed: bool) -> list[str]:
    facts = plan.facts
    lost = facts.hdr.left_out(plan.encoding.encoder)
    said = {
        f"{facts.name} has no colour tags; assuming {facts.tags.text()}.": (facts.tags_assumed),
        f"The transparency of {facts.name} is left out.": facts.has_alpha,
        f"Left out, because {plan.encoding.encoder} is not given it here: {lost} of {facts.name}.": bool(lost),
        f"{resumed} frames are there from an earlier run.": bool(resumed),
        f"Left out: {DROPPED}, of {facts.name}.": signed,
    }
    protected = [f"{note[:1].upper()}{note[1:]}." for note in plan.protected.notes]
    return [sentence for sentence, applies in said.items() if applies] + plan.rehearsed.notes(facts.name) + protected


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
                metadata=job.metadata,
            )
    except OSError as error:
        raise InputError(f"{job.output.name} could not be written ({error.strerror or error}).") from error
