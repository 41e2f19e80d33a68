import math

import numpy as np
import pytest
import torch
from backplate.core.training.degrade import kernels
from backplate.core.training.degrade.kernels import KERNEL_SIDE, BlurSettings, FinalSincSettings, KernelDraw
from backplate.core.training.degrade.random_draws import seeded

MANY = 4000


def draw(**given) -> KernelDraw:
    """One kernel of given parameters."""
    usual = {"family": 0, "side": 21, "sigma_x": 1.5, "sigma_y": 1.5, "angle": 0.0, "beta": 1.0, "cutoff": 2.0}
    return KernelDraw(**{name: torch.tensor([value]) for name, value in (usual | given).items()})


def moments(kernel: torch.Tensor) -> tuple[float, float]:
    """Standard deviations along x and y."""
    axis = torch.arange(KERNEL_SIDE) - KERNEL_SIDE // 2
    return float((kernel.sum(0) * axis**2).sum().sqrt()), float((kernel.sum(1) * axis**2).sum().sqrt())


def test_families_come_in_the_published_shares():
    drawn = kernels.draw_kernels(BlurSettings(), MANY, seeded(1))
    shares = torch.bincount(drawn.family, minlength=7) / MANY
    published = [*(0.9 * share for share in (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)), 0.1]
    assert shares.tolist() == pytest.approx(published, abs=0.02)


def test_parameters_stay_in_and_fill_the_published_ranges():
    drawn = kernels.draw_kernels(BlurSettings(), MANY, seeded(2))
    assert set(drawn.side.tolist()) == {7, 9, 11, 13, 15, 17, 19, 21}
    for sigma in (drawn.sigma_x, drawn.sigma_y):
        assert 0.2 <= sigma.min() < 0.25
        assert 2.95 < sigma.max() <= 3.0
    generalised = drawn.beta[torch.isin(drawn.family, torch.tensor([2, 3]))]
    assert 0.5 <= generalised.min() < 0.55
    assert 3.8 < generalised.max() <= 4.0
    assert float((generalised < 1).float().mean()) == pytest.approx(0.5, abs=0.08)
    plateau = drawn.beta[torch.isin(drawn.family, torch.tensor([4, 5]))]
    assert plateau.min() >= 1.0
    assert plateau.max() <= 2.0
    assert (drawn.beta[drawn.family < 2] == 1).all()
    small = drawn.side < 13
    assert drawn.cutoff[small].min() >= math.pi / 3
    assert math.pi / 5 <= drawn.cutoff[~small].min() < math.pi / 4
    assert drawn.cutoff.max() <= math.pi


def test_sinc_cutoffs_are_options():
    settings = BlurSettings(sinc_cutoff=(1.0, 1.2), small_sinc_cutoff=(2.0, 2.1))
    drawn = kernels.draw_kernels(settings, 500, seeded(8))
    small = drawn.side < kernels.SMALL_SIDE
    assert 2.0 <= drawn.cutoff[small].min() < drawn.cutoff[small].max() <= 2.1
    assert 1.0 <= drawn.cutoff[~small].min() < drawn.cutoff[~small].max() <= 1.2


def test_isotropic_families_are_isotropic():
    drawn = kernels.draw_kernels(BlurSettings(), 500, seeded(3))
    isotropic = torch.isin(drawn.family, torch.tensor([0, 2, 4]))
    assert (drawn.sigma_x == drawn.sigma_y)[isotropic].all()
    assert not (drawn.sigma_x == drawn.sigma_y)[torch.isin(drawn.family, torch.tensor([1, 3, 5]))].any()


def test_every_kernel_sums_to_one_within_its_side():
    drawn = kernels.draw_kernels(BlurSettings(), 300, seeded(4))
    made = kernels.make_kernels(drawn)
    assert made.sum((1, 2)).tolist() == pytest.approx([1.0] * 300, abs=1e-5)
    axis = torch.arange(KERNEL_SIDE) - KERNEL_SIDE // 2
    reach = torch.maximum(axis.abs()[:, None], axis.abs()[None, :])
    outside = reach[None] > (drawn.side // 2)[:, None, None]
    assert (made[outside] == 0).all()


@pytest.mark.parametrize(("sigma_x", "sigma_y"), [(1.5, 1.5), (2.0, 0.8)])
def test_a_gaussian_has_its_standard_deviations(sigma_x, sigma_y):
    kernel = kernels.bell_kernels(draw(family=1, sigma_x=sigma_x, sigma_y=sigma_y))[0]
    assert moments(kernel) == pytest.approx((sigma_x, sigma_y), rel=0.02)


def test_turning_by_a_right_angle_exchanges_the_axes():
    straight = kernels.bell_kernels(draw(family=1, sigma_x=2.0, sigma_y=0.8))[0]
    turned = kernels.bell_kernels(draw(family=1, sigma_x=2.0, sigma_y=0.8, angle=math.pi / 2))[0]
    torch.testing.assert_close(turned, straight.T, atol=1e-6, rtol=0)


def test_shapes_of_the_families_at_the_centre_line():
    # exp(-x^2 / 2 s^2), exp(-(x^2 / s^2)^b / 2) and 1 / (1 + (x^2 / s^2)^b) of Liu et al. 2020, by hand.
    sigma, beta, x = 1.5, 1.7, 2.0
    for family, expected in (
        (0, math.exp(-0.5 * (x / sigma) ** 2)),
        (2, math.exp(-0.5 * (x / sigma) ** (2 * beta))),
        (4, 1 / (1 + (x / sigma) ** (2 * beta))),
    ):
        kernel = kernels.bell_kernels(draw(family=family, beta=1.0 if family == 0 else beta))[0]
        assert float(kernel[10, 12] / kernel[10, 10]) == pytest.approx(expected, rel=1e-4)


def test_sinc_passes_low_and_stops_high_frequencies():
    kernel = kernels.sinc_kernels(torch.tensor([math.pi / 2]), torch.tensor([21]))[0].numpy()
    response = np.abs(np.fft.fft2(kernel, (256, 256)))[0]
    frequency = np.fft.fftfreq(256) * 2 * np.pi
    passed = response[(frequency >= 0) & (frequency < 0.35 * np.pi)]
    stopped = response[(frequency > 0.65 * np.pi) & (frequency < np.pi)]
    assert passed.min() > 0.85
    assert stopped.max() < 0.15


def test_final_sinc_is_left_out_with_the_rest_of_the_probability():
    made = kernels.draw_final_sinc(FinalSincSettings(probability=0.8), 2000, seeded(5))
    identity = (made[:, 10, 10] == 1.0).float().mean()
    assert float(identity) == pytest.approx(0.2, abs=0.03)


def test_final_sinc_cuts_off_between_a_third_of_the_way_and_all(monkeypatch):
    seen = []
    monkeypatch.setattr(
        kernels, "sinc_kernels", lambda cutoff, side: seen.append((cutoff, side)) or torch.zeros(len(cutoff), 21, 21)
    )
    kernels.draw_final_sinc(FinalSincSettings(), MANY, seeded(9))
    ((cutoff, side),) = seen
    assert math.pi / 3 <= cutoff.min() < math.pi / 3 + 0.01
    assert math.pi - 0.01 < cutoff.max() <= math.pi
    assert set(side.tolist()) == {7, 9, 11, 13, 15, 17, 19, 21}


@pytest.mark.parametrize("size", [(40, 33), (9, 8)])
def test_each_picture_gets_its_own_kernel(size):
    pictures = torch.rand(3, 2, *size, generator=seeded(6))
    weights = torch.stack([torch.eye(5), torch.ones(5, 5), torch.rand(5, 5, generator=seeded(7))])
    together = kernels.filter_each(pictures, weights)
    for index in range(3):
        for channel in range(2):
            padded = torch.nn.functional.pad(
                pictures[index : index + 1, channel : channel + 1], (2, 2, 2, 2), "reflect"
            )
            alone = torch.nn.functional.conv2d(padded, weights[index][None, None])[0, 0]
            torch.testing.assert_close(together[index, channel], alone, atol=1e-5, rtol=1e-5)
