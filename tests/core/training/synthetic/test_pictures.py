import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.training.synthetic import dead_leaves as leaves
from backplate.core.training.synthetic import palette, textures
from backplate.core.training.synthetic import pictures as synthetic


@pytest.mark.parametrize("kind", sorted(synthetic.PAINTERS))
@pytest.mark.parametrize(("height", "width"), [(40, 64), (33, 17)])
def test_a_seed_decides_the_picture(kind, height, width):
    first, second, other = (
        synthetic.draw_picture(kind, height, width, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first.shape == (height, width, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("alpha", [2.2, 3.0])
def test_leaf_sizes_follow_the_power_law(alpha):
    radii = leaves.draw_radii(np.random.default_rng(0), 200_000, 2.0, 200.0, alpha)
    assert radii.min() >= 2.0 * (1 - 1e-6)
    assert radii.max() <= 200.0 * (1 + 1e-6)
    # Survival function of the truncated law, from its density by hand.
    for size in (3.0, 10.0, 50.0):
        expected = (size ** (1 - alpha) - 200.0 ** (1 - alpha)) / (2.0 ** (1 - alpha) - 200.0 ** (1 - alpha))
        assert (radii > size).mean() == pytest.approx(expected, abs=4e-3)


def test_dead_leaves_have_the_spectrum_of_photographs():
    # Power of natural pictures falls as frequency to the minus 2, give or take (Field 1987; van der Schaaf 1996).
    power = np.zeros((128, 128))
    for seed in range(12):
        picture = synthetic.draw_picture("leaves", 128, 128, np.random.default_rng(seed)).mean(-1)
        window = np.hanning(128)[:, None] * np.hanning(128)[None, :]
        power += np.abs(np.fft.fft2((picture - picture.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None, :])
    bands = np.geomspace(0.03, 0.35, 9)
    mean = [power[(frequency >= a) & (frequency < b)].mean() for a, b in zip(bands, bands[1:], strict=False)]
    slope = np.polyfit(np.log(np.sqrt(bands[1:] * bands[:-1])), np.log(mean), 1)[0]
    assert -3.2 < slope < -1.4


def test_oklab_known_colours():
    # White, black and the sRGB primary red in Oklab, as published by its author.
    known = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.62796, 0.22486, 0.12585]])
    np.testing.assert_allclose(palette.oklab_to_srgb(known), [[1, 1, 1], [0, 0, 0], [1, 0, 0]], atol=2e-3)


def test_colours_are_mostly_muted_but_reach_every_hue():
    rng = np.random.default_rng(0)
    colours = np.concatenate([palette.draw_palette(rng, 20) for _ in range(200)])
    spread = colours.max(1) - colours.min(1)
    assert np.median(spread) < 0.25
    assert (spread > 0.5).mean() > 0.02
    assert colours.mean(0) == pytest.approx(np.full(3, colours.mean()), abs=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_textures_stay_in_range(seed):
    field = textures.draw_texture(50, 70, np.random.default_rng(seed))
    assert field.shape == (50, 70)
    assert np.abs(field).max() <= 1.0
    assert field.std() > 0.01


def test_pictures_are_numbered_and_independent_of_the_order_asked():
    forwards, backwards = (synthetic.SyntheticPictures(3, 32, seed=5) for _ in range(2))
    expected = [forwards[i] for i in range(3)]
    for index in (2, 0, 1):
        assert (backwards[index] == expected[index]).all()
    with pytest.raises(IndexError):
        forwards[3]


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(InputError, match="'watercolour'"):
        synthetic.SyntheticPictures(1, 32, seed=0, mixture={"watercolour": 1.0})
