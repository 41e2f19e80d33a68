"""The video job on made clips: frames per second, time a frame by stage, and memory for 10 s against 60 s.

    python benchmarks/video.py --model backplate-lite-x2 -o benchmarks/results
    python benchmarks/video.py --size 320x180 --target 480x270 --clip some.mp4
    COMFYUI_PATH=~/ComfyUI ~/ComfyUI/.venv/bin/python benchmarks/video.py --comfyui

The made clip has moving texture, text and cuts, each drawing shown ``--held`` times; its held version shows every
drawing twice as long. Each case runs in a process of its own, whose peak resident memory the system tells. ``all
frames`` decodes every frame into one float32 batch, upscales that and encodes the second batch, as a graph of image
nodes has to; with ``--comfyui``, and that ComfyUI's interpreter, its own nodes do the same: Load Video, Upscale Image
(using Model), Upscale Image, Save Video. Memory of both grows with the length, so they get ``--batch-seconds`` of it.
Without ``--model`` a Compact model of 16 features with seeded weights is measured. Prints a Markdown table and writes
it as ``video.md`` and ``video.json``, with machine and versions.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from pack import load_pack, ours
from PIL import Image, ImageDraw
from safetensors.torch import save_file

RATE = 25
CUT_EVERY = 75


def size_of(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def make_clip(path: Path, size: tuple[int, int], frames: int, held: int) -> None:
    """Texture that drifts, a line of text that runs, a new scene every three seconds; each drawing ``held`` times."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        for number in range(frames):
            picture = draw(width, height, number // held)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", src_color_range=2, dst_colorspace=1, dst_color_range=1)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@lru_cache(maxsize=1)
def draw(width: int, height: int, number: int) -> np.ndarray:
    scene, step = divmod(number, CUT_EVERY)
    generator = np.random.default_rng(scene)
    texture = generator.integers(0, 90, (height // 4 + 2, width // 4 + CUT_EVERY + 2), dtype=np.uint8)
    grown = np.kron(texture[:, step : step + width // 4 + 1], np.ones((4, 4), np.uint8))[:height, :width]
    colour = generator.integers(40, 160, 3)
    image = Image.fromarray((colour + grown[..., None]).clip(0, 255).astype(np.uint8))
    text = "Backplate 720p 0123456789 " * 4
    ImageDraw.Draw(image).text((-3 * step, height // 2), text, fill=(255, 255, 255), font_size=max(10, height // 24))
    return np.asarray(image)


def model_file(model: str, folder: Path) -> Path:
    find = ours("model_loader.find")
    path = folder / "compact_seeded_x2.safetensors"
    if not model and not path.is_file():
        save_file(compact(scale=2, features=16, convolutions=2), path)
    return find.find_model(model, find.default_folders(None)) if model else path


def upscaler_of(model: str, folder: Path) -> Any:
    device = ours("model_loader.precision").choose_device(None)
    loaded = ours("model_loader.loaded").load_model(model_file(model, folder))
    return ours("core.backends.eager").EagerUpscaler(loaded, device)


def compact(scale: int, features: int, convolutions: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = {}
    widths = [3, *[features] * (convolutions + 1), 3 * scale**2]
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        last = index == len(widths) - 2
        weights = torch.randn(outputs, inputs, 3, 3, generator=generator) * (0.01 if last else 1.0)
        state[f"body.{2 * index}.weight"] = weights / (9 * inputs) ** 0.5
        state[f"body.{2 * index}.bias"] = torch.zeros(outputs)
        if not last:
            state[f"body.{2 * index + 1}.weight"] = torch.full((features,), 0.2)
    return state


def stream_case(source: Path, output: Path, target: tuple[int, int], model: str, folder: Path) -> dict[str, Any]:
    video, plan, target_of = ours("core.jobs.video"), ours("core.jobs.video_plan"), ours("core.image.target")
    settings = plan.VideoSettings(
        target=target_of.Target(fit=target_of.Fit.STRETCH, width=target[0], height=target[1]),
        encode=ours("core.media.video_encode").EncodeSettings(preset="veryfast"),
        held=ours("core.image.held").HeldSettings(threshold=1.5),
    )
    job = plan.VideoJob(
        source=source,
        output=output,
        settings=settings,
        model=ours("core.jobs.folder_job").Model(name="benchmark", sha256="0"),
        device=ours("model_loader.precision").choose_device(None),
        overwrite=True,
        measure=False,
    )
    return video.run_video(job, upscaler_of(model, folder)).as_dict()


def batch_case(source: Path, output: Path, target: tuple[int, int], model: str, folder: Path) -> dict[str, Any]:
    target_of, upscale_to = ours("core.image.target"), ours("core.pipeline").upscale_to
    upscaler = upscaler_of(model, folder)
    started = time.perf_counter()
    with av.open(str(source)) as container:
        decoded = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    batch = torch.stack([frame.permute(2, 0, 1).float() / 255 for frame in decoded])
    wanted = target_of.Target(fit=target_of.Fit.STRETCH, width=target[0], height=target[1])
    result = torch.cat([upscale_to(each[None], None, upscaler, wanted).picture for each in batch])
    with av.open(str(output), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *target, "yuv420p"
        for picture in result:
            pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    seconds = time.perf_counter() - started
    return {"frames": len(batch), "frames_per_second": len(batch) / seconds, "frames_reused": 0, "milliseconds": {}}


def core_case(source: Path, output: Path, target: tuple[int, int], model: str, folder: Path) -> dict[str, Any]:
    home = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    sys.path.insert(0, str(home))
    sys.argv = ["main.py", *([] if torch.cuda.is_available() else ["--cpu"])]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.cli_args")
    management, latest = importlib.import_module("comfy.model_management"), importlib.import_module("comfy_api.latest")
    upscale = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    descriptor: Any = ours("model_loader.loaded").load_model(model_file(model, folder)).descriptor
    patcher = importlib.import_module("comfy.model_patcher")
    descriptor.patcher = getattr(patcher, "CoreModelPatcher", patcher.ModelPatcher)(
        descriptor.model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )
    started = time.perf_counter()
    with torch.inference_mode():
        parts = latest.InputImpl.VideoFromFile(str(source)).get_components()
        (result,) = upscale.execute(descriptor, parts.images).result
        (result,) = importlib.import_module("nodes").ImageScale().upscale(result, "lanczos", *target, "disabled")
        whole = latest.Types.VideoComponents(images=result, audio=parts.audio, frame_rate=parts.frame_rate)
        latest.InputImpl.VideoFromComponents(whole).save_to(str(output))
    rate = len(result) / (time.perf_counter() - started)
    return {"frames": len(result), "frames_per_second": rate, "frames_reused": 0, "milliseconds": {}}


CASES = {"stream": stream_case, "batch": batch_case, "core": core_case}


def peak_megabytes() -> float:
    """Of this process. On Linux getrusage would carry over the peak of the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def in_own_process(case: str, source: Path, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The case's figures, and its peak resident memory in MB."""
    words = ["--case", case, "--clip", str(source), "--target", options.target, "--model", options.model]
    command = [sys.executable, __file__, *words, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"The case {case} ended with status {done.returncode}.")
    found = json.loads(done.stdout.splitlines()[-1])
    print(row(case, found), file=sys.stderr, flush=True)
    return found


def row(name: str, facts: dict[str, Any]) -> str:
    times = facts["milliseconds"].get("total", {})
    latency = " / ".join(f"{times[key]:.0f}" for key in ("p50", "p95", "p99")) if times else "-"
    figures = (facts["frames"], facts["frames_reused"], f"{facts['frames_per_second']:.2f}", latency)
    return f"| {name} | " + " | ".join(map(str, figures)) + f" | {facts['peak_mb']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="name or path; see `backplate models`")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--target", default="1920x1080")
    parser.add_argument("--seconds", type=int, nargs=2, default=(10, 60), help="length of the short and long clip")
    parser.add_argument("--held", type=int, default=1, help="how many frames show the same drawing")
    parser.add_argument("--batch-seconds", type=int, default=2, help="length of the clip for all frames at once")
    parser.add_argument("--comfyui", action="store_true", help="measure ComfyUI's own nodes as well")
    parser.add_argument("--clip", type=Path, help="another clip to measure as well")
    parser.add_argument("--output", "-o", type=Path, help="folder for video.md and video.json")
    parser.add_argument("--case", choices=tuple(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    load_pack()
    if options.case:
        output, target = options.folder / "out.mp4", size_of(options.target)
        result = CASES[options.case](options.clip, output, target, options.model, options.folder)
        print(json.dumps({**result, "peak_mb": peak_megabytes()}))
        return
    with tempfile.TemporaryDirectory(prefix="backplate-benchmark-") as name:
        report(measured(options, Path(name)), options)


def measured(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    (short, long), few, held = options.seconds, options.batch_seconds, options.held
    clips = {"short": (short, held), "long": (long, held), "held": (short, 2 * held), "few": (few, held)}
    for kind, (seconds, times) in clips.items():
        make_clip(folder / f"{kind}.mp4", size_of(options.size), RATE * seconds, times)
    cases = {
        f"streamed, {short} s": ("stream", folder / "short.mp4"),
        f"streamed, {long} s": ("stream", folder / "long.mp4"),
        f"streamed, {short} s, every drawing twice as long": ("stream", folder / "held.mp4"),
        f"all frames, {few} s": ("batch", folder / "few.mp4"),
    }
    if options.comfyui:
        cases[f"ComfyUI's own nodes, {few} s"] = ("core", folder / "few.mp4")
    if options.clip:
        cases[options.clip.name] = ("stream", options.clip)
    return {name: in_own_process(case, path, options, folder) for name, (case, path) in cases.items()}


def report(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    short, long = (f"streamed, {seconds} s" for seconds in options.seconds)
    growth = found[long]["peak_mb"] / found[short]["peak_mb"] - 1
    lines = [
        f"{options.size} to {options.target}, {options.model or 'Compact of 16 features, seeded'}, "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"PyAV {av.__version__}",
        "",
        "| case | frames | reused | fps | ms a frame, 50th / 95th / 99th | peak MB |",
        "|---|---|---|---|---|---|",
        *(row(name, facts) for name, facts in found.items()),
        "",
        f"Peak memory of {options.seconds[1]} s against {options.seconds[0]} s: {growth:+.1%}.",
    ]
    print("\n".join(lines))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "video.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (options.output / "video.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
