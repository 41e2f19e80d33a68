import math

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.training import losses
from backplate.core.training.degrade.random_draws import seeded
from backplate.core.training.discriminator import new_discriminator
from backplate.core.training.perceptual import LAYERS, PerceptualLoss, find_vgg_weights, load_perceptual_loss
from safetensors.torch import save_file

PLAIN = [
    losses.charbonnier,
    losses.line_loss,
    losses.ringing_loss,
    losses.overshoot_loss,
    losses.texture_loss,
    losses.frequency_loss,
]


def pictures(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=seeded(1))


@pytest.mark.parametrize("loss", PLAIN)
@pytest.mark.parametrize("channels", [1, 3])
def test_zero_for_equal_pictures_and_a_finite_gradient_otherwise(loss, channels):
    reference = pictures(2, channels, 24, 31)
    output = (1.2 * reference - 0.1).requires_grad_()
    assert float(loss(reference, reference)) == pytest.approx(0.0, abs=1e-7)
    value = loss(output, reference)
    value.backward()
    assert float(value.detach()) > 0
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("loss", PLAIN)
def test_gradients_stay_finite_at_the_minimum(loss):
    reference = torch.full((1, 3, 24, 24), 0.5)
    output = reference.clone().requires_grad_()
    loss(output, reference).backward()
    assert torch.isfinite(output.grad).all()


def test_charbonnier_is_l1_far_out_and_round_at_zero():
    zero = torch.zeros(1, 1, 1, 1)
    assert float(losses.charbonnier(zero + 0.5, zero)) == pytest.approx(0.5 - losses.CHARBONNIER_EPSILON, abs=2e-6)
    assert float(losses.charbonnier(zero + 1e-3, zero)) == pytest.approx(1e-3 * (math.sqrt(2) - 1), rel=1e-3)


def lines(width: int, ink: float, paper: float) -> torch.Tensor:
    picture = torch.full((1, 3, 40, 40), paper)
    picture[..., 20 : 20 + width] = ink
    return picture


def test_only_dark_thin_lines_are_lines():
    dark = losses.line_map(lines(2, 0.1, 0.8))
    assert dark[0, 0, 20, 20:22].min() > 0.95
    assert dark[..., :12].max() < 0.02
    light = losses.line_map(lines(2, 0.9, 0.3))
    assert light[0, 0, 20, 20:22].max() == 0.0
    edge = losses.line_map(lines(20, 0.1, 0.8))
    assert edge.max() < 0.02


def test_line_loss_looks_at_lines_alone():
    reference = lines(2, 0.1, 0.8)
    paper_off, line_off = reference.clone(), reference.clone()
    paper_off[..., :10] += 0.1
    line_off[..., 20:22] += 0.1
    assert float(losses.line_loss(paper_off, reference)) < 1e-4
    assert float(losses.line_loss(line_off, reference)) > 0.01


def test_ringing_is_seen_where_the_reference_is_smooth_and_shades_are_not():
    reference = torch.full((1, 3, 48, 48), 0.5)
    wave = 0.02 * torch.sin(torch.arange(48) * math.pi / 2).expand(1, 3, 48, 48)
    ripples = losses.ringing_loss(reference + wave, reference)
    shade = losses.ringing_loss(reference + 0.02, reference)
    assert float(ripples) > 20 * float(shade)
    busy = pictures(1, 3, 48, 48)
    assert float(losses.flat_map(busy).mean()) < 0.05
    assert float(losses.flat_map(reference).min()) == 1.0


def test_overshoot_is_what_lies_outside_the_range_nearby():
    reference = torch.full((1, 3, 10, 40), 0.2)
    reference[..., 20:] = 0.8
    blurred = 0.5 * (reference + losses.gaussian(reference, 0.5))
    assert float(losses.overshoot_loss(blurred, reference)) < 1e-6  # within the range, though wrong
    halo = reference.clone()
    halo[..., 19] -= 0.1
    halo[..., 20] += 0.1
    assert float(losses.overshoot_loss(halo, reference)) == pytest.approx(0.2 / 40)


def test_overshoot_bears_with_a_line_that_is_off_by_less_than_its_reach():
    reference = torch.full((1, 3, 10, 40), 0.8)
    reference[..., 20] = 0.2
    beside = torch.full_like(reference, 0.8)
    beside[..., 24] = 0.2
    assert float(losses.overshoot_loss(beside, reference, 4)) == 0.0
    assert float(losses.overshoot_loss(beside, reference, 3)) > 0.01


def test_texture_loss_prefers_grain_to_smoothness():
    reference = 0.5 + 0.05 * torch.randn(1, 3, 64, 64, generator=seeded(2))
    other_grain = 0.5 + 0.05 * torch.randn(1, 3, 64, 64, generator=seeded(3))
    smooth = torch.full_like(reference, 0.5)
    assert float(losses.texture_loss(other_grain, reference)) < 0.3 * float(losses.texture_loss(smooth, reference))
    # ... which every pixel loss sees the other way round.
    assert float((other_grain - reference).abs().mean()) > float((smooth - reference).abs().mean())


def test_frequency_loss_obeys_parseval():
    error = torch.zeros(1, 1, 16, 16)
    error[..., 5, 7] = 1.0
    # An impulse spreads evenly: every coefficient of the orthonormal transform has magnitude 1/16.
    assert float(losses.frequency_loss(error, torch.zeros_like(error))) == pytest.approx(1 / 16)


def test_adversarial_losses_at_known_logits():
    undecided = torch.zeros(1, 1, 4, 4)
    assert float(losses.discriminator_loss(undecided, undecided)) == pytest.approx(math.log(2))
    assert float(losses.adversarial_loss(undecided)) == pytest.approx(math.log(2))
    assert float(losses.discriminator_loss(undecided + 20, undecided - 20)) < 1e-6


@pytest.mark.parametrize("size", [(8, 8), (33, 46)])
def test_the_discriminator_judges_every_pixel(size):
    judge = new_discriminator(3, 4, seed=1)
    assert judge(pictures(2, 3, *size)).shape == (2, 1, *size)


def test_the_discriminator_is_spectrally_normalised_and_seeded():
    judge, same, other = (new_discriminator(3, 4, seed) for seed in (1, 1, 2))
    picture = pictures(1, 3, 16, 16)
    for _ in range(60):
        judge(picture)
    weight = judge.down[0].weight
    assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1.0, rel=0.05)
    assert torch.equal(same.enter.weight, judge.enter.weight)
    assert not torch.equal(other.enter.weight, judge.enter.weight)


def test_a_discriminator_learns_to_tell_two_kinds_apart():
    judge = new_discriminator(1, 4, seed=1)
    optimiser = torch.optim.Adam(judge.parameters(), lr=1e-2)
    real, fake = pictures(4, 1, 16, 16), torch.full((4, 1, 16, 16), 0.5)
    start = float(losses.discriminator_loss(judge(real), judge(fake)).detach())
    for _ in range(20):
        optimiser.zero_grad()
        loss = losses.discriminator_loss(judge(real), judge(fake))
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5 * start


def vgg_weights() -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names, only as many layers as the test uses."""
    return {
        "features.0.weight": torch.randn(64, 3, 3, 3, generator=seeded(4)),
        "features.0.bias": torch.zeros(64),
    }


def test_perceptual_loss_compares_features_before_activation():
    loss = PerceptualLoss(vgg_weights(), {0: 1.0})
    reference = pictures(1, 3, 16, 16)
    output = reference + 0.1
    first = loss.features[0]
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    expected = torch.nn.functional.conv2d(0.1 / deviation.expand(1, 3, 16, 16), first.weight, padding=1)
    assert float(loss(output, reference)) == pytest.approx(float(expected.abs().mean()), rel=1e-4)
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_the_published_layers_are_convolutions():
    from torchvision.models import vgg19

    with torch.device("meta"):
        layers = vgg19(weights=None).features
    names = [index for index, layer in enumerate(layers) if isinstance(layer, torch.nn.Conv2d)]
    assert [names.index(index) for index in LAYERS] == [1, 3, 7, 11, 15]


def test_missing_weights_are_named_with_their_address(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"https://download\.pytorch\.org/models/vgg19"):
        find_vgg_weights("")
    with pytest.raises(InputError, match="no file of VGG-19 weights at"):
        find_vgg_weights(str(tmp_path / "none.pth"))


def test_a_file_of_other_weights_is_a_sentence(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(4, 3, 3, 3), "features.0.bias": torch.zeros(4)}, path)
    with pytest.raises(InputError, match="does not hold the weights of VGG-19"):
        load_perceptual_loss(str(path))
