from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.media.picture.icc import fitting_profile, image_to_srgb, picture_to_srgb
from PIL import Image, ImageCms


def all_colours() -> np.ndarray:
    """A grid over the RGB cube as (17 * 17, 17, 3) uint8."""
    levels = np.linspace(0, 255, 17).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 17, 3)


def as_picture(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(samples.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)


def by_littlecms(samples: np.ndarray, icc: bytes) -> np.ndarray:
    image = Image.fromarray(samples)
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, renderingIntent=1, outputMode="RGB")
    return np.asarray(converted)


@pytest.mark.parametrize(
    "curve",
    ["sRGB curve", "gamma", "parametric gamma", "CIE 122", "IEC 61966-3", "with offset", "table", "linear"],
)
@pytest.mark.parametrize("colorants", ["Display P3", "Adobe RGB"])
def test_conversion_in_floats_agrees_with_littlecms(rgb_profile, colorants, curve):
    samples, icc = all_colours(), rgb_profile(colorants, curve)
    ours = picture_to_srgb(as_picture(samples), icc)[0].permute(1, 2, 0).numpy() * 255
    reference = by_littlecms(samples, icc).astype(np.float64)
    # LittleCMS works through 8-bit tables, whose steps near black are steep for a linear source.
    assert np.abs(ours - reference).max() < (4.0 if curve == "linear" else 1.5)


def test_conversion_keeps_more_than_8_bits(rgb_profile):
    ramp = torch.linspace(0.2, 0.8, 4000).reshape(1, 1, 1, -1).expand(1, 3, 1, -1)
    converted = picture_to_srgb(ramp, rgb_profile("Display P3", "sRGB curve"))
    assert len(converted[0, 0, 0].unique()) > 3900
    # Greys of Display P3 are the greys of sRGB.
    assert torch.allclose(converted, ramp, atol=2e-4)


def test_saturated_colour_of_a_wide_gamut_ends_at_the_border_of_srgb(rgb_profile):
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    converted = picture_to_srgb(red, rgb_profile("Display P3", "sRGB curve"))
    assert converted.flatten().tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_grey_profile(grey_profile):
    grey = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    linear = 0.5**1.8
    expected = [0.0, 1.055 * linear ** (1 / 2.4) - 0.055, 1.0]
    assert picture_to_srgb(grey, grey_profile).flatten().tolist() == pytest.approx(expected, abs=1e-4)
    image = image_to_srgb(Image.new("L", (1, 1), 128), grey_profile)
    assert image.mode == "L"
    assert image.getpixel((0, 0)) == pytest.approx(255 * (1.055 * (128 / 255) ** (1.8 / 2.4) - 0.055), abs=1)


def test_profile_of_tables_is_refused_in_floats(rgb_profile):
    icc = rgb_profile().replace(b"rXYZ", b"A2B0", 1)
    with pytest.raises(InputError, match="at 8 bits only"):
        picture_to_srgb(torch.zeros(1, 3, 1, 1), icc)


def test_damaged_tone_curve_is_refused(rgb_profile):
    with pytest.raises(InputError, match="damaged"):
        picture_to_srgb(torch.zeros(1, 3, 1, 1), rgb_profile().replace(b"para", b"none"))


def test_damaged_profile_is_refused_by_littlecms(cmyk_profile):
    with pytest.raises(InputError, match="cannot be used"):
        image_to_srgb(Image.new("CMYK", (1, 1)), cmyk_profile[:200])


def test_profile_for_another_kind_of_picture_is_no_profile(rgb_profile, grey_profile):
    assert fitting_profile(rgb_profile(), "RGB") == rgb_profile()
    assert fitting_profile(rgb_profile(), "L") is None
    assert fitting_profile(grey_profile, "RGB") is None
    assert fitting_profile(b"not a profile" * 20, "RGB") is None
    assert fitting_profile(None, "RGB") is None
