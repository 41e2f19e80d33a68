"""``backplate video``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, UsageProblem, reporting, say
from .options import EnlargeOptions, takes
from .presets import with_model

if TYPE_CHECKING:
    from ..core.jobs.model_info import Model
    from ..core.jobs.video.budget import Candidate
    from ..core.jobs.video.plan import VideoJob, VideoPlan, VideoSettings
    from ..core.jobs.video.report import VideoReport
    from ..core.media.video.encode import EncodeSettings
    from ..core.upscaler import Upscaler

CODECS = "h264|hevc|av1|vp9|prores|ffv1|NAME"


@dataclass(frozen=True, kw_only=True)
class VideoOptions(EnlargeOptions):
    """What to do to a video, as written on the command line."""

    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A video file.")]
    output: Annotated[Path, typer.Option("--output", "-o", help="A .mp4, .mkv, .mov or .webm file.")]
    background: Annotated[
        str, typer.Option(metavar="COLOUR|edge", help="Padding of --fit pad: #rrggbb, black, r,g,b or the edge.")
    ] = "black"
    round_even: Annotated[bool, typer.Option("--round-even", help="Round odd sizes, which 4:2:0 cannot hold.")] = False
    codec: Annotated[str, typer.Option(metavar=CODECS, help="Codec, or any FFmpeg encoder such as hevc_nvenc.")] = (
        "h264"
    )
    crf: Annotated[float | None, typer.Option(help="Constant quality on the encoder's scale; lower is better.")] = None
    bitrate: Annotated[str | None, typer.Option(metavar="BITS", help="Bitrate instead of --crf: 8M, 2500k.")] = None
    preset: Annotated[
        str,
        typer.Option(
            help="The encoder's own speed preset: medium, slow, p5, 8. Or the .json file of a study's winner."
        ),
    ] = ""
    pixel_format: Annotated[
        str, typer.Option(help="Pixel format, such as yuv444p. Default: 4:2:0 at the source's bit depth.")
    ] = ""
    bit_depth: Annotated[int | None, typer.Option(metavar="8|10", help="Default: as the source.")] = None
    encoder_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Encoder option, such as tune=animation. Repeatable.")
    ] = None
    audio: Annotated[bool, typer.Option(help="Copy the sound.")] = True
    subtitles: Annotated[bool, typer.Option(help="Copy the subtitles.")] = True
    start: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Start here, in seconds.")] = 0.0
    duration: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Length in seconds; 0: to the end.")] = 0.0
    deinterlace: Annotated[bool, typer.Option("--deinterlace", help="Deinterlace with bwdif.")] = False
    held: Annotated[bool, typer.Option(help="Reuse results for frames and tiles that did not change.")] = True
    held_threshold: Annotated[
        float,
        typer.Option(min=0, metavar="LEVELS", help="Change to treat as noise, in levels of 255; 0: none. Try 1.5."),
    ] = 0.0
    budget_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Time limit per frame in milliseconds; measured before the start."),
    ] = None
    live: Annotated[
        bool, typer.Option("--live", help="Switch to a model that meets --budget-ms, with the lowest latency.")
    ] = False
    reference: Annotated[Path | None, typer.Option(help="A video of the result's size, for VMAF.")] = None
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None
    resume: Annotated[bool, typer.Option(help="Continue after the last segment that an earlier run finished.")] = True
    segment_frames: Annotated[
        int, typer.Option(min=1, help="Frames per segment: the most that an interruption can lose.")
    ] = 120
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="Keep what could be decoded from a damaged file; exit code 1.")
    ] = False
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False


@reporting
@takes(VideoOptions, partial(with_model, video=True))
def video(options: VideoOptions) -> None:
    """Enlarge a video with a super-resolution model; times, sound, subtitles and colours are kept."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.jobs.video.plan import VideoJob, check_place, pixels_of
    from ..model_loader.precision import choose_device
    from .picture_job import software_of

    if options.live and options.budget_ms is None:
        raise UsageProblem("--live chooses the model that meets a budget; give --budget-ms.")
    if options.report is not None:
        check_place(options.report)
    settings, protect = _settings(options), options.protection()
    open_model = options.opener(pixels=pixels_of(options.source, settings), commercial=options.commercial)
    upscaler, known = open_model(options.model)
    job = VideoJob(
        source=options.source,
        output=options.output,
        settings=settings,
        model=known,
        device=choose_device(options.device),
        resume=options.resume,
        overwrite=options.overwrite,
        keep_partial=options.keep_partial,
        reference=options.reference,
        software=software_of(known),
        mask=protect.mask_for(options.source),
    )
    others = _other_models(known, options.models_dir, open_model)
    result = _run(job, upscaler, options.budget_ms, options.live, others)
    say(result.text())
    if options.report is not None:
        _write_report(options.report, result)
    if result.problem:
        raise typer.Exit(FAILED)


def _settings(options: VideoOptions) -> VideoSettings:
    """The settings of the job. Raises ``UsageProblem``."""
    from ..core.image.frame_difference import FrameReuse
    from ..core.jobs.video.plan import VideoSettings
    from ..core.media.video.carry import Carry
    from ..core.media.video.decode import ReadSettings
    from .parsing import as_usage, requested_background

    with as_usage():
        return VideoSettings(
            **options.common_settings(),
            background=requested_background(options.background) or VideoSettings().background,
            held=FrameReuse(reuse=options.held, threshold=options.held_threshold),
            read=ReadSettings(start=options.start, seconds=options.duration, deinterlace=options.deinterlace),
            encode=_encoding(options),
            carry=Carry(audio=options.audio, subtitles=options.subtitles, tags=not options.strip_metadata),
            round_even=options.round_even,
            segment_frames=options.segment_frames,
        )


def _encoding(options: VideoOptions) -> EncodeSettings:
    from ..core.media.video.encode import EncodeSettings
    from .parsing import one_of

    return EncodeSettings(
        codec=options.codec,
        crf=options.crf,
        bitrate=parse_bitrate(options.bitrate),
        preset=options.preset,
        pixel_format=options.pixel_format,
        bit_depth=one_of((8, 10), options.bit_depth, "--bit-depth") or 0,
        options=tuple(_parse_option(each) for each in options.encoder_option or ()),
    )


def parse_bitrate(text: str | None) -> int | None:
    """``8M``, ``2500k`` or ``2500000`` in bits per second. Raises ``UsageProblem``."""
    if text is None:
        return None
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    number = text if factor == 1 else text[:-1]
    try:
        bits = round(float(number) * factor)
    except (ValueError, OverflowError):
        bits = 0
    if bits <= 0:
        raise UsageProblem(f"--bitrate {text}: write it as 8M, 2500k or a number of bits per second.")
    return bits


def _parse_option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageProblem(f"--encoder-option {text}: write it as NAME=VALUE.")
    return name, value


def _run(
    job: VideoJob, upscaler: Upscaler, budget_ms: float | None, live: bool, others: Iterator[Candidate]
) -> VideoReport:
    from dataclasses import replace

    from ..core.jobs.video.budget import for_live, settle_budget
    from ..core.jobs.video.plan import plan_video
    from ..core.jobs.video.run import run_video
    from .picture_job import software_of
    from .video_screen import TrialScreen, VideoScreen

    plan: VideoPlan = plan_video(job, upscaler)
    sentence = ""
    if budget_ms is not None:
        budget = settle_budget(job, plan, upscaler, budget_ms, others, live=live, progress=TrialScreen())
        sentence, upscaler = budget.sentence, budget.upscaler
        job = replace(job, model=budget.model, software=software_of(budget.model))
        say(sentence)
    if live:
        job = for_live(job)
    with VideoScreen(job.output.name) as screen:
        report = run_video(job, upscaler, screen, plan)
    return replace(report, budget=sentence)


def _other_models(
    wanted: Model, models_dir: Path | None, open_model: Callable[[str], tuple[Upscaler, Model]]
) -> Iterator[Candidate]:
    """The bundled models, and those of the catalogue that are on this machine."""
    from ..model_loader.catalogue import entry_by_name
    from ..model_loader.find import BUNDLED, default_folders, model_files

    for name, path in model_files(default_folders(models_dir)).items():
        known = path.parent == BUNDLED or entry_by_name(path.name) is not None
        if known and Path(name).stem != wanted.name:
            yield partial(open_model, str(path))


def _write_report(path: Path, result: VideoReport) -> None:
    import json

    from ..core.atomic_write import write_atomic
    from ..core.errors import InputError

    try:
        write_atomic(path, (json.dumps(result.as_dict(), indent=1) + "\n").encode())
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{result.output} was written, but its report {path} could not be written ({reason})."
        ) from error
