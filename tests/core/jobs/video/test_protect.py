"""A video with one still mask."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.protect import ProtectMode, magnified
from backplate.core.jobs.protect import Mask
from backplate.core.jobs.video.plan import identity_of, plan_video
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.encode import EncodeSettings
from backplate.core.types import FloatBox, Size
from clips import Nearest, drawing, pictures_of, write_clip
from small_jobs import Stop, StopAfter, job

LOSSLESS = EncodeSettings(codec="ffv1", pixel_format="yuv444p")


def mask_of(left: int, name: str = "mask.png") -> Mask:
    """White from column ``left`` on."""
    pixels = torch.zeros(1, 1, 48, 64)
    pixels[..., left:] = 1
    return Mask(name, ProtectMode.RESAMPLE, pixels=pixels)


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "in.mp4", pictures=[drawing(number) for number in range(12)])


def frames(path) -> list[np.ndarray]:
    return [each.astype(int) for each in pictures_of(path)]


def test_the_mask_holds_in_every_frame(clip, tmp_path):
    run_video(job(clip, tmp_path / "plain.mkv", encode=LOSSLESS), Nearest())
    run_video(job(clip, tmp_path / "half.mkv", {"mask": mask_of(32)}, encode=LOSSLESS), Nearest())
    white = Nearest()
    run_video(job(clip, tmp_path / "white.mkv", {"mask": mask_of(0)}, encode=LOSSLESS), white)
    assert white.calls == 0
    plain, half, all_white = (frames(tmp_path / f"{name}.mkv") for name in ("plain", "half", "white"))
    assert len(plain) == len(half) == len(all_white) == 12
    for ours, models, sources in zip(half, plain, all_white, strict=True):
        # The fade ends 8 source pixels outside.
        assert np.abs(ours[:, : 2 * 23] - models[:, : 2 * 23]).max() <= 1
        assert np.abs(ours[:, 2 * 32 :] - sources[:, 2 * 32 :]).max() <= 1
        assert np.abs(models - sources).max() >= 15
    source = torch.from_numpy(pictures_of(clip)[5]).permute(2, 0, 1)[None].float() / 255
    expected = torch.cat(list(magnified(source, FloatBox(0, 0, 64, 48), Size(128, 96))), dim=2)
    wanted = 255 * expected[0].permute(1, 2, 0).numpy()
    ours, models = (np.abs(each[5] - wanted).mean() for each in (all_white, plain))
    # The clip was decoded by another converter of colours.
    assert ours < min(models, 3)


def test_another_mask_is_another_job(clip, tmp_path):
    jobs = [job(clip, tmp_path / "out.mp4", {"mask": mask}) for mask in (None, mask_of(10), mask_of(11))]
    identities = [identity_of(each, plan_video(each, Nearest())) for each in jobs]
    assert identities[1] == identity_of(jobs[1], plan_video(jobs[1], Nearest()))
    assert identities[0] != identities[1] != identities[2]
    empty = job(clip, tmp_path / "out.mp4", {"mask": mask_of(64)})
    assert identity_of(empty, plan_video(empty, Nearest())) == identities[0]
    with pytest.raises(Stop):
        run_video(jobs[1], Nearest(), StopAfter(9))
    with pytest.raises(InputError, match="with a different protect; use the same"):
        run_video(jobs[2], Nearest())


def test_masks_that_do_not_go_with_the_video(clip, tmp_path):
    wide = Mask("wide.png", ProtectMode.RESAMPLE, pixels=torch.ones(1, 1, 10, 64))
    with pytest.raises(InputError, match=r"The mask wide.png is 64x10 and the picture 64x48"):
        plan_video(job(clip, tmp_path / "out.mp4", {"mask": wide}), Nearest())
    report = run_video(job(clip, tmp_path / "out.mp4", {"mask": mask_of(64)}), Nearest())
    assert "The mask mask.png marks nothing, so nothing is protected." in report.notes
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
