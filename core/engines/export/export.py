"""Exports a model to another engine's files, and proves first that they compute what PyTorch computes."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import cast

import torch

from ....model_loader.files import in_megabytes, sha256_of
from ....model_loader.loaded import LoadedModel
from ...atomic_write import whole_file, write_atomic
from ...errors import InputError
from ...progress import Progress
from ...types import Size
from ...upscaler import Upscaler
from ..onnx.export import OnnxSettings, example_size
from ..plan import EXACT_BAR
from ..registry import EngineUnusable
from ..spec import model_spec
from ..verify import HALF_BAR, Difference, difference
from .files import FileWriter, Record, file_module, record_for, record_path, record_text
from .foreign import remember_written

TRIAL_SIZES = (Size(96, 72), Size(61, 83))
"""Of the pictures on which a file for any size is compared; padded to the model's size rule."""


class ExportKind(str, Enum):
    """What a model can be exported to."""

    ONNX = "onnx"
    NCNN = "ncnn"
    TENSORRT = "tensorrt"

    @property
    def suffix(self) -> str:
        """Of the main file."""
        return {ExportKind.ONNX: ".onnx", ExportKind.NCNN: ".param", ExportKind.TENSORRT: ".engine"}[self]


_FOR_ANY_MACHINE = (ExportKind.ONNX.suffix, ExportKind.NCNN.suffix)


@dataclass(frozen=True)
class Exported:
    """What an export wrote. ``difference``: to PyTorch, on the pictures that decide; ``noise``: on random pictures."""

    files: tuple[Path, ...]
    record: Record
    difference: Difference
    noise: Difference
    pictures: int
    bar: float

    def text(self) -> str:
        """A few lines for a person."""
        tile = self.record.tile
        size = f"pictures of {tile}x{tile} pixels" if tile else "pictures of any size"
        precision = "half" if self.record.half else "single"
        return "\n".join(
            [
                *(f"{file} ({in_megabytes(file.stat().st_size)})" for file in self.files),
                f"takes {size}, weights in {precision} precision",
                f"largest difference to PyTorch {self.difference.largest:.1e}, mean {self.difference.mean:.1e}, on"
                f" {self.pictures} drawn pictures ({self.bar:.0e} is allowed); on noise {self.noise.largest:.1e},"
                f" mean {self.noise.mean:.1e}",
            ]
        )


def export_model(
    model: LoadedModel,
    output: Path,
    settings: OnnxSettings,
    draw: Callable[[Size, int], Sequence[torch.Tensor]],
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    made_by: str = "Backplate",
) -> Exported:
    """Writes ``output`` (its suffix says what to export to), the files that belong to it, and the record beside it.

    ``draw`` gives pictures (1, channels, H, W) of a size for the comparison with PyTorch. Files appear whole, and only
    when their largest difference is within the bar: 1e-4 in single precision, on noise too; 5e-3 in half precision, on
    the drawn pictures.

    Raises ``InputError`` in one sentence that names the architecture if it cannot be exported, the difference if it is
    over the bar, a file that is in the way. ``progress.check`` may end it; then nothing is left behind.
    """
    progress = progress or Progress()
    module = _module(output)
    refuse_existing([*module.companions(output), record_path(output)], overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="backplate-") as folder:
        main = Path(folder, output.name)
        try:
            if reason := module.unusable():
                raise EngineUnusable(reason)
            files = module.write_files(model, main, settings, progress)
            exported = _compared(model, module, main, files, settings, draw, progress, made_by)
        except EngineUnusable as reason:
            raise InputError(f"{model.facts.name} is not exported: {reason}.") from reason
        return _published(exported, output)


def refuse_existing(files: Sequence[Path], *, overwrite: bool) -> None:
    """Raises ``InputError`` for a file that is in the way and must stay."""
    if not overwrite and (there := [path for path in files if path.exists()]):
        raise InputError(f"{there[0]} already exists; allow overwriting, or choose another name.")


def _module(output: Path) -> FileWriter:
    if output.suffix.lower() not in _FOR_ANY_MACHINE:
        raise InputError(f"{output.name} should end in {' or '.join(_FOR_ANY_MACHINE)}, which selects the format.")
    return cast("FileWriter", file_module(output))


def _compared(
    model: LoadedModel,
    module: FileWriter,
    main: Path,
    files: Sequence[Path],
    settings: OnnxSettings,
    draw: Callable[[Size, int], Sequence[torch.Tensor]],
    progress: Progress,
    made_by: str,
) -> Exported:
    facts, descriptor = model.facts, model.descriptor
    spec = model_spec(facts, descriptor, max_tile_pixels=0)
    upscaler = module.open_file(main, spec, torch.device("cpu"))
    any_size = settings.dynamic or main.suffix.lower() == ".param"
    sizes = [spec.size_rule.padded(size) for size in TRIAL_SIZES] if any_size else [example_size(model, settings)]
    noise = [_noise(size, facts.input_channels) for size in sizes]
    drawn = [picture for size in sizes for picture in draw(size, facts.input_channels)]
    progress.begin(len(noise) + len(drawn), "comparing with PyTorch")
    bar = HALF_BAR if settings.half else EXACT_BAR
    on_drawn = _checked_difference(upscaler, model, drawn, bar, progress)
    on_noise = _checked_difference(upscaler, model, noise, None if settings.half else bar, progress)
    record = record_for(
        model,
        spec.halo,
        tile=0 if any_size else sizes[0].width,
        half=settings.half,
        found=on_drawn,
        made_by=made_by,
        files={file.name: sha256_of(file) for file in files},
    )
    return Exported(tuple(files), record, on_drawn, on_noise, len(drawn), bar)


def _checked_difference(
    upscaler: Upscaler, model: LoadedModel, pictures: Sequence[torch.Tensor], bar: float | None, progress: Progress
) -> Difference:
    def steps():
        for picture in pictures:
            progress.check()
            yield picture
            progress.advance()

    found = difference(upscaler, model, steps(), math.inf if bar is None else bar)
    if bar is not None and found.largest > bar:
        raise EngineUnusable(
            f"the architecture {model.facts.architecture} gives results that differ from PyTorch's by up to"
            f" {found.largest:.1e}, and {bar:.0e} is allowed"
        )
    return found


def _noise(size: Size, channels: int) -> torch.Tensor:
    return torch.rand(1, channels, size.height, size.width, generator=torch.Generator().manual_seed(8))


def _published(exported: Exported, output: Path) -> Exported:
    """The files under their final names, the main one last."""
    output.parent.mkdir(parents=True, exist_ok=True)
    finals: list[Path] = []
    for file in reversed(exported.files):
        final = output.with_name(file.name)
        if file is exported.files[0]:
            write_atomic(record_path(output), record_text(exported.record).encode())
        with whole_file(final) as temporary:
            shutil.copyfile(file, temporary)
        finals.insert(0, final)
    remember_written(finals, record_path(output))
    return replace(exported, files=(*finals, record_path(output)))
