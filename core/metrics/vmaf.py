"""VMAF, measured by libvmaf itself in the ffmpeg that the package `imageio-ffmpeg` brings.

Netflix, https://github.com/Netflix/vmaf. The program runs as a process of its own and its JSON log is read.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..image.colour import to_rgb
from ..types import size_of
from .errors import MetricUnavailable, NotMeasurable
from .pair import check_pair

SMALLEST = 17
"""Side under which libvmaf crashes."""
PICTURE_TIMEOUT = 120.0
"""Seconds; a picture of 8K takes about three."""


class VmafModel(str, Enum):
    """The score depends on the model, so always name the model with the figure."""

    HD = "vmaf_v0.6.1"
    """The default: 1080p seen from three screen heights."""
    FOUR_K = "vmaf_4k_v0.6.1"
    """4K seen from one and a half screen heights; scores higher."""
    NEG = "vmaf_v0.6.1neg"
    """"No enhancement gain": sharpening and contrast cannot raise the score. Use it for super-resolution."""


SHORT_NAMES = {"hd": VmafModel.HD, "4k": VmafModel.FOUR_K, "neg": VmafModel.NEG}


@dataclass(frozen=True)
class VmafScore:
    """``mean`` over the frames, as libvmaf pools it by default, and each frame's score; 0 to 100."""

    mean: float
    frames: tuple[float, ...]
    model: VmafModel


def vmaf_model(name: str) -> VmafModel:
    """A model by its name in libvmaf or as `hd`, `4k`, `neg`. Raises ``InputError`` that lists them."""
    lowered = name.strip().lower()
    if lowered in SHORT_NAMES:
        return SHORT_NAMES[lowered]
    try:
        return VmafModel(lowered)
    except ValueError:
        known = ", ".join(model.value for model in VmafModel)
        raise InputError(f"There is no VMAF model {name!r}; use {known}, or hd, 4k, neg for short.") from None


def vmaf_pictures(
    result: torch.Tensor,
    reference: torch.Tensor,
    model: VmafModel = VmafModel.HD,
    *,
    border: int = 0,
    timeout: float = PICTURE_TIMEOUT,
) -> list[float]:
    """VMAF of each picture of (B, C, H, W) pairs, 0 to 1, as a video of one frame (no motion).

    Rounded to 8 bit, handed over losslessly as raw RGB, converted to YUV 4:4:4 (BT.601, studio range) by ffmpeg on
    both sides alike. Identical pictures score slightly under 100; that is how libvmaf works.

    Raises ``NotMeasurable`` under 17x17 pixels, ``InputError`` for different sizes, ``MetricUnavailable`` when
    ffmpeg or libvmaf is missing, fails or takes longer than ``timeout`` seconds.
    """
    check_pair(result, reference)
    size = size_of(result)
    width, height = size.width - 2 * border, size.height - 2 * border
    if min(width, height) < SMALLEST:
        raise NotMeasurable(
            f"VMAF needs at least {SMALLEST}x{SMALLEST} pixels inside a border of {border} and the pictures are "
            f"{size}; compare larger pictures or leave this metric out."
        )
    cut = (..., slice(border, size.height - border), slice(border, size.width - border))
    form = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i")
    values: list[float] = []
    with tempfile.TemporaryDirectory(prefix="backplate-vmaf-") as folder:
        for first, second in zip(to_rgb(result)[cut], to_rgb(reference)[cut], strict=True):
            (Path(folder) / "result.rgb").write_bytes(_bytes(first))
            (Path(folder) / "reference.rgb").write_bytes(_bytes(second))
            inputs = [*form, "result.rgb", *form, "reference.rgb"]
            values.append(_run(inputs, "format=yuv444p", model, Path(folder), timeout, 1).mean)
    return values


def vmaf_videos(
    result: Path,
    reference: Path,
    model: VmafModel = VmafModel.HD,
    *,
    border: int = 0,
    timeout: float | None = None,
) -> VmafScore:
    """VMAF of one video file against another, frame by frame in order, whatever their time stamps say.

    The files are read by ffmpeg as they are; where their pixel formats differ, ffmpeg converts one to the other.

    Raises ``InputError`` for different numbers of frames, and ``MetricUnavailable`` like ``vmaf_pictures``.
    """
    counts = [_count_frames(path) for path in (result, reference)]
    if counts[0] != counts[1]:
        raise InputError(
            f"{result.name} has {counts[0]} frames and {reference.name} {counts[1]}; cut both to the same frames."
        )
    inputs: list[str] = []
    for path in (result, reference):
        inputs += ["-protocol_whitelist", "file", "-i", str(path.resolve())]
    with tempfile.TemporaryDirectory(prefix="backplate-vmaf-") as folder:
        prepared = "settb=1/25,setpts=N"
        if border:
            prepared += f",crop=iw-{2 * border}:ih-{2 * border}:{border}:{border}:exact=1"
        return _run(inputs, prepared, model, Path(folder), timeout, counts[0])


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingTypeStubs, reportMissingImports]
    except ImportError as error:
        raise MetricUnavailable(
            "VMAF needs the package imageio-ffmpeg, which brings an ffmpeg with libvmaf, in the Python that runs this: "
            "python -m pip install imageio-ffmpeg"
        ) from error
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MetricUnavailable(f"imageio-ffmpeg found no ffmpeg for this system ({error}).") from error


def _count_frames(path: Path) -> int:
    """Frames of the first video stream, decoded, so that broken and hidden ones count as libvmaf will see them."""
    if not path.is_file():
        raise InputError(f"There is no video at {path}.")
    options = ["-protocol_whitelist", "file", "-i", str(path.resolve()), "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = _call([_ffmpeg(), "-hide_banner", "-nostdin", *options, "-f", "null", "-"], None, None)
    counts = re.findall(r"frame=\s*(\d+)", done.stderr)
    if done.returncode or not counts:
        raise InputError(f"{path.name} cannot be read as a video: {_complaint(done.stderr)}.")
    return int(counts[-1])


def _run(
    inputs: Sequence[str], prepared: str, model: VmafModel, folder: Path, timeout: float | None, frames: int
) -> VmafScore:
    """Runs ffmpeg inside ``folder``; this way the log's name needs no escaping in the filter string."""
    measure = f"libvmaf=model=version={model.value}:n_threads={os.cpu_count() or 1}:log_fmt=json:log_path=vmaf.json"
    graph = f"[0:v:0]{prepared}[a];[1:v:0]{prepared}[b];[a][b]{measure}"
    command = [_ffmpeg(), "-hide_banner", "-nostdin", *inputs, "-lavfi", graph, "-f", "null", "-"]
    log = folder / "vmaf.json"
    log.unlink(missing_ok=True)
    done = _call(command, folder, timeout)
    if "No such filter: 'libvmaf'" in done.stderr:
        raise MetricUnavailable(
            f"{command[0]} was built without libvmaf; unset IMAGEIO_FFMPEG_EXE to use the ffmpeg of imageio-ffmpeg."
        )
    if done.returncode or not log.is_file():
        raise MetricUnavailable(
            f"ffmpeg ended with code {done.returncode} before it gave a VMAF: {_complaint(done.stderr)}."
        )
    return read_log(json.loads(log.read_text()), model, frames)


def read_log(log: dict[str, Any], model: VmafModel, frames: int) -> VmafScore:
    """The scores in libvmaf's JSON. Raises ``MetricUnavailable`` unless it is about that many frames."""
    scores = tuple(float(frame["metrics"]["vmaf"]) for frame in log["frames"])
    if len(scores) != frames:
        raise MetricUnavailable(f"libvmaf scored {len(scores)} of {frames} frames; its figure was not used.")
    mean = float(log["pooled_metrics"]["vmaf"]["mean"])
    if not math.isfinite(mean):
        raise MetricUnavailable(f"libvmaf gave {mean} for these frames; its figure was not used.")
    return VmafScore(mean, scores, model)


def _call(command: list[str], folder: Path | None, timeout: float | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, timeout=timeout, capture_output=True, text=True, errors="replace", check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MetricUnavailable(
            f"VMAF was stopped after {timeout:g} seconds; allow more time or compare shorter videos."
        ) from error
    except OSError as error:
        raise MetricUnavailable(f"ffmpeg at {command[0]} cannot be started ({error}).") from error


def _complaint(output: str) -> str:
    """The line of ffmpeg's output that names the error: the first that looks like one, else the last."""
    lines = [re.sub(r"^(\[[^]]*\]\s*)+", "", line.strip()).rstrip(".") for line in output.splitlines()]
    lines = [line for line in lines if line] or ["it said nothing"]
    return next((line for line in lines if re.search("error|invalid|mismatch|must match", line, re.I)), lines[-1])


def _bytes(picture: torch.Tensor) -> bytes:
    """(3, H, W), 0 to 1 -> interleaved 8-bit RGB."""
    rounded = (picture.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(1, 2, 0).contiguous().cpu().numpy().tobytes()
