import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
        Image.fromarray(coarse).resize((80, 64), Image.Resampling.NEAREST).save(folder / f"{index}.png")
    return folder


def test_the_worst_failure_and_a_recipe_are_printed(backplate, model, photographs, tmp_path):
    out = tmp_path / "crops"
    done = backplate("diagnose", "-m", model, "--data", photographs, "-o", out, "--device", "cpu", "--worst", 2, code=0)
    assert " dominates: on average " in done.stdout
    assert "Recipe: " in done.stdout
    assert len(list(out.glob("*.png"))) == 2
    assert len(json.loads((out / "diagnosis.json").read_text())["pictures"]) == 3


def test_without_a_folder_nothing_is_written(backplate, model, photographs, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert backplate("diagnose", "-m", model, "--data", photographs, "--degradation", "cel").exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_degradation_is_misuse(backplate, model, photographs):
    done = backplate("diagnose", "-m", model, "--data", photographs, "--degradation", "vhs", code=2)
    assert "choose one of second-order, bicubic, jpeg, cel" in done.stderr
