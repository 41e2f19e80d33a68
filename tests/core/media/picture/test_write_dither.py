"""Dither in files: for colours of 8 bits, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backplate.core.image.dither import Dither
from backplate.core.media.picture.read import read_picture, write_picture
from PIL import Image

RAMP = torch.linspace(0.4, 0.43, 400).expand(1, 3, 300, 400).clone()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_files_of_8_bits(tmp_path, name) -> None:
    for dither, steps in ((Dither.OFF, 8), (Dither.AUTO, 100)):
        write_picture(tmp_path / name, RAMP, dither=dither)
        with Image.open(tmp_path / name) as image:
            row = np.asarray(image)[150, :, 0].astype(int)
        assert (np.count_nonzero(np.diff(row)) > steps) == (dither is Dither.AUTO)


def test_16_bits_and_alpha_are_not_dithered(tmp_path) -> None:
    write_picture(tmp_path / "plain.png", RAMP, bit_depth=16)
    write_picture(tmp_path / "on.png", RAMP, bit_depth=16, dither=Dither.ON)
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "on.png").read_bytes()
    write_picture(tmp_path / "alpha.png", RAMP, RAMP[:, :1], dither=Dither.ON)
    alpha = read_picture(tmp_path / "alpha.png").alpha
    assert alpha is not None
    assert (alpha[0, 0].diff(dim=1) >= 0).all()
