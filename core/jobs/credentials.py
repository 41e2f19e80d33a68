"""C2PA content credentials of a result: whether its source's are carried on, and what is said to have been done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..media.picture.content_credentials import DROPPED
from ..media.picture.read import PictureFile
from ..media.picture.sign import SIGNABLE, Action, Signatory, sign
from ..media.picture.write import format_of
from ..media.picture.xmp import TERMS
from ..types import size_of
from ..version import VERSION

if TYPE_CHECKING:
    from .picture import Enlarged, PictureSettings, SourcePicture

BY_A_MODEL, BY_RULE = "compositeWithTrainedAlgorithmicMedia", "algorithmicallyEnhanced"
HOW_TO_KEEP = "; with a certificate of your own they are carried on, see docs/provenance.md"


class Signing:
    """Signs a finished file, and has a ``note`` then, which may be empty."""

    def __init__(self, output: Path, source: PictureFile, actions: list[Action], signatory: Signatory) -> None:
        self.note = ""
        self._output, self._source, self._actions, self._signatory = output, source, actions, signatory

    def __call__(self, path: Path) -> None:
        if self._source.signed:
            kind = format_of(self._output).name
            self.note = sign(path, self._output.name, kind, self._source.signed, self._actions, self._signatory)


def signing(output: Path, enlarged: Enlarged, source: SourcePicture, settings: PictureSettings) -> Signing | None:
    """None if the result is not to be signed: nothing that has no history gets one."""
    if settings.signatory is None or not _carried_on(source.file, format_of(output).name, settings):
        return None
    return Signing(output, source.file, actions_of(enlarged, source, settings), settings.signatory)


def dropped_notes(file: PictureFile, kind: str, settings: PictureSettings) -> tuple[str, ...]:
    """About what no other file is given, for a result of that format."""
    dropped = [what for what in file.description.dropped if what != DROPPED]
    if len(dropped) < len(file.description.dropped) and not _carried_on(file, kind, settings):
        dropped.append(DROPPED + (HOW_TO_KEEP if file.signed and kind in SIGNABLE and not settings.signatory else ""))
    return tuple(f"left out: {what}" for what in dropped)


def _carried_on(file: PictureFile, kind: str, settings: PictureSettings) -> bool:
    bare = settings.profile is not None and bool(settings.profile.all("no_metadata"))
    return bool(settings.signatory and file.signed) and kind in SIGNABLE and not bare


def actions_of(enlarged: Enlarged, source: SourcePicture, settings: PictureSettings) -> list[Action]:
    """What was done after the source was opened (C2PA 2.4, section 18.15.1). The source type of what a model did is the
    one that was asked for, else that a trained algorithm made a part of it, which never says too little."""
    before, after, plan = source.size, size_of(enlarged.picture), enlarged.plan
    width, height = plan.source_box[2:] if plan else size_of(source.file.picture)
    names: dict[str, Action] = {}
    if width < before.width - 0.5 or height < before.height - 0.5:
        names["c2pa.cropped"] = {}
    if enlarged.passes:
        term = settings.source_type or BY_A_MODEL
        names["c2pa.edited"] = {"digitalSourceType": TERMS + term, "description": settings.software}
    elif (plan and plan.padded) or settings.sharpen or source.background or settings.profile:
        names["c2pa.edited"] = {"digitalSourceType": TERMS + BY_RULE}
    if after != before:
        even = abs(after.width * before.height - after.height * before.width) <= max(before)
        names["c2pa.resized.proportional" if even else "c2pa.resized"] = {}
    agent = {"name": "Backplate", "version": VERSION}
    names = names or {"c2pa.transcoded": {}}
    return [{"action": name, "softwareAgent": agent, **more} for name, more in names.items()]
