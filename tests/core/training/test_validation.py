import math
from pathlib import Path

import pytest
import torch
from backplate.core.metrics.errors import MetricUnavailable
from backplate.core.metrics.lpips import LpipsNet, LpipsNetwork
from backplate.core.metrics.psnr import psnr
from backplate.core.training import validation
from backplate.core.training.config import Criterion, ValidationSettings
from backplate.core.training.degrade.pipeline import DegradationSettings, Mode, Pair
from backplate.core.training.degrade.random_draws import seeded

CPU = torch.device("cpu")


def inked() -> torch.Tensor:
    picture = torch.full((1, 3, 48, 48), 0.8)
    picture[..., 20:22] = 0.1
    return picture


def test_line_psnr_is_the_psnr_of_the_lines():
    reference = inked()
    assert validation.line_psnr(reference + 0.1, reference, 2.0) == pytest.approx(20.0, abs=1e-3)
    away = reference.clone()
    away[..., :10] = 0.0
    assert validation.line_psnr(away, reference, 2.0) > 50.0
    assert validation.line_psnr(reference, reference, 2.0) == math.inf
    assert math.isnan(validation.line_psnr(reference[..., :12], reference[..., :12], 2.0))


class Nearest(torch.nn.Module):
    def forward(self, picture):
        return torch.nn.functional.interpolate(picture, scale_factor=2, mode="nearest")


def test_scores_are_means_over_the_pictures_and_lineless_ones_have_no_say():
    plain = torch.rand(1, 3, 48, 48, generator=seeded(1)) * 0.02 + 0.5
    pairs = validation.validation_pairs([inked(), plain], DegradationSettings(mode=Mode.BICUBIC), 2, seed=0)
    scores, outputs = validation.score(Nearest(), pairs, CPU, line_width=2.0)
    each = [psnr(output, pair.reference)[0] for output, pair in zip(outputs, pairs, strict=True)]
    assert scores["psnr"] == pytest.approx(sum(each) / 2)
    assert scores["line_psnr"] == pytest.approx(validation.line_psnr(outputs[0], pairs[0].reference, 2.0))
    assert set(scores) == {"psnr", "ssim", "line_psnr", "texture"}


def test_validation_pictures_are_the_same_every_time():
    settings = DegradationSettings()
    first, second = (validation.validation_pairs([inked(), inked()], settings, 2, seed=4) for _ in range(2))
    assert torch.equal(first[0].degraded, second[0].degraded)
    assert not torch.equal(first[0].degraded, first[1].degraded)


def test_lpips_is_measured_where_there_is_a_network():
    class Distance(torch.nn.Module):
        def forward(self, first, second):
            return (first - second).abs().mean()

    network = LpipsNetwork(Distance(), LpipsNet.ALEX, Path("none"), "0")
    pair = Pair(torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 64, 64), 0.6))
    scores, _ = validation.score(Nearest(), [pair], CPU, 2.0, network)
    assert scores["lpips"] == pytest.approx(0.2, abs=1e-5)


def test_lpips_is_left_out_aloud_unless_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    notes = []
    assert validation.find_lpips(ValidationSettings(), notes.append) is None
    assert "LPIPS is left out" in notes[0]
    for asked in ({"criterion": Criterion.LPIPS}, {"lpips_weights": str(tmp_path / "none.pth")}):
        with pytest.raises(MetricUnavailable):
            validation.find_lpips(ValidationSettings(**asked), notes.append)


@pytest.mark.parametrize(
    ("criterion", "before", "after", "expected"),
    [("psnr", 30.0, 31.0, 1.0), ("texture", 0.5, 0.4, 0.1), ("lpips", 0.2, 0.3, -0.1), ("line_psnr", 25.0, 24.0, -1.0)],
)
def test_gains_are_positive_when_things_got_better(criterion, before, after, expected):
    assert validation.gain({criterion: before}, {criterion: after}, criterion) == pytest.approx(expected)
