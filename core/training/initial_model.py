"""The starting point of a run: an existing model, or a Compact network with random weights."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ...model_loader.errors import one_line
from ...model_loader.find import BUNDLED, find_model
from ...model_loader.licences import FROM_NOTHING
from ...model_loader.loaded import LoadedModel, describe_foreign, load_model
from ...model_loader.safe_load import build_model
from ..errors import InputError
from ..types import Size, size_rule_of
from .config import NetworkSettings
from .degrade.random_draws import seeded

PRELU = 0.25
PROBE = Size(16, 16)


def compact_weights(network: NetworkSettings, seed: int) -> dict[str, Tensor]:
    """Random weights of an SRVGGNetCompact (Real-ESRGAN's small network) with 3 channels, under its own names.

    He initialisation for PReLU (2015); the last layer starts small, so that the first output is close to the
    nearest-neighbour enlargement to which the network adds its result.
    """
    generator = seeded(seed, 31)
    widths = [3, *[network.features] * (network.convolutions + 1), 3 * network.scale**2]
    weights: dict[str, Tensor] = {}
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        deviation = math.sqrt(2.0 / ((1.0 + PRELU**2) * inputs * 9))
        last = index == len(widths) - 2
        values = torch.randn(outputs, inputs, 3, 3, generator=generator) * deviation
        weights[f"body.{2 * index}.weight"] = values * (0.1 if last else 1.0)
        weights[f"body.{2 * index}.bias"] = torch.zeros(outputs)
        if not last:
            weights[f"body.{2 * index + 1}.weight"] = torch.full((outputs,), PRELU)
    return weights


def folded_last_layer(values: Tensor, scale: int, wanted: int) -> Tensor:
    """The last layer (3 * scale^2, ...) of a Compact network, converted from ``scale`` to ``wanted`` times the size.

    Each pixel of the smaller result is the mean of those that it replaces, so training starts from the old result,
    averaged down. ``scale`` must be a multiple of ``wanted``.
    """
    ratio = scale // wanted
    parts = values.reshape(3, wanted, ratio, wanted, ratio, *values.shape[1:])
    return parts.mean((2, 4)).reshape(3 * wanted**2, *values.shape[1:])


def take_over(weights: dict[str, Tensor], start: LoadedModel, network: NetworkSettings) -> dict[str, Tensor]:
    """The weights of ``start`` for ``network``. Raises ``InputError`` if its sizes differ from those of ``weights``."""
    given = {name: value.float() for name, value in start.descriptor.model.state_dict().items()}
    for name in list(given)[-2:]:
        if start.facts.scale % network.scale == 0:
            given[name] = folded_last_layer(given[name], start.facts.scale, network.scale)
    sizes, wanted = ({name: each.shape for name, each in group.items()} for group in (given, weights))
    if sizes != wanted:
        raise InputError(
            f"A network of scale {network.scale}, {network.features} features and {network.convolutions} convolutions "
            f"cannot start from {start.facts.name} (x{start.facts.scale}, {', '.join(start.facts.tags)}); both must "
            "have the same features and convolutions, and the scale must divide that of the start."
        )
    return given


def new_compact(network: NetworkSettings, seed: int) -> LoadedModel:
    """A Compact model with random weights, or with those of ``network.start``: a bundled model, or a file.

    Raises ``InputError`` for impossible sizes or sizes that differ from those of the start, ``ModelError`` if there is
    no such model.
    """
    if min(network.scale, network.features, network.convolutions) < 1:
        raise InputError(
            f"A network of scale {network.scale}, {network.features} features and {network.convolutions} convolutions "
            "cannot be built; all three must be at least 1."
        )
    weights = compact_weights(network, seed)
    if not network.start:
        made = describe_foreign(build_model(weights, "a new Compact network"))
        return replace(made, facts=replace(made.facts, licence=FROM_NOTHING, commercial_use=True))
    parent = load_model(find_model(network.start, [BUNDLED]))
    made = describe_foreign(build_model(take_over(weights, parent, network), "a new Compact network"))
    return replace(
        made, facts=replace(made.facts, licence=parent.facts.licence, commercial_use=parent.facts.commercial_use)
    )


def check_round_trip(base: LoadedModel) -> None:
    """Raises ``InputError`` if the trained weights could not be loaded again from a plain file of this network.

    Some networks are fused or renamed when they are loaded, so their trained weights do not match their file format.
    """
    facts = base.facts
    size = size_rule_of(facts).padded(PROBE)
    probe = torch.rand(1, facts.input_channels, size.height, size.width, generator=seeded(32))
    try:
        again = build_model({k: v.clone() for k, v in base.descriptor.model.state_dict().items()}, facts.name)
        with torch.no_grad():
            difference = float((again.model(probe) - base.descriptor.model(probe)).abs().max())
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{facts.name} ({facts.architecture}) cannot be saved in a form that loads again "
            f"({one_line(error, 120)}); choose another model to fine-tune."
        ) from error
    if not difference < 1e-4:
        raise InputError(
            f"{facts.name} ({facts.architecture}) gives different results after saving (by {difference:.2g}); choose "
            "another model to fine-tune."
        )
