"""Our tiled upscale against ComfyUI's own upscaler, both as prompts to one running ComfyUI, alternating.

    COMFYUI_PATH=~/ComfyUI COMFYUI_PYTHON=~/ComfyUI/.venv/bin/python python benchmarks/through_server.py FILE

Everything is at its default: ComfyUI's model loader in front of both, previews on. The time is that between ComfyUI's
own messages of the start and the end of a prompt, the memory the most that the server's process held during it (Linux
alone says that). What Backplate measured before is not known to the server, so that its first run is that of a new
user.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from pack import parser_of
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import comfy_server  # noqa: E402  # pyright: ignore[reportMissingImports]

UPSCALERS = {"ComfyUI": "ImageUpscaleWithModel", "Backplate": "BackplateTiledUpscale"}


def picture(width: int, height: int, number: int) -> np.ndarray:
    """uint8 (height, width, 3): shapes and grain, another for each ``number``, so that nothing is cached."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (height // 32, width // 32, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)
    return np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


class Memory:
    """Peak memory of a process since the last ``start``; 0 if the system does not report it."""

    def __init__(self, process: int) -> None:
        self.folder = Path("/proc", str(process))

    def start(self) -> None:
        if (self.folder / "clear_refs").exists():
            (self.folder / "clear_refs").write_text("5")

    def most(self) -> float:
        """Gibibytes."""
        if not (self.folder / "status").exists():
            return 0.0
        lines = (self.folder / "status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) / 2**20


def seconds(client: comfy_server.Client, upscaler: str, model: str, drawn: np.ndarray) -> float:
    graph = comfy_server.Graph()
    name = client.upload(drawn, f"{uuid.uuid4().hex}.png")
    image, loader = graph.add("LoadImage", image=name), graph.add("UpscaleModelLoader", model_name=model)
    settings: dict[str, Any] = {"tile_size": 0, "edge": "plain"} if upscaler.startswith("Backplate") else {}
    graph.add("PreviewImage", images=[graph.add(upscaler, upscale_model=[loader, 0], image=[image, 0], **settings), 0])
    run = client.succeed(graph)
    stamps = [event["data"]["timestamp"] for event in run.events if "timestamp" in event.get("data", {})]
    return (max(stamps) - min(stamps)) / 1000


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", default="1024x768")
    parser.add_argument("--runs", type=int, default=3)
    wanted = parser.parse_args()
    width, height = map(int, wanted.size.split("x"))
    home = Path(os.environ.get("COMFYUI_PATH", "~/ComfyUI")).expanduser()
    python = Path(os.environ.get("COMFYUI_PYTHON", home / ".venv" / "bin" / "python"))
    with tempfile.TemporaryDirectory() as base:
        os.environ["XDG_CACHE_HOME"] = str(Path(base, "cache"))
        os.environ.pop("BACKPLATE_TUNE", None)
        folder = Path(base, "models", "upscale_models")
        folder.mkdir(parents=True)
        shutil.copy(wanted.model, folder)
        server = comfy_server.Server(home, python, Path(base))
        try:
            server.wait_until_ready()
            client = comfy_server.Client(server)
            client.socket.settimeout(3600)
            memory = Memory(server.process.pid)
            times: dict[str, list[float]] = {name: [] for name in UPSCALERS}
            peaks: dict[str, list[float]] = {name: [] for name in UPSCALERS}
            for run in range(wanted.runs):
                for name, node in UPSCALERS.items():
                    drawn = picture(width, height, run)
                    memory.start()
                    times[name].append(seconds(client, node, wanted.model.name, drawn))
                    peaks[name].append(memory.most())
                    print(f"{name}: {times[name][-1]:.1f} s, {peaks[name][-1]:.2f} GiB", flush=True)
        finally:
            server.stop()
    first = times["ComfyUI"][0] / times["Backplate"][0]
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["ComfyUI"] / medians["Backplate"]
    figures = ", ".join(f"{name} {median:.1f} s and {max(peaks[name]):.2f} GiB" for name, median in medians.items())
    print(f"\n{wanted.model.name}, {wanted.size}: {figures}")
    print(f"{ratio:.2f} times as fast in the median, {first:.2f} times in the first run")


if __name__ == "__main__":
    main()
