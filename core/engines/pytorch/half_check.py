"""Half precision that checks itself: which results of it are no picture, and for which models that is known."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch

from ..json_cache import FactStore, device_name

FLAT = 1 / 255
"""Range of values below which a result shows nothing."""

VISIBLE = 8 / 255
"""Range of values above which a source certainly shows something."""

_STORE = FactStore("half_precision", 1)
_unfit: set[str] = set()


def is_degenerate(result: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """A boolean scalar on the device of ``result``, so that nobody has to wait for it here: values that are not finite,
    or a result (B, C, h, w) of one colour, black for one, where the source (B, C, H, W) is not."""
    flat = (result.amax((1, 2, 3)) - result.amin((1, 2, 3))) < FLAT
    source = source.to(result.device)
    shows = (source.amax((1, 2, 3)) - source.amin((1, 2, 3))) > VISIBLE
    return (flat & shows).any() | ~torch.isfinite(result).all()


def is_unfit(model_sha256: str, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this model gave broken results in that type on such a device before."""
    key = _key(model_sha256, dtype, device)
    return key in _unfit or key in _STORE.read()


def blacklist_dtype(model_sha256: str, dtype: torch.dtype, device: torch.device) -> None:
    key = _key(model_sha256, dtype, device)
    _unfit.add(key)
    _STORE.add(key, "broken")


@contextmanager
def allow_tf32(*, tf32: bool) -> Generator[None]:
    """Whether single precision may round to the 10 bits of tensor cores, in this block; PyTorch lets convolutions by
    default."""
    switches = _switches()
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, values in switches:
            setattr(owner, name, values[tf32])
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def _switches() -> list[tuple[Any, str, tuple[Any, Any]]]:
    """Each switch of convolutions and matrix products: owner, name, values for off and on.

    PyTorch 2.9 has a new set of switches and raises when the old ones are read after a new one was set by anybody in
    the process; then the new ones are used.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        _ = convolutions.allow_tf32, products.allow_tf32
    except RuntimeError:
        return [(cast("Any", convolutions).conv, "fp32_precision", ("ieee", "tf32")),
                (products, "fp32_precision", ("ieee", "tf32"))]  # fmt: skip
    return [(convolutions, "allow_tf32", (False, True)), (products, "allow_tf32", (False, True))]


def _key(model_sha256: str, dtype: torch.dtype, device: torch.device) -> str:
    return f"{model_sha256} {str(dtype).removeprefix('torch.')} {device_name(device)} {torch.__version__}"
