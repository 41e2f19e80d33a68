"""The models that come with the package: small, honest about flat areas and colours, better than bicubic."""

import pathlib

import numpy as np
import pytest
import torch
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.psnr import psnr
from backplate.core.parsed import as_plain
from backplate.core.training.config import TrainSettings, load_settings
from backplate.core.training.degrade.pipeline import DegradationSettings, Mode, degrade
from backplate.core.training.synthetic.pictures import draw_picture
from backplate.model_loader.licences import card_of
from backplate.model_loader.loaded import load_model
from bundled_models import PHOTOGRAPHS, SET5, examples, to_8_bits

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "model_loader" / "bundled"
# Least gains in dB over bicubic on average: on Set5, and on photographs.
BARS = {
    "backplate-lite-x2": (2.7, 1.4),
    "backplate-lite-x4": (1.7, 1.1),
    "backplate-standard-x2": (2.8, 1.3),
    "backplate-standard-x4": (2.0, 1.1),
}
LIMITS = {"lite": (100_000, 300_000), "standard": (700_000, 1_500_000)}
"""Parameters and bytes."""
MODELS = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def path_of(model):
    return FOLDER / f"{model}.safetensors"


def scale_of(model):
    return int(model.rpartition("x")[2])


def _merged(settings, recorded):
    """``settings`` with every value that was recorded."""
    return {
        name: _merged(value, recorded.get(name, {})) if isinstance(value, dict) else recorded.get(name, value)
        for name, value in settings.items()
    }


def run(model, picture):
    with torch.no_grad():
        return load_model(path_of(model)).descriptor.model(picture).clamp(0, 1)


def bicubic(picture, size):
    return torch.nn.functional.interpolate(picture, size, mode="bicubic", antialias=True).clamp(0, 1)


def test_every_model_has_a_bar():
    assert sorted(BARS) == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_size_and_scale(model):
    facts = load_model(path_of(model)).facts
    parameters, size = LIMITS[model.split("-")[1]]
    assert facts.scale == scale_of(model)
    assert facts.parameters <= parameters
    assert path_of(model).stat().st_size <= size


@pytest.mark.parametrize("model", MODELS)
def test_the_file_was_made_by_the_settings_beside_it(model):
    pytest.importorskip("yaml", reason="settings files need PyYAML")
    settings = as_plain(load_settings(TrainSettings(), FOLDER / f"{model}.yaml"))
    card = card_of(path_of(model))
    # Settings that were added later had their default's effect when the file was made.
    assert settings == _merged(settings, card["settings"])
    assert card["settings"]["data"]["folder"] == ""
    assert card["steps"] == settings["steps"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_flat_areas_stay_flat_and_colours_stay_right(model, level):
    inner = slice(12 * scale_of(model), -12 * scale_of(model))
    for colour in ((level, level, level), (level, 0.5, 1 - level)):
        flat = torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, 40, 40).contiguous()
        result = run(model, flat)[..., inner, inner]
        assert float((result - flat[..., :1, :1]).abs().max()) * 255 < 1.0


@pytest.mark.parametrize("model", MODELS)
def test_edges_have_no_more_halo_than_bicubic(model):
    reference = torch.full((1, 3, 96, 96), 0.2)
    reference[..., 47:] = 0.8
    small = bicubic(reference, (96 // scale_of(model), 96 // scale_of(model)))
    result, plain = run(model, small), bicubic(small, (96, 96))
    ours, theirs = (float((each - each.clamp(0.2, 0.8)).abs().max()) for each in (result, plain))
    assert ours <= theirs + 0.01
    ours, theirs = (float((each - reference).abs().mean()) for each in (result, plain))
    assert ours < 0.8 * theirs


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["leaves", "text", "cel", "line-art"])
def test_drawn_pictures_that_it_never_saw_come_back_better_than_by_bicubic(model, kind):
    drawn = np.stack([draw_picture(kind, 96, 96, np.random.default_rng([99, i])) for i in range(3)])
    reference = torch.as_tensor(drawn).permute(0, 3, 1, 2).float() / 255.0
    small = degrade(reference, scale_of(model), DegradationSettings(mode=Mode.BICUBIC), 0).degraded
    ours, theirs = (
        psnr(each, reference, border=scale_of(model)) for each in (run(model, small), bicubic(small, (96, 96)))
    )
    assert sum(ours) / 3 > sum(theirs) / 3 + 0.5


def gains(model, folder, names):
    """PSNR of the luma over that of bicubic, dB, of each file that was reduced by bicubic weights."""
    scale = scale_of(model)
    for each in examples(folder, names, scale):
        ours, theirs = (
            psnr(to_8_bits(result), each.reference, channel=Channel.Y, border=scale)[0]
            for result in (run(model, each.small), bicubic(each.small, each.reference.shape[-2:]))
        )
        yield ours - theirs


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("folder", "names"), [("set5", SET5), ("realesrgan", PHOTOGRAPHS)])
def test_gain_over_bicubic_on_pictures_that_it_never_saw(shared, model, folder, names):
    gained = list(gains(model, shared / "images" / folder, names))
    assert min(gained) > 0
    assert sum(gained) / len(gained) >= BARS[model][0 if folder == "set5" else 1]
