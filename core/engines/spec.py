"""What the pipeline needs to know about a model, whichever engine runs it."""

from __future__ import annotations

import copy

import torch
from spandrel import ImageModelDescriptor  # pyright: ignore[reportMissingTypeStubs]
from torch import nn

from ...model_loader.loaded import ModelFacts
from ..progress import Progress
from ..types import size_rule_of
from ..upscaler import LazyHalo, UpscalerSpec
from .fuse import merge_branches
from .halo import Sight, find_sight
from .memory import room_for_a_picture
from .pytorch.half_check import allow_tf32

Descriptor = ImageModelDescriptor[nn.Module]

_sights: dict[str, Sight] = {}


def model_spec(
    facts: ModelFacts,
    descriptor: Descriptor,
    *,
    max_tile_pixels: int,
    device: torch.device | None = None,
    longest_side: int = 0,
    batch_size: int = 1,
) -> UpscalerSpec:
    """The spec of a model. How far it looks is found on ``device``, the CPU if None, in single precision, once for
    each model, and holds for every engine, because all of them compute the same function."""
    device = device or torch.device("cpu")
    sight = sight_of(facts, descriptor, device)
    return UpscalerSpec(
        name=facts.name,
        scale=facts.scale,
        input_channels=facts.input_channels,
        output_channels=facts.output_channels,
        size_rule=size_rule_of(facts),
        halo=sight.halo,
        max_tile_pixels=max_tile_pixels,
        longest_side=longest_side,
        batch_size=batch_size if sight.batches else 1,
        tileable=facts.tiling != "internal",
        whole_pixels=sight.footprint.pixels(room_for_a_picture(device)) if sight.footprint else 0,
        batches=sight.batches,
    )


def sight_of(
    facts: ModelFacts, descriptor: Descriptor, device: torch.device, progress: Progress | None = None
) -> Sight:
    """How far the model looks; see ``model_spec``. ``progress`` hears where it must be measured, and may end it."""
    if facts.sha256 in _sights:
        return _sights[facts.sha256]
    sight = _found_sight(facts, descriptor, device, progress)
    # One that is still to be measured holds the model.
    if not isinstance(sight.halo, LazyHalo):
        _sights[facts.sha256] = sight
    return sight


def _found_sight(facts: ModelFacts, descriptor: Descriptor, device: torch.device, progress: Progress | None) -> Sight:
    weights = next(descriptor.model.parameters())
    if weights.device != device or weights.dtype != torch.float32:
        descriptor = private_copy(descriptor, torch.float32, channels_last=False).to(device)

    def run(picture: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), allow_tf32(tf32=False):
            return descriptor(picture.to(device, copy=True)).cpu()

    return find_sight(
        descriptor.model,
        run,
        scale=facts.scale,
        channels=facts.input_channels,
        size_rule=size_rule_of(facts),
        key=facts.sha256,
        progress=progress,
        # On an accelerator it takes a second, and what runs may be a copy that takes memory there.
        lazily=device.type == "cpu",
    )


def private_copy(descriptor: Descriptor, dtype: torch.dtype, *, channels_last: bool = True) -> Descriptor:
    """A copy on the CPU that nobody else holds, in ``dtype`` and one memory layout."""
    shell = copy.copy(descriptor)
    # What a host attached (memory management, our own facts) belongs to the original.
    for name in ("patcher", "backplate"):
        vars(shell).pop(name, None)
    duplicate = copy.deepcopy(shell).to(torch.device("cpu")).eval()
    # In the precision that the weights come in, which is the better one.
    merge_branches(duplicate.model)
    duplicate.to(dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for module in duplicate.model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    return duplicate


def suits_channels_last(model: nn.Module) -> bool:
    """Whether the model may be run with channels side by side in memory, which convolutions are faster in; attention
    layers make views that this layout does not allow, and gain nothing."""
    return not any(isinstance(module, (nn.Linear, nn.LayerNorm, nn.MultiheadAttention)) for module in model.modules())
