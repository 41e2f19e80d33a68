"""The models that come with the package: small, honest about flat areas and colours, better than bicubic."""

import pathlib

import numpy as np
import pytest
import torch
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.psnr import psnr
from backplate.core.training.checkpoint import read_card
from backplate.core.training.config import TrainSettings, load_settings
from backplate.core.training.degrade.pipeline import DegradationSettings, Mode, degrade
from backplate.core.training.settings_parser import as_mapping
from backplate.core.training.synthetic.pictures import draw_picture
from backplate.model_loader.loaded import load_model

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "model_loader" / "bundled"
BARS = {2: 1.5, 4: 0.8}
SCALES = sorted(BARS)


def path_of(scale):
    return FOLDER / f"backplate-lite-x{scale}.safetensors"


def _merged(settings, recorded):
    """``settings`` with every value that was recorded."""
    return {
        name: _merged(value, recorded.get(name, {})) if isinstance(value, dict) else recorded.get(name, value)
        for name, value in settings.items()
    }


def run(scale, picture):
    with torch.no_grad():
        return load_model(path_of(scale)).descriptor.model(picture).clamp(0, 1)


def bicubic(picture, size):
    return torch.nn.functional.interpolate(picture, size, mode="bicubic", antialias=True).clamp(0, 1)


@pytest.mark.parametrize("scale", SCALES)
def test_size_and_scale(scale):
    facts = load_model(path_of(scale)).facts
    assert facts.scale == scale
    assert facts.parameters <= 100_000
    assert path_of(scale).stat().st_size <= 300_000


@pytest.mark.parametrize("scale", SCALES)
def test_the_file_was_made_by_the_settings_beside_it(scale):
    pytest.importorskip("yaml", reason="settings files need PyYAML")
    settings = as_mapping(load_settings(TrainSettings(), FOLDER / f"backplate-lite-x{scale}.yaml"))
    card = read_card(path_of(scale))
    # Settings that were added later had their default's effect when the file was made.
    assert settings == _merged(settings, card["settings"])
    assert card["settings"]["data"]["folder"] == ""


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_flat_areas_stay_flat_and_colours_stay_right(scale, level):
    for colour in ((level, level, level), (level, 0.5, 1 - level)):
        flat = torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, 24, 24).contiguous()
        inner = run(scale, flat)[..., 8 * scale : -8 * scale, 8 * scale : -8 * scale]
        assert float((inner - flat[..., :1, :1]).abs().max()) * 255 < 1.0


@pytest.mark.parametrize("scale", SCALES)
def test_edges_have_no_more_halo_than_bicubic(scale):
    reference = torch.full((1, 3, 96, 96), 0.2)
    reference[..., 47:] = 0.8
    small = bicubic(reference, (96 // scale, 96 // scale))
    result, plain = run(scale, small), bicubic(small, (96, 96))
    ours, theirs = (float((each - each.clamp(0.2, 0.8)).abs().max()) for each in (result, plain))
    assert ours <= theirs + 0.01
    ours, theirs = (float((each - reference).abs().mean()) for each in (result, plain))
    assert ours < 0.8 * theirs


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", ["leaves", "text", "cel", "line-art"])
def test_drawn_pictures_that_it_never_saw_come_back_better_than_by_bicubic(scale, kind):
    drawn = np.stack([draw_picture(kind, 96, 96, np.random.default_rng([99, i])) for i in range(3)])
    reference = torch.as_tensor(drawn).permute(0, 3, 1, 2).float() / 255.0
    small = degrade(reference, scale, DegradationSettings(mode=Mode.BICUBIC), 0).degraded
    ours, theirs = (psnr(each, reference, border=scale) for each in (run(scale, small), bicubic(small, (96, 96))))
    assert sum(ours) / 3 > sum(theirs) / 3 + 0.5


@pytest.mark.parametrize("scale", SCALES)
def test_set5_bars(shared, scale):
    from backplate.core.media.picture.read import read_picture

    gains = []
    for path in sorted((shared / "images" / "set5").glob("*.bmp")):
        picture = read_picture(path).picture
        height, width = (side // scale * scale for side in picture.shape[-2:])
        reference = picture[..., :height, :width]
        small = (bicubic(reference, (height // scale, width // scale)) * 255).round() / 255
        values = [
            psnr((each * 255).round() / 255, reference, channel=Channel.Y, border=scale)[0]
            for each in (run(scale, small), bicubic(small, (height, width)))
        ]
        gains.append(values[0] - values[1])
    assert len(gains) == 5
    assert min(gains) > 0
    assert sum(gains) / 5 >= BARS[scale]
