"""Part 4: the same model alone, so that the pack's overhead is visible, and the ways in which a plan could run it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from pack import ours

from .models import load, model_path, open_ours, operations_of_pixel, picture, precision_of
from .rows import Facts, LeftOut, Row, Settings
from .timing import Work, alternate, largest_difference, median_seconds

Way = Callable[[str, tuple[int, int], Settings], Facts]
CASES = {"general": (1280, 720), "rrdbnet": (1024, 1024)}
SIDES = (512, 768, 1024)
SECONDS = 25


def rows(settings: Settings) -> list[Row]:
    ways: dict[str, Way] = {"alone": alone, "graph": graph, "tiles": tiles, "rows": streamed}
    return [row for label, way in ways.items() for row in rows_of(label, way, SECONDS, settings)]


def rows_of(label: str, way: Way, seconds: float, settings: Settings) -> list[Row]:
    """One for each of ``CASES``."""
    return [
        Row(
            name=f"{label} {name} {size[0]}x{size[1]}",
            part=4,
            seconds=seconds,
            work=partial(way, name, size, settings),
        )
        for name, size in CASES.items()
    ]


class Alone:
    """The network on the device in half precision, channels last, and a picture there."""

    def __init__(self, name: str, size: tuple[int, int], settings: Settings) -> None:
        self.device = torch.device(settings.device)
        self.half = torch.float32 if settings.dry else torch.float16
        width, height = (side // 16 if settings.dry else side for side in size)
        self.picture = picture(width, height)
        self.model, self.kind = load(name, settings)
        spec = ours("core.engines.spec")
        self.network = spec.private_copy(self.model.descriptor, self.half).to(self.device).model
        self.given = self.picture.to(self.device, self.half, memory_format=torch.channels_last)
        self.tera = operations_of_pixel(model_path(name, settings)[0]) * width * height / 1e12

    def work(self, network: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Work:
        run = self.network if network is None else network
        return lambda: run(self.given)

    def facts(self, seconds: float) -> Facts:
        return {"weights": self.kind, "model s": round(seconds, 5), "TFLOP": self.tera}


@torch.inference_mode()
def alone(name: str, size: tuple[int, int], settings: Settings) -> Facts:
    """In turns: the model alone, ours from a picture on the device to one there, and from main memory and back."""
    each = Alone(name, size, settings)
    upscaler, upscale = open_ours(each.model, each.device), ours("core.tiled.pipeline").upscale
    there = each.picture.to(each.device)
    works: dict[str, Work] = {
        "model": each.work(),
        "on the device": lambda: upscale(there, upscaler),
        "from main memory": lambda: upscale(each.picture, upscaler),
    }
    seconds = alternate(works, each.device)
    facts = each.facts(seconds.pop("model"))
    for who, value in seconds.items():
        facts[f"{who} s"] = round(value, 5)
    facts["pack adds"] = round(seconds["on the device"] / facts["model s"] - 1, 3)
    facts["pack and copies add"] = round(seconds["from main memory"] / facts["model s"] - 1, 3)
    return facts | {"precision": precision_of(upscaler)}


@torch.inference_mode()
def graph(name: str, size: tuple[int, int], settings: Settings) -> Facts:
    """Replays of one recorded CUDA graph: the same kernels without their launches."""
    each = Alone(name, size, settings)
    if each.device.type != "cuda":
        raise LeftOut("CUDA graphs need a card")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            each.work()()
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        result = each.network(each.given)
    facts = each.facts(median_seconds(recorded.replay, each.device))
    return facts | {"difference": largest_difference(result, each.network(each.given))}


@torch.inference_mode()
def tiles(name: str, size: tuple[int, int], settings: Settings) -> Facts:
    """Seconds a megapixel of batches of square tiles: by side, and by how many share a forward."""
    each = Alone(name, size, settings)
    facts: Facts = {"weights": each.kind}
    for side in SIDES:
        side = side // 16 if settings.dry else side
        for count in (1, 4):
            source = picture(side, side).to(each.device, each.half).expand(count, -1, -1, -1)
            source = source.contiguous(memory_format=torch.channels_last)
            seconds = median_seconds(lambda source=source: each.network(source), each.device, most=1.5)
            facts[f"{count} of {side}x{side}, s a megapixel"] = round(seconds / (count * side**2 / 1e6), 5)
    return facts


@torch.inference_mode()
def streamed(name: str, size: tuple[int, int], settings: Settings) -> Facts:
    """Rows, which compute nothing twice and keep only the last of each layer, against tiles of the default."""
    each = Alone(name, size, settings)
    upscale = ours("core.tiled.pipeline").upscale
    there = each.picture.to(each.device)
    width = each.picture.shape[3]
    facts, wanted = Facts(), upscale(there, open_ours(each.model, each.device))
    for height in (16, 64, 192):
        upscaler = open_ours(each.model, each.device, max_tile_pixels=768 * 768, stream_min_pixels=width * height)
        if not upscaler.stream_height(width):
            raise LeftOut("this model, or this width, cannot be streamed")
        seconds = median_seconds(lambda upscaler=upscaler: upscale(there, upscaler), each.device, most=2.0)
        facts[f"{height} rows at a time s"] = round(seconds, 5)
        facts["difference"] = largest_difference(upscale(there, upscaler), wanted)
    return facts
