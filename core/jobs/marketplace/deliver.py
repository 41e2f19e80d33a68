"""The delivery of a result: it is mended, written, read back and checked. It is delivered only if it meets every
rule."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ...atomic_write import whole_file
from ...image.white_background import whiten
from ...media.picture.description import Description
from ...media.picture.read import PictureFile
from ...media.picture.write import format_of
from ..picture import Enlarged, PictureSettings, SourcePicture, write_enlarged
from .framing import REJECTED
from .measure import Facts, Finding, Verdict, examine, facts_of
from .profile import USUAL_NEAR, USUAL_QUALITY_FLOOR, Profile

LOSSY = ("JPEG", "WEBP", "AVIF")
WHATEVER = ("target", "background", "tiles", "quality", "srgb", "software", "profile", "dither", "grain", "signatory")
"""Settings that do not keep a picture which already meets every rule, at the requested size, from being copied."""


@dataclass(frozen=True)
class Delivery:
    """``findings``: one for each rule. ``path``: the file, which is in another folder if it was rejected. ``notes`` are
    about its signature."""

    findings: tuple[Finding, ...]
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict is Verdict.FAILED]

    @property
    def reason(self) -> str:
        """Why the result was rejected; empty if it was delivered."""
        if not self.broken:
            return ""
        rules = "; ".join(f"{finding.asked} (found: {finding.found})" for finding in self.broken)
        return f"it breaks {len(self.broken)} of the rules: {rules}. It is in {self.path.parent.name}/."


def deliver(
    original: Path, output: Path, enlarged: Enlarged, source: SourcePicture, settings: PictureSettings
) -> Delivery:
    """Writes the result to ``output``. With a profile, a result that breaks a mandatory rule goes to the folder
    ``failed`` beside it instead. An old file in the other of the two places is removed. A source that already meets
    every rule at the requested size is copied byte for byte. Raises ``InputError`` and ``OSError`` if the file cannot
    be written."""
    profile = settings.profile
    if profile is None:
        note = write_enlarged(output, enlarged, source, settings)
        return Delivery((), output, (note,) if note else ())
    before = facts_of(original)
    at_first = examine(before, profile)
    with tempfile.TemporaryDirectory(prefix="backplate-") as folder:
        staged = Path(folder, f"result{output.suffix}")
        if _as_it_is(before, at_first, original, output, enlarged, settings):
            shutil.copyfile(original, staged)
            changes, note = dict[str, str](), ""
        else:
            changes, note = _write_mended(staged, enlarged, source, settings, profile)
        findings = _compared(at_first, examine(facts_of(staged), profile), changes)
        rejected = output.parent / REJECTED / output.name
        broken = any(finding.verdict is Verdict.FAILED for finding in findings)
        path, other = (rejected, output) if broken else (output, rejected)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            shutil.copyfile(staged, temporary)
        other.unlink(missing_ok=True)
    return Delivery(tuple(findings), path, (note,) if note else ())


def _as_it_is(
    before: Facts,
    findings: list[Finding],
    original: Path,
    output: Path,
    enlarged: Enlarged,
    settings: PictureSettings,
) -> bool:
    """Whether nothing needs to change: the same size, format and bit depth, and every rule met."""
    plan = enlarged.plan
    neutral = replace(PictureSettings(), **{name: getattr(settings, name) for name in WHATEVER})
    return (
        settings == neutral
        and plan is not None
        and enlarged.passes == 0
        and plan.canvas == before.size == plan.placed.size
        and plan.source_box[2:] == before.size
        and before.kind == format_of(output).name.lower()
        and original.suffix.lower() == output.suffix.lower()
        and all(finding.verdict in (Verdict.PASSED, Verdict.WARNING) for finding in findings)
    )


def _write_mended(
    path: Path, enlarged: Enlarged, source: SourcePicture, settings: PictureSettings, profile: Profile
) -> tuple[dict[str, str], str]:
    """Writes the result, mended where possible, and returns the changes that the file does not show, by rule, and the
    note of ``write_enlarged``."""
    rule = profile.must("white_background")
    if rule and (white := whiten(enlarged.picture, rule.near or USUAL_NEAR)) is not None:
        enlarged = replace(enlarged, picture=white)
    source = replace(source, file=_described_for(source.file, profile))
    if profile.all("no_metadata"):
        settings = replace(settings, software="")
    note = write_enlarged(path, enlarged, source, settings)
    limit = min((rule for rule in profile.all("bytes")), key=lambda rule: rule.most or 0.0, default=None)
    if limit is None or limit.holds(path.stat().st_size) or format_of(path).name not in LOSSY:
        return {}, note

    def size_at(quality: int) -> int:
        write_enlarged(path, enlarged, source, replace(settings, quality=quality))
        return path.stat().st_size

    floor = int(limit.quality_floor or USUAL_QUALITY_FLOOR)
    quality = highest_quality(size_at, limit.most or 0.0, floor, settings.quality - 1)
    size_at(quality)
    return {"bytes": f"quality {settings.quality} -> {quality}"}, note


def highest_quality(size_at: Callable[[int], int], most: float, floor: int, highest: int) -> int:
    """The highest quality from ``floor`` to ``highest`` whose file has at most ``most`` bytes, by bisection; ``floor``
    if none does. File size is assumed to grow with quality."""
    low, high = floor, max(floor, highest)
    while low < high:
        middle = (low + high + 1) // 2
        if size_at(middle) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _described_for(file: PictureFile, profile: Profile) -> PictureFile:
    if profile.all("no_metadata"):
        file = replace(file, exif=None, description=Description(), signed=None)
    for rule in profile.all("dpi"):
        least, most = rule.least or 1.0, rule.most or float("inf")
        across, down = file.dpi or (least, least)
        file = replace(file, dpi=(min(max(across, least), most), min(max(down, least), most)))
    return file


def _compared(before: list[Finding], after: list[Finding], changes: dict[str, str]) -> list[Finding]:
    """A rule that was broken before and is met now counts as mended."""
    return [_one(first, last, changes.get(last.rule, "")) for first, last in zip(before, after, strict=True)]


def _one(before: Finding, after: Finding, change: str) -> Finding:
    if after.verdict is not Verdict.PASSED:
        return after if not change else replace(after, found=f"{after.found}, {change}")
    if change:
        return replace(after, verdict=Verdict.MENDED, found=f"{change}, {after.found}")
    if before.verdict is not Verdict.PASSED:
        return replace(after, verdict=Verdict.MENDED, found=f"{before.found} -> {after.found}")
    return after
