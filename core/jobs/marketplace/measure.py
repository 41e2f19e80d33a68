"""Checks a file against the rules of a marketplace, without changing it."""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms

from ...image.trim import TOLERANCE, find_content
from ...image.white_background import border_is_white, border_of
from ...media.picture.icc import image_to_srgb
from ...media.picture.read import PictureFile, read_picture, readable_formats
from ...types import Box, Size, size_of
from ..picture import over
from .framing import fill_of
from .profile import Profile, Rule

WHITE = (1.0, 1.0, 1.0)
ALIKE = 3
"""Levels of 255 by which colours may differ after conversion between two sRGB profiles."""
NEAR_DPI = 0.5
"""PNG and JPEG store the resolution as whole pixels per metre or inch."""


class Verdict(str, Enum):
    """PASSED: the file meets the rule. MENDED: it does now. WARNING: it does not, but need not. FAILED: it does not."""

    PASSED = "passed"
    MENDED = "mended"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One rule on one picture. ``rule`` is its kind; ``asked`` and ``found`` are readable text."""

    rule: str
    verdict: Verdict
    asked: str
    found: str

    @property
    def text(self) -> str:
        return f"{self.verdict.value}: {self.asked} ({self.found})"


@dataclass(frozen=True)
class Facts:
    """What the rules check. ``picture`` is (1, C, H, W), composited over white; ``space`` names a colour space other
    than sRGB; ``described`` lists the file's metadata."""

    picture: torch.Tensor
    size: Size
    content: Box
    kind: str
    bytes: int
    dpi: tuple[float, float] | None
    opaque: bool
    space: str
    described: tuple[str, ...]


def facts_of(path: Path) -> Facts:
    """Reads a file. Raises ``InputError`` if it is not a picture."""
    file = read_picture(path)
    with Image.open(path, formats=readable_formats()) as image:
        kind, mode = (image.format or "").lower(), image.mode
    picture = file.picture if file.alpha is None else over(file.picture, file.alpha, WHITE)
    return Facts(
        picture=picture,
        size=size_of(picture),
        content=_content(picture),
        kind="jpeg" if kind == "mpo" else kind,
        bytes=path.stat().st_size,
        dpi=file.dpi,
        opaque=file.alpha is None or bool((file.alpha >= 1).all()),
        space=mode if mode in ("CMYK", "LAB") else other_space(file.icc),
        described=_described(file),
    )


def _content(picture: torch.Tensor) -> Box:
    """The box of the product; empty in a picture of one colour."""
    if float((picture.amax(dim=(2, 3)) - picture.amin(dim=(2, 3))).max()) <= TOLERANCE:
        return Box(0, 0, 0, 0)
    return find_content(picture).box


def _described(file: PictureFile) -> tuple[str, ...]:
    parts = {"EXIF": file.exif, "XMP": file.description.xmp, "IPTC": file.description.iptc}
    return (*(name for name, part in parts.items() if part), *(f'text "{name}"' for name, _ in file.description.text))


def other_space(icc: bytes | None) -> str:
    """The name of a colour profile that is not sRGB; empty for sRGB in any form."""
    if icc is None:
        return ""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    grey = icc[16:20] == b"GRAY"
    image = Image.fromarray(cube).convert("L") if grey else Image.fromarray(cube)
    converted = image_to_srgb(image, icc)
    difference = np.abs(np.asarray(image, np.int16) - np.asarray(converted, np.int16)).max()
    return "" if difference <= ALIKE else _profile_name(icc)


def _profile_name(icc: bytes) -> str:
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip()
    except (ImageCms.PyCMSError, OSError):
        name = ""
    return name or "an unnamed colour profile"


def examine(facts: Facts, profile: Profile) -> list[Finding]:
    """Whether the file meets each rule."""
    return [_finding(rule, *MEASURES[rule.kind](facts, rule)) for rule in profile.rules]


def _finding(rule: Rule, kept: bool, found: str) -> Finding:
    verdict = Verdict.PASSED if kept else Verdict.FAILED if rule.must else Verdict.WARNING
    return Finding(rule.kind, verdict, rule.text(), found)


def _background(facts: Facts, rule: Rule) -> tuple[bool, str]:
    if border_is_white(facts.picture):
        return True, "white"
    border = (border_of(facts.picture) * 255).round()
    darkest = border[:, int(border.amin(dim=0).argmin())]
    share = 100 * float((border < 255).any(dim=0).float().mean())
    levels = ", ".join(f"{level:.0f}" for level in darkest.tolist())
    return False, f"{max(share, 0.1):.1f} % of the border is not white, down to {levels}"


def _fill(facts: Facts, rule: Rule) -> tuple[bool, str]:
    fill = fill_of(facts.content.size, facts.size)
    return rule.holds(fill), f"{100 * fill:.1f} %"


def _dpi(facts: Facts, rule: Rule) -> tuple[bool, str]:
    if facts.dpi is None:
        return False, "none said"
    kept = all(rule.holds(value) or rule.holds(value + NEAR_DPI) or rule.holds(value - NEAR_DPI) for value in facts.dpi)
    return kept, f"{min(facts.dpi):.4g} dpi"


MEASURES: dict[str, Callable[[Facts, Rule], tuple[bool, str]]] = {
    "format": lambda facts, rule: (facts.kind in rule.values, facts.kind.upper()),
    "longest_side": lambda facts, rule: (rule.holds(max(facts.size)), str(facts.size)),
    "shortest_side": lambda facts, rule: (rule.holds(min(facts.size)), str(facts.size)),
    "megapixels": lambda facts, rule: (
        rule.holds(facts.size.pixels / 1e6),
        f"{facts.size.pixels / 1e6:.3g} megapixels",
    ),
    "white_background": _background,
    "fill": _fill,
    "srgb": lambda facts, rule: (not facts.space, facts.space or "sRGB"),
    "bytes": lambda facts, rule: (rule.holds(facts.bytes), f"{facts.bytes:,} bytes"),
    "dpi": _dpi,
    "opaque": lambda facts, rule: (facts.opaque, "opaque" if facts.opaque else "transparent"),
    "no_metadata": lambda facts, rule: (not facts.described, ", ".join(facts.described) or "none"),
}
