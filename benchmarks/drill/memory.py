"""Part 6: a large picture to a size below the model's own, and the same on cards that have little memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from pack import ours, peak_megabytes

from . import comfy
from .models import load, model_path, open_ours, picture, precision_of
from .rows import Facts, Row, Settings
from .timing import Work, device_peak, largest_difference, psnr

SIZE, TARGET, SMALLER = 3000, 4000, 3
CAPS = (8, 6, 4)
ENOUGH_DECIBELS = 50.0
KEPT = "memory_ours.pt"


def rows(settings: Settings) -> list[Row]:
    """Ours first, with which all others are compared."""
    made = [
        Row(name="memory ours", part=6, seconds=40, work=partial(uncapped, settings)),
        *(_capped_row(f"card of {cap} GB, general", "general", cap, settings) for cap in CAPS),
        Row(name="memory core", part=6, seconds=60, work=partial(with_core, settings)),
        *(_capped_row(f"card of {cap} GB, rrdbnet", "rrdbnet", cap, settings) for cap in CAPS),
    ]
    unsaid = partial(capped, "general", CAPS[-1], False, settings)
    return [*made, Row(name=f"{CAPS[-1]} GB and nobody says so, general", part=6, seconds=40, work=unsaid)]


def _capped_row(name: str, model: str, cap: int, settings: Settings) -> Row:
    return Row(name=name, part=6, seconds=40, work=partial(capped, model, cap, True, settings))


@dataclass
class Made:
    """A result; ``device``: megabytes at most on the card; ``process``: megabytes by which the process grew."""

    picture: torch.Tensor
    device: float | None
    process: float
    precision: str = ""
    notes: list[str] = field(default_factory=list[str])

    def facts(self) -> Facts:
        device = None if self.device is None else round(self.device)
        return {"device peak MB": device, "process peak MB": round(self.process), "precision": self.precision,
                "notes": self.notes}  # fmt: skip


def with_core(settings: Settings) -> Facts:
    core = comfy.core(settings)
    model = core.load(model_path("general", settings)[0])
    image = _source(settings).movedim(1, -1).contiguous()
    return _measured(lambda: core.upscale(model, image, _target(settings)), core.device).facts()


def uncapped(settings: Settings) -> Facts:
    made = with_ours("general", settings)
    torch.save(made.picture, settings.scratch / KEPT)
    return made.facts()


def capped(name: str, cap: int, reported: bool, settings: Settings) -> Facts:
    """``reported``: the card says how little it has, as a small one would; otherwise only allocations fail, as where
    another program took the rest. RRDBNet gets a smaller picture. Raises ``AssertionError`` for another result than
    without a cap; in half precision other tiles may round elsewhere."""
    smaller = 1 if name == "general" else SMALLER
    with _card_of(cap, reported, settings):
        made = with_ours(name, settings, smaller)
    kept = settings.scratch / KEPT
    known = name == "general" and kept.is_file()
    wanted = torch.load(kept) if known else with_ours(name, settings, smaller).picture
    facts = made.facts() | {"equal": torch.equal(made.picture, wanted)}
    facts |= {"difference": largest_difference(made.picture, wanted), "PSNR": round(psnr(made.picture, wanted), 1)}
    if facts["PSNR"] < ENOUGH_DECIBELS:
        raise AssertionError(f"another picture than without a cap: {facts}")
    return facts


@contextmanager
def _card_of(gigabytes: int, reported: bool, settings: Settings) -> Generator[None]:
    if settings.dry:
        yield
        return
    total, most = torch.cuda.mem_get_info(0)[1], gigabytes * 2**30
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), 0)

    real = torch.cuda.get_device_properties(0)
    facts = {name: getattr(real, name) for name in dir(real) if not name.startswith("_")}
    small = SimpleNamespace(**facts | {"total_memory": most})

    def little(device: Any = None) -> tuple[int, int]:
        return max(0, most - torch.cuda.memory_reserved(device)), most

    try:
        if not reported:
            yield
            return
        with patch("torch.cuda.mem_get_info", little), patch("torch.cuda.get_device_properties", lambda _=None: small):
            yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)


def with_ours(name: str, settings: Settings, smaller: int = 1) -> Made:
    """Opens everything anew, in the available memory."""
    device, notes = torch.device(settings.device), list[str]()
    upscaler, fit = open_ours(load(name, settings)[0], device), ours("core.image.fit")
    width, height = (side // smaller for side in _target(settings))
    target = fit.Target(fit=fit.Fit.STRETCH, width=width, height=height)
    source, progress = _source(settings, smaller), ours("core.progress").Progress()
    progress.note = notes.append
    upscale_to = ours("core.tiled.pipeline").upscale_to
    made = _measured(lambda: upscale_to(source, None, upscaler, target, progress=progress).picture, device)
    made.precision, made.notes = precision_of(upscaler), notes
    return made


def _measured(work: Work, device: torch.device) -> Made:
    before = resident_megabytes()
    result, peak = device_peak(work, device)
    return Made(result, peak, peak_megabytes() - before)


def resident_megabytes() -> float:
    status = Path("/proc/self/status")
    text = status.read_text() if status.is_file() else ""
    return int(text.split("VmRSS:")[1].split()[0]) / 2**10 if "VmRSS:" in text else 0.0


def _source(settings: Settings, smaller: int = 1) -> torch.Tensor:
    side = (SIZE // 40 if settings.dry else SIZE) // smaller
    return picture(side, side)


def _target(settings: Settings) -> tuple[int, int]:
    side = TARGET // 40 if settings.dry else TARGET
    return side, side
