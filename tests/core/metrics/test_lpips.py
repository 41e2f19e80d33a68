"""LPIPS equals the `lpips` package with the same weights, from files alone."""

from __future__ import annotations

import hashlib
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from backplate.core.metrics.errors import MetricUnavailable, NotMeasurable
from backplate.core.metrics.lpips import (
    BACKBONES,
    LpipsNet,
    LpipsNetwork,
    find_backbone,
    load_lpips,
    lpips_distance,
)

lpips = pytest.importorskip("lpips", reason="the package is the reference here")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory) -> dict[LpipsNet, Path]:
    """Seeded random weights in the form of torchvision's files, without the classifier that LPIPS never reads."""
    folder = tmp_path_factory.mktemp("backbones")
    files = {}
    for net in LpipsNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            features = getattr(torchvision.models, BACKBONES[net].features)(weights=None).features
        weights = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
        files[net] = folder / f"{net.value}.pth"
        torch.save(weights, files[net])
    return files


@pytest.fixture(scope="module")
def networks(backbones) -> dict[LpipsNet, LpipsNetwork]:
    return {net: load_lpips(net, path) for net, path in backbones.items()}


@pytest.fixture(autouse=True)
def quiet_torchvision():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the package still calls it by its old options
        yield


def package_value(net: LpipsNet, weights: Path, result: torch.Tensor, reference: torch.Tensor) -> float:
    """The package used as its own documentation says, with the weights put in by its own constructor."""
    state = torch.load(weights, weights_only=True)
    model = lpips.LPIPS(net=net.value, pnet_rand=True, verbose=False)
    slices = [getattr(model.net, f"slice{index}") for index in range(1, 6)]
    for part in slices:
        for name, layer in part.named_children():
            for kind, parameter in layer.named_parameters():
                parameter.data.copy_(state[f"features.{name}.{kind}"])
    with torch.no_grad():
        return model(result, reference, normalize=True).item()


@pytest.mark.parametrize("net", list(LpipsNet))
def test_equals_the_package(drawn, spoiled, backbones, networks, net):
    reference = drawn(64, 75)
    result = spoiled(reference, 0.1)
    expected = package_value(net, backbones[net], result, reference)
    assert expected > 1e-4
    assert lpips_distance(result, reference, networks[net])[0] == pytest.approx(expected, abs=1e-5)


def test_border_is_left_out(drawn, spoiled, networks):
    reference = drawn(64, 75)
    result = reference.clone()
    result[..., :4, :] = spoiled(reference, 0.5)[..., :4, :]
    network = networks[LpipsNet.ALEX]
    assert lpips_distance(result, reference, network)[0] > 0
    assert lpips_distance(result, reference, network, border=4)[0] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("net", list(LpipsNet))
def test_smallest_size_works_and_one_less_is_refused(networks, net):
    side = BACKBONES[net].smallest
    fits = torch.rand(2, 1, side, side)
    assert lpips_distance(fits, fits, networks[net]) == pytest.approx([0, 0], abs=1e-7)
    small = fits[..., 1:]
    with pytest.raises(NotMeasurable, match=f"at least {side}x{side} pixels .* are {side - 1}x{side}"):
        lpips_distance(small, small, networks[net])


def test_says_whose_weights_it_used(backbones, networks):
    network = networks[LpipsNet.ALEX]
    digest = hashlib.sha256(backbones[LpipsNet.ALEX].read_bytes()).hexdigest()
    assert network.sha256 == digest
    assert not network.official
    assert "NOT torchvision's" in network.text
    genuine = LpipsNetwork(network.module, LpipsNet.ALEX, network.backbone, "7be5be79" + "0" * 56)
    assert genuine.official
    assert "torchvision's weights (sha256 7be5be79)" in genuine.text


def test_loading_leaves_the_random_numbers_alone(backbones):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_lpips(LpipsNet.ALEX, backbones[LpipsNet.ALEX])
    assert torch.equal(torch.rand(3), expected)


def test_safetensors_are_read_too(tmp_path, backbones, networks, drawn, spoiled):
    from safetensors.torch import save_file

    state = torch.load(backbones[LpipsNet.ALEX], weights_only=True)
    save_file(state, tmp_path / "alex.safetensors")
    pair = spoiled(drawn(40, 40)), drawn(40, 40)
    found = lpips_distance(*pair, load_lpips(LpipsNet.ALEX, tmp_path / "alex.safetensors"))
    assert found == lpips_distance(*pair, networks[LpipsNet.ALEX])


def test_the_cached_file_of_torchvision_is_found(tmp_path):
    cached = tmp_path / "alexnet-owt-7be5be79.pth"
    cached.write_bytes(b"")
    assert find_backbone(LpipsNet.ALEX, folder=tmp_path) == cached


def test_nothing_is_fetched_unasked(tmp_path, monkeypatch):
    def fetch(*args: object, **options: object) -> None:
        raise AssertionError("went to the network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(MetricUnavailable, match=r"alexnet-owt-7be5be79.pth, which is not in .*https://download"):
        find_backbone(LpipsNet.ALEX, folder=tmp_path)
    with pytest.raises(MetricUnavailable, match="no LPIPS backbone at"):
        find_backbone(LpipsNet.ALEX, tmp_path / "absent.pth", folder=tmp_path, allow_download=True)


def test_an_allowed_download_checks_the_hash(tmp_path, monkeypatch):
    calls = []

    def fetch(url: str, target: str, *, hash_prefix: str, progress: bool) -> None:
        calls.append((url, target, hash_prefix))

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    target = find_backbone(LpipsNet.VGG, folder=tmp_path / "new", allow_download=True)
    assert calls == [("https://download.pytorch.org/models/vgg16-397923af.pth", str(target), "397923af")]


def test_a_failed_download_is_a_sentence(tmp_path, monkeypatch):
    def fetch(*args: object, **options: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(MetricUnavailable, match=r"could not be fetched \(no route\)"):
        find_backbone(LpipsNet.ALEX, folder=tmp_path, allow_download=True)


def test_a_file_of_other_weights_is_refused(tmp_path, backbones):
    with pytest.raises(MetricUnavailable, match="does not hold the vgg16 of torchvision: features.0.weight has shape"):
        load_lpips(LpipsNet.VGG, backbones[LpipsNet.ALEX])
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(MetricUnavailable, match="cannot be read"):
        load_lpips(LpipsNet.ALEX, tmp_path / "text.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(MetricUnavailable, match="holds a list, not weights by name"):
        load_lpips(LpipsNet.ALEX, tmp_path / "list.pth")


def test_a_file_with_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"features.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(MetricUnavailable, match="cannot be read"):
        load_lpips(LpipsNet.ALEX, tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_without_the_package_a_sentence_names_the_extra(monkeypatch, backbones):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MetricUnavailable, match=r"python -m pip install lpips"):
        load_lpips(LpipsNet.ALEX, backbones[LpipsNet.ALEX])
