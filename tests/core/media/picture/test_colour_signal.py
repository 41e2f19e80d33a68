"""Colours that files tell without an ICC profile."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.media.picture.colour_signal import PRIMARIES, SRGB_CURVE, SRGB_PRIMARIES
from backplate.core.media.picture.icc import SRGB_TO_PCS
from backplate.core.media.picture.profile_maker import Curve, colorants, grey_profile, rgb_profile
from backplate.core.media.picture.read import read_picture
from PIL import Image, ImageCms

P3_COLORANTS = [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
"""Of the Display P3 profile that Apple ships."""


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    path: Path, *chunks: bytes, mode: str = "RGB", colour: object = (200, 100, 50), icc: bytes | None = None
) -> Path:
    file = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(file, "PNG", icc_profile=icc)
    data = file.getvalue()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])
    return path


def in_srgb(path: Path) -> list[int]:
    values = read_picture(path, convert_to_srgb=True).picture[0, :, 4, 4]
    return [round(float(value) * 255) for value in values]


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def test_profiles_are_those_that_everybody_has() -> None:
    assert np.abs(colorants(SRGB_PRIMARIES) - SRGB_TO_PCS.numpy()).max() < 3e-4
    assert np.abs(colorants(PRIMARIES[12]) - P3_COLORANTS).max() < 1e-4


def test_littlecms_takes_them_for_what_they_are() -> None:
    own = ImageCms.ImageCmsProfile(io.BytesIO(rgb_profile(SRGB_PRIMARIES, SRGB_CURVE, "ours")))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert np.abs(np.asarray(converted).astype(int) - np.asarray(image)).max() <= 1
    grey = ImageCms.ImageCmsProfile(io.BytesIO(grey_profile(Curve(1.0), "linear")))
    light = ImageCms.profileToProfile(
        Image.new("L", (1, 1), 55), grey, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert abs(light.getpixel((0, 0))[0] - 128) <= 1


@pytest.mark.parametrize("transfer", [13, 1])
def test_display_p3_of_a_png(transfer: int, tmp_path: Path) -> None:
    path = png(tmp_path / "p3.png", cicp(12, transfer))
    read = read_picture(path)
    assert read.icc is not None
    assert ImageCms.ImageCmsProfile(io.BytesIO(read.icc)).profile.xcolor_space.strip() == "RGB"
    if transfer == 13:
        # By hand: linear light of Display P3, its matrix to sRGB, and back.
        assert np.abs(np.array(in_srgb(path)) - [215, 93, 31]).max() <= 1


def test_what_counts_more_than_a_profile(tmp_path: Path) -> None:
    icc = rgb_profile(PRIMARIES[12], SRGB_CURVE, "P3")
    assert read_picture(png(tmp_path / "a.png", icc=icc)).icc == icc
    assert read_picture(png(tmp_path / "b.png", cicp(1, 13), icc=icc)).icc is None


@pytest.mark.parametrize("primaries", [1, 9])
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_before_the_work(primaries: int, transfer: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"HDR \({name}\).*convert it to SDR"):
        read_picture(png(tmp_path / "hdr.png", cicp(primaries, transfer)))


def gamma(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


SRGB_CHRM = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
WIDE_CHRM = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))


def test_the_usual_gamma_is_srgb(tmp_path: Path) -> None:
    assert read_picture(png(tmp_path / "a.png", gamma(45455))).icc is None
    assert read_picture(png(tmp_path / "b.png", gamma(45455), SRGB_CHRM)).icc is None
    assert read_picture(png(tmp_path / "c.png", chunk(b"sRGB", b"\0"), gamma(100000))).icc is None
    assert read_picture(png(tmp_path / "d.png", gamma(0))).icc is None


def test_other_gammas_and_primaries_become_profiles(tmp_path: Path) -> None:
    linear = png(tmp_path / "linear.png", gamma(100000), colour=(55, 55, 55))
    assert np.abs(np.array(in_srgb(linear)) - 128).max() <= 1
    mac = png(tmp_path / "mac.png", gamma(55556), colour=(128, 128, 128))
    assert np.abs(np.array(in_srgb(mac)) - 145).max() <= 2
    wide = png(tmp_path / "wide.png", gamma(45455), WIDE_CHRM)
    assert np.abs(np.array(in_srgb(wide)) - [215, 93, 31]).max() <= 1
    grey = png(tmp_path / "grey.png", gamma(100000), mode="L", colour=55)
    assert abs(in_srgb(grey)[0] - 128) <= 1


def test_nonsense_is_passed_over(tmp_path: Path) -> None:
    flat = chunk(b"cHRM", struct.pack(">8I", *([33000] * 8)))
    assert read_picture(png(tmp_path / "a.png", gamma(60000), flat)).icc is None
    assert read_picture(png(tmp_path / "b.png", gamma(1))).icc is None
    assert read_picture(png(tmp_path / "c.png", chunk(b"cICP", b"\x0c\x0d"))).icc is None


def avif(path: Path, primaries: int, transfer: int) -> Path:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 100, 50)).save(file, "AVIF", quality=100, subsampling="4:4:4")
    data = bytearray(file.getvalue())
    struct.pack_into(">HH", data, data.index(b"nclx") + 4, primaries, transfer)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.skipif("AVIF" not in Image.registered_extensions().values(), reason="this Pillow has no AVIF")
def test_avif(tmp_path: Path) -> None:
    assert read_picture(avif(tmp_path / "a.avif", 1, 13)).icc is None
    assert read_picture(avif(tmp_path / "b.avif", 2, 2)).icc is None
    assert np.abs(np.array(in_srgb(avif(tmp_path / "c.avif", 12, 13))) - [215, 93, 31]).max() <= 2
    for transfer in (16, 18):
        with pytest.raises(InputError, match="HDR"):
            read_picture(avif(tmp_path / f"{transfer}.avif", 9, transfer))


def test_adobe_rgb_of_cameras(tmp_path: Path) -> None:
    """The camera's way: no profile, "uncalibrated", and an index of interoperability."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03", 2: b"0100"}}
    Image.new("RGB", (8, 8), (100, 150, 100)).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    read = read_picture(tmp_path / "a.jpg")
    assert read.icc is not None
    adobe = ImageCms.ImageCmsProfile(io.BytesIO(read.icc)).profile
    # Adobe RGB (1998), adapted to D50.
    assert np.abs(np.array(adobe.green_colorant[0]) - [0.20528, 0.62567, 0.06087]).max() < 2e-4
    exif[0x8769] = {0xA001: 1, 0xA005: {1: "R98", 2: b"0100"}}
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", exif=exif)
    assert read_picture(tmp_path / "b.jpg").icc is None
