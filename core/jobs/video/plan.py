"""A video job, its plan before the first frame, and the identity by which an interrupted job is recognised."""

from __future__ import annotations

import hashlib
import io
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...atomic_write import companion_name, whole_file
from ...errors import InputError
from ...image.canvas import Background, Fill
from ...image.dither import Dither
from ...image.fidelity_lock import LockSettings
from ...image.fit import Fit, Target, pixels_for_model, plan_fit
from ...image.frame_difference import FrameReuse
from ...image.room import check_room
from ...media.video.carry import Carry
from ...media.video.decode import ReadSettings, check_scanning
from ...media.video.encode import EncodeSettings, Encoding, plan_encoding
from ...media.video.images import ImageVideo
from ...media.video.join import kind_of
from ...media.video.probe import Source, VideoFacts, probe_video
from ...media.video.rehearse import Rehearsed, rehearse
from ...tiled.pipeline import TileSettings
from ...types import Size
from ...upscaler import Upscaler
from ..model_info import Model
from ..protect import Mask, Protected, protect

LEAST_BITS = {"prores_ks": 0.5, "ffv1": 0.5}
LEAST_BITS_USUAL = 0.002
"""The fewest bits per pixel and frame that an encoder needs, even for static drawings."""

ROOM = 3
"""Frames that wait between two stages, enough to even out their speeds."""


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """What is done to a video. ``target`` None is the model's own scale. ``round_even`` rounds odd sizes where the
    format needs even ones. ``segment_frames`` is the most that an interrupted run loses. ``fidelity``, 0 to 1, is how
    strongly frames are locked to their sources (``fidelity_lock``). ``dither`` applies to 8-bit results; AUTO dithers
    those of deeper sources. ``grain`` restores the grain that the model removes. Raises ``InputError`` for invalid
    values."""

    target: Target | None = None
    background: Background = Background()
    tiles: TileSettings = TileSettings()
    held: FrameReuse = FrameReuse()
    read: ReadSettings = ReadSettings()
    encode: EncodeSettings = EncodeSettings()
    carry: Carry = Carry()
    round_even: bool = False
    segment_frames: int = 120
    fidelity: float = 0.0
    dither: Dither = Dither.AUTO
    grain: bool = False

    def __post_init__(self) -> None:
        LockSettings(strength=self.fidelity)
        if self.segment_frames < 1:
            raise InputError(f"segment_frames is {self.segment_frames}; give at least 1.")
        if self.background.fill is Fill.TRANSPARENT:
            raise InputError("Video has no transparency here; pad with the edge or a colour.")


@dataclass(frozen=True, kw_only=True)
class VideoJob:
    """``parts`` is the folder of finished segments, by default beside ``output``. ``resume``: use what an earlier run
    finished there; otherwise remove it. ``keep_partial``: a truncated source gives a result up to that point.
    ``embedded``: more tags, such as the workflow. ``reference``: a video of the result's size to compare with.
    ``measure``: whether to measure flicker. ``room``: frames that wait between stages. ``mask``: what is protected in
    every frame, in display orientation."""

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
    embedded: tuple[tuple[str, str], ...] = ()
    mask: Mask | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """Tags of the result in addition to those of the source."""
        own = {"software": self.software} if self.software and self.settings.carry.tags else {}
        return own | dict(self.embedded)

    @property
    def parts_folder(self) -> Path:
        return self.parts or self.output.with_name(companion_name(self.output.name, ".parts"))


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """What is known before the first frame."""

    facts: VideoFacts
    target: Target
    size: Size
    encoding: Encoding
    rehearsed: Rehearsed
    protected: Protected = Protected()


def plan_video(job: VideoJob, upscaler: Upscaler) -> VideoPlan:
    """Reads the source's header, plans the result and tests the encoder and the container.

    Raises ``InputError`` for everything that can be known before the work.
    """
    kind_of(job.output)
    _check_places(job)
    settings = job.settings
    facts = probe_video(job.source, settings.read.crop)
    check_scanning(facts, settings.read)
    target = settings.target or Target(fit=Fit.FACTOR, factor=float(upscaler.spec.scale))
    if settings.round_even:
        target = replace(target, multiple_of=math.lcm(target.multiple_of, 2))
    size = plan_fit(facts.shown, target).canvas
    check_room(facts.shown, size, channels=3)
    protected = protect(job.mask, facts.shown)
    encoding = plan_encoding(settings.encode, size, facts.bit_depth, facts.time_base, facts.rate, facts.tags, facts.hdr)
    rehearsed = rehearse(job.output, job.source, facts, encoding, settings.read, settings.carry, job.metadata)
    if job.reference is not None:
        reference = probe_video(job.reference)
        if reference.shown != size:
            raise InputError(
                f"The reference {reference.name} is {reference.shown} and the result will be {size}; compare videos of "
                "one size."
            )
    plan = VideoPlan(facts=facts, target=target, size=size, encoding=encoding, rehearsed=rehearsed, protected=protected)
    _check_room(job, plan, expected_frames(facts, settings.read))
    return plan


def pixels_of(source: Source, settings: VideoSettings) -> int:
    """About how many pixels the job gives to the model. Raises what ``probe_video`` and ``plan_fit`` raise."""
    facts = probe_video(source, settings.read.crop)
    return expected_frames(facts, settings.read) * pixels_for_model(facts.shown, settings.target)


def expected_frames(facts: VideoFacts, read: ReadSettings) -> int:
    """About how many frames the part to read has, at least 1."""
    if not read.start and not read.seconds:
        return facts.expected_frames
    seconds = max(0.0, facts.seconds - read.start)
    if read.seconds:
        seconds = min(seconds, read.seconds) if facts.seconds else read.seconds
    return max(1, round(seconds * facts.rate))


def identity_of(job: VideoJob, plan: VideoPlan) -> dict[str, Any]:
    """Everything that affects the frames of the result; a run with the same identity continues where an earlier one
    stopped."""
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
    if plan.protected.protection is not None:
        identity["protect"] = plan.protected.protection.sha256
    return _plain(identity)


def fingerprint(source: Source) -> str:
    """Changes when the source is replaced."""
    if isinstance(source, ImageVideo):
        return source.fingerprint()
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
    check_place(output)
    if job.mask is not None:
        job.mask.refuse_as_output(output)
    if output.exists() and not job.overwrite:
        raise InputError(f"{output} already exists; --overwrite replaces it.")


def check_place(output: Path) -> None:
    """Creates the folder of an output file and tests whether it is writable. Raises ``InputError``."""
    try:
        if output.is_dir():
            raise InputError(f"{output} is a folder; name a file inside it.")
        output.exists()
        output.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(output, keep=False) as temporary:
            temporary.write_bytes(b"\0")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{output} cannot be written ({reason}); name another place or make room there.") from error


def _check_room(job: VideoJob, plan: VideoPlan, frames: int) -> None:
    """Raises ``InputError`` if the disk has less space than the result plus a second copy of its pictures needs at
    least."""
    encoding = plan.encoding
    seconds = frames / float(plan.facts.rate)
    bits = LEAST_BITS.get(encoding.encoder, LEAST_BITS_USUAL) * plan.size.pixels * frames
    pictures = (encoding.bitrate * seconds / 2 if encoding.bitrate else bits) / 8
    needed, free = 2 * pictures + plan.rehearsed.copied_bytes, shutil.disk_usage(job.output.parent).free
    if needed > free:
        raise InputError(
            f"{job.output.name} needs {needed / 1e6:,.0f} MB at least while it is made and {job.output.parent} has "
            f"{free / 1e6:,.0f} MB free; make room, or choose another place or a smaller size."
        )
