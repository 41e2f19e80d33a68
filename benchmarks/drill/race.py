"""Part 3: core's node against ours, picture to picture: from a picture in main memory to the enlarged one there."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from pack import ours

from . import comfy
from .models import load, model_path, open_ours, operations_of_pixel, picture, precision_of, real_weights
from .rows import Facts, LeftOut, Row, Settings
from .timing import Work, alternate, device_peak, largest_difference, psnr, wait

CASES = (("rrdbnet", 1024, 1024), ("general", 1280, 720), ("real rrdbnet", 1024, 1024))
SECONDS = 60
EXACT_PIXELS = 1024 * 1024
"""Pictures up to here are compared with one pass of the model in single precision."""


def rows(settings: Settings) -> list[Row]:
    return [row_of(*case, settings) for case in CASES]


def row_of(model: str, width: int, height: int, settings: Settings) -> Row:
    work = partial(race, model, width, height, settings)
    return Row(name=f"race {model} {width}x{height}", part=3, seconds=SECONDS, work=work)


def race(name: str, width: int, height: int, settings: Settings) -> Facts:
    if name == "real rrdbnet" and real_weights(name, settings) is None:
        raise LeftOut("RealESRGAN_x4plus is not among the weights")
    device = torch.device(settings.device)
    scaled = (width // 16, height // 16) if settings.dry else (width, height)
    source = picture(*scaled)
    model, kind = load(name, settings)
    upscaler = open_ours(model, device)
    upscale = ours("core.tiled.pipeline").upscale
    results: dict[str, torch.Tensor] = {}
    facts: Facts = {"weights": kind}

    def with_ours() -> None:
        results["ours"] = upscale(source, upscaler)

    works: dict[str, Work] = {"ours": with_ours}
    try:
        works["core"] = _core_work(name, source, results, facts, settings)
    except LeftOut as reason:
        facts["without core"] = str(reason)
    except Exception as error:  # noqa: BLE001  ours is measured even if the other fails
        facts |= {"status": "failed", "error": f"core: {type(error).__name__}: {error}"}
    seconds = alternate(works, device)
    facts |= {f"{who} s": round(each, 4) for who, each in seconds.items()}
    if "core" in seconds:
        facts["times core"] = round(seconds["core"] / seconds["ours"], 2)
    peaks = {who: device_peak(work, device)[1] for who, work in works.items()}
    facts |= {f"{who} peak MB": round(peak) for who, peak in peaks.items() if peak is not None}
    facts["precision"] = precision_of(upscaler)
    facts["TFLOP"] = operations_of_pixel(model_path(name, settings)[0]) * source.shape[2] * source.shape[3] / 1e12
    return facts | _differences(model, source, results, device)


def _core_work(
    name: str, source: torch.Tensor, results: dict[str, torch.Tensor], facts: Facts, settings: Settings
) -> Work:
    core = comfy.core(settings)
    facts["ComfyUI"] = core.version
    if core.empty:
        facts["empty in ComfyUI"] = core.empty
    opened, image = core.load(model_path(name, settings)[0]), source.movedim(1, -1).contiguous()

    def work() -> None:
        results["core"] = core.upscale(opened, image).movedim(-1, 1)

    return work


def _differences(model: Any, source: torch.Tensor, results: dict[str, torch.Tensor], device: torch.device) -> Facts:
    """Of both from one pass in single precision, and from one another."""
    facts: Facts = {}
    if "core" in results:
        facts["largest difference of the two"] = round(largest_difference(results["ours"], results["core"]), 5)
    if source.shape[2] * source.shape[3] > EXACT_PIXELS:
        return facts
    exact = one_pass(model, source, device)
    for who, found in results.items():
        facts[f"{who} from one pass"] = round(largest_difference(found, exact), 5)
        facts[f"{who} PSNR"] = round(psnr(found, exact), 1)
    return facts


def one_pass(model: Any, source: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The whole picture at once in single precision without TF32, on a copy; on the CPU."""
    spec, check = ours("core.engines.spec"), ours("core.engines.pytorch.half_check")
    exact = spec.private_copy(model.descriptor, torch.float32, channels_last=False).to(device)
    with torch.inference_mode(), check.allow_tf32(tf32=False):
        result = exact(source.to(device)).float().clamp(0, 1).cpu()
    del exact
    wait(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return result
