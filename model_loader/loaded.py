"""A loaded model: the network, the file it came from, and what is known about both."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import spandrel  # pyright: ignore[reportMissingTypeStubs]
import torch

from .cache import CACHE
from .catalogue import entry_by_name
from .errors import DamagedModelError, ModelError, WrongModelError
from .files import in_megabytes, sha256_of
from .find import require_file
from .licences import Licence, licence_line, licence_of_file
from .safe_load import Descriptor, picture_model, read_model


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The known facts about a model. Sizes are in input pixels."""

    name: str
    """File name without suffix; for a blend or a foreign model, a description."""
    architecture: str
    tags: tuple[str, ...]
    """Size and variant in Spandrel's terms, such as ``64nf``, ``23nb``."""
    purpose: str
    """``SR``, or ``Restoration`` for models that keep the size."""
    scale: int
    input_channels: int
    output_channels: int
    supports_half: bool
    supports_bfloat16: bool
    minimum_size: int
    multiple_of: int
    square: bool
    tiling: str
    """``supported``, ``discouraged`` (seams are likely) or ``internal`` (needs the whole picture)."""
    parameters: int
    size_bytes: int
    """Memory of parameters and buffers in their current precision."""
    sha256: str
    """Of the file; of the weights' names, shapes and values where there is no file."""
    licence: str | None
    """SPDX identifier; None if the file is not a published one that is known."""
    commercial_use: bool | None
    """Whether the licence allows it; None if the licence is not known."""
    licence_source: str = ""
    """Where the licence is known from."""

    def text(self) -> str:
        """A few short lines for a person."""
        return "\n".join(
            [
                f"{self.name}: {' '.join([self.architecture, *self.tags])}, x{self.scale},"
                f" {_channels(self.input_channels)} to {_channels(self.output_channels)}",
                f"{self.parameters:,} parameters, {in_megabytes(self.size_bytes)},"
                f" fp16 {_yes_no(self.supports_half)}, bf16 {_yes_no(self.supports_bfloat16)}",
                f"input {self._size_rule()}; tiling {self.tiling}",
                licence_line(self.licence, self.commercial_use, self.licence_source),
                f"SHA-256 {self.sha256}",
            ]
        )

    def _size_rule(self) -> str:
        rules = [f"at least {self.minimum_size} pixels a side"] if self.minimum_size > 1 else []
        rules += [f"a multiple of {self.multiple_of}"] if self.multiple_of > 1 else []
        rules += ["square"] if self.square else []
        return ", ".join(rules) or "of any size"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network and what is known about it. It is shared: by the cache, by other nodes, by other threads.

    Code that runs it must not move or change its weights: ``descriptor.to()``, ``.half()`` and the like change the one
    shared network. To move or cast, copy ``descriptor.model`` first.
    """

    descriptor: Descriptor
    path: Path | None
    """None for a blend and for a model that another node loaded."""
    facts: ModelFacts


def load_model(path: Path | str) -> LoadedModel:
    """The model in ``path``: float32, on the CPU, in evaluation mode, kept in ``CACHE`` and shared.

    Raises ``ModelError`` in one sentence for anything that is not an upscale or restoration model.
    """
    path = require_file(Path(path))
    try:
        return _with_licence(CACHE.get(path, _load))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}; check its permissions.") from error


def describe_foreign(descriptor: object) -> LoadedModel:
    """A ``LoadedModel`` around a descriptor that another node loaded; the descriptor is only read.

    Its weights may be on any device and in any precision. They are hashed once for each network and
    precision; a network whose weights are changed in place afterwards keeps the hash. Raises
    ``WrongModelError`` for anything that does not turn one picture into one picture.
    """
    if not isinstance(descriptor, spandrel.ModelBase):
        raise WrongModelError(
            f"An upscale model was expected but a {type(descriptor).__name__} was given: load it with a loader of"
            " upscale models."
        )
    model = cast("spandrel.ModelBase[torch.nn.Module]", descriptor)
    name = f"{model.architecture.name} x{model.scale}"
    ours = picture_model(model, f"The model {name}")
    digest = _hash_of_weights(ours.model)
    return LoadedModel(ours, None, facts_of(ours, name=f"{name} {digest[:8]}", sha256=digest))


def facts_of(
    descriptor: Descriptor,
    *,
    name: str,
    sha256: str,
    licence: str | None = None,
    commercial_use: bool | None = None,
) -> ModelFacts:
    """The facts that Spandrel and the weights know, with those given."""
    rule = descriptor.size_requirements
    tensors = list(_tensors(descriptor.model))
    return ModelFacts(
        name=name,
        architecture=descriptor.architecture.name,
        tags=tuple(descriptor.tags),
        purpose=descriptor.purpose,
        scale=descriptor.scale,
        input_channels=descriptor.input_channels,
        output_channels=descriptor.output_channels,
        supports_half=descriptor.supports_half,
        supports_bfloat16=descriptor.supports_bfloat16,
        minimum_size=rule.minimum,
        multiple_of=rule.multiple_of,
        square=rule.square,
        tiling=descriptor.tiling.name.lower(),
        parameters=sum(parameter.numel() for parameter in descriptor.model.parameters()),
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        sha256=sha256,
        licence=licence,
        commercial_use=commercial_use,
    )


def _load(path: Path) -> LoadedModel:
    before = path.stat()
    digest = sha256_of(path)
    _check_published(path, before.st_size, digest)
    descriptor = read_model(path)
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise DamagedModelError(
            f"{path.name} changed while it was read ({before.st_size}, then {after.st_size} bytes): try again when"
            " the copy or download has finished."
        )
    facts = _licensed(facts_of(descriptor, name=path.stem, sha256=digest), licence_of_file(path, digest))
    return LoadedModel(descriptor, path, facts)


def _with_licence(model: LoadedModel) -> LoadedModel:
    """The table may have become larger while the model was in the cache."""
    if model.facts.licence is not None or model.path is None:
        return model
    licence = licence_of_file(model.path, model.facts.sha256)
    return replace(model, facts=_licensed(model.facts, licence)) if licence else model


def _licensed(facts: ModelFacts, licence: Licence | None) -> ModelFacts:
    if licence is None:
        return facts
    return replace(facts, licence=licence.text, commercial_use=licence.commercial_use, licence_source=licence.source)


def _check_published(path: Path, size: int, digest: str) -> None:
    """Raise for a file with the name and length of a published one, but other content."""
    entry = entry_by_name(path.name)
    if entry and (path.name, size) == (entry.file, entry.bytes) and digest != entry.sha256:
        raise DamagedModelError(
            f"{path.name} is as long as the published file but differs from it (SHA-256 {digest} in place of"
            f" {entry.sha256}): download it again from {entry.url}."
        )


_hashes: weakref.WeakKeyDictionary[torch.nn.Module, tuple[torch.dtype, str]] = weakref.WeakKeyDictionary()
_hashes_lock = threading.Lock()


def _hash_of_weights(model: torch.nn.Module) -> str:
    dtype = next((tensor.dtype for tensor in _tensors(model) if tensor.is_floating_point()), torch.float32)
    with _hashes_lock:
        known = _hashes.get(model)
        if known is None or known[0] != dtype:
            known = _hashes[model] = (dtype, _compute_hash(model))
        return known[1]


def _compute_hash(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        # SPAN writes its merged convolution here each time it runs, so this follows from the other weights.
        if ".eval_conv." in name:
            continue
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        plain = torch.float32 if tensor.is_floating_point() else torch.int64
        digest.update(tensor.detach().to("cpu", plain).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _channels(count: int) -> str:
    return {1: "grey", 3: "RGB", 4: "RGBA"}.get(count, f"{count} channels")


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
