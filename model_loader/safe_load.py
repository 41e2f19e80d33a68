"""Weights from a file, read without running code, and the network that Spandrel recognises in them."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import spandrel  # pyright: ignore[reportMissingTypeStubs]
import torch

from .errors import DamagedModelError, ModelError, UnknownArchitectureError, UnsafeModelError, WrongModelError, one_line
from .file_kind import FileKind, damaged, recognise
from .find import require_file
from .limits import LARGEST_SCALE, MOST_HEADER, Frugal, TooMuch, check_archive, check_names
from .pickle_check import ForbiddenGlobal, StandIn, check_pickle
from .wrong_model import explain_keys, explain_purpose

_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a file written by PyTorch before 1.6."""

Descriptor = spandrel.ImageModelDescriptor[torch.nn.Module]


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in ``path`` on the CPU, in the precision they are stored in.

    A wrapper (``params_ema``, ``params``, ``state_dict``, ...) and a prefix common to all names (``module.``) are
    removed; anything that is not a tensor is left out. Weights that clearly do not belong to an upscale model are
    refused by the names of their tensors before their content is read. Raises ``ModelError``.
    """
    kind = recognise(require_file(path))
    content = _outline(path, kind)
    with _as_damage(path):
        check_names(content)
    outline = _unwrap(content)
    if explanation := explain_keys(outline):
        raise WrongModelError(f"{path.name} {explanation}.")
    state = _unwrap(_read(path, kind))
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        has = f" (it has {', '.join(list(state)[:5])})" if state else ""
        raise WrongModelError(
            f"{path.name} holds no tensors{has}: it may be the state of a training run; choose the file of its weights."
        )
    return tensors


def _unwrap(content: object) -> dict[str, Any]:
    """The state dict in a file's content, found by the usual names or because it is the only dict."""
    if not isinstance(content, dict):
        return {}
    state = spandrel.canonicalize_state_dict(_with_text_keys(cast("dict[Any, Any]", content)))
    inner = [cast("dict[Any, Any]", value) for value in state.values() if isinstance(value, dict)]
    if len(inner) == 1 and not any(isinstance(value, (torch.Tensor, StandIn)) for value in state.values()):
        state = spandrel.canonicalize_state_dict(_with_text_keys(inner[0]))
    return _with_text_keys(state)


def _with_text_keys(content: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in content.items()}


def read_model(path: Path) -> Descriptor:
    """The network in ``path`` with its weights: in evaluation mode, float32, on the CPU.

    The caller owns the result. The random state of PyTorch is left as it was, and the weights can be
    used outside of inference mode even when they were loaded in it. Raises ``ModelError``.
    """
    with torch.inference_mode(False):
        model = build_model(read_state_dict(path), path.name)
    for name, weights in model.model.named_parameters():
        if wrong := int((~torch.isfinite(weights)).sum()):
            raise DamagedModelError(
                f"{path.name} has {wrong} of {weights.numel()} values of {name} that are not finite numbers, so its"
                " training failed or the file is damaged: get another copy or choose another model."
            )
    return model


def build_model(state: Mapping[str, torch.Tensor], name: str) -> Descriptor:
    """The network whose weights ``state`` holds; ``name`` is what errors call it. Like ``read_model``."""
    support, state = _detect(dict(state), name)
    # Networks are built with random weights first; the caller's random state must not change.
    fork_rng = cast("Any", torch.random.fork_rng)  # pyright: ignore[reportUnknownMemberType]
    with torch.inference_mode(False), fork_rng(devices=[]):
        try:
            with Frugal(state):
                model = support.architecture.load(state)
        except TooMuch as error:
            raise WrongModelError(f"{name} is not an upscale model that can be used: {error}.") from error
        except Exception as error:  # weights that only look like a known network can fail in any way
            detail = one_line(error, 200)
            raise UnknownArchitectureError(
                f"{name} looks like {support.architecture.name} but does not fit it ({type(error).__name__}:"
                f" {detail}): it may be damaged or of a variant that Spandrel {spandrel.__version__} does not"
                " know; try a newer Spandrel or another model."
            ) from error
    descriptor = picture_model(model, name)
    if not 1 <= descriptor.scale <= LARGEST_SCALE:
        raise WrongModelError(
            f"{name} magnifies {descriptor.scale} times, and up to {LARGEST_SCALE} are possible: choose another model."
        )
    descriptor.model.float()
    return descriptor.eval()


def _detect(state: dict[str, torch.Tensor], name: str) -> tuple[spandrel.ArchSupport, dict[str, torch.Tensor]]:
    """The architecture of ``state``, if necessary after removing one more prefix common to all names."""
    prefixes = {key.partition(".")[0] + "." for key in state}
    candidates = [state]
    if len(prefixes) == 1 and all("." in key for key in state):
        candidates.append({key.partition(".")[2]: value for key, value in state.items()})
    for candidate in candidates:
        for support in spandrel.MAIN_REGISTRY.architectures("detection"):
            if support.detect(candidate):
                return support, candidate
    raise UnknownArchitectureError(
        f"{name} has no architecture that Spandrel {spandrel.__version__} knows (its {len(state)} tensors begin"
        f" with {', '.join(list(state)[:3])}): check that it is an upscale model, then try a newer Spandrel."
    )


def picture_model(model: spandrel.ModelBase[torch.nn.Module], name: str) -> Descriptor:
    """``model`` if it turns a whole picture into a picture, untouched. Raises ``WrongModelError``."""
    if isinstance(model, spandrel.ImageModelDescriptor) and model.purpose != "FaceSR":
        return model
    raise WrongModelError(f"{name} {explain_purpose(model.purpose, model.architecture.name)}.")


def _read(path: Path, kind: FileKind) -> object:
    if kind is FileKind.SAFETENSORS:
        with _as_damage(path):
            return safetensors.torch.load_file(path)  # pyright: ignore[reportUnknownMemberType]
    if kind is FileKind.TORCH_ZIP:
        with _as_damage(path):
            _verify_checksums(path)
    try:
        with path.open("rb") as file:  # given a path, torch.load decides by the suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a garbled file can fail in any way
        raise _unreadable(path, error) from error


def _outline(path: Path, kind: FileKind) -> object:
    """What the file holds, with placeholders for the tensors. Raises unless the file is safe to read."""
    if kind is FileKind.SAFETENSORS:
        with path.open("rb") as opened:
            header = int.from_bytes(opened.read(8), "little")
        if header > MOST_HEADER:
            raise damaged(path, f"its table of contents has {header:,} bytes, and {MOST_HEADER:,} are allowed")
        with _as_damage(path), cast("Any", safetensors.safe_open)(path, "pt") as file:
            return dict.fromkeys(cast("list[str]", file.keys()))
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < (2, 6):
        raise UnsafeModelError(
            f"PyTorch {torch.__version__} cannot read {path.name} without the risk of running code in it"
            " (CVE-2025-32434): update PyTorch to 2.6 or later, or use a .safetensors file."
        )
    with _as_damage(path):
        return _dry_run_zip(path) if kind is FileKind.TORCH_ZIP else _dry_run_legacy(path)


@contextlib.contextmanager
def _as_damage(path: Path) -> Generator[None, None, None]:
    """Turn any exception of a container library about a garbled file into one sentence."""
    try:
        yield
    except ModelError:
        raise
    except ForbiddenGlobal as error:
        raise UnsafeModelError(
            f"{path.name} asks to load {error.name}, which no weights need and which could run code: get the"
            " model as .safetensors, or where you trust the file save only its state_dict with torch.save."
        ) from error
    except TooMuch as error:
        raise UnsafeModelError(
            f"{path.name} asks for more than weights need ({error}): get the model as .safetensors, or another one."
        ) from error
    except Exception as error:  # a garbled file can fail in any way
        raise damaged(path, one_line(error, 120) or type(error).__name__) from error


def _dry_run_zip(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        check_archive(path, archive)
        lengths = {info.filename.partition("/")[2]: info.file_size for info in archive.infolist()}
        root = next(info for info in archive.infolist() if info.filename.partition("/")[2] == "data.pkl")
        if root.file_size > MOST_HEADER:
            raise TooMuch(f"its list of tensors has {root.file_size:,} bytes, and {MOST_HEADER:,} are allowed")
        content = archive.read(root) if root.CRC else _stored(path, root)
    return check_pickle(io.BytesIO(content), lambda key: lengths[f"data/{key}"])


def _stored(path: Path, info: zipfile.ZipInfo) -> bytes:
    """The bytes of an uncompressed member, without the check that ``zipfile`` enforces.

    ``torch.serialization.set_crc32_options(False)`` makes ``torch.save`` leave the checksums at 0.
    """
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # lengths of name and extra field, which end the local header
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, io.SEEK_CUR)
        return file.read(info.file_size)


def _verify_checksums(path: Path) -> None:
    """Raise if a tensor's bytes differ from their checksum, which ``torch.load`` ignores."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.CRC:
                with archive.open(info) as member:
                    while member.read(1 << 20):
                        pass


def _dry_run_legacy(path: Path) -> object:
    size = path.stat().st_size
    with path.open("rb") as stream:
        if check_pickle(stream, lambda key: size, size) != _MAGIC:
            raise DamagedModelError(
                f"{path.name} is a pickle but was not written by torch.save: choose a .pth or .safetensors file."
            )
        _, _, content, _ = (check_pickle(stream, lambda key: size, size) for _ in range(4))
    return content


def _unreadable(path: Path, error: Exception) -> ModelError:
    text = one_line(error)
    if "pickle protocol" in text or "Unsupported operand" in text:
        return UnsafeModelError(
            f"{path.name} uses a pickle protocol that PyTorch does not read safely: get the model as .safetensors,"
            " or where you trust the file save its state_dict again with torch.save."
        )
    return damaged(path, text[:120] or type(error).__name__)
