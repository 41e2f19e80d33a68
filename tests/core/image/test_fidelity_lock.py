"""What is locked reduces to its source, keeps its detail, rings no more, and is not changed by locking it again."""

from __future__ import annotations

import math

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image import fidelity_lock as fidelity_lock_module
from backplate.core.image.canvas import Background, place
from backplate.core.image.fidelity_lock import LockSettings, fidelity_lock, lock_fitted
from backplate.core.image.filters import gaussian
from backplate.core.image.fit import Fit, Target, plan_fit
from backplate.core.image.register import moved
from backplate.core.image.resize import resize
from backplate.core.metrics.edge_width import edge_width
from backplate.core.metrics.fidelity import fidelity
from backplate.core.metrics.ringing import overshoot
from backplate.core.progress import Progress
from backplate.core.types import Size


def noise(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def scene(side: int = 256, seed: int = 3) -> torch.Tensor:
    """Soft texture, a bright disc and a dark frame, with fine lines."""
    picture = (0.5 + 1.2 * (gaussian(noise(1, 3, side, side, seed=seed), side / 40) - 0.5)).clamp(0, 1)
    axis = torch.arange(side) - side / 2
    disc = axis[:, None] ** 2 + axis**2 < (side / 4) ** 2
    picture[..., disc] = torch.tensor([0.9, 0.7, 0.3])[:, None]
    picture[..., side // 8 : side // 8 + 6, :] = 0.1
    picture[..., :, ::32] *= 0.6
    return picture


def packed(side: int) -> torch.Tensor:
    """A grey box on lighter grey."""
    picture = torch.full((1, 3, side, side), 0.7)
    picture[..., side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 0.3
    return picture


def pair(side: int = 256, scale: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A source, and what a careless upscaler made of it: other texture, another colour tint, a halo."""
    truth = scene(side)
    source = resize(truth, Size(side // scale, side // scale)).clamp(0, 1)
    invented = truth + 0.08 * (noise(*truth.shape, seed=5) - 0.5) + 0.05 * (gaussian(noise(*truth.shape), 8) - 0.5)
    return source, (invented + 0.8 * (invented - gaussian(invented, 3))).clamp(0, 1)


def recoloured(picture: torch.Tensor) -> torch.Tensor:
    gains = torch.tensor([0.92, 1.04, 0.97])[:, None, None]
    return (picture * gains + 0.02).clamp(0, 1)


def lr_psnr(source: torch.Tensor, result: torch.Tensor) -> float:
    return fidelity(source, result)[0].lr_psnr


def test_the_locked_picture_reduces_to_its_source_and_keeps_its_detail():
    source, result = pair()
    locked = fidelity_lock(result, source)
    assert lr_psnr(source, result) < 35
    assert lr_psnr(source, locked.picture) >= 50
    assert locked.before[0] == pytest.approx(lr_psnr(source, result), abs=0.2)
    assert locked.after[0] == pytest.approx(lr_psnr(source, locked.picture), abs=0.5)
    detail, kept = (each - resize(resize(each, Size(64, 64)), Size(256, 256)) for each in (result, locked.picture))
    assert torch.corrcoef(torch.stack([detail.flatten(), kept.flatten()]))[0, 1] > 0.7


def test_locking_twice_changes_nothing():
    source, result = pair()
    once = fidelity_lock(result, source).picture
    twice = fidelity_lock(once, source).picture
    assert (once - twice).abs().max() <= 0.1 / 255


def test_it_is_the_same_in_bands_as_in_one_piece(monkeypatch: pytest.MonkeyPatch):
    source, result = pair()
    whole = fidelity_lock(result, source).picture
    monkeypatch.setattr(fidelity_lock_module, "BAND_PIXELS", 3000)
    assert (fidelity_lock(result, source).picture - whole).abs().max() < 1e-6


def test_a_sharp_edge_that_the_source_allows_stays_as_sharp():
    truth = gaussian(packed(256), 0.8)
    source = resize(truth, Size(64, 64)).clamp(0, 1)
    result = (truth + 0.06 * (gaussian(noise(*truth.shape), 8) - 0.5) - 0.03).clamp(0, 1)
    locked = fidelity_lock(result, source)
    assert locked.before[0] < 35
    assert locked.after[0] >= 49
    assert edge_width(locked.picture, result)[0] == pytest.approx(edge_width(result)[0], rel=0.1)


def test_a_halo_is_taken_off_and_none_is_made():
    truth = gaussian(packed(256), 1.5)
    source = resize(truth, Size(64, 64)).clamp(0, 1)
    result = (truth + 1.5 * (truth - gaussian(truth, 4))).clamp(0, 1)
    plain = resize(source, Size(256, 256)).clamp(0, 1)
    locked = fidelity_lock(result, source).picture
    assert overshoot(source, result)[0] > 8
    assert overshoot(source, locked)[0] <= overshoot(source, plain)[0] + 1


def test_a_step_has_no_more_than_the_range_of_the_source_around_it():
    source = torch.full((1, 1, 32, 32), 0.2)
    source[..., 16:] = 0.8
    result = resize(source, Size(128, 128))
    result = (result + 1.5 * (result - gaussian(result, 4))).clamp(0, 1)
    locked = fidelity_lock(result, source).picture
    assert result.max() > 0.83
    assert locked.max() <= 0.8 + 0.03 * 0.6 + 1e-6
    assert locked.min() >= 0.2 - 0.03 * 0.6 - 1e-6


@pytest.mark.parametrize("register", [False, True])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_strength_is_the_share_of_the_difference_that_is_taken_off(strength: float, register: bool):
    source, result = pair()
    locked = fidelity_lock(result, source, LockSettings(strength=strength, register=register)).picture
    before, after = (source - resize(each, Size(64, 64)) for each in (result, locked))
    assert float(after.std() / before.std()) == pytest.approx(1 - strength, abs=0.12)
    if not strength:
        assert torch.equal(locked, result)


def test_only_what_is_coarse_is_locked_where_that_is_asked():
    source, result = pair()
    locked = fidelity_lock(result, source, LockSettings(coarser_than=8, register=False)).picture
    left = source - resize(locked, Size(64, 64))
    missing = source - resize(result, Size(64, 64))
    assert gaussian(left, 6).std() < 0.4 * gaussian(missing, 6).std()
    fine = [each - gaussian(each, 1.5) for each in (left, missing)]
    assert fine[0].std() > 0.6 * fine[1].std()


@pytest.mark.parametrize("shift", [(0.3, -0.2), (1.5, 0.8), (-2.0, 2.0)], ids=str)
@pytest.mark.parametrize("change", [lambda picture: picture, recoloured], ids=["same colours", "tinted"])
def test_a_shift_and_a_colour_are_found_and_taken_off(shift: tuple[float, float], change):
    source, result = pair()
    off = change(moved(result, -4 * shift[0], -4 * shift[1]).clamp(0, 1))
    locked = fidelity_lock(off, source)
    assert locked.found[0].shift == pytest.approx(shift, abs=0.06)
    assert (locked.found[0].colour > 0) == (change is recoloured)
    assert locked.after[0] >= 49
    inner = slice(24, -24)
    straight = fidelity_lock(result, source).picture
    assert (locked.picture - straight)[..., inner, inner].abs().mean() < 1.5 / 255


@pytest.mark.parametrize("size", [(90, 90), (201, 199), (64, 64), (511, 513)], ids=str)
def test_any_ratio_of_sizes_is_taken(size: tuple[int, int]):
    source, result = pair()
    other = resize(result, Size(*size)).clamp(0, 1)
    locked = fidelity_lock(other, source)
    assert locked.picture.shape[-2:] == (size[1], size[0])
    assert locked.after[0] >= 49


def test_each_of_a_batch_has_its_own_source_or_all_have_one():
    source, result = pair()
    other = resize(scene(seed=9), Size(64, 64)).clamp(0, 1)
    sources, results = torch.cat([source, other]), torch.cat([result, resize(other, Size(256, 256)).clamp(0, 1)])
    both = fidelity_lock(results, sources)
    assert torch.equal(both.picture[:1], fidelity_lock(result, source).picture)
    assert torch.equal(both.picture[1:], fidelity_lock(results[1:], other).picture)
    shared = fidelity_lock(torch.cat([result, result]), source).picture
    assert torch.equal(shared[0], shared[1])


@pytest.mark.parametrize(
    ("result", "source", "said"),
    [
        (scene(64), noise(1, 3, 128, 128), "64x64 is smaller than its source of 128x128"),
        (scene(256)[..., :128], noise(1, 3, 64, 64), "128x256 has different proportions"),
        (scene(64), noise(1, 3, 15, 15), "15x15 is too small"),
        (scene(256), resize(scene(256, seed=8).roll(64, -1), Size(64, 64)).flip(-1, -2).clamp(0, 1), "result"),
        (scene(256), noise(2, 3, 64, 64), "2 sources for 1 results"),
        (scene(256), noise(1, 1, 64, 64), "1 channels"),
    ],
    ids=["smaller", "shape", "tiny", "another", "number", "channels"],
)
def test_what_cannot_be_locked_is_refused_with_the_figure(result: torch.Tensor, source: torch.Tensor, said: str):
    with pytest.raises(InputError, match=said):
        fidelity_lock(result, source)


def test_something_else_is_refused_by_its_correlation_and_far_shifts_by_their_length():
    source, result = pair()
    with pytest.raises(InputError, match=r"correlates by|shifted by"):
        fidelity_lock(noise(1, 3, 256, 256), source)
    with pytest.raises(InputError, match=r"shifted by 5\.\d, -?0\.\d source pixels"):
        fidelity_lock(moved(result, -20, 0).clamp(0, 1), source)


@pytest.mark.parametrize("name", ["strength", "coarser_than"])
@pytest.mark.parametrize("value", [-0.1, 65, math.nan])
def test_settings_out_of_range_are_refused(name: str, value: float):
    with pytest.raises(InputError, match=name):
        LockSettings(**{name: value})


@pytest.mark.parametrize(
    "target",
    [
        Target(fit=Fit.COVER, width=300, height=200),
        Target(fit=Fit.PAD, width=300, height=256),
        Target(fit=Fit.FACTOR, factor=3.3),
        Target(fit=Fit.STRETCH, width=160, height=320),
    ],
    ids=lambda target: target.fit.value,
)
def test_a_picture_on_its_canvas_is_locked_to_the_part_that_it_shows(target: Target):
    source, _ = pair()
    plan = plan_fit(Size(64, 64), target)
    invented = resize(source, plan.placed.size, plan.source_box) + 0.1 * (
        gaussian(noise(1, 3, *plan.placed.size[::-1]), 4) - 0.5
    )
    canvas, _ = place(invented.clamp(0, 1), None, plan, Background())
    border = canvas.clone()
    note = lock_fitted(canvas, source, plan, 1.0, Progress())
    box = plan.placed
    shown = canvas[..., box.y : box.bottom, box.x : box.right]
    assert (shown - resize(source, box.size, plan.source_box).clamp(0, 1)).abs().mean() < 3 / 255
    assert "agrees with the source to" in note
    canvas[..., box.y : box.bottom, box.x : box.right] = border[..., box.y : box.bottom, box.x : box.right]
    assert torch.equal(canvas, border), "what lies around the picture is not touched"


def test_what_was_made_smaller_is_left_as_it_is():
    canvas, source = noise(1, 3, 30, 30), noise(1, 3, 64, 64)
    before = canvas.clone()
    assert "not locked" in lock_fitted(canvas, source, None, 1.0, Progress())
    assert torch.equal(canvas, before)
