"""What the pipeline needs to know about a model, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...model_loader.loaded import ModelFacts
from ..types import size_rule_of
from ..upscaler import Halo, UpscalerSpec
from .halo import find_halo

_halos: dict[str, Halo] = {}


def model_spec(
    facts: ModelFacts,
    network: torch.nn.Module,
    run: Callable[[torch.Tensor], torch.Tensor],
    *,
    pixel_budget: int,
    longest_side: int = 0,
    tiles_per_pass: int = 1,
) -> UpscalerSpec:
    """The spec of a model. ``run`` calls ``network`` on a (B, C, H, W) batch; the halo is found with it once for each
    model and holds for every engine, because all of them compute the same function."""
    rule = size_rule_of(facts)
    if facts.sha256 not in _halos:
        _halos[facts.sha256] = find_halo(
            network, run, scale=facts.scale, channels=facts.input_channels, size_rule=rule, key=facts.sha256
        )
    return UpscalerSpec(
        name=facts.name,
        scale=facts.scale,
        input_channels=facts.input_channels,
        output_channels=facts.output_channels,
        size_rule=rule,
        halo=_halos[facts.sha256],
        pixel_budget=pixel_budget,
        longest_side=longest_side,
        tiles_per_pass=tiles_per_pass,
        tileable=facts.tiling != "internal",
    )
