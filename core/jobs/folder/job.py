"""What a job on a folder is, what its host hears about it, and what one run of it did."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ...media.picture_folder import FileTask, Shard
from ...progress import Progress
from ..model_info import Model
from ..picture import PictureSettings
from ..protect import ProtectSettings
from ..quality import Limits
from .manifest import Entry

NOT_SHAPING = ("tiles", "software", "embedded", "signatory")
"""Settings with which the same picture comes out: a workflow changes with every node that is moved."""
LATER = ("strip_metadata", "source_type", "profile", "fidelity", "dither", "grain")
"""Settings that came later; folders that were made without them, which is their default, are still done."""
DEFAULTS = PictureSettings()


@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """``output``: the folder of results, whose manifest is continued if ``resume``. ``overwrite``: files there that
    are not of this job may be replaced, and what is done is done again. ``jobs``: threads that read, and as many
    that write. ``roots``: if given, sources must lie in one of them, links followed, and results in ``output``.
    ``smallest`` and ``largest``: bytes of a file outside of which a note is made; 0 for no such limit.
    ``passed_over``: a sentence about files that are no pictures. ``protect``: which masks say what is to stay as it
    is."""

    tasks: tuple[FileTask, ...]
    output: Path
    settings: PictureSettings
    model: Model
    jobs: int = 2
    resume: bool = False
    overwrite: bool = False
    limits: Limits = Limits()
    smallest: int = 0
    largest: int = 0
    shard: Shard | None = None
    roots: tuple[Path, ...] | None = None
    passed_over: str = ""
    protect: ProtectSettings = ProtectSettings()

    @property
    def settings_sha256(self) -> str:
        """Of everything that shapes the results; the size of tiles does not."""
        shaping = (
            {
                name: value
                for name, value in asdict(self.settings).items()
                if name not in NOT_SHAPING and not (name in LATER and value == getattr(DEFAULTS, name))
            }
            | ({"keep_colours": True} if self.settings.tiles.keep_colours else {})
            | ({"signed": True} if self.settings.signatory else {})
            | {"edge": self.settings.tiles.edge.value, "model": self.model.sha256, "precision": self.model.precision}
        )
        return hashlib.sha256(json.dumps(shaping, sort_keys=True, default=str).encode()).hexdigest()


class FolderProgress(Progress):
    """What the host hears about a folder, beside the steps within a picture. All calls come from the thread that
    runs the job."""

    def start_folder(self, total: int) -> None:
        """``total`` pictures are to be done."""

    def start_picture(self, name: str) -> None:
        """The model works on this picture now."""

    def finish_picture(
        self, entry: Entry, picture: torch.Tensor | None, skipped: bool, alpha: torch.Tensor | None = None
    ) -> None:
        """A picture has its entry in the manifest, or had it before. ``picture`` is the result (1, C, H, W), ``alpha``
        (1, 1, H, W) if it has one."""

    @property
    def stopping(self) -> bool:
        """Asked between pictures: True ends the job after those in hand."""
        return False


@dataclass(frozen=True)
class FolderRun:
    """What one run did: entries of this run, how many pictures had been done before, how many were not reached, and
    the seconds it took."""

    entries: tuple[Entry, ...]
    skipped: tuple[Entry, ...]
    remaining: int
    seconds: float
