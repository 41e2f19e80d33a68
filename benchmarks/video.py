"""The video job on made clips: frames per second, time a frame by stage, and memory for 10 s against 60 s.

    python benchmarks/video.py --clip some.mp4 --clip-target 1440x1080 -o benchmarks/results
    python benchmarks/video.py --model backplate-lite-x2 --seconds 2 4 --only streamed
    COMFYUI_PATH=~/ComfyUI ~/ComfyUI/.venv/bin/python benchmarks/video.py --comfyui --only batch

Three clips are drawn: every frame new, each drawing for two frames, and a small part that moves. ``--clip`` is measured
as it is and with every second frame held. Frames and tiles are reused within a noise of 1.5 levels, which is more than
encoding the clips adds. ``all frames`` decodes every frame into one float32 batch, upscales that and encodes the second
batch, as a graph of image nodes has to; with ``--comfyui``, and that ComfyUI's interpreter, its own nodes do the same:
Load Video, Upscale Image (using Model), Upscale Image, Save Video. Memory of both grows with the length, so they get
few frames, two numbers of them, and the memory of a frame is the slope between the two.

Each case runs in a process of its own, whose peak resident memory the system tells. Without ``--model`` a Compact model
of 16 features with seeded weights is measured. Prints a Markdown table and writes it as ``video.md`` and
``video.json``, with machine, versions and commit, anew after each case, so that what was measured is there if the rest
is not awaited.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import torch
from clips import FAST, KINDS, RATE, held_version, make_clip
from pack import (
    comfyui_home,
    comfyui_model,
    facts_of,
    line_of,
    load_comfyui,
    load_pack,
    ours,
    parser_of,
    peak_megabytes,
    run_self,
    size_of,
    write_results,
)
from seeded_models import save_seeded

GROUPS = ("batch", "streamed", "long", "clip")
HEAD = ("case", "frames", "reused", "streamed", "tiles reused", "fps", "ms a frame, 50th / 95th / 99th",
        "of which upscaling", "peak MB")  # fmt: skip


def model_file(model: str, folder: Path) -> Path:
    find = ours("model_loader.find")
    return find.find_model(model, find.default_folders(None)) if model else save_seeded("small compact x2", folder)


def upscaler_of(path: Path) -> Any:
    device = ours("model_loader.precision").choose_device(None)
    return ours("core.engines.pytorch.eager").EagerUpscaler(ours("model_loader.loaded").load_model(path), device)


def target_of(size: tuple[int, int]) -> Any:
    target = ours("core.image.fit")
    return target.Target(fit=target.Fit.STRETCH, width=size[0], height=size[1])


def stream_case(source: Path, output: Path, target: tuple[int, int], model: Path) -> dict[str, Any]:
    plan = ours("core.jobs.video.plan")
    settings = plan.VideoSettings(
        target=target_of(target),
        encode=ours("core.media.video.encode").EncodeSettings(preset="veryfast"),
        held=ours("core.image.frame_difference").FrameReuse(threshold=1.5),
    )
    job = plan.VideoJob(
        source=source,
        output=output,
        settings=settings,
        model=ours("core.jobs.folder.job").Model(name="benchmark", sha256="0"),
        device=ours("model_loader.precision").choose_device(None),
        overwrite=True,
        measure=False,
    )
    facts = ours("core.jobs.video.run").run_video(job, upscaler_of(model)).as_dict()
    names = ("frames", "frames_reused", "frames_streamed", "tiles", "tiles_reused", "frames_per_second", "milliseconds")
    return {name: facts[name] for name in names}


def batch_case(source: Path, output: Path, target: tuple[int, int], model: Path) -> dict[str, Any]:
    upscale_to, wanted = ours("core.tiled.pipeline").upscale_to, target_of(target)
    upscaler = upscaler_of(model)
    started = time.perf_counter()
    with av.open(str(source)) as container:
        decoded = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    batch = torch.stack([frame.permute(2, 0, 1).float() / 255 for frame in decoded])
    result = torch.empty(len(batch), 3, target[1], target[0])
    for number in range(len(batch)):
        result[number : number + 1] = upscale_to(batch[number : number + 1], None, upscaler, wanted).picture
    with av.open(str(output), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options=FAST)
        stream.width, stream.height, stream.pix_fmt = *target, "yuv420p"
        for picture in result:
            pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return {"frames": len(batch), "frames_per_second": len(batch) / (time.perf_counter() - started)}


def core_case(source: Path, output: Path, target: tuple[int, int], model: Path) -> dict[str, Any]:
    load_comfyui(cpu=not torch.cuda.is_available())
    latest = importlib.import_module("comfy_api.latest")
    upscale = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    descriptor = comfyui_model(model)
    started = time.perf_counter()
    with torch.inference_mode():
        parts = latest.InputImpl.VideoFromFile(str(source)).get_components()
        (result,) = upscale.execute(descriptor, parts.images).result
        (result,) = importlib.import_module("nodes").ImageScale().upscale(result, "lanczos", *target, "disabled")
        whole = latest.Types.VideoComponents(images=result, audio=parts.audio, frame_rate=parts.frame_rate)
        latest.InputImpl.VideoFromComponents(whole).save_to(str(output))
    return {"frames": len(result), "frames_per_second": len(result) / (time.perf_counter() - started)}


CASES = {"stream": stream_case, "batch": batch_case, "core": core_case}


def in_own_process(case: str, source: Path, target: str, model: Path) -> dict[str, Any]:
    """The case's figures, and its peak resident memory in MB."""
    with tempfile.TemporaryDirectory(prefix="backplate-benchmark-") as folder:
        words = [case, str(source), f"{folder}/out.mp4", target, str(model)]
        return json.loads(run_self(__file__, ["--case", *words]))


def run_case(case: str, source: str, output: str, target: str, model: str) -> None:
    result = CASES[case](Path(source), Path(output), size_of(target), Path(model))
    print(json.dumps({**result, "peak_mb": peak_megabytes()}))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="", help="name or path; see `backplate models`")
    parser.add_argument("--size", default="1280x720", help="of the drawn clips")
    parser.add_argument("--target", default="1920x1080", help="what they are brought to")
    parser.add_argument("--seconds", type=int, nargs=2, default=(10, 60), help="length of the short and long clip")
    parser.add_argument("--batch-frames", type=int, nargs=2, default=(6, 18), help="frames of those that hold all")
    parser.add_argument("--comfyui", action="store_true", help="measure ComfyUI's own nodes as well")
    parser.add_argument("--clip", type=Path, help="another clip to measure as well")
    parser.add_argument("--clip-target", default="1440x1080", help="what that is brought to")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="only these cases")
    parser.add_argument("--output", "-o", type=Path, help="folder for video.md and video.json")
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    load_pack()
    if options.case:
        run_case(*options.case)
        return
    with tempfile.TemporaryDirectory(prefix="backplate-benchmark-") as name:
        measure(options, Path(name))


def measure(options: argparse.Namespace, folder: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    model, text = model_file(options.model, folder), ""
    for name, case, source, target in cases(options, folder):
        found[name] = in_own_process(case, source, target, model)
        print(row(name, found[name]), file=sys.stderr, flush=True)
        text = table(found, options)
        write_results(options.output, "video", text, {**facts(options), "rows": found})
    print(text)


def cases(options: argparse.Namespace, folder: Path) -> Any:
    """(row, case, clip, target) one after the other; each clip is drawn when it is needed."""
    size, (short, long), new = size_of(options.size), options.seconds, next(iter(KINDS))

    def drawn(kind: str, frames: int) -> Path:
        path = folder / f"{kind.replace(' ', '_')}_{frames}.mp4"
        return path if path.is_file() else make_clip(path, kind, size, frames)

    if "streamed" in options.only:
        for kind in KINDS:
            yield f"streamed, {short} s, {kind}", "stream", drawn(kind, RATE * short), options.target
    if "batch" in options.only:
        for frames in options.batch_frames:
            yield f"all frames at once, {frames}", "batch", drawn(new, frames), options.target
        for frames in options.batch_frames if options.comfyui else ():
            yield f"ComfyUI's own nodes, {frames}", "core", drawn(new, frames), options.target
    if "clip" in options.only and options.clip:
        yield options.clip.name, "stream", options.clip, options.clip_target
        held = held_version(options.clip, folder / "held.mp4")
        yield f"{options.clip.name}, every second frame held", "stream", held, options.clip_target
    if "long" in options.only:
        yield f"streamed, {long} s, {new}", "stream", drawn(new, RATE * long), options.target


def row(name: str, facts: dict[str, Any]) -> str:
    times = facts.get("milliseconds", {})
    cells = [name, str(facts["frames"]), str(facts.get("frames_reused", "-")), str(facts.get("frames_streamed", "-"))]
    cells.append(f"{facts['tiles_reused']} of {facts['tiles']}" if "tiles" in facts else "-")
    cells.append(f"{facts['frames_per_second']:.2f}")
    cells += [" / ".join(f"{times[stage][key]:.0f}" for key in ("p50", "p95", "p99")) if times else "-"
              for stage in ("total", "upscale")]  # fmt: skip
    return line_of([*cells, f"{facts['peak_mb']:.0f}"])


def table(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    lines = ["; ".join(f"{key} {value}" for key, value in facts(options).items()), "", line_of(HEAD)]
    lines += ["|---" * len(HEAD) + "|", *(row(name, facts) for name, facts in found.items()), ""]
    return "\n".join([*lines, *growth_lines(found, options)]) + "\n"


def growth_lines(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> list[str]:
    """How memory grows with the length: measured for the stream, extrapolated from the measured slope for methods that
    keep all frames in memory."""
    (short, long), (few, more), new = options.seconds, options.batch_frames, next(iter(KINDS))
    lines: list[str] = []
    ends = [found.get(f"streamed, {seconds} s, {new}") for seconds in (short, long)]
    if ends[0] and ends[1]:
        growth = ends[1]["peak_mb"] / ends[0]["peak_mb"] - 1
        lines.append(f"Streamed: peak memory of {long} s against {short} s {growth:+.1%}.")
    for name in ("all frames at once", "ComfyUI's own nodes"):
        first, second = (found.get(f"{name}, {frames}") for frames in (few, more))
        if first and second:
            slope = (second["peak_mb"] - first["peak_mb"]) / (more - few)
            whole = second["peak_mb"] + slope * (RATE * long - more)
            lines.append(
                f"{name}: {slope:.0f} MB a frame, measured between {few} and {more} frames; at that slope {long} s, "
                f"{RATE * long} frames, would take {whole / 1000:.0f} GB (projected, not run)."
            )
    return lines


def facts(options: argparse.Namespace) -> dict[str, str]:
    found = {
        "job": f"{options.size} to {options.target}",
        "model": options.model or "Compact of 16 features, x2, seeded",
        **facts_of(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "PyAV": av.__version__,
    }
    return {**found, "ComfyUI": comfyui_version()} if options.comfyui else found


def comfyui_version() -> str:
    found = (comfyui_home() / "comfyui_version.py").read_text(encoding="utf-8").split('"')
    return found[-2] if len(found) > 2 else ""


if __name__ == "__main__":
    main()
