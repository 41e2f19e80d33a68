"""Reference pictures for training: found, checked, split, and cropped in a way that depends on the step alone."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...model_loader.errors import one_line
from ..errors import InputError
from ..media.picture.read import READABLE_SUFFIXES, read_picture
from ..media.picture_folder import is_litter
from .config import DataSettings, ValidationSettings
from .degrade.random_draws import seeded
from .synthetic.pictures import MIXTURE, SyntheticPictures

FEWEST_PICTURES = 2
"""One for training and one for validation."""


class Pictures(Protocol):
    """A fixed sequence of pictures, each (3, H, W) uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


@dataclass(frozen=True)
class Collection:
    """References, their split, and facts about them."""

    pictures: Pictures
    training: tuple[int, ...]
    validation: tuple[int, ...]
    names: tuple[str, ...]
    fingerprint: str
    """SHA-256 over the names, sizes and first 64 KiB of the files, or over the settings of drawn pictures."""


def find_pictures(folder: Path) -> list[Path]:
    """Every picture file in ``folder`` and below, sorted, without hidden and system files. Raises ``InputError``."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name the folder that holds the training pictures.")
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        # os.walk descends into the folders left in this list, in its order.
        folders[:] = sorted(name for name in folders if not is_litter(name))
        found += [Path(root, n) for n in names if n.lower().endswith(READABLE_SUFFIXES) and not is_litter(n)]
    if not found:
        raise InputError(f"There are no pictures in {folder}; it should hold files such as .png or .jpg.")
    return sorted(found)


def check_apart(out: Path, folder: Path) -> None:
    """Raises ``InputError`` if output in ``out`` would be found among the pictures of ``folder``."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{out} lies inside the folder of pictures {folder}, where its samples would become training pictures; "
            "name a folder outside."
        )


class FolderPictures:
    """The pictures of a folder that are readable and large enough, decoded on demand.

    ``broken`` collects sentences about those that turn out to be damaged later; the next good one replaces them.
    """

    def __init__(self, paths: Sequence[Path], cache_bytes: int) -> None:
        self.paths = tuple(paths)
        self.broken: dict[int, str] = {}
        self._limit, self._used = cache_bytes, 0
        self._cache: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """Picture ``index`` as (3, H, W) uint8, transparency ignored."""
        for offset in range(len(self.paths)):
            candidate = (index + offset) % len(self.paths)
            if candidate in self.broken:
                continue
            try:
                return self._decoded(candidate)
            except InputError as error:
                self.broken[candidate] = str(error)
        raise InputError(f"None of the {len(self.paths)} training pictures can be read; the last: {self.broken[index]}")

    def _decoded(self, index: int) -> Tensor:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        picture = read_picture(self.paths[index]).picture[0]
        decoded = (picture.clamp(0, 1) * 255.0).round().to(torch.uint8).expand(3, -1, -1).contiguous()
        self._cache[index] = decoded
        self._used += decoded.numel()
        while self._used > self._limit and len(self._cache) > 1:
            self._used -= self._cache.popitem(last=False)[1].numel()
        return decoded


def _smallest_side(path: Path) -> int:
    """Shorter side in pixels, from the header alone. Raises ``InputError`` for an unreadable header."""
    try:
        with cast("Any", Image.open)(path) as image:
            return min(cast("tuple[int, int]", image.size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name} cannot be read ({one_line(error, 100)}).") from error


def _usable(paths: Sequence[Path], smallest: int, note: Callable[[str], None]) -> list[Path]:
    """The pictures that can be opened and contain a crop; a note counts the others."""
    usable: list[Path] = []
    small: list[Path] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            (usable if _smallest_side(path) >= smallest else small).append(path)
        except InputError as error:
            unreadable.append(str(error))
    if unreadable:
        note(f"{len(unreadable)} of {len(paths)} pictures cannot be read and are left out; the first: {unreadable[0]}")
    if small:
        note(
            f"{len(small)} of {len(paths)} pictures have a side under {smallest} pixels and are left out "
            f"({small[0].name}); data.crop={smallest} decides."
        )
    return usable


def _permutation(count: int, *seed: int) -> list[int]:
    return [int(index) for index in torch.randperm(count, generator=seeded(*seed))]


def split(count: int, validation: ValidationSettings, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices for training and for validation: a random share is held out, at least one picture, and at most ``most``
    of them are used."""
    order = _permutation(count, seed, 11)
    held_out = min(max(round(count * validation.share), 1), count - 1)
    return tuple(sorted(order[held_out:])), tuple(sorted(order[: min(held_out, validation.most)]))


def _file_fingerprint(paths: Sequence[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        digest.update(head)
    return digest.hexdigest()


def open_folder(
    data: DataSettings, validation: ValidationSettings, seed: int, note: Callable[[str], None]
) -> Collection:
    """The pictures of ``data.folder``. Raises ``InputError`` for a folder with too few usable ones."""
    folder = Path(data.folder).expanduser()
    found = find_pictures(folder)
    paths = _usable(found, max(data.crop, 1), note)
    if len(paths) < FEWEST_PICTURES:
        raise InputError(
            f"{folder} holds {len(found)} pictures, of which {len(paths)} can be used; at least {FEWEST_PICTURES} with "
            f"sides of {data.crop} pixels are needed: add pictures, or lower data.crop."
        )
    training, held_out = split(len(paths), validation, seed)
    names = tuple(path.relative_to(folder).as_posix() for path in paths)
    pictures = FolderPictures(paths, data.cache_megabytes << 20)
    return Collection(pictures, training, held_out, names, _file_fingerprint(paths, folder))


def open_drawn(data: DataSettings, validation: ValidationSettings, seed: int) -> Collection:
    """Pictures that this package draws. Raises ``InputError`` for sizes that cannot contain a crop."""
    if data.drawn < FEWEST_PICTURES or data.drawn_size < data.crop:
        raise InputError(
            f"{data.drawn} drawn pictures of {data.drawn_size} pixels cannot give crops of {data.crop}; draw at least "
            f"{FEWEST_PICTURES}, as large as data.crop."
        )
    mixture = {kind: float(times) for kind, times in Counter(data.drawn_kinds).items()} or dict(MIXTURE)
    pictures = SyntheticPictures(data.drawn, data.drawn_size, seed, mixture)
    training, held_out = split(data.drawn, validation, seed)
    names = tuple(f"drawn {seed}/{index}" for index in range(data.drawn))
    facts = f"{seed} {data.drawn} {data.drawn_size} {sorted(mixture.items())}"
    return Collection(pictures, training, held_out, names, hashlib.sha256(facts.encode()).hexdigest())


def open_collection(
    data: DataSettings, validation: ValidationSettings, seed: int, note: Callable[[str], None]
) -> Collection:
    """Pictures from the folder if there is one, otherwise drawn ones."""
    return open_folder(data, validation, seed, note) if data.folder else open_drawn(data, validation, seed)


def picked(indices: Sequence[int], step: int, batch: int, seed: int) -> list[int]:
    """The pictures for step ``step``: every picture once per epoch, in an order determined by the seed."""
    places = [divmod(position, len(indices)) for position in range(step * batch, (step + 1) * batch)]
    orders = {epoch: _permutation(len(indices), seed, 12, epoch) for epoch in {epoch for epoch, _ in places}}
    return [indices[orders[epoch][place]] for epoch, place in places]


def _crop(picture: Tensor, data: DataSettings, rng: np.random.Generator) -> Tensor:
    top = int(rng.integers(picture.shape[-2] - data.crop + 1))
    left = int(rng.integers(picture.shape[-1] - data.crop + 1))
    piece = picture[:, top : top + data.crop, left : left + data.crop]
    mirror, turn = rng.random() < 0.5, int(rng.integers(4))
    if data.flips:
        piece = torch.rot90(piece.flip(-1) if mirror else piece, turn, (-2, -1))
    if data.shuffle_colours:
        piece = piece[torch.as_tensor(rng.permutation(3))]
    return piece


def training_batch(collection: Collection, data: DataSettings, batch: int, seed: int, step: int) -> Tensor:
    """(batch, 3, crop, crop) uint8 for ``step``, always the same."""
    rng = np.random.default_rng([seed, 13, step])
    indices = picked(collection.training, step, batch, seed)
    return torch.stack([_crop(collection.pictures[index], data, rng) for index in indices])


def validation_crops(collection: Collection, side: int, multiple: int, *, square: bool = False) -> list[Tensor]:
    """The middle of each held-out picture, (1, 3, h, w) float 0..1, with sides up to ``side`` that are multiples of
    ``multiple``."""
    crops: list[Tensor] = []
    for index in collection.validation:
        picture = collection.pictures[index]
        height, width = (min(length, side) // multiple * multiple for length in picture.shape[-2:])
        if square:
            height = width = min(height, width)
        top, left = (picture.shape[-2] - height) // 2, (picture.shape[-1] - width) // 2
        crops.append(picture[None, :, top : top + height, left : left + width].float() / 255.0)
    return crops
