"""Learned perceptual distance (LPIPS), through the `lpips` package.

Zhang, Isola, Efros, Shechtman, Wang: "The unreasonable effectiveness of deep features as a perceptual metric"
(2018). The package brings its linear heads; the backbone is a torchvision classifier of 233 MB (AlexNet) or 528 MB
(VGG16), which is read from a file and downloaded only on request.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch

from ...model_loader.files import sha256_of
from ..image.colour import to_rgb
from ..types import size_of
from .errors import MetricUnavailable, NotMeasurable
from .pair import check_pair


class LpipsNet(str, Enum):
    ALEX = "alex"
    """The one to report as a metric, as its authors advise."""
    VGG = "vgg"
    """The one that SR papers with a perceptual loss report too."""


@dataclass(frozen=True, kw_only=True)
class _Backbone:
    url: str
    features: str
    """Class of the features in torchvision.models."""
    smallest: int
    """Side from which every layer still has an output."""

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def hash(self) -> str:
        """First digits of the file's sha256: torchvision writes them into its name."""
        return self.file.rsplit("-", 1)[1].removesuffix(".pth")


BACKBONES = {
    LpipsNet.ALEX: _Backbone(
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", features="alexnet", smallest=31
    ),
    LpipsNet.VGG: _Backbone(
        url="https://download.pytorch.org/models/vgg16-397923af.pth", features="vgg16", smallest=16
    ),
}


@dataclass(frozen=True)
class LpipsNetwork:
    """A network that is ready for measuring. ``official``: the backbone is torchvision's file, so figures are
    comparable with published ones."""

    module: torch.nn.Module
    net: LpipsNet
    backbone: Path
    sha256: str

    @property
    def official(self) -> bool:
        return self.sha256.startswith(BACKBONES[self.net].hash)

    @property
    def text(self) -> str:
        named = "torchvision's weights" if self.official else f"weights {self.backbone.name}, NOT torchvision's"
        return f"LPIPS v0.1, {self.net.value} with {named} (sha256 {self.sha256[:8]})"


def find_backbone(
    net: LpipsNet, file: Path | None = None, *, folder: Path | None = None, allow_download: bool = False
) -> Path:
    """The backbone: ``file`` if given, else what torchvision once put into ``folder`` (the checkpoints of torch
    hub by default), else fetched there, with its hash checked, if that is allowed.

    Raises ``MetricUnavailable`` with the address when there is none.
    """
    backbone = BACKBONES[net]
    if file is not None:
        if not file.is_file():
            raise MetricUnavailable(f"There is no LPIPS backbone at {file}; give {backbone.file} of torchvision.")
        return file
    folder = folder or Path(torch.hub.get_dir()) / "checkpoints"
    cached = folder / backbone.file
    if cached.is_file():
        return cached
    if not allow_download:
        raise MetricUnavailable(
            f"LPIPS ({net.value}) needs {backbone.file}, which is not in {folder}; give the file, allow the "
            f"download, or fetch it from {backbone.url}."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(backbone.url, str(cached), hash_prefix=backbone.hash, progress=False)
    except (OSError, RuntimeError) as error:
        raise MetricUnavailable(f"{backbone.url} could not be fetched ({error}); give the file instead.") from error
    return cached


def load_lpips(net: LpipsNet, backbone: Path) -> LpipsNetwork:
    """The network with its backbone read from ``backbone``: a state dict of torchvision's classifier (.pth, read
    without running code, or .safetensors). Float32, on the CPU.

    Raises ``MetricUnavailable`` without the package, and for a file that does not hold these weights.
    """
    try:
        import lpips  # pyright: ignore[reportMissingTypeStubs, reportMissingImports]
    except ImportError as error:
        raise MetricUnavailable(
            "LPIPS needs the package lpips in the Python that runs this: python -m pip install lpips"
        ) from error
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        warnings.simplefilter("ignore", UserWarning)  # the package still calls torchvision by its old options
        # Random weights only until ours are in: any other setting makes torchvision go to the network.
        module: Any = lpips.LPIPS(net=net.value, pnet_rand=True, verbose=False)
    module.net.load_state_dict(_features(_read_weights(backbone), module.net.state_dict(), backbone, net))
    module.eval().requires_grad_(False)
    return LpipsNetwork(module, net, backbone, sha256_of(backbone))


@lru_cache(maxsize=1)
def kept_network(net: LpipsNet, backbone: Path | None, allow_download: bool) -> LpipsNetwork:
    """``load_lpips`` with the backbone that ``find_backbone`` finds; the last one stays in memory."""
    return load_lpips(net, find_backbone(net, backbone, allow_download=allow_download))


def lpips_distance(
    result: torch.Tensor, reference: torch.Tensor, network: LpipsNetwork, *, border: int = 0
) -> list[float]:
    """LPIPS of each picture of (B, C, H, W) pairs, 0 to 1, RGB (grey is repeated): 0 for identical pictures, larger
    is further apart. ``border`` pixels on every side are left out.

    Raises ``NotMeasurable`` for pictures smaller than the network can see, ``InputError`` for different sizes.
    """
    check_pair(result, reference)
    size, smallest = size_of(result), BACKBONES[network.net].smallest
    if min(size) - 2 * border < smallest:
        raise NotMeasurable(
            f"LPIPS ({network.net.value}) needs at least {smallest}x{smallest} pixels inside a border of {border} and "
            f"the pictures are {size}; compare larger pictures or leave this metric out."
        )
    cut = (..., slice(border, size.height - border), slice(border, size.width - border))
    values: list[float] = []
    with torch.inference_mode():
        for first, second in zip(to_rgb(result)[cut].float(), to_rgb(reference)[cut].float(), strict=True):
            # One at a time: the activations of VGG take 500 times the bytes of the picture.
            values.append(float(network.module(2 * first[None] - 1, 2 * second[None] - 1)))
    return values


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

            weights: object = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise any exception; all mean the same
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MetricUnavailable(f"The LPIPS backbone {path} cannot be read ({reason}).") from error
    if not isinstance(weights, dict):
        raise MetricUnavailable(f"The LPIPS backbone {path} holds a {type(weights).__name__}, not weights by name.")
    return cast("dict[str, torch.Tensor]", weights)


def _features(
    weights: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], path: Path, net: LpipsNet
) -> dict[str, torch.Tensor]:
    """The classifier's `features.N.*` under the names of lpips, `sliceK.N.*`."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in wanted.items():
        source = "features." + name.split(".", 1)[1]
        given = weights.get(source)
        if given is None or given.shape != tensor.shape:
            shape = "is missing" if given is None else f"has shape {tuple(given.shape)}"
            raise MetricUnavailable(
                f"{path} does not hold the {BACKBONES[net].features} of torchvision: {source} {shape}, wanted "
                f"{tuple(tensor.shape)}."
            )
        found[name] = given
    return found
