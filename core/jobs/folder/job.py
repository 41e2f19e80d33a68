"""A folder job, the progress that it reports to its host, and the result of one run."""

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
"""Settings that do not affect the pixels; an embedded workflow, for example, changes whenever a node is moved."""
LATER = ("strip_metadata", "source_type", "profile", "fidelity", "dither", "grain")
"""Settings added later; folders made before still count as done while these have their defaults."""
DEFAULTS = PictureSettings()


@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """``output``: the folder of results, whose manifest is continued if ``resume``. ``overwrite``: files there that do
    not belong to this job may be replaced, and finished pictures are made again. ``jobs``: number of threads that read,
    and of threads that write. ``roots``: if given, sources must be inside one of them, after following links, and
    results inside ``output``. ``smallest`` and ``largest``: file sizes in bytes outside which a note is made; 0 for no
    limit. ``passed_over``: a sentence about files that are not pictures. ``protect``: the masks of what must not
    change."""

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
        """The hash of everything that affects the results; the tile size does not."""
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
    """Progress on a folder, in addition to the steps within a picture. All calls come from the thread that runs the
    job."""

    def start_folder(self, total: int) -> None:
        """The job has ``total`` pictures."""

    def start_picture(self, name: str) -> None:
        """The model starts on this picture."""

    def finish_picture(
        self, entry: Entry, picture: torch.Tensor | None, skipped: bool, alpha: torch.Tensor | None = None
    ) -> None:
        """A picture has an entry in the manifest, new or from an earlier run. ``picture`` is the result (1, C, H, W),
        ``alpha`` is (1, 1, H, W) if it has one."""

    @property
    def stopping(self) -> bool:
        """Checked between pictures: True ends the job after the current ones."""
        return False


@dataclass(frozen=True)
class FolderRun:
    """What one run did: its entries, the entries of pictures that were already done, the number of pictures that were
    not reached, and the seconds it took."""

    entries: tuple[Entry, ...]
    skipped: tuple[Entry, ...]
    remaining: int
    seconds: float
