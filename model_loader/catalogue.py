"""Known models: where they come from, how to tell that a file is genuine, what they are good at.

Sizes and hashes are those of the published files. Nothing is downloaded unless somebody calls ``fetch``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .download import check_existing, download
from .errors import LicenceError

_MIRROR = "https://huggingface.co/leonelhs/realesrgan/resolve/6907f85a9095e201ec4b3c7e91bbb66cdec0f04d"
_MIRRORED = (
    "realesr-animevideov3.pth",
    "realesr-general-x4v3.pth",
    "realesr-general-wdn-x4v3.pth",
    "RealESRGAN_x2plus.pth",
)
"""Files of that repository that were compared with the published ones by their SHA-256."""

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One published file of weights."""

    file: str
    """File name as published, and as saved."""
    url: str
    bytes: int
    sha256: str
    licence: str
    """SPDX identifier."""
    commercial_use: bool
    """Whether the licence allows commercial use of the weights."""
    architecture: str
    scale: int
    good_at: str
    """One sentence to help users choose."""
    mirror: str = ""
    """The same file on a host from which ComfyUI's front end downloads; empty if there is none, or ``url`` is such."""

    @property
    def name(self) -> str:
        """File name without its suffix."""
        return self.file.rpartition(".")[0]


def _real_esrgan(
    tag: str, file: str, size: int, sha256: str, architecture: str, scale: int, good_at: str
) -> CatalogueEntry:
    return CatalogueEntry(
        file=file,
        url=f"https://github.com/xinntao/Real-ESRGAN/releases/download/{tag}/{file}",
        bytes=size,
        sha256=sha256,
        licence="BSD-3-Clause",
        commercial_use=True,
        architecture=architecture,
        scale=scale,
        good_at=good_at,
        mirror=f"{_MIRROR}/{file}" if file in _MIRRORED else "",
    )


CATALOGUE: tuple[CatalogueEntry, ...] = (
    _real_esrgan(
        "v0.1.0",
        "RealESRGAN_x4plus.pth",
        67040989,
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        "RRDBNet, 23 blocks",
        4,
        "Photographs and scenes that are noisy or badly compressed: it cleans up strongly and invents crisp"
        " detail, which can look painted.",
    ),
    _real_esrgan(
        "v0.1.1",
        "RealESRNet_x4plus.pth",
        67040989,
        "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
        "RRDBNet, 23 blocks",
        4,
        "Soft backgrounds and gradients where invented texture would disturb: smoother than RealESRGAN_x4plus,"
        " with fewer artefacts.",
    ),
    _real_esrgan(
        "v0.2.1",
        "RealESRGAN_x2plus.pth",
        67061725,
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        "RRDBNet, 23 blocks, pixel-unshuffle",
        2,
        "Photographs that need only twice the size: a quarter of the work of RealESRGAN_x4plus.",
    ),
    _real_esrgan(
        "v0.2.2.4",
        "RealESRGAN_x4plus_anime_6B.pth",
        17938799,
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        "RRDBNet, 6 blocks",
        4,
        "Anime illustrations and other flat colour with ink lines: clean edges, but photographic texture is"
        " wiped away.",
    ),
    _real_esrgan(
        "v0.2.5.0",
        "realesr-animevideov3.pth",
        2504012,
        "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        "SRVGGNetCompact, 16 layers",
        4,
        "Anime video, where speed counts: the least work of all the models listed here.",
    ),
    _real_esrgan(
        "v0.2.5.0",
        "realesr-general-x4v3.pth",
        4885111,
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        "SRVGGNetCompact, 32 layers",
        4,
        "A small all-rounder for pictures and video of any kind: a fifteenth of the work of RealESRGAN_x4plus,"
        " and gentler cleaning.",
    ),
    _real_esrgan(
        "v0.2.5.0",
        "realesr-general-wdn-x4v3.pth",
        4885111,
        "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        "SRVGGNetCompact, 32 layers",
        4,
        "The partner of realesr-general-x4v3: blend the two to choose how much noise and grain is taken out.",
    ),
    CatalogueEntry(
        file="4x-UltraSharp.pth",
        url="https://huggingface.co/Kim2091/UltraSharp/resolve/main/4x-UltraSharp.pth",
        bytes=66961958,
        sha256="a5812231fc936b42af08a5edba784195495d303d5b3248c24489ef0c4021fe01",
        licence="CC-BY-NC-SA-4.0",
        commercial_use=False,
        architecture="ESRGAN, 23 blocks",
        scale=4,
        good_at="Generated and rendered pictures that are already clean: very crisp texture and edges, for work"
        " that is not commercial.",
    ),
)


def entry_by_name(name: str) -> CatalogueEntry | None:
    """The entry whose file is called ``name``, with or without a suffix of weights, whatever the case."""
    wanted = name.strip().lower()
    for entry in CATALOGUE:
        stem = entry.name.lower()
        if wanted in {stem, *(stem + suffix for suffix in _SUFFIXES)}:
            return entry
    return None


def entry_by_hash(sha256: str) -> CatalogueEntry | None:
    """The entry whose published file has this SHA-256 (hexadecimal)."""
    return next((entry for entry in CATALOGUE if entry.sha256 == sha256.lower()), None)


def fetch(
    entry: CatalogueEntry,
    folder: Path,
    *,
    on_progress: Callable[[int, int], None],
    accept_non_commercial: bool = False,
) -> Path:
    """Download ``entry`` into ``folder`` and return its path; a valid file that is already there is returned.

    An interrupted download is kept and continued by the next call. ``on_progress`` receives (bytes so far, all bytes)
    and may raise to stop. Raises ``LicenceError`` before any download if the licence forbids commercial use and
    ``accept_non_commercial`` is false, ``DownloadError`` for anything that goes wrong during the download, including an
    existing file of that name with other content.
    """
    target = Path(folder) / entry.file
    if target.exists():
        return check_existing(target, size=entry.bytes, sha256=entry.sha256)
    if not entry.commercial_use and not accept_non_commercial:
        raise LicenceError(
            f"{entry.file} is under {entry.licence}, which forbids commercial use: accept that licence for this"
            " download, or choose a model that allows it, such as RealESRGAN_x4plus."
        )
    return download(entry.url, target, size=entry.bytes, sha256=entry.sha256, on_progress=on_progress)
