"""Every architecture in tiles against the model on the whole picture: largest and mean difference in levels of 255.

    python benchmarks/architectures.py [--picture FILE] [--only NAME ...] [--weights FILE ...]

Small seeded networks, one for each architecture, and real weights where they are given. A row is *exact* (1e-4 of the
range), *within half a level*, or *said*: the job told the user by how much its tiles differ.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import load_pack, ours, parser_of
from PIL import Image

load_pack()

from seeded_models import NETWORKS, save_seeded  # noqa: E402

TILES = (64, 128, 256)
SIDE = 300
"""Longest side of the picture: more than one tile of every size."""


class Notes(ours("core.progress").Progress):
    """Keeps the sentences of one run."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def note(self, sentence: str) -> None:
        self.sentences.append(sentence)


def picture_of(file: Path | None, channels: int) -> torch.Tensor:
    """(1, C, H, W): a part of the file, or drawn texture."""
    if file is None:
        return ours("core.engines.influence").sample_strip(SIDE - 80, SIDE, channels)[1:]
    values = np.asarray(Image.open(file).convert("RGB"))[: SIDE - 80, :SIDE]
    colour = torch.from_numpy(values.copy()).permute(2, 0, 1)[None].float() / 255
    return colour if channels == 3 else colour[:, :channels]


def verdict(largest: float, notes: list[str]) -> str:
    if largest <= 1e-4 * 255:
        return "exact"
    if largest <= 0.5:
        return "half"
    return "said" if notes else "SILENT"


def row(model: Any, file: Path | None) -> str:
    pipeline, eager = ours("core.tiled.pipeline"), ours("core.engines.pytorch.eager")
    upscaler = eager.EagerUpscaler(model, torch.device("cpu"))
    picture = picture_of(file, model.facts.input_channels)
    with torch.inference_mode():
        whole = model.descriptor(picture.clone())
    cells = []
    for tile in (*TILES, 0):
        notes = Notes()
        result = pipeline.upscale(picture, upscaler, pipeline.TileSettings(size=tile), notes)
        change = 255 * (result - whole).abs()
        largest = float(change.max())
        cells.append(f"{largest:8.2g} {float(change.mean()):8.2g} {verdict(largest, notes.sentences):6}")
    halo = upscaler.spec.halo
    reach = "whole" if halo.unbounded else str(halo.pixels)
    return f"{halo.grid:4} {reach:>5}  " + " | ".join(cells)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--weights", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'':24}cell reach  " + " | ".join(f"{name:>24}" for name in ("tiles of 64", "128", "256", "automatic")))
    loaded = ours("model_loader.loaded")
    with tempfile.TemporaryDirectory() as folder:
        names = options.only or ([] if options.weights else NETWORKS)
        for name in names:
            print(f"{name:24}{row(loaded.load_model(save_seeded(name, Path(folder))), options.picture)}", flush=True)
    for file in options.weights:
        print(f"{file.stem[:23]:24}{row(loaded.load_model(file), options.picture)}", flush=True)


if __name__ == "__main__":
    main()
