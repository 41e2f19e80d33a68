"""Words on small labels stay readable: a text recogniser reads them as often as in a plain enlargement."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.fidelity_lock import LockSettings, fidelity_lock
from backplate.core.image.keep_colours import keep_colours
from backplate.core.image.resize import resize
from backplate.core.types import Size
from backplate.model_loader.loaded import load_model

MODEL = Path(os.environ.get("BACKPLATE_SHARED", "/nowhere"), "weights", "realesr-general-x4v3.safetensors")


@pytest.fixture
def labels(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("labels")


def test_labels_are_the_same_for_the_same_seed_and_have_several_sizes(labels: ModuleType):
    first, words = labels.label(3)
    second, again = labels.label(3)
    assert torch.equal(first, second)
    assert words == again
    assert len({labels.label(seed)[0].shape[2] for seed in range(5)}) == 5


def test_small_print_that_a_model_made_unreadable_is_read_again_when_it_is_locked(labels: ModuleType):
    pytest.importorskip("rapidocr_onnxruntime", reason="text is read by the extra ocr")
    if not MODEL.is_file():
        pytest.skip("BACKPLATE_SHARED names no folder with the weights of realesr-general-x4v3")
    upscaler = EagerUpscaler(load_model(MODEL), torch.device("cpu"))
    counts = [0, 0, 0]
    for seed in (0, 5, 6):
        source, words = labels.label(seed)
        own = torch.cat(list(keep_colours(iter([upscaler(source)]), source, 4)), dim=2)
        locked = fidelity_lock(own, source, LockSettings(register=False)).picture
        plain = resize(source, Size(own.shape[3], own.shape[2]))
        for index, result in enumerate((plain, own, locked)):
            counts[index] += labels.words_read(result, words)
    assert counts[2] >= counts[0] > counts[1]


def test_words_gained_come_with_the_interval_of_chance(script: Callable[[str], ModuleType]):
    """Two labels of ten words: 2 and 0 more are 10 in a hundred on average, with a standard error of 10."""
    gained, chance = script("fidelity").difference([9, 5], [7, 5], [10, 10])
    assert gained == pytest.approx(10)
    assert chance == pytest.approx(19.6)
