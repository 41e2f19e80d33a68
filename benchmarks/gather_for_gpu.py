"""Gathers what a bare machine with a card lacks into one folder, for ``gpu_drill.py`` to run from.

    COMFYUI_PATH=~/ComfyUI python benchmarks/gather_for_gpu.py gpu_bundle --weights FOLDER

Wheels for CPython 3.12 on x86-64 Linux, fetched by pip; the part of ComfyUI that its own upscaling node is made of,
unchanged; and of a folder, if one is given, the weights that the drill runs. More than 48 MiB are refused, with the
size, and removed again. Prints the command that runs the drill on the other machine, from the root of this repository.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from drill.rows import REAL_WEIGHTS
from pack import ROOT, comfyui_home, parser_of

LIMIT = 48 * 2**20
COMFY_PACKAGES = ("comfy-aimdo==0.4.13", "comfy-kitchen==0.2.31")
"""Of ComfyUI 0.33; the pure wheel of the second is a thousandth of the one with kernels, which no upscaler runs."""

PYDANTIC = ("pydantic==2.14.4", "pydantic-core==2.50.5", "annotated-types", "typing-inspection")
"""The first takes no other version of the second."""

PACKAGES = ("spandrel", "einops", "platformdirs", "av>=18,<19", "tqdm", "psutil", *PYDANTIC, COMFY_PACKAGES[0])
PURE_PACKAGES = (COMFY_PACKAGES[1],)
MANYLINUX = ("2_28", "2_27", "2_24", "2_17", "2_12")
COMFYUI = (
    *("comfy", "comfy_api", "comfy_config", "comfy_execution", "utils", "app", "comfy_extras/nodes_upscale_model.py"),
    *("folder_paths.py", "comfyui_version.py", "node_helpers.py", "latent_preview.py", "protocol.py", "cuda_malloc.py"),
    "LICENSE",
)
"""Its folders are taken without anything but Python."""


class Refused(Exception):
    """A sentence for the user."""


def download(folder: Path, packages: Iterable[str], platforms: Iterable[str], abi: str = "") -> None:
    words = [
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.12",
    ]  # fmt: skip
    words += ["--implementation", "py", "--abi", abi] if abi else ["--implementation", "cp"]
    for platform in platforms:
        words += ["--platform", platform]
    done = subprocess.run([*words, "-d", str(folder), *packages], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"pip could not fetch {' '.join(packages)}: {done.stderr.strip().splitlines()[-1]}")


def pack_comfyui(source: Path, archive: Path) -> None:
    """A zip of it, which the drill unpacks."""
    with tempfile.TemporaryDirectory() as name:
        copy_comfyui(source, Path(name))
        shutil.make_archive(str(archive.with_suffix("")), "zip", name)


def copy_comfyui(source: Path, target: Path) -> None:
    if not (source / "comfy_extras" / "nodes_upscale_model.py").is_file():
        raise Refused(f"There is no ComfyUI at {source}; set COMFYUI_PATH.")
    for name in COMFYUI:
        origin, place = source / name, target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, place, ignore=_all_but_python)
        elif origin.is_file():
            shutil.copy(origin, place)
    (target / "comfy_extras" / "__init__.py").touch()


def _all_but_python(folder: str, names: list[str]) -> list[str]:
    return [
        name for name in names if name == "__pycache__" or not (name.endswith(".py") or (Path(folder) / name).is_dir())
    ]


def copy_weights(source: Path, target: Path) -> None:
    names = [f"{name}.safetensors" for name in REAL_WEIGHTS.values()]
    files = [source / name for name in names if (source / name).is_file()]
    if not files:
        raise Refused(f"There is none of {', '.join(names)} in {source}.")
    target.mkdir()
    for path in files:
        shutil.copy(path, target / path.name)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_size(folder: Path, limit: int = LIMIT) -> int:
    """Bytes of the folder. Raises ``Refused`` with the largest of its parts if they are too many."""
    size = size_of(folder)
    if size > limit:
        parts = sorted(((size_of(part) or part.stat().st_size, part.name) for part in folder.iterdir()), reverse=True)
        shown = ", ".join(f"{name} {bytes_ / 2**20:.1f}" for bytes_, name in parts)
        raise Refused(
            f"{folder.name} would be {size / 2**20:.1f} MiB, and {limit / 2**20:.0f} may travel ({shown}); give fewer "
            "weights."
        )
    return size


def gather(folder: Path, weights: Path | None) -> int:
    folder.mkdir(parents=True)
    try:
        platforms = [f"manylinux_{version}_x86_64" for version in MANYLINUX] + ["manylinux2014_x86_64"]
        download(folder / "wheels", PACKAGES, platforms)
        download(folder / "wheels", PURE_PACKAGES, ["any"], abi="none")
        pack_comfyui(comfyui_home(), folder / "ComfyUI.zip")
        if weights:
            copy_weights(weights, folder / "weights")
        return check_size(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, help="is made; it must not be there, or be one of ours")
    parser.add_argument("--weights", type=Path, help="folder of Real-ESRGAN weights to take along")
    options = parser.parse_args()
    if (options.folder / "wheels").is_dir():
        shutil.rmtree(options.folder)
    elif options.folder.exists():
        sys.exit(f"{options.folder} is there already, and is none of ours; name another folder.")
    try:
        size = gather(options.folder, options.weights)
    except Refused as reason:
        sys.exit(str(reason))
    folder = options.folder.resolve()
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    print(f"{folder}: {size / 2**20:.1f} MiB. On the machine with the card, from the root of this repository:")
    print(f"python3 benchmarks/gpu_drill.py --minutes 7 --bundle {shlex.quote(str(shown))} -o OUT")


if __name__ == "__main__":
    main()
