"""Proves or disproves in minutes that the pack works on a CUDA card.

    python3 benchmarks/gpu_drill.py --minutes 7 -o OUT

needs Python 3.12, torch 2.11 with CUDA 13, torchvision, safetensors, numpy, opencv, Pillow, onnx, triton, pytest, typer
and rich. What else is needed comes from the folder that ``gather_for_gpu.py`` fills, ``gpu_bundle`` by default; what
the machine has itself is used first. Nothing is fetched.

Each row is printed as one JSON line as soon as it is known, the most valuable first, and runs under a time limit; one
that fails, crashes or hangs is a row with its error, and the others go on. The last thing printed is the table. OUT
gets ``CARD.json`` and ``CARD.md``, whole after every row, and ``drill.log``. ``--only`` takes parts by their number:
1 the machine, 2 the tests that need a card, 3 core's node against ours, 4 the model alone and other ways to run it,
5 video and folder, 6 memory. ``--dry`` runs every row on the CPU in tiny sizes.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from drill.limits import START_SECONDS, Emit, Planned, run_group
from drill.report import Report
from drill.rows import Row, Settings, serve
from pack import ROOT, load_pack, parser_of

GROUPS = {
    "first": ("card", "checks"),
    "speed": ("race", "alone", "endtoend"),
    "memory": ("memory",),
    "more": ("sizes", "compiled"),
}
"""Modules of ``drill`` in the order in which they run; each group has a process of its own."""

DRY_GROUPS = {"all": tuple(module for modules in GROUPS.values() for module in modules)}


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=7.0, help="for everything; rows that do not fit are left out")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--bundle", type=Path, default=ROOT / "gpu_bundle", help="what gather_for_gpu.py gathered")
    parser.add_argument(
        "--only", type=int, nargs="+", choices=range(1, 7), default=range(1, 7), help="only these parts"
    )
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--break", dest="broken", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--group", choices=[*GROUPS, *DRY_GROUPS], help=argparse.SUPPRESS)
    parser.add_argument("--rows", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, default=Path(), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def settings_of(options: argparse.Namespace, scratch: Path) -> Settings:
    return Settings(
        output=options.output.resolve(),
        bundle=options.bundle.resolve(),
        scratch=scratch,
        dry=options.dry,
        broken=tuple(options.broken),
    )


def rows_of(group: str, settings: Settings) -> list[Row]:
    modules = (GROUPS | DRY_GROUPS)[group]
    return [row for module in modules for row in importlib.import_module(f"drill.{module}").rows(settings)]


def unpack_missing(bundle: Path, folder: Path) -> list[str]:
    """Unpacks the bundled packages that this Python does not have. Gives their names."""
    unpacked: list[str] = []
    for wheel in sorted((bundle / "wheels").glob("*.whl")):
        name = wheel.name.split("-")[0]
        if importlib.util.find_spec(name) is None:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            unpacked.append(name)
    return unpacked


def unpack_comfyui(bundle: Path, folder: Path) -> None:
    """A ComfyUI that the environment names is used instead."""
    if (bundle / "ComfyUI.zip").is_file() and "COMFYUI_PATH" not in os.environ:
        with zipfile.ZipFile(bundle / "ComfyUI.zip") as archive:
            archive.extractall(folder / "ComfyUI")
        os.environ["COMFYUI_PATH"] = str(folder / "ComfyUI")


def environment(packages: Path) -> None:
    """For the processes of the rows: the unpacked packages, kept plans and measured halos in a place of their own, and
    no trial of speed unasked."""
    paths = [str(packages), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["XDG_CACHE_HOME"] = str(packages / "cache")
    os.environ.setdefault("BACKPLATE_TUNE", "0")
    sys.path.insert(0, str(packages))


def drill(options: argparse.Namespace) -> int:
    """The number of rows that failed."""
    deadline = time.monotonic() + 60 * options.minutes
    report = Report(options.output.resolve(), options.dry)

    def emit(row: dict[str, object]) -> None:
        print(json.dumps(report.add(row), default=str), flush=True)

    with tempfile.TemporaryDirectory(prefix="backplate-drill-") as scratch:
        settings = settings_of(options, Path(scratch))
        packages = settings.scratch / "packages"
        unpack_missing(settings.bundle, packages)
        unpack_comfyui(settings.bundle, packages)
        environment(packages)
        with (settings.output / "drill.log").open("wb") as log:
            for group in DRY_GROUPS if settings.dry else GROUPS:
                run_one(group, options.only, settings, deadline, emit, log)
    print(report.table(), end="", flush=True)
    return sum(row["status"] == "failed" for row in report.rows)


def run_one(group: str, parts: Sequence[int], settings: Settings, deadline: float, emit: Emit, log: IO[bytes]) -> None:
    try:
        rows = [row for row in rows_of(group, settings) if row.part in parts]
    except Exception as error:  # noqa: BLE001  a missing package costs only the rows that need it
        emit({"row": group, "part": 0, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        return
    planned = [Planned(row.name, row.part, row.seconds) for row in rows]
    run_group(command_of(group, settings), planned, deadline, emit, log, START_SECONDS)


def command_of(group: str, settings: Settings) -> list[str]:
    """Of the process that runs rows of the group, whose names come after it."""
    words = [sys.executable, str(Path(__file__).resolve()), "-o", str(settings.output)]
    words += ["--bundle", str(settings.bundle), "--scratch", str(settings.scratch), "--group", group]
    words += ["--dry"] if settings.dry else []
    words += ["--break", *settings.broken] if settings.broken else []
    return [*words, "--rows"]


def main() -> None:
    options = options_of()
    if options.group:
        load_pack()
        settings = settings_of(options, options.scratch)
        serve(rows_of(options.group, settings), options.rows, settings)
        return
    sys.exit(1 if drill(options) else 0)


if __name__ == "__main__":
    main()
