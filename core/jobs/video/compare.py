"""Compares a video with its source: frames, times and sound one by one, flicker, and VMAF against a reference."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import torch

from ...errors import InputError
from ...media.video.carry import Carry
from ...media.video.decode import Frame, ReadSettings, read_video
from ...media.video.encode import EncodeSettings, SegmentEncoder, plan_encoding
from ...media.video.images import ImageVideo
from ...media.video.join import packets_of
from ...media.video.probe import Source, VideoFacts, probe_video
from ...metrics.errors import MetricUnavailable
from ...metrics.flicker import Flicker, flicker_of_pair
from ...metrics.vmaf import VmafModel, vmaf_videos
from ...progress import Progress
from ...types import Size
from .frame import to_picture, to_pixels

LINES_OF_4K = 1600
"""Height from which the VMAF model for 4K applies."""

LARGEST_ASPECT_DIFFERENCE = 0.01
"""Largest relative difference of the aspect ratios at which flicker can compare the same parts of both pictures."""


@dataclass(frozen=True, kw_only=True)
class VideoComparison:
    """``frames`` of the result; ``times_kept`` and ``sound_kept`` are None without a source, or its sound, to compare
    with. ``notes`` say what could not be measured and why."""

    result: VideoFacts
    frames: int
    source_frames: int | None = None
    times_kept: bool | None = None
    sound_kept: bool | None = None
    flicker: Flicker = Flicker()
    vmaf: dict[str, float] = field(default_factory=dict[str, float])
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        facts = self.result
        lines = [
            f"{facts.shown}, {self.frames} frames, {float(facts.rate):.3f} fps, {facts.codec} {facts.pixel_format}, "
            f"{facts.tags.text()}"
        ]
        if self.source_frames is not None:
            lines.append(f"source: {self.source_frames} frames; times {_kept(self.times_kept)}")
        if self.sound_kept is not None:
            lines.append(f"sound: {_kept(self.sound_kept)}")
        lines += self.flicker.lines
        lines += [f"VMAF ({name}): {score:.2f}" for name, score in self.vmaf.items()]
        return "\n".join([*lines, *self.notes])


def compare_videos(
    result: Source,
    source: Source | None = None,
    reference: Source | None = None,
    part: ReadSettings | None = None,
    progress: Progress | None = None,
    *,
    result_part: ReadSettings | None = None,
    reference_part: ReadSettings | None = None,
) -> VideoComparison:
    """Reads ``result`` and ``source`` side by side, frame by frame. ``part`` is the part of the source that was
    upscaled, the other parts are those of the result and the reference to compare. Times may differ by half a
    millisecond, the resolution of Matroska.

    Raises ``InputError`` for videos that cannot be read.
    """
    progress, part = progress or Progress(), part or ReadSettings()
    shown = result_part or ReadSettings()
    facts = probe_video(result, shown.crop)
    notes: list[str] = []
    comparison = VideoComparison(result=facts, frames=0)
    if source is None:
        progress.begin(facts.expected_frames, "frames")
        comparison = replace(comparison, frames=sum(1 for _ in _watched(result, facts, shown, progress)))
    else:
        comparison = _beside(comparison, (result, shown), (source, part), progress, notes)
    parts = (shown, reference_part or ReadSettings())
    vmaf = vmaf_of(result, reference, facts.shown, notes, parts)
    return replace(comparison, vmaf=vmaf, notes=tuple(notes))


def _beside(
    comparison: VideoComparison,
    ours: tuple[Source, ReadSettings],
    theirs: tuple[Source, ReadSettings],
    progress: Progress,
    notes: list[str],
) -> VideoComparison:
    (result, shown), (source, part) = ours, theirs
    facts, origin = comparison.result, probe_video(source, part.crop)
    progress.begin(facts.expected_frames, "frames")
    same_part = abs(_aspect(facts.shown) / _aspect(origin.shown) - 1) <= LARGEST_ASPECT_DIFFERENCE
    if not same_part:
        notes.append(f"Flicker was not measured: {facts.shown} shows another part than {origin.shown}.")
    frames = source_frames = 0
    kept, flicker = True, Flicker()
    before: tuple[torch.Tensor, torch.Tensor] | None = None
    pairs = zip_longest(
        _watched(result, facts, shown, progress), read_video(source, origin, replace(part, deinterlace=True))
    )
    for new, old in pairs:
        frames, source_frames = frames + (new is not None), source_frames + (old is not None)
        if new is None or old is None:
            kept = False
            continue
        kept = kept and abs(float(new.pts * facts.time_base - old.pts * origin.time_base)) <= 0.0005
        if same_part:
            pair = (to_picture(old, torch.device("cpu")), to_picture(new, torch.device("cpu")))
            if before is not None:
                flicker += flicker_of_pair(pair[0], before[0], pair[1], before[1])
            before = pair
    return replace(
        comparison,
        frames=frames,
        source_frames=source_frames,
        times_kept=kept,
        sound_kept=_same_sound(ours, theirs, origin),
        flicker=flicker,
    )


def _watched(source: Source, facts: VideoFacts, settings: ReadSettings, progress: Progress) -> Iterator[Frame]:
    for frame in read_video(source, facts, replace(settings, deinterlace=True)):
        progress.check()
        yield frame
        progress.advance()


def _same_sound(
    result: tuple[Source, ReadSettings], source: tuple[Source, ReadSettings], origin: VideoFacts
) -> bool | None:
    """Compares packet by packet; only the content if a part is compared, because its packets were shifted."""
    if not origin.audio:
        return None
    sound = Carry(subtitles=False)
    ours, theirs = (packets_of(each, sound) for each, _ in (result, source))
    if _is_whole(result[1]) and _is_whole(source[1]):
        begun = float(origin.origin * origin.time_base)
        return all(
            a is not None
            and b is not None
            and a[1] in (b[1], _without_header(b[1]))
            and abs(a[0] - b[0] + begun) <= 0.001
            for a, b in zip_longest(ours, theirs)
        )
    known = {form for _, content in theirs for form in (content, _without_header(content))}
    start, seconds = result[1].start, result[1].seconds
    inside = [content for time, content in ours if time >= start and (not seconds or time < start + seconds)]
    return bool(inside) and all(content in known for content in inside)


def _is_whole(part: ReadSettings) -> bool:
    return not part.start and not part.seconds


ADTS_HEADER = 7
"""Bytes before each AAC frame in a transport stream; other containers store this once, outside the stream."""


def _without_header(content: bytes) -> bytes:
    framed = content[:1] == b"\xff" and content[1:2] >= b"\xf0"
    return content[ADTS_HEADER:] if framed else content


def _aspect(size: Size) -> float:
    return size.width / size.height


def _kept(kept: bool | None) -> str:
    return "kept" if kept else "NOT kept"


def vmaf_of(
    result: Source,
    reference: Source | None,
    size: Size,
    notes: list[str],
    parts: tuple[ReadSettings, ReadSettings] = (ReadSettings(), ReadSettings()),
) -> dict[str, float]:
    """VMAF by name of the model: the one for that size, and the one that does not reward sharpening. ``parts`` are
    those of the result and of the reference. A failure only becomes a note, because the result is not affected."""
    if reference is None:
        return {}
    sources = ((result, parts[0]), (reference, parts[1]))
    cut = any(isinstance(each, ImageVideo) or not _is_whole(part) or part.crop for each, part in sources)
    usual = VmafModel.FOUR_K if size.height >= LINES_OF_4K else VmafModel.HD
    with tempfile.TemporaryDirectory(prefix="backplate-video-") as folder:
        try:
            first, second = (
                _copied(each, part, Path(folder, name)) if cut else _on_disk(each, Path(folder, name))
                for (each, part), name in zip(sources, ("a.mkv", "b.mkv"), strict=True)
            )
            return {model.value: vmaf_videos(first, second, model).mean for model in (usual, VmafModel.NEG)}
        except (InputError, MetricUnavailable) as error:
            notes.append(f"VMAF was not measured: {error}")
            return {}


def _copied(source: Source, part: ReadSettings, path: Path) -> Path:
    """A lossless copy of the part of the video, so that ffmpeg sees exactly these frames. Both videos are written in
    the same format."""
    facts = probe_video(source, part.crop)
    tags = replace(facts.tags, range=1, matrix=1)
    encode = EncodeSettings(codec="ffv1", pixel_format="yuv444p10le")
    encoding = plan_encoding(encode, facts.window.size, 10, facts.time_base, facts.rate, tags)
    with SegmentEncoder(path, encoding) as segment:
        for frame in read_video(source, facts, replace(part, deinterlace=True)):
            picture = to_picture(frame, torch.device("cpu"))
            segment.write(to_pixels(picture, deep=True), frame.pts, frame.duration)
    return path


def _on_disk(source: Source, path: Path) -> Path:
    if not isinstance(source, io.BytesIO):
        assert isinstance(source, Path)
        return source
    path.write_bytes(source.getbuffer())
    return path
