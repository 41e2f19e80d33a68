from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.media.picture import write as picture_write
from backplate.core.media.picture.description import Description, fitting
from backplate.core.media.picture.read import check_writable, format_of, read_picture, write_picture
from backplate.core.types import Size
from PIL import Image, features
from PIL.ExifTags import IFD

RANDOM = torch.Generator().manual_seed(9)
LOSSLESS = ["png", "tif", "webp"]


def noise(channels: int, highest: int, height: int = 300, width: int = 11) -> torch.Tensor:
    """Whole levels; taller than the bands in which samples are converted."""
    return torch.randint(0, highest + 1, (1, channels, height, width), generator=RANDOM).float() / highest


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_8_bit_round_trip_is_exact(tmp_path, suffix, channels, with_alpha):
    picture, alpha = noise(channels, 255), noise(1, 255) if with_alpha else None
    path = tmp_path / f"x.{suffix}"
    write_picture(path, picture, alpha, quality=100)
    back = read_picture(path)
    assert back.bit_depth == 8
    # WebP has no grey.
    assert torch.equal(back.picture, picture.expand(-1, 3, -1, -1) if suffix == "webp" else picture)
    assert (back.alpha is None) if alpha is None else torch.equal(back.alpha, alpha)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_16_bit_round_trip_is_exact(tmp_path, suffix, channels, with_alpha):
    picture, alpha = noise(channels, 65535), noise(1, 65535) if with_alpha else None
    if alpha is not None:
        alpha[..., :3] = 0
    path = tmp_path / f"x.{suffix}"
    write_picture(path, picture, alpha, bit_depth=16)
    back = read_picture(path)
    assert back.bit_depth == 16
    # TIFF keeps 16-bit grey with alpha as RGB, which more programs can read.
    widened = suffix == "tif" and channels == 1 and with_alpha
    assert torch.equal(back.picture, picture.expand(-1, 3, -1, -1) if widened else picture)
    assert (back.alpha is None) if alpha is None else torch.equal(back.alpha, alpha)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_programs_read_our_16_bits(tmp_path, suffix, channels):
    picture = noise(channels, 65535)
    write_picture(tmp_path / f"x.{suffix}", picture, bit_depth=16)
    seen = cv2.imread(str(tmp_path / f"x.{suffix}"), cv2.IMREAD_UNCHANGED).reshape(300, 11, -1)[..., ::-1]
    assert np.array_equal(seen, (picture[0] * 65535).round().permute(1, 2, 0).numpy())
    with Image.open(tmp_path / f"x.{suffix}") as image:
        image.load()
        assert image.size == (11, 300)


def test_tiff_is_read_by_tifffile_with_its_alpha_marked(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    picture, alpha = noise(3, 65535), noise(1, 65535)
    write_picture(tmp_path / "x.tif", picture, alpha, bit_depth=16)
    expected = (torch.cat([picture, alpha], 1)[0] * 65535).round().permute(1, 2, 0).numpy()
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert file.pages[0].extrasamples == (2,)
        try:
            samples = file.asarray()
        except ValueError as error:
            pytest.skip(f"tifffile lacks a codec here: {error}")
    assert np.array_equal(samples, expected)


def test_values_are_cut_and_rounded_to_the_nearest_level(tmp_path):
    values = torch.tensor([-0.5, 0.49 / 255, 0.51 / 255, 99.51 / 255, 254.49 / 255, 254.51 / 255, 1.5])
    path = tmp_path / "x.png"
    write_picture(path, values.reshape(1, 1, 1, 7))
    assert (read_picture(path).picture * 255).flatten().round().tolist() == [0, 0, 1, 100, 254, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_is_taken_and_left_unchanged(tmp_path, dtype):
    picture = torch.rand(1, 3, 4, 5, generator=RANDOM).to(dtype) * 2
    before = picture.clone()
    write_picture(tmp_path / "x.png", picture)
    expected = picture.float().clamp(0, 1)
    assert torch.equal(picture, before)
    assert (read_picture(tmp_path / "x.png").picture - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_jpeg_is_not_subsampled_and_of_high_quality(tmp_path):
    red_dot = torch.zeros(1, 3, 16, 16)
    red_dot[:, 0, 8, 8] = 1
    write_picture(tmp_path / "x.jpg", red_dot)
    with Image.open(tmp_path / "x.jpg") as image:
        assert {(h, v) for _, h, v, _ in image.layer} == {(1, 1)}
        assert image.getpixel((8, 8))[0] > 230


def test_quality_is_heeded(tmp_path):
    picture = noise(3, 255)
    for suffix in ["jpg", "webp"] + ["avif"] * features.check("avif"):
        sizes = []
        for quality in (10, 60, 95):
            path = tmp_path / f"{quality}.{suffix}"
            write_picture(path, picture, quality=quality)
            sizes.append(path.stat().st_size)
        assert sizes == sorted(set(sizes)), suffix


# -- what travels along ----------------------------------------------------------------------------------------------


def shot() -> bytes:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[34665] = {36867: "2024:01:02 03:04:05", 33434: 0.01}
    exif[34853] = {1: "N", 2: (48.0, 12.0, 30.0)}
    return exif.tobytes()


HOLDS_METADATA = [("png", 8), ("png", 16), ("tif", 8), ("tif", 16), ("jpg", 8), ("webp", 8), ("avif", 8)]


@pytest.mark.parametrize(("suffix", "bit_depth"), HOLDS_METADATA)
def test_profile_exif_resolution_and_maker_come_along(tmp_path, rgb_profile, suffix, bit_depth):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"x.{suffix}"
    details = {"icc": rgb_profile(), "exif": shot(), "dpi": (300.0, 150.0)}
    write_picture(path, noise(3, 255), bit_depth=bit_depth, software="Backplate 1; model", **details)
    back = read_picture(path)
    assert back.icc == rgb_profile()
    assert back.dpi == pytest.approx((300, 150), abs=0.6)
    assert back.exif is not None
    exif = Image.Exif()
    exif.load(back.exif)
    assert (exif[271], exif[305]) == ("Maker", "Backplate 1; model")
    assert exif.get_ifd(34665)[36867] == "2024:01:02 03:04:05"
    assert float(exif.get_ifd(34665)[33434]) == pytest.approx(0.01)
    assert [float(value) for value in exif.get_ifd(34853)[2]] == [48, 12, 30]
    if suffix == "png":
        with Image.open(path) as image:
            assert image.text == {"Software": "Backplate 1; model"}


@pytest.mark.parametrize(("suffix", "bit_depth"), HOLDS_METADATA)
def test_nothing_is_made_up(tmp_path, suffix, bit_depth):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"x.{suffix}"
    write_picture(path, noise(3, 255), bit_depth=bit_depth)
    back = read_picture(path)
    assert (back.icc, back.exif, back.dpi) == (None, None, None)


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_grey_profile_on_a_grey_picture(tmp_path, grey_profile, bit_depth):
    write_picture(tmp_path / "x.png", noise(1, 255), bit_depth=bit_depth, icc=grey_profile)
    assert read_picture(tmp_path / "x.png").icc == grey_profile


# -- what is refused -------------------------------------------------------------------------------------------------


def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(tmp_path, rgb_profile, grey_profile):
    picture, half = noise(3, 255), torch.full((1, 1, 300, 11), 0.5)
    cases = [
        ("x.jpg", {"bit_depth": 16}, "JPEG holds 8 bits a channel, not 16; PNG and TIFF hold 16"),
        ("x.webp", {"bit_depth": 16}, "PNG and TIFF hold 16"),
        ("x.png", {"bit_depth": 12}, "choose 8 or 16"),
        ("x.jpg", {"alpha": half}, "no transparency"),
        ("x.bmp", {"alpha": half}, "no transparency"),
        ("x.bmp", {"icc": rgb_profile()}, "no colour profile"),
        ("x.png", {"icc": grey_profile}, "not one for pictures of 3 channels"),
        ("x.gif", {}, r"\.gif cannot be written; choose one of \.png"),
        ("x", {}, "a name without suffix cannot be written"),
        ("x.jpg", {"quality": 0}, "outside 1 to 100"),
        ("missing/x.png", {}, "cannot be written"),
    ]
    for name, options, reason in cases:
        with pytest.raises(InputError, match=reason):
            write_picture(tmp_path / name, picture, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("picture", "alpha", "reason"),
    [
        (torch.zeros(3, 4, 4), None, "shape"),
        (torch.zeros(2, 3, 4, 4), None, "shape"),
        (torch.zeros(1, 4, 4, 4), None, "shape"),
        (torch.zeros(1, 3, 0, 4), None, "shape"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None, "floats"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 5), "does not belong"),
        (torch.full((1, 3, 4, 4), float("nan")), None, "48 values that are not finite"),
        (torch.zeros(1, 3, 4, 4), torch.full((1, 1, 4, 4), float("inf")), "alpha to write has 16"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, picture, alpha, reason):
    with pytest.raises(InputError, match=reason):
        write_picture(tmp_path / "x.png", picture, alpha)
    assert list(tmp_path.iterdir()) == []


def test_sides_beyond_a_format_are_known_before_the_work():
    assert check_writable("x.webp", Size(16383, 5)).name == "WEBP"
    with pytest.raises(InputError, match="16384x5 is beyond the 16383 pixels a side of WEBP"):
        check_writable("x.webp", Size(16384, 5))
    with pytest.raises(InputError, match="65500"):
        check_writable("x.jpg", Size(5, 65501))
    assert check_writable("x.png", Size(5, 65501), alpha=True, bit_depth=16, profile=True).name == "PNG"


def test_format_that_pillow_was_built_without_is_refused(monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.SAVE, "WEBP")
    with pytest.raises(InputError, match="installed Pillow cannot write WEBP"):
        check_writable("x.webp", Size(1, 1))


def test_more_exif_than_jpeg_holds_is_left_out_and_named(tmp_path):
    exif = Image.Exif()
    exif[270] = "x" * 70000
    write_picture(tmp_path / "x.jpg", noise(3, 255), exif=exif.tobytes())
    assert read_picture(tmp_path / "x.jpg").exif is None
    assert "EXIF of 70," in fitting(Description(), "JPEG", exif.tobytes())[2]


def test_the_notes_of_a_camera_maker_go_first(tmp_path):
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[IFD.Exif] = {0x927C: b"n" * 66000, 0x829A: 0.5}
    write_picture(tmp_path / "x.jpg", noise(3, 255), exif=exif.tobytes())
    kept = Image.Exif()
    kept.load(read_picture(tmp_path / "x.jpg").exif)
    assert (kept[271], dict(kept.get_ifd(IFD.Exif))) == ("Maker", {0x829A: 0.5})
    assert fitting(Description(), "JPEG", exif.tobytes())[2] == "the camera maker's notes"


def test_opaque_alpha_is_left_out_where_there_is_none(tmp_path):
    write_picture(tmp_path / "x.jpg", noise(3, 255), torch.ones(1, 1, 300, 11))
    assert read_picture(tmp_path / "x.jpg").alpha is None


def test_suffix_is_read_without_regard_to_case():
    assert [format_of(name).name for name in ("A.PNG", "b.Jpeg", "c.TIF")] == ["PNG", "JPEG", "TIFF"]


# -- complete or not at all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError("disk full")])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failure, bit_depth):
    path = tmp_path / "x.png"
    path.write_bytes(b"the old file")

    def fail(file, *args, **kwargs):
        target = file if bit_depth == 16 else args[0]
        target.write(b"the first bytes")
        raise failure

    monkeypatch.setattr(*((picture_write, "write_png16") if bit_depth == 16 else (Image.Image, "save")), fail)
    with pytest.raises((KeyboardInterrupt, InputError)):
        write_picture(path, noise(3, 255), bit_depth=bit_depth)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]
    assert path.read_bytes() == b"the old file"


def test_an_existing_file_is_replaced_whole(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"the old file" * 10000)
    picture = noise(3, 255)
    write_picture(path, picture)
    assert torch.equal(read_picture(path).picture, picture)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_new_files_get_the_usual_permissions(tmp_path):
    write_picture(tmp_path / "x.png", noise(3, 255))
    usual = tmp_path / "usual"
    usual.touch()
    assert (tmp_path / "x.png").stat().st_mode == usual.stat().st_mode
