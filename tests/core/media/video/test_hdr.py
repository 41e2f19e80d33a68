"""HDR10: what screens map tones by comes through, or is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from backplate.core.jobs.video.run import VideoProgress, run_video
from backplate.core.media.video.encode import EncodeSettings
from backplate.core.media.video.hdr import HdrFacts
from backplate.core.media.video.probe import probe_video
from clips import Nearest, drawing, write_clip
from small_jobs import job

DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
P3_1000 = tuple(
    Fraction(each) for each in ("0.68", "0.32", "0.265", "0.69", "0.15", "0.06", "0.3127", "0.329", "0.005", "1000")
)


def hdr_clip(path: Path) -> Path:
    options = {"x265-params": f"log-level=none:master-display={DISPLAY}:max-cll=987,345:hdr10=1"}
    deep = [drawing(number).astype(np.uint16) << 8 for number in range(6)]
    return write_clip(
        path, pictures=deep, codec="libx265", pixel_format="yuv420p10le", options=options, tags=(1, 9, 9, 16)
    )


class Notes(VideoProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.mark.parametrize("codec", ["hevc", "av1"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_mastering_data_comes_through(codec: str, suffix: str, tmp_path: Path) -> None:
    source, notes = hdr_clip(tmp_path / "in.mp4"), Notes()
    assert probe_video(source).hdr == HdrFacts(mastering=P3_1000, light=(987, 345))
    output = tmp_path / f"out{suffix}"
    quiet = (("x265-params", "log-level=none"),) if codec == "hevc" else ()
    run_video(job(source, output, encode=EncodeSettings(codec=codec, options=quiet)), Nearest(), notes)
    facts = probe_video(output)
    assert facts.hdr.light == (987, 345)
    # AV1 stores colours in 16 bits after the point, and light in 8 and 14.
    assert np.allclose([float(each) for each in facts.hdr.mastering], [float(each) for each in P3_1000], atol=1e-3)
    assert (facts.tags.transfer, facts.tags.primaries) == (16, 9)
    assert not [each for each in notes.said if "Left out" in each]


def test_what_an_encoder_cannot_be_told_is_named(tmp_path: Path) -> None:
    notes = Notes()
    settings = EncodeSettings(codec="h264", bit_depth=10, preset="ultrafast")
    run_video(job(hdr_clip(tmp_path / "in.mp4"), tmp_path / "out.mkv", encode=settings), Nearest(), notes)
    assert any("Left out" in each and "mastering display and light levels" in each for each in notes.said)


def test_usual_video_is_given_nothing(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4")
    assert probe_video(source).hdr == HdrFacts()
    assert HdrFacts().encoder_options("libx265") == {}
    assert HdrFacts(dynamic=("HDR10+",)).left_out("libx265") == "HDR10+ data"
