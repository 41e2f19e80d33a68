"""Picture files in and out: colours, depth, transparency, profile, EXIF and resolution survive the trip."""

# Pillow, NumPy and OpenCV publish partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from ...errors import InputError
from .colour_signal import overrides_profile, profile_of
from .complete import check_complete
from .content_credentials import DROPPED, SignedFile, signed_file
from .deep import is_deep, read_deep
from .description import Description, description_of
from .icc import fitting_profile, image_to_srgb, picture_to_srgb
from .metadata import kept_exif, orientation_of, resolution_of, upright
from .write import FileFormat, check_writable, format_of, write_picture

__all__ = [
    "READABLE_SUFFIXES",
    "FileFormat",
    "PictureFile",
    "check_writable",
    "format_of",
    "read_picture",
    "write_picture",
]

# By name: Pillow would also run Ghostscript for a file that calls itself PostScript.
READABLE_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
READABLE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"
)  # fmt: skip
GREY_MODES = ("1", "L", "LA", "La")


@dataclass(frozen=True)
class PictureFile:
    """A picture (1, C, H, W), C = 1 for grey files, and what its file says about it.

    ``alpha`` is (1, 1, H, W) or None. ``icc`` is the profile that gives the numbers their colours, made for this where
    the file says it otherwise; None means sRGB.
    ``exif`` is without orientation (it has been applied), pixel sizes and thumbnail. ``dpi`` is across, down.
    ``frames`` counts the frames or pages of the file; the picture is the first. ``description`` is XMP, IPTC and text.
    ``signed`` is the file itself if it holds a C2PA manifest, which ``sign`` can carry on.
    """

    picture: torch.Tensor
    alpha: torch.Tensor | None
    bit_depth: Literal[8, 16]
    icc: bytes | None
    exif: bytes | None
    dpi: tuple[float, float] | None
    frames: int = 1
    description: Description = Description()
    signed: SignedFile | None = None


def read_picture(path: str | PathLike[str], *, convert_to_srgb: bool = False) -> PictureFile:
    """Read a PNG, JPEG, WebP, AVIF, TIFF, BMP or GIF file, turned upright.

    RGB and grey keep their numbers and carry their profile; with ``convert_to_srgb`` they are converted and carry
    none. CMYK and Lab are always converted. Raises ``InputError`` for anything that cannot be read whole.
    """
    path = Path(path)
    data = _bytes_of(path)
    try:
        with _strict_pillow, Image.open(io.BytesIO(data), formats=readable_formats()) as image:
            return _read(image, data, path.name, convert_to_srgb)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: not a readable picture; PNG, JPEG, WebP, AVIF, TIFF (grey or RGB, 8 or 16 bits), BMP and GIF are."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: {str(error).rstrip('.')}; split the picture into smaller ones.") from error
    except Exception as error:
        raise InputError(f"{path}: the file is damaged or cut off ({error or type(error).__name__}).") from error


def _bytes_of(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; name a picture.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror or error}).") from error
    if not data:
        raise InputError(f"{path}: the file is empty (0 bytes).")
    return data


def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read here, as far as it has them."""
    Image.init()
    return tuple(name for name in READABLE_FORMATS if name in Image.OPEN)


class _StrictPillow:
    """Incomplete files are errors while pictures are read here, whatever other code of this process has set. It is one
    setting for all threads, so the first reader changes it and the last one puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers, self._lenient = 0, False

    def __enter__(self) -> None:
        with self._lock:
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                self._lenient, ImageFile.LOAD_TRUNCATED_IMAGES = True, False
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._lenient and not self._readers:
                self._lenient, ImageFile.LOAD_TRUNCATED_IMAGES = False, True


_strict_pillow = _StrictPillow()


def _read(image: ImageFile.ImageFile, data: bytes, name: str, convert_to_srgb: bool) -> PictureFile:
    # The other pictures of an MPO are a preview or a gain map of the first.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    check_complete(image, data)
    deep = is_deep(image, data)
    if deep:
        orientation = orientation_of(image)
        colour, alpha = read_deep(image, data)
        icc = _profile_of(image, data, "L" if colour.shape[2] == 1 else "RGB")
    else:
        _mend_transparent_grey(image, data)
        image.load()
        # After loading: Pillow has then turned a TIFF upright and dropped its tag.
        orientation = orientation_of(image)
        colour, alpha, icc = _read_shallow(image, data, convert_to_srgb)
    picture = _to_tensor(upright(colour, orientation))
    converted = convert_to_srgb or image.mode in ("CMYK", "LAB")
    signed = signed_file(image, data, name)
    if deep and convert_to_srgb and icc:
        picture = picture_to_srgb(picture, icc)
    return PictureFile(
        picture=picture,
        alpha=None if alpha is None else _to_tensor(upright(alpha, orientation)),
        bit_depth=16 if deep else 8,
        icc=None if converted else icc,
        exif=kept_exif(image, is_srgb=converted),
        dpi=resolution_of(image, orientation),
        frames=frames,
        description=_described(image, signed),
        signed=signed,
    )


def _described(image: Image.Image, signed: SignedFile | None) -> Description:
    found = description_of(image)
    return replace(found, dropped=(*found.dropped, DROPPED)) if signed or found.elsewhere else found


def _profile_of(image: Image.Image, data: bytes, space: str) -> bytes | None:
    """The profile for pixels of that space (L, RGB, CMYK, LAB), from wherever the file says it."""
    icc = None if overrides_profile(image, data) else fitting_profile(image.info.get("icc_profile"), space)
    return icc if icc or space not in ("L", "RGB") else profile_of(image, data, grey=space == "L")


def _mend_transparent_grey(image: Image.Image, data: bytes) -> None:
    """Pillow spreads grey of 1, 2 or 4 bits over 0 to 255, but not always the level that the PNG calls transparent."""
    level = image.info.get("transparency")
    if image.format == "PNG" and data[24] in (1, 2, 4) and isinstance(level, int) and image.mode in ("1", "L"):
        highest = 2 ** data[24] - 1
        if level <= highest:
            image.info["transparency"] = level * (255 // highest)


def _read_shallow(
    image: Image.Image, data: bytes, convert_to_srgb: bool
) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    """Colour (H, W, 1 or 3), alpha (H, W, 1) as uint8 and the profile of an image that Pillow decoded."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise InputError(f"its pixel type (Pillow mode {image.mode}) is not supported; save it with 8 or 16 bits.")
    alpha: Image.Image | None = None
    file = image
    if image.has_transparency_data:
        with_alpha = _with_alpha(image)
        alpha = with_alpha.getchannel("A")
        image = with_alpha.convert(with_alpha.mode[:-1])
    space = image.mode if image.mode in ("CMYK", "LAB") else "L" if image.mode in GREY_MODES else "RGB"
    icc = _profile_of(file, data, space)
    image = image.convert(space)
    if convert_to_srgb or space in ("CMYK", "LAB"):
        image = image_to_srgb(image, icc)
    return _samples(image), None if alpha is None else _samples(alpha), icc


def _with_alpha(image: Image.Image) -> Image.Image:
    """The image as LA or RGBA with straight alpha."""
    mode = "LA" if image.mode in GREY_MODES else "RGBA"
    return image.convert(mode)


def _samples(image: Image.Image) -> np.ndarray:
    return np.asarray(image).reshape(image.height, image.width, -1)


def _to_tensor(samples: np.ndarray) -> torch.Tensor:
    """(H, W, C) unsigned samples -> (1, C, H, W) float32, 0 to 1."""
    values = np.ascontiguousarray(samples.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(values).div_(float(np.iinfo(samples.dtype).max)).unsqueeze(0)
