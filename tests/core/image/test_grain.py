"""Grain: measured where there is some and nowhere else, and given back as it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from backplate.core.image.dither import still_areas
from backplate.core.image.grain import Grain, add_grain, grain_field, measure_grain, missing_grain
from backplate.core.image.resize import resize
from backplate.core.types import Box, FloatBox, Size

WHITE_NOISE = tuple(tuple(float(x == y == 4) for x in range(9)) for y in range(9))


def noise(size: tuple[int, int], blur: float = 0.0, seed: int = 1) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    if blur:
        values = cv2.GaussianBlur(values, (0, 0), blur)
        values /= values.std()
    return torch.from_numpy(values)[None, None]


def shaded(size: int = 320) -> torch.Tensor:
    """A smooth picture with a dark and a light half, and an edge between them."""
    ramp = torch.linspace(0.2, 0.35, size).expand(1, 3, size, size).clone()
    ramp[..., size // 2 :, :] += 0.4
    return ramp


def in_8_bits(picture: torch.Tensor) -> torch.Tensor:
    return picture.clamp(0, 1).mul(255).round() / 255


@pytest.mark.parametrize("blur", [0.0, 0.6, 0.8])
@pytest.mark.parametrize("strength", [1.5, 4.0, 8.0])
def test_strength_and_correlation_are_found(strength: float, blur: float) -> None:
    picture = in_8_bits(shaded() + noise((320, 320), blur) * strength / 255)
    grain = measure_grain(picture)
    assert grain is not None
    assert [255 * grain.levels[2], 255 * grain.levels[5]] == pytest.approx([strength] * 2, rel=0.15)
    field = grain_field(grain, range(400), 400, 0)
    ours, theirs = _neighbours(field), _neighbours(noise((400, 400), blur)[0, 0].numpy())
    assert ours == pytest.approx(theirs, abs=0.1)


def _neighbours(field: np.ndarray) -> float:
    return float(np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1])


def test_strength_follows_brightness() -> None:
    picture = shaded()
    picture[..., :160, :] += noise((160, 320)) * 3 / 255
    picture[..., 160:, :] += noise((160, 320), seed=2) * 6 / 255
    grain = measure_grain(in_8_bits(picture))
    assert grain is not None
    assert 255 * grain.levels[2] == pytest.approx(3, rel=0.15)
    assert 255 * grain.levels[5] == pytest.approx(6, rel=0.15)


def stripes() -> torch.Tensor:
    return (torch.arange(320) % 6 < 3).float().mul(0.1).add(0.4).expand(1, 3, 320, 320).clone()


def leaves() -> torch.Tensor:
    """Discs of all sizes and shades, over and over."""
    rng = np.random.default_rng(4)
    canvas = np.full((320, 320, 3), 128, np.uint8)
    for _ in range(6000):
        x, y, radius = int(rng.integers(320)), int(rng.integers(320)), int(2 + rng.pareto(1.5) * 2)
        cv2.circle(canvas, (x, y), min(radius, 60), tuple(map(int, rng.integers(20, 235, 3))), -1, cv2.LINE_AA)
    return torch.from_numpy(canvas).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("made", [shaded, stripes, leaves])
def test_where_there_is_none_none_is_found(made) -> None:
    assert measure_grain(in_8_bits(made())) is None


@pytest.mark.parametrize("size", [(1, 1), (15, 40), (16, 16), (20, 20)])
def test_small_pictures_say_nothing(size: tuple[int, int]) -> None:
    assert measure_grain(torch.rand(1, 3, *size) * 0.1 + 0.4) is None
    assert missing_grain(torch.rand(1, 1, *size), torch.rand(1, 1, size[0] * 2, size[1] * 2)) is None


def test_a_smooth_result_gets_it_back_and_one_that_has_it_gets_nothing() -> None:
    source = in_8_bits(shaded() + noise((320, 320)) * 5 / 255)
    smooth = shaded(640)
    grain = missing_grain(source, smooth)
    assert grain is not None
    assert 255 * grain.levels[2] == pytest.approx(5, rel=0.15)
    back = measure_grain(in_8_bits(add_grain(smooth, grain)))
    assert back is not None
    assert 255 * back.levels[2] == pytest.approx(5, rel=0.2)
    coarse = in_8_bits(shaded() + noise((320, 320), 0.8) * 5 / 255)
    left = missing_grain(coarse, resize(coarse, Size(640, 640)).clamp(0, 1))
    assert left is None or left.strength < 1
    assert missing_grain(shaded(), smooth) is None


def test_the_part_that_is_shown_is_what_counts() -> None:
    source = shaded(400)
    source[..., 200:, :] += noise((200, 400)) * 5 / 255
    assert missing_grain(in_8_bits(source), shaded(400), FloatBox(0, 0, 400, 180)) is None
    assert missing_grain(in_8_bits(source), shaded(400), FloatBox(0, 210, 400, 190)) is not None


def test_white_black_and_still_areas_get_none() -> None:
    grain = Grain((5 / 255,) * 8, WHITE_NOISE)
    picture = torch.full((1, 3, 60, 90), 0.5)
    picture[..., :20, :], picture[..., 20:40, :] = 1.0, 0.0
    result = add_grain(picture, grain)
    assert torch.equal(result[..., :40, :], picture[..., :40, :])
    assert result[..., 40:, :].std() * 255 == pytest.approx(5, rel=0.1)
    still = still_areas(picture, FloatBox(0, 0, 90, 60), Box(0, 0, 90, 60), Size(90, 60))
    held = add_grain(picture, grain, still=still)
    assert torch.equal(held[..., 43:, :], picture[..., 43:, :])


def test_grain_depends_on_place_and_seed_alone() -> None:
    grain = Grain((5 / 255,) * 8, WHITE_NOISE)
    whole = grain_field(grain, range(90), 50, 3)
    assert np.array_equal(grain_field(grain, range(30, 60), 50, 3), whole[30:60])
    assert abs(np.corrcoef(whole.ravel(), grain_field(grain, range(90), 50, 4).ravel())[0, 1]) < 0.06
    picture = torch.full((1, 3, 700, 40), 0.5)
    assert torch.equal(add_grain(picture, grain, 7), add_grain(picture, grain, 7))
    assert not torch.equal(add_grain(picture, grain, 7), add_grain(picture, grain, 8))
    one = add_grain(picture, grain)
    assert torch.equal(one[:, 0], one[:, 2])
