"""The perceptual loss: distance of VGG-19 features before activation.

Johnson, Alahi, Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution", 2016; before the
activation as in ESRGAN (Wang et al., 2018), with the layer weights of Real-ESRGAN (2021).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...model_loader.safe_load import read_state_dict
from ..errors import InputError
from ..image.colour import to_rgb

WEIGHTS_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
LAYERS: Mapping[int, float] = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}
"""Index in torchvision's ``vgg19().features`` (conv1_2, conv2_2, conv3_4, conv4_4, conv5_4) and its weight."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def find_vgg_weights(path: str) -> Path:
    """The file at ``path``, or torchvision's own if it has been downloaded. Raises ``InputError`` with the URL."""
    if path:
        if Path(path).is_file():
            return Path(path)
        raise InputError(f"There is no file of VGG-19 weights at {path}; {WEIGHTS_URL} is one (548 MB).")
    known = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_URL.rpartition("/")[2]
    if known.is_file():
        return known
    raise InputError(
        f"The perceptual loss needs the weights of VGG-19: download {WEIGHTS_URL} (548 MB) and name the file in "
        "losses.vgg_weights, or set losses.perceptual to 0."
    )


class PerceptualLoss(nn.Module):
    """Weighted L1 distance between the VGG-19 features of outputs and references, RGB or grey, 0..1."""

    def __init__(self, weights: Mapping[str, Tensor], layers: Mapping[int, float] = LAYERS) -> None:
        super().__init__()
        # Importing torchvision's models takes as long as importing torch; only this loss needs them.
        models: Any = importlib.import_module("torchvision.models")
        with torch.device("meta"):
            vgg = models.vgg19(weights=None)
        self.features = nn.ModuleList(list(vgg.features)[: max(layers) + 1])
        named = {key: weights[f"features.{key}"].float() for key in self.features.state_dict()}
        self.features.load_state_dict(named, assign=True)
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                # The values before the activation are compared.
                layer.inplace = False
        self.layers = dict(layers)
        self.register_buffer("mean", torch.tensor(_MEAN)[None, :, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[None, :, None, None])
        self.requires_grad_(False)
        self.eval()

    def forward(self, output: Tensor, reference: Tensor) -> Tensor:
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        ours = (to_rgb(output) - mean) / deviation
        theirs = (to_rgb(reference) - mean) / deviation
        total = output.new_zeros(())
        for index, layer in enumerate(self.features):
            ours = layer(ours)
            with torch.no_grad():
                theirs = layer(theirs)
            if index in self.layers:
                total = total + self.layers[index] * (ours - theirs).abs().mean()
        return total


def load_perceptual_loss(path: str) -> PerceptualLoss:
    """With the weights in ``path``, or those that torchvision has downloaded; nothing is downloaded here."""
    file = find_vgg_weights(path)
    try:
        return PerceptualLoss(read_state_dict(file))
    except (RuntimeError, KeyError) as error:
        raise InputError(f"{file} does not hold the weights of VGG-19; {WEIGHTS_URL} does.") from error
