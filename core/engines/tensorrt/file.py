"""Runs an engine of TensorRT from a file that ``export`` wrote, without the model that it was built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import ModelOutputError
from ...parsed import parse
from ...upscaler import Upscaler, UpscalerSpec
from ..export.files import Record, read_record, record_path
from ..registry import EngineUnusable
from .build import Profile
from .package import Package, missing_package, no_gpu, open_package, refuse_other_devices, target_identity
from .runtime import CudaStream, EngineRunner, load_engine
from .upscaler import TensorRTUpscaler, tiled_spec


def built_as(profile: Profile, target: Mapping[str, object]) -> dict[str, object]:
    """What a record says about an engine, beside the model: its ``profile``, and its ``target_identity``."""
    return {"profile": asdict(profile), "target": dict(target)}


def unusable() -> str | None:
    """See ``FileReader``."""
    return missing_package() or no_gpu()


def open_file(main: Path, spec: UpscalerSpec, device: torch.device) -> Upscaler:
    """See ``FileReader``."""
    refuse_other_devices(device)
    return open_with(open_package(), main, spec, device, lambda: CudaStream(device))


def open_with(
    package: Package, main: Path, spec: UpscalerSpec, device: torch.device, lane: Callable[[], Any]
) -> Upscaler:
    """``open_file`` with a package and a stream of the caller's."""
    record = _record(main)
    try:
        profile, target = parse(Profile, record.built["profile"]), dict(record.built["target"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineUnusable(
            f"{record_path(main).name} does not say what it was built for ({error}); export {record.name} again"
        ) from error
    here = target_identity(package, device)
    if target != here:
        raise EngineUnusable(f"it was built by {_words(target)}, and here is {_words(here)}; {_again(record)}")
    loaded = load_engine(package, main.read_bytes())
    if loaded is None:
        raise EngineUnusable(f"{package.name} does not take it ({package.messages.reason}); {_again(record)}")
    runner = EngineRunner(package, loaded, spec.scale, spec.output_channels, device, lane())
    broken = _refusal(main, record) if record.half else None
    return TensorRTUpscaler(runner, tiled_spec(spec, profile), profile, device, broken)


def check(main: Path) -> int:
    """See ``FileReader``. What an engine was built for is checked when it is opened, and without a record it is not."""
    _record(main)
    return 1


def companions(main: Path) -> list[Path]:
    """See ``FileReader``."""
    return [main]


def input_channels(main: Path) -> int:
    """See ``FileReader``. An engine is never tried out: a foreign one may end the process."""
    return _record(main).input_channels


def stand_in(main: Path) -> nn.Module:
    """See ``FileReader``."""
    raise EngineUnusable(f"there is no {record_path(main).name} that says how it is run")


def _record(main: Path) -> Record:
    record = read_record(main)
    if record is None:
        raise EngineUnusable(
            f"{record_path(main).name} is not beside it, which says what picture it takes and for which GPU it was "
            "built; copy both files, or make them with backplate export MODEL --to tensorrt"
        )
    return record


def _words(target: Mapping[str, object]) -> str:
    """What an engine was built by and for."""
    if "gpu" in target:
        whom = f"{target['gpu']} (compute capability {target['capability']})"
    else:
        whom = f"GPUs of {', '.join(map(str, target.get('targets', ())))}"  # pyright: ignore[reportArgumentType]
    return f"{target.get('package')} on {target.get('system')} {target.get('machine')} for {whom}"


def _again(record: Record) -> str:
    return f"export {record.name} here again"


def _refusal(main: Path, record: Record) -> Callable[[], Upscaler]:
    def refuse() -> Upscaler:
        raise ModelOutputError(
            f"{main.name} gives broken pictures in half precision, and PyTorch cannot run it instead; export "
            f"{record.name} again in single precision, or use that model itself."
        )

    return refuse
