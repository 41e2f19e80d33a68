"""Rounding to 8 bits: gradients without bands, everything else as before."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from backplate.core.image.dither import Dither, still_areas, to_levels, triangular
from backplate.core.image.hash_noise import uniform
from backplate.core.types import Box, FloatBox, Size

DITHERS = list(Dither)


def gradient(levels: float, size: tuple[int, int] = (200, 1200), start: float = 100) -> torch.Tensor:
    """Across, over so many levels of 255."""
    ramp = torch.linspace(start, start + levels, size[1]) / 255
    return ramp.expand(1, 3, *size).clone()


def longest_run(row: np.ndarray) -> int:
    steps = np.flatnonzero(np.diff(row.astype(int)))
    return int(np.diff(np.concatenate([[-1], steps, [len(row) - 1]])).max())


def slow_error(result: np.ndarray, picture: torch.Tensor) -> float:
    """What of the rounding error is left after looking at it from a distance: over 15 pixels, in levels."""
    error = result.astype(np.float32) - picture[0].permute(1, 2, 0).numpy() * 255
    return float(np.sqrt(np.mean(cv2.blur(error, (15, 15)) ** 2)))


def whole(picture: torch.Tensor, dither: Dither, **more: object) -> np.ndarray:
    return to_levels(picture, dither, 0, picture.shape[2], **more)


@pytest.mark.parametrize("levels", [2, 6, 20, 60])
def test_a_smooth_gradient_has_no_bands(levels: int) -> None:
    picture = gradient(levels)
    plain, dithered = whole(picture, Dither.OFF), whole(picture, Dither.AUTO)
    width = 1200 / levels
    assert longest_run(plain[7, :, 0]) >= width * 0.9
    if width > 100:
        assert longest_run(dithered[7, :, 0]) < 50
    assert slow_error(dithered, picture) < 0.03
    assert slow_error(plain, picture) > 2.5 * slow_error(dithered, picture)
    assert np.abs(dithered - picture[0].permute(1, 2, 0).numpy() * 255).max() <= 1.5


def test_the_noise_is_triangular_and_weak_where_the_eye_is_sharp() -> None:
    """Variance of a triangle from -1 to 1 is 1/6; of what is left after averaging along a row, next to nothing."""
    noise = triangular(range(400), 400, 0)
    assert abs(noise.var() - 1 / 6) < 0.003
    assert abs(noise.mean()) < 1e-3
    assert np.abs(noise).max() <= 1
    spectrum = (np.abs(np.fft.rfft(noise, axis=1)) ** 2).mean(axis=0)
    assert spectrum[1:20].mean() < spectrum[-20:].mean() / 50


def test_uniform_numbers_depend_on_place_and_seed_alone() -> None:
    numbers = uniform(range(300), range(300), 5)
    assert np.array_equal(numbers[40:60, 100:120], uniform(range(40, 60), range(100, 120), 5))
    assert abs(numbers.mean() - 0.5) < 0.005
    assert abs(numbers.var() - 1 / 12) < 0.002
    for shifted in (numbers[1:], numbers[:, 1:]):
        other = numbers[: shifted.shape[0], : shifted.shape[1]]
        assert abs(np.corrcoef(shifted.ravel(), other.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(numbers.ravel(), uniform(range(300), range(300), 6).ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("dither", DITHERS)
@pytest.mark.parametrize("level", [0, 0.4, 127.5, 127.8, 200, 254.6, 255])
def test_an_area_of_one_colour_stays_of_one_colour(dither: Dither, level: float) -> None:
    flat = torch.full((1, 3, 80, 80), level / 255)
    assert len(np.unique(whole(flat, dither))) == 1


@pytest.mark.parametrize("dither", DITHERS)
def test_white_and_black_stay(dither: Dither) -> None:
    picture = gradient(3, start=252.5)
    plain, result = whole(picture, Dither.OFF), whole(picture, dither)
    assert (result[plain == 255] == 255).all()
    dark = gradient(3, start=0)
    plain, result = whole(dark, Dither.OFF), whole(dark, dither)
    assert (result[plain == 0] == 0).all()


@pytest.mark.parametrize("dither", DITHERS)
def test_what_was_read_from_8_bits_comes_back(dither: Dither) -> None:
    levels = torch.randint(0, 256, (1, 3, 90, 90), generator=torch.Generator().manual_seed(1))
    steps = (torch.arange(90) // 9).expand(1, 3, 90, 90) + 90
    for picture in (levels, steps):
        assert np.array_equal(whole(picture / 255, dither), picture[0].permute(1, 2, 0).numpy())


def test_texture_is_only_rounded() -> None:
    picture = torch.rand(1, 3, 120, 120, generator=torch.Generator().manual_seed(2))
    assert np.array_equal(whole(picture, Dither.AUTO), whole(picture, Dither.OFF))
    assert not np.array_equal(whole(picture, Dither.ON), whole(picture, Dither.OFF))


def test_rows_do_not_depend_on_how_they_are_asked_for() -> None:
    picture = gradient(12, (300, 260)).transpose(2, 3).contiguous()
    whole_picture = whole(picture, Dither.AUTO)
    parts = [to_levels(picture, Dither.AUTO, top, min(top + 37, 260)) for top in range(0, 260, 37)]
    assert np.array_equal(np.concatenate(parts), whole_picture)
    assert np.array_equal(whole(picture, Dither.AUTO), whole_picture)
    assert not np.array_equal(whole(picture, Dither.AUTO, seed=1), whole_picture)


def test_greys_stay_grey_and_grey_pictures_work() -> None:
    picture = gradient(9)
    result = whole(picture, Dither.AUTO)
    assert np.array_equal(result[..., 0], result[..., 1])
    assert np.array_equal(whole(picture[:, :1], Dither.AUTO)[..., 0], result[..., 0])


def test_a_drift_that_the_source_does_not_have_is_only_rounded() -> None:
    """The source is of one colour on the left; the result drifts there all the same."""
    source = torch.full((1, 3, 50, 60), 0.6)
    source[..., 30:] = torch.linspace(0.6, 0.62, 30)
    result = gradient(4, (200, 240), start=150)
    still = still_areas(source, FloatBox(0, 0, 60, 50), Box(0, 0, 240, 200), Size(240, 200))
    got, plain = whole(result, Dither.AUTO, still=still), whole(result, Dither.OFF)
    assert np.array_equal(got[:, :112], plain[:, :112])
    assert not np.array_equal(got[:, 130:], plain[:, 130:])


def test_where_the_result_shows_no_source_nothing_is_dithered() -> None:
    source = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(3))
    still = still_areas(source, FloatBox(5, 0, 10, 20), Box(30, 0, 40, 80), Size(100, 80))
    mask = still.between(0, 80)
    assert mask[:, :30].all()
    assert mask[:, 70:].all()
    assert not mask[:, 30:70].any()
    assert (still.columns[[30, 33, 34, 69]] == [5, 5, 6, 14]).all()
