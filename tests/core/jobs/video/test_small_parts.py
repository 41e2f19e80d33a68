"""What the job is made of: channels, percentiles, the judgement of sameness."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.frame_difference import FrameReuse, is_held, largest_block_difference
from backplate.core.jobs.video.channel import Channel, Closed
from backplate.core.jobs.video.latency import Latency


def test_a_channel_keeps_order_and_never_holds_more_than_its_room():
    channel: Channel[int] = Channel(2)
    given: list[int] = []

    def give() -> None:
        for number in range(50):
            channel.put(number)
            given.append(number)
        channel.end()

    giver = threading.Thread(target=give)
    giver.start()
    taken = []
    for number in channel:
        taken.append(number)
        assert len(given) - len(taken) <= 3
    giver.join()
    assert taken == list(range(50))


def test_a_cut_channel_frees_its_giver():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    cut: list[bool] = []

    def give() -> None:
        try:
            channel.put(2)
        except Closed:
            cut.append(True)

    giver = threading.Thread(target=give)
    giver.start()
    channel.cut()
    giver.join()
    assert cut == [True]


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_percentiles_are_those_of_numpy_to_half_a_percent(percent: int):
    seconds = np.random.default_rng(3).lognormal(-3, 1, 999)
    wanted = np.percentile(seconds, percent, method="inverted_cdf")
    assert Latency(seconds).percentile(percent) == pytest.approx(wanted, rel=0.005)


def test_one_changed_bit_is_a_change_when_equality_is_asked_for():
    picture = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(1))
    other = picture.clone()
    assert is_held(other, picture, FrameReuse())
    other[0, 1, 7, 7] = torch.nextafter(other[0, 1, 7, 7], torch.tensor(2.0))
    assert not is_held(other, picture, FrameReuse())
    assert is_held(other, picture, FrameReuse(threshold=0.5))
    assert not is_held(picture, picture, FrameReuse(reuse=False))


def test_a_small_change_counts_by_its_block_and_not_by_the_picture():
    picture = torch.full((1, 3, 64, 64), 0.5)
    other = picture.clone()
    other[..., 16:24, 40:48] += 4 / 255
    assert largest_block_difference(other, picture) == pytest.approx(4, abs=1e-3)
    assert not is_held(other, picture, FrameReuse(threshold=3.9))
    assert is_held(other, picture, FrameReuse(threshold=4.1))


def test_a_change_of_hue_alone_is_seen():
    picture = torch.full((1, 3, 16, 16), 0.5)
    weights = torch.tensor([0.299, 0.587, 0.114])
    other = picture.clone()
    other[:, 0] += 0.05
    other[:, 1] -= 0.05 * weights[0] / weights[1]
    assert not is_held(other, picture, FrameReuse(threshold=2))


def test_sides_that_are_no_multiple_of_a_block():
    picture = torch.zeros(1, 1, 13, 19)
    other = picture.clone()
    other[..., 12, 18] = 10 / 255
    # The corner block has 5 x 3 pixels.
    assert largest_block_difference(other, picture) == pytest.approx(10 / 15, abs=1e-3)


@pytest.mark.parametrize("threshold", [-1, 17])
def test_a_threshold_out_of_range_is_refused(threshold: float):
    with pytest.raises(InputError, match="choose 0"):
        FrameReuse(threshold=threshold)
