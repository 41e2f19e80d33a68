import json

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.filters import gaussian
from backplate.core.media.picture.read import write_picture
from backplate.core.training.config import RECIPES
from backplate.core.training.degrade.pipeline import DegradationSettings, Mode
from backplate.core.training.degrade.random_draws import seeded
from backplate.core.training.diagnose import (
    DiagnoseSettings,
    Failure,
    conclude,
    describe,
    diagnose,
    measure_failures,
    skin_share,
    worst_window,
)
from backplate.core.training.synthetic.pictures import draw_picture
from backplate.core.types import SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from recorder import Recorder


def drawn(kind: str, seed: int = 1, size: int = 160) -> torch.Tensor:
    picture = draw_picture(kind, size, size, np.random.default_rng(seed))
    return torch.as_tensor(picture).permute(2, 0, 1)[None].float() / 255.0


def photograph(size: int = 160) -> torch.Tensor:
    """Something of everything: a shaded wall, a hard edge, a patch of fine texture."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    picture = (0.3 + 0.1 * rows).expand(1, 3, size, size).clone()
    picture[..., columns > 0.7] += 0.4
    grain = gaussian(torch.randn(1, 1, size, size, generator=seeded(1)), 1.0)
    grain = 0.03 * grain / grain.std()
    return (picture + grain * ((columns > 0.1) & (columns < 0.4))).clamp(0, 1)


def blurred(picture):
    return gaussian(picture, 1.5)


def ringing(picture):
    # Unsharp masking with a radius wider than the edge.
    return picture + 1.0 * (picture - gaussian(picture, 3.0))


def smoothed(picture):
    edge = (picture - gaussian(picture, 4.0)).abs() > 0.1
    return torch.where(edge, picture, gaussian(picture, 1.5))


def shifted(picture):
    return picture + torch.tensor([0.03, 0.0, -0.03]).reshape(1, 3, 1, 1)


def noisy(picture):
    return picture + 0.015 * torch.randn(picture.shape, generator=seeded(2))


HARMS = {
    Failure.BLUR: blurred,
    Failure.RINGING: ringing,
    Failure.SMOOTHING: smoothed,
    Failure.COLOUR: shifted,
    Failure.NOISE: noisy,
}


def test_a_perfect_model_has_no_failures():
    picture = photograph()
    assert measure_failures(picture, picture) == {failure.value: 0.0 for failure in Failure}


@pytest.mark.parametrize("failure", list(Failure))
def test_each_failure_is_recognised(failure):
    picture = photograph()
    report = describe("made", HARMS[failure](picture).clamp(0, 1), picture)
    assert report.worst > 1.0
    if failure is Failure.BLUR:
        # Blur takes texture along; on its own ground it is seen all the same.
        assert report.severity(failure) > 1.0
        assert report.dominant in (Failure.BLUR, Failure.SMOOTHING)
    else:
        assert report.dominant is failure


def test_severity_grows_with_the_harm():
    picture = photograph()
    amounts = [
        measure_failures(picture + k * (shifted(picture) - picture), picture)[Failure.COLOUR.value] for k in (1, 2, 3)
    ]
    assert amounts == pytest.approx([amounts[0], 2 * amounts[0], 3 * amounts[0]], rel=1e-3)
    assert amounts[0] == pytest.approx(255 * 0.02, rel=0.02)


def test_drawings_get_the_recipe_for_drawings_and_photographs_that_for_photographs():
    cels = [drawn("cel", seed, 256) for seed in range(4)]
    assert conclude([describe(str(i), blurred(c), c) for i, c in enumerate(cels)]).recipe == "anime"
    leaves = [drawn("leaves", seed, 256) for seed in range(3)]
    assert conclude([describe(str(i), blurred(c), c) for i, c in enumerate(leaves)]).recipe == "photo"


def test_smoothed_skin_gets_the_portrait_recipe():
    skin = torch.tensor([0.85, 0.62, 0.52]).reshape(1, 3, 1, 1).expand(1, 3, 128, 128)
    pores = gaussian(torch.randn(1, 1, 128, 128, generator=seeded(3)), 0.8)
    picture = (skin + 0.02 * pores / pores.std()).clamp(0, 1)
    result = conclude([describe("face", gaussian(picture, 2.0), picture)])
    assert (result.dominant, result.recipe) == (Failure.SMOOTHING, "portrait")
    assert result.recipe in RECIPES


@pytest.mark.parametrize(
    ("colour", "is_skin"),
    [((0.85, 0.62, 0.52), True), ((0.36, 0.22, 0.16), True), ((0.2, 0.5, 0.2), False), ((0.5, 0.5, 0.5), False)],
)
def test_skin_of_light_and_dark_people_is_skin(colour, is_skin):
    assert skin_share(torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)) == float(is_skin)


def test_the_ranking_begins_with_the_worst_and_says_so():
    picture = photograph()
    reports = [
        describe("fine.png", picture, picture),
        describe("bad.png", (picture + 3 * (shifted(picture) - picture)).clamp(0, 1), picture),
        describe("poor.png", shifted(picture).clamp(0, 1), picture),
    ]
    result = conclude(reports)
    assert [report.name for report in result.pictures] == ["bad.png", "poor.png", "fine.png"]
    assert result.dominant is Failure.COLOUR
    lines = result.text().splitlines()
    assert "bad.png (colour shift" in lines[1]
    assert lines[-1].startswith("colour shift dominates: on average")


def test_a_good_model_is_told_apart_from_one_worth_training():
    picture = photograph()
    assert "little to gain from training" in conclude([describe("fine.png", picture, picture)]).reason


def test_the_worst_window_holds_the_error():
    reference = torch.zeros(1, 3, 200, 300)
    output = reference.clone()
    output[..., 120:130, 220:230] = 0.5
    top, left, side = worst_window(output, reference)
    assert top <= 120
    assert top + side >= 130
    assert left <= 220
    assert left + side >= 230


class Nearest:
    """An upscaler by repetition."""

    spec = UpscalerSpec(
        name="nearest",
        scale=2,
        input_channels=3,
        output_channels=3,
        size_rule=SizeRule(),
        halo=Halo(pixels=0, exact=True),
        max_tile_pixels=1 << 16,
    )

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(picture.float(), scale_factor=2, mode="nearest").clamp(0, 1)


def test_crops_and_figures_are_written_and_the_unusable_is_named(tmp_path):
    folder, out, progress = tmp_path / "pictures", tmp_path / "diagnosis", Recorder()
    folder.mkdir()
    for index in range(3):
        write_picture(folder / f"{index}.png", drawn("cel", index, 120))
    write_picture(folder / "tiny.png", drawn("cel", 5, 20))
    (folder / "broken.png").write_bytes(b"not a picture")

    settings = DiagnoseSettings(degradation=DegradationSettings(mode=Mode.BICUBIC), worst=2)
    result = diagnose(Nearest(), folder, out, settings, progress)
    assert {report.name for report in result.pictures} == {"0.png", "1.png", "2.png"}
    assert len(list(out.glob("*.png"))) == 2
    written = json.loads((out / "diagnosis.json").read_text())
    assert written["recipe"] == result.recipe
    assert [row["name"] for row in written["pictures"]] == [report.name for report in result.pictures]
    assert any("tiny.png" in note for note in progress.notes)
    assert any("broken.png" in note for note in progress.notes)


def test_a_folder_without_a_usable_picture_is_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="None of the 1 pictures"):
        diagnose(Nearest(), tmp_path, None)
