"""Sharpening against outside references (scipy, scikit-image) and its promises about halos, lines and grain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
from backplate.core.errors import InputError
from backplate.core.image.filters import gaussian, local_maximum, local_minimum
from backplate.core.image.sharpen import SharpenSettings, sharpen_blend
from skimage.filters import unsharp_mask

UNLIMITED = {"halo_limit": 1.0, "luma_only": False}
SIZES = [(1, 1), (1, 64), (64, 1), (2, 3), (7, 5), (33, 48)]
TO_CHROMA = torch.tensor([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def to_picture(array: np.ndarray) -> torch.Tensor:
    """(H, W) or (H, W, C) to (1, C, H, W) float32."""
    array = np.asarray(array, dtype=np.float32)
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)[None].contiguous()


def noise(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


def step(sigma: float, low: float = 0.2, high: float = 0.8, size: int = 64) -> np.ndarray:
    plane = np.full((size, size), low)
    plane[:, size // 2 :] = high
    return ndi.gaussian_filter(plane, sigma, mode="nearest") if sigma else plane


def edge_width(profile: np.ndarray) -> float:
    """Distance between the 10 % and the 90 % crossing of a rising profile, between its ends."""
    levels = profile[0] + np.array([0.1, 0.9]) * (profile[-1] - profile[0])
    crossings = []
    for level in levels:
        i = int(np.argmax(profile >= level))
        crossings.append(i - 1 + (level - profile[i - 1]) / (profile[i] - profile[i - 1]))
    return crossings[1] - crossings[0]


def allowed_range(picture: torch.Tensor, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The promised range, worked out by scipy."""
    side = 2 * math.ceil(radius) + 1
    low = ndi.minimum_filter(picture.numpy(), size=(1, 1, side, side), mode="nearest")
    high = ndi.maximum_filter(picture.numpy(), size=(1, 1, side, side), mode="nearest")
    return low, high


def overshoot(result: torch.Tensor, base: torch.Tensor, radius: float) -> float:
    low, high = allowed_range(base, radius)
    return float(max((result.numpy() - high).max(), (low - result.numpy()).max(), 0.0))


def draw_line(width: float, angle: float, sigma: float, paints: tuple[float, float] = (0.8, 0.8)) -> np.ndarray:
    """A straight ink line of level 0.1 through the middle of 65x65, antialiased 8x, blurred."""
    fine = (np.arange(65 * 8) + 0.5) / 8 - 32.5
    distance = np.cos(angle) * fine[None, :] + np.sin(angle) * fine[:, None]
    plane = np.where(distance < 0, *paints)
    plane[np.abs(distance) <= width / 2] = 0.1
    return ndi.gaussian_filter(plane.reshape(65, 8, 65, 8).mean((1, 3)), sigma, mode="nearest")


def across(plane: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values on the normal of that line, 20 samples a pixel."""
    t = np.linspace(-14, 14, 561)
    return t, ndi.map_coordinates(plane, (32 + t * np.sin(angle), 32 + t * np.cos(angle)), order=3)


def half_depth_width(t: np.ndarray, profile: np.ndarray, paints: tuple[float, float] = (0.8, 0.8)) -> float:
    """Width where the line is half as deep as at its darkest, each side against its own paint."""
    darkest = int(profile.argmin())
    width = 0.0
    for paint, direction in zip(paints, (-1, 1), strict=True):
        level, i = (profile[darkest] + paint) / 2, darkest
        while profile[i] < level:
            i += direction
        back = i - direction
        width += abs(t[back] - t[darkest] + (t[i] - t[back]) * (level - profile[back]) / (profile[i] - profile[back]))
    return width


# Filters


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sigma", [0.3, 1.5, 6.0])
def test_gaussian_equals_scipy_with_repeated_border(size, sigma):
    picture = noise(2, 3, *size)
    expected = ndi.gaussian_filter(picture.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=math.ceil(3 * sigma))
    np.testing.assert_allclose(gaussian(picture, sigma).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reach", [1, 2, 3, 7, 20])
def test_local_extremes_equal_scipy(size, reach):
    picture = noise(2, 3, *size)
    low, high = allowed_range(picture, reach)
    np.testing.assert_array_equal(local_minimum(picture, reach).numpy(), low)
    np.testing.assert_array_equal(local_maximum(picture, reach).numpy(), high)


# The unsharp mask


@pytest.mark.parametrize(("radius", "amount"), [(0.7, 0.5), (1.5, 1.0), (4.0, 2.5)])
def test_without_limit_it_is_the_plain_unsharp_mask(radius, amount):
    picture = noise(1, 3, 40, 56)
    result, _ = sharpen_blend(picture, SharpenSettings(amount=amount, radius=radius, **UNLIMITED))
    blurred = ndi.gaussian_filter(picture.numpy(), (0, 0, radius, radius), mode="nearest", radius=math.ceil(3 * radius))
    expected = np.clip(picture.numpy() + amount * (picture.numpy() - blurred), 0, 1)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


def test_radius_and_amount_mean_what_they_mean_in_scikit_image():
    picture = noise(1, 1, 64, 64, low=0.3, high=0.7)
    result, _ = sharpen_blend(picture, SharpenSettings(amount=0.8, radius=2.0, **UNLIMITED))
    expected = unsharp_mask(picture[0, 0].numpy(), radius=2.0, amount=0.8, preserve_range=True)
    # Inside of the border (another padding there); the rest is its kernel of 4 sigma.
    np.testing.assert_allclose(result[0, 0, 8:-8, 8:-8].numpy(), expected[8:-8, 8:-8], atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_amount_zero_changes_nothing(size):
    base = noise(2, 3, *size)
    settings = SharpenSettings(amount=0.0, protect_lines=1.0)
    result, acted = sharpen_blend(base, settings, detail=noise(2, 3, *size, seed=1))
    assert torch.equal(result, base)
    assert not acted.any()


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.5])
@pytest.mark.parametrize("protect_lines", [0.0, 1.0])
def test_edge_gets_narrower_without_overshoot(sigma, protect_lines):
    base = to_picture(step(sigma))
    settings = SharpenSettings(amount=2.0, radius=sigma, protect_lines=protect_lines)
    result, _ = sharpen_blend(base, settings)
    assert edge_width(result[0, 0, 32].numpy()) < 0.75 * edge_width(base[0, 0, 32].numpy())
    assert result.max() <= base.max()
    assert result.min() >= base.min()
    assert overshoot(result, base, sigma) == 0.0


def test_halo_limit_bounds_the_overshoot_and_lets_it_grow():
    base = to_picture(step(1.5))
    limits = [0.0, 0.005, 0.02, 0.05, 0.2, 1.0]
    measured = [
        overshoot(sharpen_blend(base, SharpenSettings(amount=1.5, radius=2.0, halo_limit=limit))[0], base, 2.0)
        for limit in limits
    ]
    assert measured[0] == 0.0
    assert measured == sorted(measured)
    assert measured[-1] > 0.05
    for value, limit in zip(measured, limits, strict=True):
        assert value <= limit + 1e-6


def test_threshold_leaves_small_noise_alone_and_still_sharpens_the_edge():
    base = to_picture(step(1.5)) + noise(1, 1, 64, 64, low=-0.01, high=0.01)
    result, acted = sharpen_blend(base, SharpenSettings(amount=2.0, radius=1.5, threshold=0.03))
    assert torch.equal(result[..., :24], base[..., :24])
    assert not acted[..., :24].any()
    assert acted[..., 28:36].max() == 1.0
    unthresholded, _ = sharpen_blend(base, SharpenSettings(amount=2.0, radius=1.5))
    assert unthresholded[..., :24].std() > 1.2 * base[..., :24].std()


# Colour


def test_luma_only_keeps_chroma():
    base = noise(1, 3, 40, 40, low=0.35, high=0.65)
    result, acted = sharpen_blend(base, SharpenSettings(amount=0.3, radius=1.5, halo_limit=1.0))
    change = torch.einsum("kc,bchw->bkhw", TO_CHROMA, (result - base))
    assert acted.max() == 1.0
    assert change.abs().max() < 1e-6


@pytest.mark.parametrize("protect_lines", [0.0, 1.0])
def test_luma_only_keeps_every_channel_and_the_luma_in_range(protect_lines):
    base = gaussian(noise(1, 3, 48, 48), 1.0)
    result, _ = sharpen_blend(base, SharpenSettings(amount=4.0, radius=1.5, protect_lines=protect_lines))
    assert overshoot(result, base, 1.5) == 0.0
    weights = torch.tensor([0.299, 0.587, 0.114])
    luma_of = lambda picture: torch.einsum("c,bchw->bhw", weights, picture)[:, None]  # noqa: E731
    assert overshoot(luma_of(result), luma_of(base), 1.5) < 1e-6


def test_blue_next_to_yellow_gets_no_pale_fringe():
    """The luma of yellow is the local maximum; raising its blue channel would be a halo in range per channel."""
    edge = step(1.5, 0.0, 1.0)
    base = to_picture(np.stack((0.05 + 0.9 * edge, 0.05 + 0.8 * edge, 0.9 - 0.8 * edge), axis=-1))
    result, _ = sharpen_blend(base, SharpenSettings(amount=2.0, radius=1.5))
    assert (result[0, 2, :, 38:] - base[0, 2, :, 38:]).max() < 1e-3


# Any size, any type


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_detail", [False, True])
@pytest.mark.parametrize(
    ("luma_only", "protect_lines", "radius"), [(True, 0.0, 1.5), (False, 0.6, 0.4), (True, 1.0, 9.0)]
)
def test_any_size_stays_in_range(size, channels, with_detail, luma_only, protect_lines, radius):
    base = noise(2, channels, *size)
    kept = base.clone()
    detail = noise(2, channels, *size, seed=1) if with_detail else None
    settings = SharpenSettings(amount=3.0, radius=radius, luma_only=luma_only, protect_lines=protect_lines)
    result, acted = sharpen_blend(base, settings, detail)
    assert result.shape == base.shape
    assert result.dtype == acted.dtype == torch.float32
    assert acted.shape == (2, 1, *size)
    assert overshoot(result, base, radius) == 0.0
    assert 0.0 <= float(acted.min()) <= float(acted.max()) <= 1.0
    assert torch.equal(base, kept)


@pytest.mark.parametrize("halo_limit", [0.0, 0.1, 1.0])
def test_result_stays_between_black_and_white(halo_limit):
    base = noise(1, 3, 20, 20, low=-0.2, high=1.2)
    result, _ = sharpen_blend(base, SharpenSettings(amount=5.0, radius=3.0, halo_limit=halo_limit))
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 1.0


def test_half_precision_gives_what_single_precision_gives():
    base = noise(1, 3, 24, 24).half()
    settings = SharpenSettings(amount=1.0, protect_lines=0.5)
    result, _ = sharpen_blend(base, settings, mask=torch.ones(1, 1, 24, 24, dtype=torch.float16))
    expected, _ = sharpen_blend(base.float(), settings)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


def test_a_batch_is_its_pictures_one_by_one_and_single_detail_and_mask_serve_all():
    base, detail, mask = noise(3, 3, 30, 20), noise(1, 3, 30, 20, seed=1), noise(1, 1, 30, 20, seed=2)
    settings = SharpenSettings(amount=1.0, protect_lines=0.5)
    result, acted = sharpen_blend(base, settings, detail, mask)
    for i in range(3):
        alone, acted_alone = sharpen_blend(base[i : i + 1], settings, detail, mask)
        assert torch.equal(result[i : i + 1], alone)
        assert torch.equal(acted[i : i + 1], acted_alone)


# Detail and mask


def test_amount_one_without_limit_takes_the_high_frequencies_of_the_detail():
    base, detail = noise(1, 3, 40, 40, low=0.4, high=0.6), noise(1, 3, 40, 40, seed=1, low=0.4, high=0.6)
    result, _ = sharpen_blend(base, SharpenSettings(amount=1.0, radius=2.0, **UNLIMITED), detail)
    assert torch.allclose(result, gaussian(base, 2.0) + detail - gaussian(detail, 2.0), atol=1e-6)


@pytest.mark.parametrize("luma_only", [False, True])
def test_ringing_of_the_detail_does_not_come_through(luma_only):
    """A soft base, and over it an over-sharpened version of the same edge with halos and a second lobe."""
    base_edge = step(1.5)
    sharp = step(0.5)
    ringing = sharp + 0.8 * (sharp - ndi.gaussian_filter(sharp, 1.2)) + 0.3 * (sharp - ndi.gaussian_filter(sharp, 3))
    base, detail = (to_picture(np.stack((e, 0.9 * e, 0.8 * e), axis=-1)) for e in (base_edge, ringing))
    settings = {"amount": 1.0, "radius": 2.0, "luma_only": luma_only}
    unlimited, _ = sharpen_blend(base, SharpenSettings(halo_limit=1.0, **settings), detail)
    assert overshoot(unlimited, base, 2.0) > 0.05
    result, _ = sharpen_blend(base, SharpenSettings(**settings), detail)
    assert overshoot(result, base, 2.0) == 0.0
    assert edge_width(result[0, 0, 32].numpy()) < 0.6 * edge_width(base[0, 0, 32].numpy())


def test_mask_scales_the_effect():
    base = noise(1, 3, 30, 40)
    full, _ = sharpen_blend(base, SharpenSettings(amount=1.0))
    mask = torch.zeros(1, 1, 30, 40)
    mask[..., 20:30], mask[..., 30:] = 0.25, 1.0
    result, acted = sharpen_blend(base, SharpenSettings(amount=1.0), mask=mask)
    assert torch.equal(result[..., :20], base[..., :20])
    assert torch.allclose(result[..., 20:30], base[..., 20:30] + 0.25 * (full - base)[..., 20:30], atol=1e-6)
    assert torch.equal(result[..., 30:], full[..., 30:])
    assert not acted[..., :20].any()


def test_acted_is_the_largest_change_in_units_of_four_8_bit_levels():
    base = noise(1, 3, 30, 40)
    result, acted = sharpen_blend(base, SharpenSettings(amount=0.02, **UNLIMITED))
    assert torch.allclose(acted, (64 * (result - base).abs().amax(1, keepdim=True)).clamp_max(1.0), atol=1e-5)
    assert 0.0 < float(acted.median()) < 1.0


# Lines and flat paint


@pytest.mark.parametrize("width", [1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("degrees", [0, 30, 45])
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_protected_lines_keep_width_and_darkness(width, degrees, sigma):
    angle = math.radians(degrees)
    drawn = draw_line(width, angle, sigma)
    result, _ = sharpen_blend(to_picture(drawn), SharpenSettings(amount=1.0, radius=1.5, protect_lines=1.0))
    t, before = across(drawn, angle)
    _, after = across(result[0, 0].numpy(), angle)
    assert half_depth_width(t, after) == pytest.approx(half_depth_width(t, before), abs=0.25)
    assert after.min() == pytest.approx(before.min(), abs=0.025)
    assert overshoot(result, to_picture(drawn), 1.5) == 0.0


@pytest.mark.parametrize("degrees", [0, 30, 45])
def test_protected_lines_get_crisper_where_plain_sharpening_darkens_them(degrees):
    angle = math.radians(degrees)
    drawn = draw_line(3.0, angle, 2.0)
    protected, _ = sharpen_blend(to_picture(drawn), SharpenSettings(amount=1.0, radius=2.0, protect_lines=1.0))
    plain, _ = sharpen_blend(to_picture(drawn), SharpenSettings(amount=1.0, radius=2.0, halo_limit=1.0))
    _, before = across(drawn, angle)
    _, after = across(protected[0, 0].numpy(), angle)
    assert np.abs(np.diff(after)).max() > 1.3 * np.abs(np.diff(before)).max()
    assert plain.min() < before.min() - 0.1


def test_a_line_between_two_paints_keeps_its_width_on_both_sides():
    paints = (0.85, 0.5)
    drawn = draw_line(3.0, 0.3, 1.0, paints)
    result, _ = sharpen_blend(to_picture(drawn), SharpenSettings(amount=1.0, radius=1.0, protect_lines=1.0))
    t, before = across(drawn, 0.3)
    _, after = across(result[0, 0].numpy(), 0.3)
    width = half_depth_width(t, before, paints)
    assert half_depth_width(t, after, paints) == pytest.approx(width, abs=0.25)


def test_a_short_faint_stroke_beside_a_heavy_line_is_not_erased():
    plane = np.full((80, 80), 0.8)
    plane[20:30] = 0.05
    plane[30:44, 38:42] = 0.45
    drawn = ndi.gaussian_filter(plane, 1.5)
    result, _ = sharpen_blend(to_picture(drawn), SharpenSettings(amount=1.0, radius=1.5, protect_lines=1.0))
    middle = result[0, 0, 34:41, 39:41].numpy()
    assert np.abs(middle - drawn[34:41, 39:41]).max() < 0.03


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("level", [0.01, 0.03])
def test_protected_flat_paint_keeps_its_grain(level, spread):
    grain = np.random.default_rng(0).standard_normal((65, 65))
    grain = ndi.gaussian_filter(grain, spread) if spread else grain
    base = to_picture(draw_line(2.5, 0.4, 1.2) + level * grain / grain.std())
    flat = torch.from_numpy(draw_line(20.0, 0.4, 0.0) > 0.7)
    plain, _ = sharpen_blend(base, SharpenSettings(amount=1.5))
    protected, _ = sharpen_blend(base, SharpenSettings(amount=1.5, protect_lines=1.0))
    before = base[0, 0][flat].var()
    assert plain[0, 0][flat].var() > 1.3 * before
    assert protected[0, 0][flat].var() < 1.02 * before
    assert protected[0, 0][flat].mean() == pytest.approx(float(base[0, 0][flat].mean()), abs=1e-3)


def test_no_light_seam_of_paint_appears_beside_a_line_on_grain():
    grain = 0.02 * np.random.default_rng(1).standard_normal((65, 65))
    base = to_picture(draw_line(2.5, 0.4, 1.0) + grain)
    protected, _ = sharpen_blend(base, SharpenSettings(amount=1.5, protect_lines=1.0))
    beside = torch.from_numpy((draw_line(14.0, 0.4, 0.0) < 0.2) & (draw_line(9.0, 0.4, 0.0) > 0.7))
    assert protected[0, 0][beside].mean() < 0.8 + 0.005


# Refusals


@pytest.mark.parametrize(
    ("name", "value", "range_named"),
    [
        ("amount", -0.1, "0 to 5"),
        ("amount", 5.1, "0 to 5"),
        ("radius", 0.0, "0.1 to 100"),
        ("radius", 101.0, "0.1 to 100"),
        ("threshold", 1.5, "0 to 1"),
        ("halo_limit", -1.0, "0 to 1"),
        ("protect_lines", math.nan, "0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(name, value, range_named):
    with pytest.raises(InputError, match=f"{name}.*{range_named}"):
        SharpenSettings(**{name: value})


@pytest.mark.parametrize(
    ("detail", "mask", "message"),
    [
        ((2, 3, 10, 13), None, "detail is 13x10 .* 12x10"),
        ((2, 1, 10, 12), None, "detail is grey .1 channel. .*3 channels"),
        ((3, 3, 10, 12), None, "detail is a batch of 3 .* 2"),
        (None, (2, 1, 9, 12), "mask is 12x9 .* 12x10"),
        (None, (2, 3, 10, 12), "mask has 3 channels"),
        (None, (10, 12), "mask has 2 dimensions"),
        (None, (3, 1, 10, 12), "3 mask planes for 2 images"),
    ],
)
def test_mismatches_are_refused_with_both_sizes(detail, mask, message):
    with pytest.raises(InputError, match=message):
        sharpen_blend(
            torch.zeros(2, 3, 10, 12),
            SharpenSettings(),
            None if detail is None else torch.zeros(detail),
            None if mask is None else torch.zeros(mask),
        )


def test_a_single_base_with_several_details_is_refused():
    with pytest.raises(InputError, match="batch of 2"):
        sharpen_blend(torch.zeros(1, 3, 8, 8), SharpenSettings(), torch.zeros(2, 3, 8, 8))


def test_an_unfit_picture_is_refused():
    broken = torch.zeros(1, 3, 8, 8)
    broken[0, 1, 2, 3] = math.nan
    with pytest.raises(InputError):
        sharpen_blend(broken, SharpenSettings())
    with pytest.raises(InputError):
        sharpen_blend(torch.zeros(1, 3, 8, 8), SharpenSettings(), broken)
