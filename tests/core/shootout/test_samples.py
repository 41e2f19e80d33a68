"""Where sources and references come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.shootout.samples import Degrade, degraded_sample, paired_sample, samples_in
from backplate.core.types import Size, size_of
from PIL import Image


def test_pictures_alone_have_no_reference(write, tmp_path):
    write("in/b10.png"), write("in/b9.png")
    samples, problems = samples_in(tmp_path / "in", None, None, 4)
    assert [sample.name for sample in samples] == ["b9.png", "b10.png"]
    assert samples[0].load().reference is None
    assert problems == []


@pytest.mark.parametrize("how", list(Degrade))
def test_degraded_pictures_are_smaller_by_the_scale_and_alike_in_every_run(write, tmp_path, how):
    path = write("in/a.png", (50, 67))
    first, second = (samples_in(path, None, how, 4)[0][0].load() for _ in range(2))
    assert size_of(first.source) == Size(16, 12)
    assert size_of(first.reference) == Size(64, 48)
    assert torch.equal(first.source, second.source)
    original = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255
    assert torch.equal(first.reference, original[..., :48, :64])


def test_bicubic_reduction_is_that_of_pillow(write, tmp_path):
    path = write("a.png", (48, 64))
    found = samples_in(path, None, Degrade.BICUBIC, 4)[0][0].load().source
    expected = np.asarray(Image.open(path).resize((16, 12), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() <= 1.01 / 255


def test_worse_degradations_are_worse(write):
    path = write("a.png", (64, 64))
    bicubic, jpeg = (samples_in(path, None, how, 2)[0][0].load().source for how in (Degrade.BICUBIC, Degrade.JPEG))
    assert (bicubic - jpeg).abs().max() > 2 / 255


def test_references_are_matched_by_name(write, tmp_path):
    write("small/a.png", (12, 16)), write("small/lonely.png", (12, 16)), write("large/a.bmp", (48, 64))
    samples, problems = samples_in(tmp_path / "small", tmp_path / "large", None, 4)
    loaded = {sample.name: sample.load() for sample in samples}
    assert size_of(loaded["a.png"].reference) == Size(64, 48)
    assert loaded["lonely.png"].reference is None
    assert problems == [f"lonely.png of {tmp_path / 'small'} has no partner in {tmp_path / 'large'}."]


@pytest.mark.parametrize(
    ("source", "reference", "cut"),
    [((12, 16), (48, 64), (16, 12)), ((12, 16), (51, 65), (16, 12)), ((13, 17), (51, 65), (16, 12))],
)
def test_sizes_that_were_no_multiple_are_cut(source, reference, cut):
    sample = paired_sample(torch.rand(1, 3, *source), torch.rand(1, 3, *reference), 4)
    assert size_of(sample.source) == cut
    assert size_of(sample.reference) == Size(*cut).scaled(4)


def test_a_reference_of_another_scale_is_refused():
    with pytest.raises(InputError, match="The reference is 32x24, but 16x12 enlarged by 4 is 64x48"):
        paired_sample(torch.rand(1, 3, 12, 16), torch.rand(1, 3, 24, 32), 4)


def test_too_small_a_picture_is_refused():
    with pytest.raises(InputError, match="A picture of 3x8 cannot be reduced by 4"):
        degraded_sample(torch.rand(1, 3, 8, 3), "a", Degrade.BICUBIC, 4)


def test_references_and_degradation_at_once_are_refused(write, tmp_path):
    write("a/a.png")
    with pytest.raises(InputError, match="references or a degradation, not both"):
        samples_in(tmp_path / "a", tmp_path / "a", Degrade.JPEG, 4)
    with pytest.raises(InputError, match="no folder or picture"):
        samples_in(tmp_path / "absent", None, None, 4)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/clip.mp4").touch()
    with pytest.raises(InputError, match="b holds no picture"):
        samples_in(tmp_path / "b", None, None, 4)
