"""Half precision that checks itself: which results of it are no picture, and for which models that is known."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from .store import FactStore, device_name

FLAT = 1 / 255
"""Range of values below which a result shows nothing."""

VISIBLE = 8 / 255
"""Range of values above which a source certainly shows something."""

_STORE = FactStore("half_precision", 1)
_unfit: set[str] = set()


def looks_broken(result: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
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


def remember_unfit(model_sha256: str, dtype: torch.dtype, device: torch.device) -> None:
    key = _key(model_sha256, dtype, device)
    _unfit.add(key)
    _STORE.add(key, "broken")


@contextmanager
def rounding(*, tf32: bool) -> Generator[None]:
    """Whether convolutions in single precision may round to the 10 bits of tensor cores, in this block; PyTorch lets
    them by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _key(model_sha256: str, dtype: torch.dtype, device: torch.device) -> str:
    return f"{model_sha256} {str(dtype).removeprefix('torch.')} {device_name(device)} {torch.__version__}"
