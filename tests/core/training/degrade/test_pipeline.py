import math

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.training.degrade import cel_scan as cel
from backplate.core.training.degrade import noise
from backplate.core.training.degrade import pipeline as degradation
from backplate.core.training.degrade.cel_scan import CelSettings
from backplate.core.training.degrade.noise import Codec, NoiseSettings
from backplate.core.training.degrade.pipeline import (
    DegradationSettings,
    Mode,
    SimpleSettings,
    StageSettings,
    degrade,
    draw_factor,
    second_stage,
)
from backplate.core.training.degrade.random_draws import seeded, uniform
from backplate.core.training.synthetic.pictures import SyntheticPictures


def references(count: int = 3, size: int = 64, kind: str = "cel") -> torch.Tensor:
    pictures = SyntheticPictures(count, size, 1, {kind: 1.0})
    return torch.stack([pictures[i] for i in range(count)]).float() / 255.0


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("channels", [3, 1])
def test_sizes_range_and_depth(mode, scale, channels):
    clean = references()[:, :channels, :48]
    before = clean.clone()
    pair = degrade(clean, scale, DegradationSettings(mode=mode), 5)
    assert pair.degraded.shape == (3, channels, 48 // scale, 64 // scale)
    assert pair.reference.shape == clean.shape
    levels = pair.degraded * 255.0
    assert (levels - levels.round()).abs().max() < 1e-3
    assert 0.0 <= pair.degraded.min() <= pair.degraded.max() <= 1.0
    torch.testing.assert_close(clean, before, rtol=0, atol=0)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_seed_fixes_the_picture(mode):
    clean = references()
    settings = DegradationSettings(
        mode=mode, simple=SimpleSettings(noise_probability=1.0, blur_probability=0.5, jpeg_probability=0.5)
    )
    first, again, other = (degrade(clean, 2, settings, *seed) for seed in ((7, 1), (7, 1), (7, 2)))
    assert torch.equal(first.degraded, again.degraded)
    assert torch.equal(first.reference, again.reference)
    assert not torch.equal(first.degraded, other.degraded)


def test_the_global_random_state_has_no_say_and_is_left_alone():
    clean = references()
    torch.manual_seed(1)
    first = degrade(clean, 2, DegradationSettings(), 3)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(degrade(clean, 2, DegradationSettings(), 3).degraded, first.degraded)


def test_defaults_are_the_published_ones():
    # options/train_realesrgan_x4plus.yml of the authors.
    first, second = StageSettings(), second_stage()
    assert (first.resize, first.resize_range) == ((0.2, 0.7, 0.1), (0.15, 1.5))
    assert (second.resize, second.resize_range) == ((0.3, 0.4, 0.3), (0.3, 1.2))
    assert (first.noise.gaussian_sigma, first.noise.poisson_scale) == ((1, 30), (0.05, 3))
    assert (second.noise.gaussian_sigma, second.noise.poisson_scale) == ((1, 25), (0.05, 2.5))
    assert first.jpeg_quality == second.jpeg_quality == (30, 95)
    assert (first.blur.probability, second.blur.probability) == (1.0, 0.8)
    assert (first.blur.sigma, second.blur.sigma) == ((0.2, 3), (0.2, 1.5))
    assert (first.blur.sinc_probability, second.blur.sinc_probability) == (0.1, 0.1)
    for blur in (first.blur, second.blur):
        assert blur.families == (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
        assert (blur.generalised_beta, blur.plateau_beta) == ((0.5, 4), (1, 2))
        assert (blur.smallest_kernel, blur.largest_kernel) == (7, 21)
        assert (blur.sinc_cutoff[0], blur.small_sinc_cutoff[0]) == (math.pi / 5, math.pi / 3)
    for stage in (first, second):
        assert (stage.noise.gaussian_probability, stage.noise.grey_probability) == (0.5, 0.4)
    whole = DegradationSettings()
    assert (whole.final_sinc.probability, whole.final_sinc.cutoff) == (0.8, (math.pi / 3, math.pi))
    assert whole.sinc_first_probability == 0.5


class Seen:
    """What the second-order pipeline was seen to apply, over many pictures."""

    def __init__(self, monkeypatch, settings: DegradationSettings, runs: int = 300):
        self.quality, self.gaussian, self.poisson, self.grey, self.order = [], [], [], [], []
        self.blurs = [0, 0]
        monkeypatch.setattr(noise, "gaussian_noise", self._gaussian)
        monkeypatch.setattr(noise, "poisson_noise", self._poisson)
        monkeypatch.setattr(degradation, "compress", self._compress)
        monkeypatch.setattr(degradation, "filter_each", self._filter)
        monkeypatch.setattr(degradation, "draw_final_sinc", lambda *_: "final")
        for run in range(runs):
            self.stage = 0
            self.steps = []
            degrade(torch.rand(4, 3, 8, 8, generator=seeded(run)), 2, settings, 1, run)
            self.order.append("".join(self.steps))

    def _gaussian(self, picture, sigma, grey, generator):
        self.gaussian.append((self.stage, sigma))
        self.grey.append(grey)
        return torch.zeros_like(picture)

    def _poisson(self, picture, scale, grey, generator):
        self.poisson.append((self.stage, scale))
        self.grey.append(grey)
        return torch.zeros_like(picture)

    def _compress(self, picture, quality, codec):
        self.quality.append((self.stage, quality))
        self.stage = 1
        self.steps.append("j")
        return picture

    def _filter(self, picture, kernels):
        if isinstance(kernels, str):
            self.steps.append("s")
        else:
            self.blurs[self.stage] += 1
        return picture

    def of(self, what, stage: int) -> torch.Tensor:
        return torch.cat([values for at, values in what if at == stage])


def test_what_the_pipeline_applies_fills_the_published_ranges(monkeypatch):
    seen = Seen(monkeypatch, DegradationSettings())
    ranges = {
        0: {"quality": (30, 95), "gaussian": (1, 30), "poisson": (0.05, 3)},
        1: {"quality": (30, 95), "gaussian": (1, 25), "poisson": (0.05, 2.5)},
    }
    for stage, expected in ranges.items():
        for name, (low, high) in expected.items():
            values = seen.of(getattr(seen, name), stage)
            margin = 0.02 * (high - low)
            assert low <= values.min() < low + margin, (stage, name)
            assert high - margin < values.max() <= high, (stage, name)
            assert float(values.mean()) == pytest.approx((low + high) / 2, abs=3 * margin)
        share = len(seen.of(seen.gaussian, stage)) / 1200
        assert share == pytest.approx(0.5, abs=0.1)
    assert float(torch.cat(seen.grey).float().mean()) == pytest.approx(0.4, abs=0.05)


def test_blurs_and_the_final_order_come_in_the_published_shares(monkeypatch):
    seen = Seen(monkeypatch, DegradationSettings())
    assert seen.blurs[0] == 300
    assert seen.blurs[1] / 300 == pytest.approx(0.8, abs=0.08)
    # JPEG, then either sinc and JPEG or JPEG and sinc.
    assert set(seen.order) == {"jsj", "jjs"}
    assert seen.order.count("jsj") / 300 == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("probability", "order"), [(0.0, "jjs"), (1.0, "jsj")])
def test_the_final_order_is_an_option(monkeypatch, probability, order):
    settings = DegradationSettings(sinc_first_probability=probability)
    assert set(Seen(monkeypatch, settings, 10).order) == {order}


@pytest.mark.parametrize("stage", [StageSettings(), second_stage()])
def test_resizing_factors_follow_shares_and_range(stage):
    generator = seeded(1)
    factors = np.array([draw_factor(stage, generator) for _ in range(3000)])
    up, down, keep = stage.resize
    assert (factors > 1).mean() == pytest.approx(up, abs=0.03)
    assert (factors < 1).mean() == pytest.approx(down, abs=0.03)
    assert (factors == 1).mean() == pytest.approx(keep, abs=0.03)
    low, high = stage.resize_range
    assert low <= factors.min() < low + 0.02
    assert high - 0.02 < factors.max() <= high


def test_gaussian_noise_has_its_strength_and_its_colour():
    grey = torch.tensor([True, False])
    field = noise.gaussian_noise(torch.zeros(2, 3, 200, 200), torch.tensor([10.0, 25.0]), grey, seeded(1)) * 255.0
    assert field.std((1, 2, 3)).tolist() == pytest.approx([10.0, 25.0], rel=0.02)
    assert torch.equal(field[0, 0], field[0, 2])
    assert float(torch.corrcoef(field[1].flatten(1))[0, 2].abs()) < 0.03


def test_poisson_noise_grows_with_brightness():
    levels = torch.linspace(0.0, 1.0, 256).repeat(1, 3, 256, 1)
    field = noise.poisson_noise(levels, torch.tensor([2.0]), torch.tensor([False]), seeded(2))
    # 256 levels: x * 256 photons of variance x * 256, so a deviation of 2 * sqrt(x / 256).
    for column in (16, 64, 240):
        band = field[..., column - 4 : column + 4]
        expected = 2.0 * math.sqrt(column / 255 / 256)
        assert float(band.std()) == pytest.approx(expected, rel=0.06)
        assert abs(float(band.mean())) < 0.01


def test_noise_kinds_come_in_the_published_shares():
    flat = torch.zeros(1, 3, 8, 8)
    # Poisson noise of black is zero, Gaussian noise is not.
    gaussian = [bool(noise.add_noise(flat, NoiseSettings(), seeded(i)).any()) for i in range(400)]
    assert np.mean(gaussian) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("codec", list(Codec))
def test_jpeg_errors_fall_with_quality(codec):
    if codec is Codec.KORNIA:
        pytest.importorskip("kornia", reason="the kornia codec needs kornia")
    clean = references(1, 64, "leaves").repeat(3, 1, 1, 1)
    coded = noise.compress(clean, torch.tensor([20.0, 60.0, 95.0]), codec)
    errors = (coded - clean).abs().mean((1, 2, 3))
    assert errors[0] > errors[1] > errors[2] > 0
    assert 0 <= coded.min() <= coded.max() <= 1


def test_kornia_and_libjpeg_agree():
    pytest.importorskip("kornia", reason="the kornia codec needs kornia")
    clean, quality = references(2, 64, "leaves"), torch.tensor([40.0, 85.0])
    ours, theirs = (noise.compress(clean, quality, codec) for codec in (Codec.LIBJPEG, Codec.KORNIA))
    assert float((ours - theirs).abs().mean()) * 255 < 4.0
    assert float((ours - clean).abs().mean()) * 255 > 2.0


def test_libjpeg_keeps_red_red():
    red = torch.tensor([0.8, 0.1, 0.2]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    coded = noise.compress(red, torch.tensor([95.0]), Codec.LIBJPEG)
    torch.testing.assert_close(coded, red.contiguous(), atol=0.02, rtol=0)


def test_bicubic_mode_is_antialiased_bicubic():
    clean = references(2, 64, "leaves")
    expected = torch.nn.functional.interpolate(clean, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1)
    got = degrade(clean, 2, DegradationSettings(mode=Mode.BICUBIC), 1).degraded
    assert float((got - expected).abs().max()) <= 0.5 / 255 + 1e-6


def test_the_second_order_pipeline_does_harm_but_keeps_the_picture():
    clean = references(8, 128, "leaves")
    degraded = degrade(clean, 2, DegradationSettings(group=1), 4).degraded
    plain = degrade(clean, 2, DegradationSettings(mode=Mode.BICUBIC), 4).degraded
    errors = ((degraded - plain) ** 2).mean((1, 2, 3)).sqrt()
    assert errors.min() > 0.01
    for ours, theirs in zip(degraded.mean((2, 3)), plain.mean((2, 3)), strict=True):
        assert (ours - theirs).abs().max() < 0.08


def test_a_side_that_is_no_multiple_is_refused():
    with pytest.raises(InputError, match="cut it to 64x60"):
        degrade(torch.rand(1, 3, 62, 64), 4, DegradationSettings(), 1)


def quiet(**given) -> CelSettings:
    """Cel settings in which nothing happens but what is given."""
    nothing = {
        "line_blur": (0.0, 0.0),
        "chroma_bleed": (0.0, 0.0),
        "chroma_shift": (0.0, 0.0),
        "grain": (0.0, 0.0),
        "dust": (0.0, 0.0),
        "hairs": (0.0, 0.0),
        "contrast": (1.0, 1.0),
        "lift": (0.0, 0.0),
        "tint": (1.0, 1.0),
        "jpeg_probability": 0.0,
    }
    return CelSettings(**(nothing | given))


def test_a_cel_to_which_nothing_happens_is_only_reduced():
    clean = references(2)
    degraded, reference = cel.scan_cel(clean, 2, quiet(), seeded(1))
    torch.testing.assert_close(reference, clean)
    torch.testing.assert_close(degraded, torch.nn.functional.avg_pool2d(clean, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("restore", [False, True])
def test_fading_is_the_models_business_only_on_request(restore):
    clean = references(2)
    settings = quiet(contrast=(0.8, 0.8), lift=(0.05, 0.05), restore_fading=restore)
    degraded, reference = cel.scan_cel(clean, 1, settings, seeded(1))
    torch.testing.assert_close(degraded, 0.8 * clean + 0.05, atol=1e-5, rtol=0)
    torch.testing.assert_close(reference, clean if restore else 0.8 * clean + 0.05, atol=1e-5, rtol=0)


def test_chroma_bleeds_and_luma_does_not():
    red = torch.tensor([0.9, 0.1, 0.1]).reshape(1, 3, 1, 1)
    picture = torch.cat([red.expand(1, 3, 20, 20), torch.full((1, 3, 20, 20), 0.34)], -1)
    bled = cel.bleed_chroma(picture, quiet(chroma_bleed=(2.0, 2.0)), seeded(1))
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    assert float(((bled - picture) * weights).sum(1)[..., 2:-2].abs().max()) < 0.05
    spread = (bled[0, 0] - bled[0, 2])[10]
    assert 0.15 < float(spread[21]) < 0.45
    assert float(spread[35]) < 0.01


def test_grain_is_as_strong_as_asked_at_mid_grey():
    grey = torch.full((2, 3, 128, 128), 0.5)
    grainy = cel.add_grain(grey, quiet(grain=(4.0, 4.0), grain_size=(0.6, 0.6)), seeded(1))
    assert ((grainy - grey) * 255).std((1, 2, 3)).tolist() == pytest.approx([4.0, 4.0], rel=0.05)


def test_dust_is_as_dense_as_asked_and_leaves_the_rest():
    grey = torch.full((4, 3, 256, 256), 0.5)
    none = cel.add_dirt(grey, quiet(), seeded(1))
    torch.testing.assert_close(none, grey)
    dusty = cel.add_dirt(grey, quiet(dust=(300.0, 300.0)), seeded(1))
    touched = ((dusty - grey).abs() > 0.02).float().mean((1, 2, 3))
    assert touched.min() > 1e-5
    assert touched.max() < 0.02


def test_draws_fill_their_range_and_streams_differ():
    values = uniform(seeded(3), (2.0, 5.0), 5000)
    assert 2.0 <= values.min() < 2.01
    assert 4.99 < values.max() <= 5.0
    streams = [float(uniform(seeded(*seed), (0.0, 1.0), 1)) for seed in ((0, 1), (1, 0), (0, 0, 1), (1,), (0,))]
    assert len(set(streams)) == 5
