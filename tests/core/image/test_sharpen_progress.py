"""Sharpening says where it is, and can be stopped on the way."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.sharpen import SharpenSettings, sharpen_blend
from backplate.core.progress import Cancelled, Progress


class Count(Progress):
    total = done = 0

    def begin(self, total: int, what: str = "") -> None:
        self.total += total

    def advance(self, steps: int = 1) -> None:
        self.done += steps


@pytest.mark.parametrize("protect", [0.0, 1.0])
def test_as_many_steps_as_were_announced(protect: float) -> None:
    count = Count()
    sharpen_blend(torch.rand(2, 3, 12, 16), SharpenSettings(protect_lines=protect), progress=count)
    assert count.total == count.done
    assert count.done >= (2 * 10 if protect else 2)


def test_it_stops_in_the_middle_of_a_picture() -> None:
    class Stop(Count):
        def check(self) -> None:
            if self.done == 5:
                raise Cancelled

    stop = Stop()
    with pytest.raises(Cancelled):
        sharpen_blend(torch.rand(1, 3, 12, 16), SharpenSettings(protect_lines=1.0), progress=stop)
    assert stop.done == 5 < stop.total
