"""What is protected is the source, enlarged; what is not is the model's; and between the two nothing shows."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image import protect
from backplate.core.image.fit import Anchor, Fit, Target
from backplate.core.image.protect import (
    Protection,
    ProtectMode,
    feathered,
    fitted_mask,
    lay_over,
    magnified,
    sharpening,
)
from backplate.core.image.resize import resize
from backplate.core.image.sharpen import sharpen_blend
from backplate.core.image.tiling import Edge
from backplate.core.progress import Progress
from backplate.core.tiled.pipeline import TileSettings, upscale_to, upscale_with_alpha
from backplate.core.types import FloatBox, Size, SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from torch.nn.functional import avg_pool2d, interpolate, pad


class Inventing:
    """In the place of a model: the pixels enlarged, darker and with a pattern that no source has."""

    def __init__(self, scale: int = 4, halo: Halo | None = None, change: float = 0.2, **more: object) -> None:
        self.spec = UpscalerSpec(
            name="inventing", scale=scale, input_channels=3, output_channels=3, size_rule=SizeRule(),
            halo=halo or Halo(pixels=0, exact=True), **more,  # type: ignore[arg-type]
        )  # fmt: skip
        self.change, self.pixels = change, 0

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.pixels += picture.shape[2] * picture.shape[3]
        reach = self.spec.halo.pixels
        seen = avg_pool2d(pad(picture, (reach,) * 4), 2 * reach + 1, stride=1) if reach else picture
        enlarged = interpolate(seen.float(), scale_factor=self.spec.scale)
        enlarged[..., ::2, ::2] -= self.change
        return enlarged.clamp(0, 1)


AS_IT_IS = TileSettings(keep_colours=False)
"""Colours that the model moved stay moved, so that what protection does is seen alone."""


class LanczosModel(Inventing):
    """A model that invents nothing at all."""

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        size = Size(picture.shape[3], picture.shape[2]).scaled(self.spec.scale)
        return torch.cat(list(magnified(picture, FloatBox(0, 0, picture.shape[3], picture.shape[2]), size)), dim=2)


def noise(height: int, width: int, batch: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(3))


def square(height: int, width: int, top: int, left: int, side: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., top : top + side, left : left + side] = 1
    return mask


def enlarged(picture: torch.Tensor, size: Size, box: FloatBox | None = None) -> torch.Tensor:
    """What is promised, from the two functions that it is made of."""
    height, width = picture.shape[-2:]
    box = box or FloatBox(0, 0, width, height)
    base = resize(picture, size, box).clamp(0, 1)
    magnification = max(size.width / box.width, size.height / box.height)
    return base if magnification <= 1 else sharpen_blend(base, sharpening(magnification))[0]


TARGETS = [
    Target(fit=Fit.FACTOR, factor=4.0),
    Target(fit=Fit.FACTOR, factor=2.7),
    Target(fit=Fit.FACTOR, factor=9.0),
    Target(fit=Fit.COVER, width=140, height=180, anchor=Anchor.TOP_LEFT),
    Target(fit=Fit.CONTAIN, width=199, height=199),
    Target(fit=Fit.PAD, width=190, height=170),
    Target(fit=Fit.STRETCH, width=200, height=147),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.fit.value}-{target.factor:g}")
def test_all_white_is_the_enlarged_source_and_the_model_is_not_run(target: Target) -> None:
    picture, model = noise(30, 41), Inventing()
    protection = Protection.of(torch.ones(1, 1, 30, 41), picture)
    result = upscale_to(picture, None, model, target, protection=protection)
    place = result.plan.placed
    shown = result.picture[..., place.y : place.bottom, place.x : place.right]
    assert torch.equal(shown, enlarged(picture, place.size, result.plan.source_box))
    assert (model.pixels, result.passes) == (0, 0)


def test_all_white_at_the_models_own_scale() -> None:
    picture, model = noise(20, 25), Inventing()
    result, _ = upscale_with_alpha(picture, None, model, protection=Protection.of(torch.ones(1, 1, 20, 25), picture))
    assert torch.equal(result, enlarged(picture, Size(100, 80)))
    assert model.pixels == 0


@pytest.mark.parametrize("mode", list(ProtectMode))
def test_an_empty_mask_protects_nothing(mode: ProtectMode) -> None:
    assert Protection.of(torch.zeros(1, 1, 8, 8), noise(8, 8), mode) is None
    assert Protection.of(None, noise(8, 8), mode) is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.fit.value}-{target.factor:g}")
@pytest.mark.parametrize("tile", [0, 32])
def test_inside_is_the_source_and_outside_the_models_to_the_bit(target: Target, tile: int) -> None:
    picture, model = noise(96, 96), Inventing()
    mask = square(96, 96, 30, 20, 50)
    tiles = TileSettings(size=tile)
    plain = upscale_to(picture, None, model, target, tiles)
    result = upscale_to(picture, None, model, target, tiles, protection=Protection.of(mask, picture))
    place, box = plain.plan.placed, plain.plan.source_box
    inside = resize(mask, place.size, box) > 0.999
    weight = resize(feathered(mask), place.size, box)
    ours, theirs = (each.picture[..., place.y : place.bottom, place.x : place.right] for each in (result, plain))
    lanczos = enlarged(picture, place.size, box)
    assert inside.any()
    assert (ours - lanczos)[inside.expand_as(ours)].abs().max() < 1e-6
    far = weight.abs() < 1e-9
    assert far.any()
    assert torch.equal(ours[far.expand_as(ours)], theirs[far.expand_as(ours)])
    assert (theirs - lanczos)[inside.expand_as(ours)].abs().max() > 0.05, "the model invents"


def test_a_soft_mask_mixes() -> None:
    picture, model = noise(24, 24), Inventing()
    plain, _ = upscale_with_alpha(picture, None, model)
    half = Protection.of(torch.full((1, 1, 24, 24), 0.5), picture)
    mixed, _ = upscale_with_alpha(picture, None, model, protection=half)
    assert torch.allclose(mixed, (plain + enlarged(picture, Size(96, 96))) / 2, atol=1e-6)


def test_where_model_and_source_agree_nothing_appears() -> None:
    picture = interpolate(noise(6, 6), size=(48, 48), mode="bicubic").clamp(0, 1)
    model = LanczosModel()
    plain, _ = upscale_with_alpha(picture, None, model, AS_IT_IS)
    protection = Protection.of(square(48, 48, 9, 9, 22), picture)
    masked, _ = upscale_with_alpha(picture, None, model, AS_IT_IS, protection=protection)
    assert (masked - plain).abs().max() < 1e-6


def test_the_join_has_no_edge_of_its_own() -> None:
    """On a flat picture that the model makes darker by 40 levels, the painted square fades over several pixels: no step
    is larger than a smooth fade over ``FEATHER`` source pixels makes, and values never leave those of the two sides."""
    picture = torch.full((1, 3, 48, 48), 0.6)

    class Darker(Inventing):
        def __call__(self, picture: torch.Tensor) -> torch.Tensor:
            return super().__call__(picture) - 40 / 255

    model = Darker(change=0.0)
    protection = Protection.of(square(48, 48, 14, 14, 20), picture)
    result, _ = upscale_with_alpha(picture, None, model, AS_IT_IS, protection=protection)
    assert result.max() <= 0.6 + 1e-6
    assert result.min() >= 0.6 - 40 / 255 - 1e-6
    step = torch.diff(result, dim=-1).abs().max()
    assert 255 * step < 40 * 0.15, f"{255 * step:.1f} levels"


@pytest.mark.parametrize("edge", [Edge.PLAIN, Edge.WRAP_BOTH])
@pytest.mark.parametrize("halo", [Halo(pixels=3, exact=True), Halo(pixels=12, exact=False)])
@pytest.mark.parametrize("factor", [4.0, 3.1, 7.0])
def test_sparing_the_model_changes_nothing(
    edge: Edge, halo: Halo, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles that nobody sees are not run, and the result is that of running them all."""
    picture = noise(176, 208)
    mask = torch.ones(1, 1, 176, 208)
    mask[..., 20:30, 150:170] = 0
    target, tiles = Target(fit=Fit.FACTOR, factor=factor), TileSettings(size=32, edge=edge)

    def run() -> tuple[torch.Tensor, int]:
        model = Inventing(halo=halo)
        return upscale_to(
            picture, None, model, target, tiles, protection=Protection.of(mask, picture)
        ).picture, model.pixels

    spared, few = run()
    monkeypatch.setattr(Protection, "needed", property(lambda self: None))
    whole, all_of_them = run()
    assert few < (0.9 if factor > 4 else 0.5) * all_of_them
    assert (spared - whole).abs().max() < 1e-6


def test_a_mask_for_each_picture_of_a_batch() -> None:
    pictures = noise(24, 20, batch=2)
    masks = torch.cat([torch.ones(1, 1, 24, 20), torch.zeros(1, 1, 24, 20)])
    model = Inventing()
    result, _ = upscale_with_alpha(pictures, None, model, protection=Protection.of(masks, pictures))
    plain, _ = upscale_with_alpha(pictures, None, model)
    assert torch.equal(result[:1], enlarged(pictures[:1], Size(80, 96)))
    assert torch.equal(result[1:], plain[1:])
    with pytest.raises(InputError, match="2 protect mask planes for 3 images"):
        Protection.of(masks, noise(24, 20, batch=3))


def test_alpha_and_protection_do_not_mix() -> None:
    picture, model = noise(24, 24), Inventing()
    alpha = square(24, 24, 4, 4, 12)
    protection = Protection.of(square(24, 24, 10, 10, 12), picture)
    result, ours = upscale_with_alpha(picture, alpha, model, protection=protection)
    plain, theirs = upscale_with_alpha(picture, alpha, model)
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs)
    assert not torch.equal(result, plain)


def test_rows_are_those_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, box = noise(60, 40), FloatBox(1.5, 2.25, 36.0, 55.0)
    size = Size(108, 165)
    monkeypatch.setattr(protect, "BAND_PIXELS", 108 * 7)
    rows = list(magnified(picture, box, size))
    assert len(rows) > 5
    assert (torch.cat(rows, dim=2) - enlarged(picture, size, box)).abs().max() < 1e-6


def test_sharpening_stays_in_the_local_range() -> None:
    base = resize(noise(12, 12), Size(48, 48)).clamp(0, 1)
    sharp = sharpen_blend(base, sharpening(4.0))[0]
    reach = 2
    high = torch.nn.functional.max_pool2d(base, 2 * reach + 1, stride=1, padding=reach)
    low = -torch.nn.functional.max_pool2d(-base, 2 * reach + 1, stride=1, padding=reach)
    assert (sharp <= high + 1e-6).all()
    assert (sharp >= low - 1e-6).all()
    assert (sharp - base).abs().max() > 0.02


def test_a_painted_pixel_is_protected_in_full_and_the_fade_ends() -> None:
    weight = feathered(square(40, 40, 15, 15, 8))
    assert (weight[..., 14:24, 14:24] == 1).all()
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[8:30, 8:30] = False
    assert (weight[0, 0][outside] == 0).all()


def test_masks_of_other_sizes_are_fitted() -> None:
    mask, note = fitted_mask(square(10, 20, 2, 4, 4), Size(80, 40))
    assert mask.shape == (1, 1, 40, 80)
    assert (mask[..., 10:22, 18:30] == 1).all()
    assert mask[..., :, 60:].max() == 0
    assert note == ""
    mask, note = fitted_mask(torch.ones(1, 1, 100, 105), Size(200, 200), "The mask m.png")
    assert note == "The mask m.png is 105x100 and was stretched to the 200x200 of the picture"
    with pytest.raises(InputError, match=r"The mask is 20x10 and the picture 40x80, 300% apart in proportions"):
        fitted_mask(torch.ones(1, 1, 10, 20), Size(40, 80))


@pytest.mark.parametrize("scale", [2, 4])
def test_anchor_has_the_low_frequencies_of_the_source(scale: int) -> None:
    picture = interpolate(noise(8, 9), size=(40, 45), mode="bicubic").clamp(0.1, 0.9)
    model = Inventing(scale=scale)
    plain, _ = upscale_with_alpha(picture, None, model, AS_IT_IS)
    protection = Protection.of(torch.ones(1, 1, 40, 45), picture, ProtectMode.ANCHOR)
    result, _ = upscale_with_alpha(picture, None, model, AS_IT_IS, protection=protection)
    before = (resize(plain, Size(45, 40)) - picture).abs().mean()
    after = (resize(result, Size(45, 40)) - picture).abs().mean()
    assert after < 0.05 * before
    lanczos = resize(picture, Size(45, 40).scaled(scale))
    assert (result - lanczos).abs().mean() > 0.002, "the model's detail is still there"


def test_anchor_leaves_a_faithful_picture_alone() -> None:
    picture = interpolate(noise(6, 6), size=(32, 32), mode="bicubic").clamp(0.1, 0.9)
    protection = Protection.of(torch.ones(1, 1, 32, 32), picture, ProtectMode.ANCHOR)
    faithful = resize(picture, Size(128, 128)).clamp(0, 1)
    result = faithful.clone()
    assert protection is not None
    lay_over(result, picture, protection, FloatBox(0, 0, 32, 32))
    assert (result - faithful).abs().max() < 0.02


def test_anchor_of_a_picture_that_is_too_small_is_the_source() -> None:
    picture = noise(9, 40)
    protection = Protection.of(torch.ones(1, 1, 9, 40), picture, ProtectMode.ANCHOR)
    result, _ = upscale_with_alpha(picture, None, Inventing(), protection=protection)
    assert torch.equal(result, enlarged(picture, Size(160, 36)))


def test_anchor_outside_of_the_mask_is_the_models() -> None:
    picture = interpolate(noise(10, 12), size=(90, 80), mode="bicubic").clamp(0.1, 0.9)
    mask = square(90, 80, 30, 30, 12)
    plain, _ = upscale_with_alpha(picture, None, Inventing(), AS_IT_IS)
    result, _ = upscale_with_alpha(
        picture, None, Inventing(), AS_IT_IS, protection=Protection.of(mask, picture, ProtectMode.ANCHOR)
    )
    outside = interpolate((feathered(mask) == 0).float(), scale_factor=4)
    outside = -torch.nn.functional.max_pool2d(-outside, 9, stride=1, padding=4) > 0
    assert torch.equal(result[outside.expand_as(result)], plain[outside.expand_as(plain)])
    inside = interpolate(mask, scale_factor=4) > 0
    before, after = (resize(each, Size(80, 90)) - picture for each in (plain, result))
    small = mask.expand_as(picture) > 0
    assert after[small].abs().mean() < 0.1 * before[small].abs().mean()
    assert not torch.equal(result[inside.expand_as(result)], plain[inside.expand_as(plain)])


def test_cancel_is_heard_where_nothing_is_run() -> None:
    class Stop(Progress):
        def check(self) -> None:
            raise KeyboardInterrupt

    picture = noise(64, 64)
    mask = torch.ones(1, 1, 64, 64)
    mask[..., :9, :9] = 0.5
    protection = Protection.of(mask, picture)
    with pytest.raises(KeyboardInterrupt):
        upscale_with_alpha(picture, None, Inventing(), TileSettings(size=32), Stop(), protection=protection)
