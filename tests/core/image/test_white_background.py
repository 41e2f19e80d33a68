"""A background that is nearly white becomes white, and the product stays as it is."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.white_background import border_is_white, whiten

NEAR = 25


def on(level: float, size: int = 200) -> torch.Tensor:
    return torch.full((1, 3, size, size), level / 255)


def with_disc(level: float, inside: float, ring: float, gap: int = 0) -> torch.Tensor:
    """A disc of level ``inside`` with an outline of level ``ring``, which has a gap of so many pixels on the right."""
    picture = on(level, 400)
    y, x = torch.meshgrid(torch.arange(400.0), torch.arange(400.0), indexing="ij")
    distance = ((x - 200) ** 2 + (y - 200) ** 2).sqrt()
    picture[:, :, distance < 120] = inside / 255
    outline = (distance >= 112) & (distance < 120)
    if gap:
        outline &= ~((x > 200) & ((y - 200).abs() < gap / 2))
        picture[:, :, (distance >= 112) & (distance < 120) & ~outline] = inside / 255
    picture[:, :, outline] = ring / 255
    return picture


def test_a_tinted_packshot_becomes_exactly_white_and_the_product_stays() -> None:
    picture = on(255)
    for channel, level in enumerate((244, 243, 241)):
        picture[:, channel] = level / 255
    picture[..., 60:140, 60:140] = torch.tensor([0.2, 0.5, 0.3])[:, None, None]
    result = whiten(picture, NEAR)
    assert result is not None
    assert torch.equal(result[..., 60:140, 60:140], picture[..., 60:140, 60:140])
    outside = torch.ones(200, 200, dtype=torch.bool)
    outside[60:140, 60:140] = False
    assert (result[0][:, outside] == 1).all()
    assert border_is_white(result)


def test_a_white_product_inside_an_outline_is_not_touched() -> None:
    picture = with_disc(246, 244, 90)
    result = whiten(picture, NEAR)
    assert result is not None
    assert torch.equal(result[..., 130:270, 130:270], picture[..., 130:270, 130:270])


def test_the_background_does_not_run_through_a_gap_in_the_outline() -> None:
    picture = with_disc(246, 244, 90, gap=2)
    result = whiten(picture, NEAR)
    assert result is not None
    assert torch.equal(result[..., 150:250, 150:250], picture[..., 150:250, 150:250])
    assert border_is_white(result)


def test_a_shadow_keeps_a_soft_end() -> None:
    """From a level a third of a shade apart, values may not jump: no visible edge where the shadow ends."""
    picture = on(246, 300)
    shadow = torch.linspace(246, 150, 200) / 255
    picture[..., 50:250, 50:250] = shadow
    result = whiten(picture, NEAR)
    assert result is not None
    row = result[0, 0, 150, 50:250] * 255
    assert (row.diff() <= 1e-3).all()
    assert row.diff().abs().max() < 3
    assert torch.equal(result[..., 150, 120:250], picture[..., 150, 120:250])


@pytest.mark.parametrize("level", [229, 128, 0])
def test_a_background_that_is_not_near_white_is_left_to_fail(level: int) -> None:
    assert whiten(on(level), NEAR) is None


def test_what_is_white_already_is_the_same_object() -> None:
    picture = with_disc(255, 250, 90)
    assert whiten(picture, NEAR) is picture


def test_one_dark_pixel_of_the_border_is_enough_to_refuse() -> None:
    picture = on(246)
    picture[..., 0, 17] = 0.5
    assert whiten(picture, NEAR) is None
