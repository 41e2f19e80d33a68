"""Two models of one shape mixed into a third, weight by weight.

Deep network interpolation (Wang et al., "Deep Network Interpolation for Continuous Imagery Effect Transition",
CVPR 2019): networks that were fine-tuned from one another can be interpolated, and the result behaves in between.
Real-ESRGAN sets its denoising strength in this way.
"""

from __future__ import annotations

import hashlib

import torch

from .errors import BlendError
from .loaded import LoadedModel, facts_of
from .safe_load import Descriptor, build_model

_State = dict[str, torch.Tensor]


def blend_models(a: LoadedModel, b: LoadedModel, weight: float) -> LoadedModel:
    """A new model between ``a`` (``weight`` 0) and ``b`` (``weight`` 1); neither of them is changed.

    Every floating-point tensor is (1 - weight) * a + weight * b in float32; others are those of ``a``. The
    result may be used commercially only if both may. Raises ``BlendError`` for a weight outside of 0..1 and
    for models that differ in architecture or in the shape of a tensor.
    """
    if not 0.0 <= weight <= 1.0:
        raise BlendError(f"The weight of a blend is {weight}, and must lie between 0 (first model) and 1 (second).")
    states = _state_of(a.descriptor), _state_of(b.descriptor)
    _check_match(a, b, *states)
    name = f"{a.facts.name} + {b.facts.name} @ {weight:.2f}"
    with torch.inference_mode(False):
        mixed = {key: _mix(tensor, states[1][key], weight) for key, tensor in states[0].items()}
        descriptor = build_model(mixed, name)
    identity = f"blend {a.facts.sha256} {b.facts.sha256} {float(weight).hex()}"
    facts = facts_of(
        descriptor,
        name=name,
        sha256=hashlib.sha256(identity.encode()).hexdigest(),
        licence=_licence(a.facts.licence, b.facts.licence),
        commercial_use=_commercial_use(a.facts.commercial_use, b.facts.commercial_use),
    )
    return LoadedModel(descriptor, None, facts)


def _state_of(descriptor: Descriptor) -> _State:
    return dict(descriptor.model.state_dict())


def _mix(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    if not first.is_floating_point():
        return first.detach().to("cpu", copy=True)
    return torch.lerp(first.detach().to("cpu", torch.float32), second.detach().to("cpu", torch.float32), weight)


def _check_match(a: LoadedModel, b: LoadedModel, first: _State, second: _State) -> None:
    names = f"{a.facts.name} and {b.facts.name}"
    if a.descriptor.architecture.id != b.descriptor.architecture.id or a.facts.scale != b.facts.scale:
        raise BlendError(
            f"{names} cannot be blended: one is {a.facts.architecture} x{a.facts.scale}, the other"
            f" {b.facts.architecture} x{b.facts.scale}; choose two models of one family."
        )
    for key in [*first, *second]:
        shapes = [tuple(state[key].shape) if key in state else None for state in (first, second)]
        if shapes[0] != shapes[1]:
            raise BlendError(
                f"{names} cannot be blended: tensor {key} is {_spoken(shapes[0])} in the first and"
                f" {_spoken(shapes[1])} in the second; choose two models of one family and size."
            )


def _spoken(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(str(length) for length in shape) or "a single number"


def _licence(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        return None
    return first if first == second else f"{first} AND {second}"


def _commercial_use(first: bool | None, second: bool | None) -> bool | None:
    if first is False or second is False:
        return False
    return True if first and second else None
