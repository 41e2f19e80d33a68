"""What a file really is, from its first bytes and its table of contents; suffixes cannot be trusted."""

from __future__ import annotations

import re
import zipfile
from enum import Enum
from pathlib import Path

from .catalogue import entry_by_name
from .errors import DamagedModelError, ModelError, UnsafeModelError, WrongModelError
from .files import in_megabytes

_HEAD = 1024
_MEDIA = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"RIFF": "a WebP picture or a RIFF file",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip archive",
    b"GGUF": "a GGUF file (a quantised language or diffusion model)",
    b"\x89HDF": "an HDF5 file (Keras weights)",
}


class FileKind(Enum):
    """The containers that hold PyTorch weights."""

    TORCH_ZIP = "torch zip archive"
    TORCH_PICKLE = "torch pickle of before PyTorch 1.6"
    SAFETENSORS = "safetensors"


def recognise(path: Path) -> FileKind:
    """The kind of container in ``path``, an existing file.

    Raises a ``ModelError`` that names what the file is if it holds no PyTorch weights, is empty or cut off,
    or is a TorchScript archive, whose program code would have to run.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    if size == 0:
        raise DamagedModelError(f"{path.name} is empty (0 bytes): download it again.")
    if head.startswith(b"PK"):
        return _recognise_zip(path)
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return FileKind.SAFETENSORS
    if error := _refusal(path, head, size):
        raise error
    if head[:1] == b"\x80":
        return FileKind.TORCH_PICKLE
    raise DamagedModelError(
        f"{path.name} starts with bytes that no weights file has ({head[:8].hex(' ')}): download it again, or"
        " choose a .pth or .safetensors file."
    )


def damaged(path: Path, detail: str) -> DamagedModelError:
    """The error for a file that is cut off or garbled; it compares with the published size if there is one."""
    size, entry = path.stat().st_size, entry_by_name(path.name)
    expected = f" of {entry.bytes}" if entry and path.suffix == ".pth" and entry.bytes != size else ""
    return DamagedModelError(
        f"{path.name} is incomplete or damaged ({size}{expected} bytes; {detail}): download it again."
    )


def _refusal(path: Path, head: bytes, size: int) -> ModelError | None:
    """The error for a file that is recognisably something else."""
    if other := next((name for start, name in _MEDIA.items() if head.startswith(start)), None):
        return WrongModelError(f"{path.name} is {other}, not a file of weights: choose a .pth or .safetensors file.")
    if head.startswith(b"version https://git-lfs"):
        expected = re.search(rb"^size (\d+)", head, re.MULTILINE)
        length = in_megabytes(int(expected[1])) if expected else "its content"
        return DamagedModelError(
            f"{path.name} is only the pointer of a git-lfs file ({size} bytes of text in place of {length}):"
            " run `git lfs pull` in its repository or download the file itself."
        )
    suffix = path.suffix.lower()
    if suffix == ".onnx" or (head[:1] == b"\x08" and any(word in head for word in (b"pytorch", b"onnx"))):
        return WrongModelError(f"{path.name} is an ONNX model: choose the PyTorch weights (.pth, .safetensors).")
    if suffix == ".param" or head.startswith(b"7767517") or (suffix == ".bin" and head[:1] != b"\x80"):
        return WrongModelError(
            f"{path.name} is one half of an ncnn model (.param and .bin): choose the PyTorch weights (.pth,"
            " .safetensors) it was converted from."
        )
    if suffix in {".engine", ".trt", ".plan"}:
        return WrongModelError(
            f"{path.name} is a TensorRT engine built on some other machine: choose the PyTorch weights (.pth,"
            " .safetensors)."
        )
    return _text_refusal(path, head, size)


def _text_refusal(path: Path, head: bytes, size: int) -> ModelError | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return DamagedModelError(
            f"{path.name} is a web page saved under the name of a model ({size} bytes): download the file behind"
            " the page's download link (on Hugging Face `resolve`, on GitHub `raw` or the release)."
        )
    if all(byte >= 0x20 or byte in b"\t\n\r" for byte in head):
        start = " ".join(head[:60].decode("utf-8", "replace").split())
        return DamagedModelError(
            f"{path.name} is text ({size} bytes, starting with {start!r}), not weights: download it again and"
            " check that the link needs no login."
        )
    return None


def _recognise_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise damaged(path, "the end of its archive is missing") from error
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        raise UnsafeModelError(
            f"{path.name} is a TorchScript archive, which carries program code that would have to run: choose"
            " the plain weights of the model (.pth or .safetensors), or where you trust the file save"
            " torch.jit.load(file).state_dict() with torch.save."
        )
    if "data.pkl" in inner:
        return FileKind.TORCH_ZIP
    if weights := [name for name in names if name.lower().endswith((".pth", ".pt", ".ckpt", ".safetensors"))]:
        raise WrongModelError(f"{path.name} is a zip archive that contains {weights[0]}: unpack it first.")
    raise WrongModelError(
        f"{path.name} is a zip archive without PyTorch weights (it starts with {names[:3]}): choose a .pth or"
        " .safetensors file."
    )
