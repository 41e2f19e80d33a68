"""Part 4 through ``torch.compile``, which takes longest."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .alone import Alone, rows_of
from .rows import Facts, Row, Settings
from .timing import largest_difference, median_seconds

MODES = {
    "torch.compile": "default",
    "torch.compile max_autotune": "max-autotune-no-cudagraphs",
    "torch.compile with graphs": "reduce-overhead",
}
SECONDS = 75


def rows(settings: Settings) -> list[Row]:
    ways = {label: partial(compiled, mode=mode) for label, mode in MODES.items()}
    return [row for label, way in ways.items() for row in rows_of(label, way, SECONDS, settings)]


@torch.inference_mode()
def compiled(name: str, size: tuple[int, int], settings: Settings, mode: str) -> Facts:
    """With ``max_autotune`` convolutions may be Triton's, into which bias and activation are fused."""
    each = Alone(name, size, settings)
    options: dict[str, Any] = {"backend": "eager"} if settings.dry else {"mode": mode}
    if "max-autotune" in mode and not settings.dry:
        import torch._inductor.config as inductor

        inductor.max_autotune_conv_backends = "ATEN,TRITON"
        inductor.layout_optimization = True
        # A slow candidate must not take the whole row.
        inductor.max_autotune_subproc_result_timeout_seconds = 10.0
    run = torch.compile(each.network, dynamic=False, fullgraph=False, **options)
    wanted = each.network(each.given).float()
    difference = largest_difference(run(each.given).float(), wanted)
    return each.facts(median_seconds(each.work(run), each.device)) | {"difference": difference}
