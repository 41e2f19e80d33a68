"""Scenes against what is known of photographs, and the photographs themselves."""

import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.training.synthetic import photographs, scenes
from backplate.core.training.synthetic.pictures import draw_picture

SIDE = 192


@pytest.fixture(scope="module")
def drawn():
    return [draw_picture("scene", SIDE, SIDE, np.random.default_rng(seed)).mean(-1) for seed in range(16)]


def power_exponent(pictures):
    """The exponent of the power spectrum between 2 and 35 hundredths of a cycle a pixel, pictures of equal weight."""
    window = np.hanning(SIDE)[:, None] * np.hanning(SIDE)[None, :]
    power = sum(np.abs(np.fft.fft2((each - each.mean()) * window)) ** 2 / each.var() for each in pictures)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :])
    edges = np.geomspace(0.02, 0.35, 11)
    bands = [power[(frequency >= low) & (frequency < high)].mean() for low, high in zip(edges, edges[1:], strict=False)]
    return np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(bands), 1)[0]


def gradient_kurtosis(picture):
    steps = np.concatenate([np.diff(picture, axis=axis).ravel() for axis in (0, 1)])
    return ((steps - steps.mean()) ** 4).mean() / steps.var() ** 2


def test_the_power_spectrum_falls_as_that_of_photographs(drawn):
    # -2 by D. J. Field, 1987; -1.6 to -3, -2.4 on average, by Tolhurst, Tadmor and Chao, 1992 (twice their exponents of
    # the amplitude).
    assert -2.4 < power_exponent(drawn) < -1.7


def test_gradients_have_the_heavy_tails_of_photographs(drawn):
    # A Gaussian has 3; photographs far more (Huang and Mumford, 1999): mostly small steps, and edges.
    assert 7.0 < np.median([gradient_kurtosis(each) for each in drawn]) < 15.0


@pytest.mark.parametrize("exponent", [0.6, 1.0])
def test_noise_has_the_exponent_that_was_asked_for(exponent):
    rng = np.random.default_rng(1)
    fields = [scenes.natural_noise(SIDE, SIDE, rng, exponent).mean(-1) for _ in range(6)]
    assert power_exponent(fields) == pytest.approx(-2.0 * exponent, abs=0.15)


def test_the_channels_of_noise_vary_together():
    field = scenes.natural_noise(64, 64, np.random.default_rng(0), 1.0).reshape(-1, 3)
    assert np.corrcoef(field.T)[np.triu_indices(3, 1)].min() > 0.6


def test_every_photograph_says_that_anybody_may_use_it():
    pytest.importorskip("skimage", reason="the photographs are those of scikit-image")
    for each in photographs.PHOTOGRAPHS:
        assert each.licence.startswith(("CC0 ", "public domain "))
        assert min(photographs.read_photograph(each.file).shape[:2]) / each.reduction >= 256


def test_a_piece_larger_than_its_photograph_is_mirrored():
    pytest.importorskip("skimage", reason="the photographs are those of scikit-image")
    piece = photographs.draw_photograph(2000, 1500, np.random.default_rng(0))
    assert piece.shape == (2000, 1500, 3)
    assert piece.std() > 10


def test_without_the_package_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install scikit-image"):
        photographs.photograph_folder()
