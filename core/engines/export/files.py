"""Files of exported models: the record beside them, and running them without the PyTorch model.

A record, ``NAME.json`` beside the file ``NAME``, holds what the pipeline must know about the model and the SHA-256 of
every file, so that a changed byte is noticed. Files that come without one, such as the releases of
realesrgan-ncnn-vulkan, are tried out to learn the same.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from ....model_loader.files import sha256_of
from ....model_loader.loaded import LoadedModel
from ...errors import InputError, ModelOutputError
from ...parsed import Strict, parse
from ...progress import Progress
from ...types import SizeRule, size_rule_of
from ...upscaler import Halo, Upscaler, UpscalerSpec
from ..halo import find_sight
from ..onnx.export import OnnxSettings
from ..registry import EngineUnusable
from ..verify import Difference
from .foreign import identity_of, proved, written_here
from .record_schema import (
    LARGEST_SCALE,
    LONGEST_TEXT,
    Amount,
    AnyHalo,
    AnyRule,
    BadRecord,
    Channels,
    Digest,
    FileName,
    Scale,
    Side,
    Text,
    parsed,
)

SUFFIXES: Mapping[str, str] = {".onnx": "..onnx.engine", ".param": "..ncnn.engine", ".engine": "..tensorrt.file"}
"""Exported models that can be run, and the module that does it."""

_TRIED = (".onnx", ".param")
"""Of which those that were made elsewhere are first run in a process of their own; an engine for a GPU says itself for
which it was built, and is refused elsewhere."""

_FORMAT = 1
_TRIED_SIDES = (33, 34, 36, 40)
"""Sides that tell multiples of 1, 2, 4 and 8 apart."""


class FileReader(Protocol):
    """An engine that reads files."""

    def unusable(self) -> str | None:
        """See ``EngineModule``."""
        ...

    def open_file(self, main: Path, spec: UpscalerSpec, device: torch.device) -> Upscaler:
        """Raises ``EngineUnusable``."""
        ...

    def check(self, main: Path) -> int:
        """Of a file that this program did not write: the smallest side of a picture that it takes. Raises
        ``EngineUnusable`` for one that the engine must not see."""
        ...

    def companions(self, main: Path) -> Sequence[Path]:
        """Every file of the model, ``main`` included."""
        ...

    def input_channels(self, main: Path) -> int:
        """Of a file without a record. Raises ``EngineUnusable``."""
        ...

    def stand_in(self, main: Path) -> nn.Module:
        """Convolutions with the reach of the model's, or a network of unknown reach; see ``receptive_radius``."""
        ...


class FileWriter(FileReader, Protocol):
    """An engine that also writes files, for any machine."""

    def write_files(self, model: LoadedModel, main: Path, settings: OnnxSettings, progress: Progress) -> Sequence[Path]:
        """Writes ``main`` and the files that belong to it into its folder; returns all of them. Raises
        ``EngineUnusable``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Record(Strict):
    """What is kept beside an exported model. ``tile``: the only side it takes, in input pixels; 0 for any size.
    ``largest_difference`` and ``mean_difference``: to PyTorch; None if nothing was compared. ``built``: of an engine
    that serves some machines only, what for, in the terms of its module."""

    name: Text
    architecture: Text
    model_sha256: Digest
    scale: Scale
    input_channels: Channels
    output_channels: Channels
    size_rule: AnyRule
    halo: AnyHalo
    tile: Side
    half: bool
    largest_difference: Amount | None
    mean_difference: Amount | None
    made_by: Text
    files: Mapping[FileName, Digest]
    """SHA-256 by file name."""
    built: Mapping[str, Any] = field(default_factory=dict[str, Any])
    licence: Text = ""
    """Of the model that was exported, which for a blend is that of both; empty where it was not known."""

    def spec(self) -> UpscalerSpec:
        return UpscalerSpec(
            name=self.name,
            scale=self.scale,
            input_channels=self.input_channels,
            output_channels=self.output_channels,
            size_rule=self.size_rule,
            halo=self.halo,
        )


@dataclass(frozen=True)
class OpenedFile:
    """An exported model, ready to run. ``sha256``: of all of its files. ``record``: None if none lies beside it."""

    upscaler: Upscaler
    name: str
    sha256: str
    record: Record | None

    def text(self) -> str:
        """A few short lines for a person."""
        spec, record = self.upscaler.spec, self.record
        lines = [f"{self.name}: x{spec.scale}, {spec.input_channels} to {spec.output_channels} channels"]
        if record is None:
            lines.append("an exported model of unknown origin")
        else:
            precision = "half" if record.half else "single"
            lines.append(f"exported from {record.architecture} by {record.made_by}, {precision} precision")
        if record is not None and record.largest_difference is not None:
            lines.append(f"largest difference to PyTorch when it was exported {record.largest_difference:.1e}")
        lines.append("runs in Backplate only, in the engine that it was made for")
        return "\n".join([*lines, f"SHA-256 {self.sha256}"])


def record_path(main: Path) -> Path:
    """Where the record of an exported model is."""
    return main.with_name(main.name + ".json")


def record_text(record: Record) -> str:
    """The content of a record file."""
    return json.dumps({"format": _FORMAT, **asdict(record)}, indent=2) + "\n"


def record_for(
    model: LoadedModel,
    halo: Halo,
    *,
    half: bool,
    found: Difference | None,
    made_by: str,
    files: Mapping[str, str],
    tile: int = 0,
    built: Mapping[str, Any] | None = None,
) -> Record:
    """The record of files that were made from ``model``; see ``Record``. ``found``: None if nothing was compared."""
    facts = model.facts
    return Record(
        name=facts.name,
        architecture=facts.architecture,
        model_sha256=facts.sha256,
        scale=facts.scale,
        input_channels=facts.input_channels,
        output_channels=facts.output_channels,
        size_rule=size_rule_of(facts),
        halo=halo,
        tile=tile,
        half=half,
        largest_difference=None if found is None else found.largest,
        mean_difference=None if found is None else found.mean,
        made_by=made_by,
        files=files,
        built=built or {},
        licence=facts.licence if facts.licence and len(facts.licence) <= LONGEST_TEXT else "",
    )


def read_record(main: Path) -> Record | None:
    """The record beside ``main``; None if there is none. Raises ``InputError`` for one that cannot be read."""
    path = record_path(main)
    if not path.is_file():
        return None
    try:
        values = parsed(path)
        written = values.pop("format", None)
        if not isinstance(written, int) or isinstance(written, bool) or written != _FORMAT:
            raise BadRecord(f"its format is {str(written)[:40]}, and {_FORMAT} is known")
        return parse(Record, values, strict=True)
    except (OSError, BadRecord, InputError) as error:
        raise InputError(
            f"{path.name} is not the record of an exported model ({str(error).rstrip('.')}); export {main.name} again."
        ) from error


def is_engine_file(name: str | Path) -> bool:
    """Whether a model of that name is an exported one, by its suffix."""
    return Path(name).suffix.lower() in SUFFIXES


def file_module(main: Path) -> FileReader:
    """The engine that runs ``main``."""
    return cast("FileReader", importlib.import_module(SUFFIXES[main.suffix.lower()], __package__))


def open_engine_file(main: Path, device: torch.device, progress: Progress | None = None) -> OpenedFile:
    """An exported model as an ``Upscaler``. One that this program did not write is checked, and tried once in a process
    of its own; see ``foreign``. Whatever ``progress.check`` raises ends that.

    Raises ``InputError`` in one sentence if a file is missing or changed since it was exported, the engine cannot be
    used here (PyTorch cannot take over, since exported files hold no model of PyTorch), or the model takes one size
    only.
    """
    module = file_module(main)
    files = module.companions(main)
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(
            f"There is no file {missing[0]}; an exported model needs {' and '.join(f.name for f in files)}."
        )
    try:
        if reason := module.unusable():
            raise EngineUnusable(reason)
        record = read_record(main)
        digests = {file.name: sha256_of(file) for file in files}
        if record is not None:
            _check(main, record, digests)
        spec = _spec(main, module, record, digests, progress or Progress())
        upscaler = module.open_file(main, spec, device)
    except EngineUnusable as reason:
        raise InputError(f"{main.name} cannot be run, and PyTorch cannot run it instead: {reason}.") from reason
    digest = hashlib.sha256("".join(digests.values()).encode()).hexdigest()
    return OpenedFile(upscaler, spec.name, digest, record)


def _spec(
    main: Path, module: FileReader, record: Record | None, digests: Mapping[str, str], progress: Progress
) -> UpscalerSpec:
    known = None if record is None else record.spec()
    identity = identity_of(digests, record_path(main))
    if known is not None and (main.suffix.lower() not in _TRIED or written_here(identity)):
        return known
    smallest = module.check(main)
    spec = proved(main, module.companions(main), known, identity, progress)
    minimum = max(spec.size_rule.minimum, smallest if smallest > 1 else 0)
    return replace(spec, size_rule=replace(spec.size_rule, minimum=minimum))


def _check(main: Path, record: Record, digests: Mapping[str, str]) -> None:
    if changed := [name for name, digest in digests.items() if record.files.get(name) != digest]:
        raise InputError(
            f"{changed[0]} has changed since it was exported (SHA-256 {digests[changed[0]][:12]} in place of"
            f" {str(record.files.get(changed[0]))[:12]}); export {record.name} again."
        )
    if record.tile:
        raise InputError(
            f"{main.name} takes only pictures of {record.tile}x{record.tile} pixels, for other programs; export"
            f" {record.name} without --tile to run it here."
        )


def tried_out(main: Path, module: FileReader, device: torch.device, key: str) -> UpscalerSpec:
    """The spec of a model that nothing is known about but its file; ``key``: of what is measured. Raises
    ``EngineUnusable``."""
    channels = module.input_channels(main)
    spec = UpscalerSpec(
        name=main.stem,
        scale=1,
        input_channels=channels,
        output_channels=channels,
        size_rule=SizeRule(),
        halo=Halo(pixels=0, exact=False),
    )
    trial = module.open_file(main, spec, device)
    for side in _TRIED_SIDES:
        try:
            shape = trial(torch.rand(1, channels, side, side)).shape
        except ModelOutputError:
            continue
        scale, rest = divmod(shape[-1], side)
        if len(shape) == 4 and 1 <= scale <= LARGEST_SCALE and not rest and shape[-2] == shape[-1]:
            rule = SizeRule(multiple_of={33: 1, 34: 2, 36: 4, 40: 8}[side])
            halo = find_sight(
                module.stand_in(main), trial, scale=scale, channels=channels, size_rule=rule,
                key=key,
            ).halo  # fmt: skip
            return replace(spec, scale=scale, output_channels=shape[1], size_rule=rule, halo=halo)
    tried = ", ".join(map(str, _TRIED_SIDES))
    raise EngineUnusable(f"pictures of {tried} pixels a side give no picture of a whole multiple of that size")
