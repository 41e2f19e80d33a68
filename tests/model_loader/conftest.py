"""Small networks with seeded random weights, written out from the papers, to compare what was loaded with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from backplate.model_loader.cache import CACHE
from torch import nn
from torch.nn import functional

GROWTH = 32


class DenseBlock(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        for index in range(1, 6):
            wide = features + (index - 1) * GROWTH
            self.add_module(f"conv{index}", nn.Conv2d(wide, GROWTH if index < 5 else features, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = [x]
        for index in range(1, 5):
            known.append(functional.leaky_relu(self.get_submodule(f"conv{index}")(torch.cat(known, 1)), 0.2))
        return x + 0.2 * self.get_submodule("conv5")(torch.cat(known, 1))


class ResidualInResidual(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(features) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """ESRGAN's generator (Wang et al. 2018) in Real-ESRGAN's key layout; x2 unshuffles the input first."""

    def __init__(self, scale: int = 4, blocks: int = 2, features: int = 8) -> None:
        super().__init__()
        self.unshuffle = 4 // scale
        self.conv_first = nn.Conv2d(3 * self.unshuffle**2, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualInResidual(features) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_first(functional.pixel_unshuffle(x, self.unshuffle))
        x = x + self.conv_body(self.body(x))
        for conv in (self.conv_up1, self.conv_up2):
            x = functional.leaky_relu(conv(functional.interpolate(x, scale_factor=2)), 0.2)
        return self.conv_last(functional.leaky_relu(self.conv_hr(x), 0.2))


class Compact(nn.Module):
    """SRVGGNetCompact of Real-ESRGAN: convolutions and PReLU at input size, then a pixel shuffle."""

    def __init__(self, scale: int = 4, layers: int = 2, features: int = 8) -> None:
        super().__init__()
        self.scale = scale
        body: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(layers):
            body += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        self.body = nn.ModuleList([*body, nn.Conv2d(features, 3 * scale**2, 3, padding=1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        return functional.pixel_shuffle(y, self.scale) + functional.interpolate(x, scale_factor=self.scale)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network whose random weights depend on the seed alone; the random state of the process is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
    if isinstance(network, RRDBNet):
        nn.init.constant_(network.conv_last.bias, 0.5)  # most of the picture lies within 0..1
    return network.eval()


def old_layout(state: dict[str, torch.Tensor], blocks: int) -> dict[str, torch.Tensor]:
    """The key names of the first ESRGAN (and of 4x-UltraSharp) for a x4 RRDBNet."""
    names = {
        "conv_first": "model.0",
        "conv_body": f"model.1.sub.{blocks}",
        "conv_up1": "model.3",
        "conv_up2": "model.6",
        "conv_hr": "model.8",
        "conv_last": "model.10",
    }

    def rename(key: str) -> str:
        key = re.sub(r"^body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0.", key)
        return names.get(key.rpartition(".")[0], key.rpartition(".")[0]) + "." + key.rpartition(".")[2]

    return {rename(key): value for key, value in state.items()}


class Networks:
    """What tests build models with."""

    RRDBNet = RRDBNet
    Compact = Compact
    seeded = staticmethod(seeded)
    old_layout = staticmethod(old_layout)


@pytest.fixture(scope="session")
def networks() -> type[Networks]:
    return Networks


@pytest.fixture
def compact_file(tmp_path: Path) -> Path:
    """A tiny x4 SRVGGNetCompact in a file."""
    path = tmp_path / "tiny.pth"
    torch.save({"params": seeded(Compact).state_dict()}, path)
    return path


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("BACKPLATE_MODELS", "COMFYUI_PATH", "BACKPLATE_MODEL_CACHE_MB"):
        monkeypatch.delenv(variable, raising=False)
    CACHE.clear()
    yield
    CACHE.clear()
