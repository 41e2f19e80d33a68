"""IMAGE and MASK to picture and alpha, and back."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.nodes import convert

CPU = torch.device("cpu")


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_image_survives_the_round_trip(channels: int, height: int, width: int, dtype: torch.dtype) -> None:
    original = image(2, height, width, channels).to(dtype)
    received = convert.receive(original)
    assert received.picture.shape == (2, min(channels, 3), height, width)
    assert received.picture.dtype == torch.float32
    assert received.has_channel == (channels == 4)
    back = convert.to_image(received.picture, received.alpha, CPU, dtype)
    assert torch.equal(back, original)
    assert back.dtype == dtype


def test_what_was_handed_over_is_not_changed() -> None:
    original, mask = image(1, 4, 4, 3), image(1, 4, 4)
    copies = original.clone(), mask.clone()
    convert.receive(original, mask)
    assert torch.equal(original, copies[0])
    assert torch.equal(mask, copies[1])


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (3, 4, 6)])
def test_a_mask_is_the_inverse_of_alpha_for_every_image(shape: tuple[int, ...]) -> None:
    mask = image(*shape)
    received = convert.receive(image(3, 4, 6, 3), mask)
    assert received.alpha is not None
    assert not received.has_channel
    assert torch.equal(received.alpha[:, 0], (1 - mask).expand(3, 4, 6))
    back = convert.to_mask(received.alpha, received.picture, CPU, torch.float32)
    assert torch.allclose(back, mask.expand(3, 4, 6))


def test_without_alpha_the_mask_is_empty_and_as_large_as_the_picture() -> None:
    mask = convert.to_mask(None, torch.rand(2, 3, 5, 7), CPU, torch.float32)
    assert mask.shape == (2, 5, 7)
    assert not mask.any()


def test_the_empty_mask_of_an_opaque_file_is_none() -> None:
    assert convert.receive(image(1, 100, 80, 3), torch.zeros(1, 64, 64)).alpha is None
    assert convert.receive_area(torch.zeros(64, 64), torch.rand(1, 3, 9, 9)) is None


def test_an_empty_mask_of_the_right_size_is_a_mask() -> None:
    alpha = convert.receive(image(1, 64, 64, 3), torch.zeros(1, 64, 64)).alpha
    assert alpha is not None
    assert bool((alpha == 1).all())


def test_an_area_is_not_inverted() -> None:
    mask = image(2, 4, 6)
    area = convert.receive_area(mask, torch.rand(2, 3, 4, 6))
    assert area is not None
    assert torch.equal(area[:, 0], mask)


def with_nan() -> torch.Tensor:
    bad = image(1, 4, 4, 3)
    bad[0, 2, 1, 0] = torch.nan
    return bad


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (with_nan(), ["image", "NaN"]),
        (image(1, 4, 4, 2), ["(1, 4, 4, 2)", "1, 3 or 4"]),
        (image(4, 4, 3), ["(4, 4, 3)"]),
        (image(0, 4, 4, 3), ["image", "0"]),
        (image(1, 0, 4, 3), ["image", "0"]),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), ["uint8"]),
        ("picture.png", ["str"]),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(bad: object, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        convert.receive(bad)  # type: ignore[arg-type]
    assert [word for word in words if word.lower() not in str(refused.value).lower()] == []


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (image(1, 5, 8), ["8x5", "6x4"]),
        (torch.ones(1, 64, 64), ["64x64", "6x4"]),
        (image(2, 4, 6), ["2 masks", "3 images"]),
        (image(1, 1, 4, 6), ["(1, 1, 4, 6)"]),
        (torch.full((1, 4, 6), torch.inf), ["inf"]),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_in_a_sentence(mask: torch.Tensor, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        convert.receive(image(3, 4, 6, 3), mask)
    assert [word for word in words if word.lower() not in str(refused.value).lower()] == []


def test_an_alpha_channel_and_a_mask_are_too_much() -> None:
    with pytest.raises(InputError, match="alpha channel"):
        convert.receive(image(1, 4, 6, 4), image(1, 4, 6))


def test_a_grey_picture_with_alpha_becomes_four_channels() -> None:
    result = convert.to_image(torch.rand(1, 1, 4, 6), torch.rand(1, 1, 4, 6), CPU, torch.float32)
    assert result.shape == (1, 4, 6, 4)
