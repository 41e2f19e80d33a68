import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.training import initial_model
from backplate.core.training.checkpoint import write_model
from backplate.core.training.config import LossSettings, NetworkSettings, OptimiserSettings
from backplate.core.training.initial_model import check_round_trip, compact_weights, new_compact
from backplate.core.training.trainer import check_channels, check_crop, choose_autocast, learning_rate, weighted_losses
from backplate.core.types import SizeRule


def test_the_learning_rate_warms_up_then_falls_along_a_cosine():
    settings = OptimiserSettings(learning_rate=1.0, final_learning_rate=0.1, warm_up=10)
    rates = [learning_rate(step, 110, settings) for step in range(111)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_a_cpu_never_trains_in_half_precision():
    assert choose_autocast(torch.device("cpu"), wanted=True) is None


def test_a_loss_counts_only_if_it_has_a_weight_and_its_time_has_come():
    output, reference = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24)
    settings = LossSettings(l1=2.0, pixel=0.0, overshoot=3.0, overshoot_from=0.6)
    early, late = (weighted_losses(output, reference, settings, None, 2, progress) for progress in (0.59, 0.6))
    assert list(early) == ["l1"]
    assert list(late) == ["l1", "overshoot"]
    assert float(late["l1"]) == pytest.approx(2.0 * float((output - reference).abs().mean()))


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_half_precision_is_what_the_card_computes_with(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_autocast(torch.device("cuda"), wanted=True) is dtype
    assert choose_autocast(torch.device("cuda"), wanted=False) is None


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_new_network_starts_near_the_nearest_neighbour_enlargement(scale):
    model = new_compact(NetworkSettings(scale=scale, features=16, convolutions=3), seed=1)
    assert (model.facts.architecture, model.facts.scale, model.facts.tags) == (
        "RealESRGAN Compact",
        scale,
        ("16nf", "3nc"),
    )
    picture = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = model.descriptor.model(picture)
    nearest = torch.nn.functional.interpolate(picture, scale_factor=scale, mode="nearest")
    assert float((result - nearest).abs().mean()) < 0.15


def test_the_bundled_size_stays_under_its_limit():
    weights = compact_weights(NetworkSettings(), seed=0)
    assert sum(value.numel() for value in weights.values()) == 89_040


def test_a_network_that_cannot_be_built_is_refused():
    with pytest.raises(InputError, match="0 features"):
        new_compact(NetworkSettings(features=0), 1)


def test_a_model_that_does_not_survive_saving_is_refused(monkeypatch):
    model = new_compact(NetworkSettings(scale=2, features=4, convolutions=1), seed=1)
    check_round_trip(model)
    kept = model.descriptor.model.state_dict
    monkeypatch.setattr(model.descriptor.model, "state_dict", lambda: {k: v * 1.5 for k, v in kept().items()})
    with pytest.raises(InputError, match="gives different results after saving"):
        check_round_trip(model)


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 4), (3, 1), (6, 3)])
def test_models_of_other_channels_are_refused(inputs, outputs):
    with pytest.raises(InputError, match=f"takes {inputs} channels and gives {outputs}"):
        check_channels(inputs, outputs)


@pytest.mark.parametrize(
    ("crop", "scale", "rule", "hint"),
    [
        (50, 4, SizeRule(), 48),
        (64, 2, SizeRule(minimum=64), 128),
        (100, 2, SizeRule(multiple_of=16), 96),
        (3, 4, SizeRule(), 4),
    ],
)
def test_a_crop_must_make_an_input_that_the_model_accepts(crop, scale, rule, hint):
    with pytest.raises(InputError, match=f"try {hint}"):
        check_crop(crop, scale, rule)
    check_crop(hint, scale, rule)


@pytest.fixture
def bundled(monkeypatch, tmp_path):
    """A folder of bundled models with a small one of scale 4 in it."""
    weights = compact_weights(NetworkSettings(scale=4, features=6, convolutions=2), seed=3)
    write_model(tmp_path / "small-x4.safetensors", weights, {})
    monkeypatch.setattr(initial_model, "BUNDLED", tmp_path)
    return weights


def network(**changes):
    return NetworkSettings(**{"scale": 4, "features": 6, "convolutions": 2, "start": "small-x4", **changes})


def output(model):
    with torch.no_grad():
        return model.descriptor.model(torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("named", ["small-x4", "{folder}/small-x4.safetensors"])
def test_a_run_can_start_from_a_bundled_model_or_from_a_file(bundled, named, tmp_path):
    started = new_compact(network(start=named.format(folder=tmp_path)), seed=8).descriptor.model.state_dict()
    assert all(torch.equal(started[name], value) for name, value in bundled.items())


@pytest.mark.parametrize("scale", [1, 2])
def test_a_start_of_a_larger_scale_begins_as_its_result_averaged_down(bundled, scale):
    expected = torch.nn.functional.avg_pool2d(output(new_compact(network(), seed=0)), 4 // scale)
    torch.testing.assert_close(output(new_compact(network(scale=scale), seed=0)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("changes", [{"features": 8}, {"convolutions": 3}, {"scale": 3}, {"scale": 8}])
def test_a_start_of_other_sizes_is_refused(bundled, changes):
    with pytest.raises(InputError, match=r"cannot start from small-x4 \(x4, 6nf, 2nc\)"):
        new_compact(network(**changes), seed=0)
