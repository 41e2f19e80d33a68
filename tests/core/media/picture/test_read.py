from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.media.picture import read as picture_file
from backplate.core.media.picture.read import read_picture
from PIL import Image, ImageCms, ImageFile, ImageOps
from skimage.color import lab2rgb

RANDOM = np.random.default_rng(5)
GREY, GREY_ALPHA, RGB, RGBA, PALETTE = 0, 4, 2, 6, 3


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RANDOM.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def big_endian(samples: np.ndarray) -> list[bytes]:
    """The rows of a PNG of 16 bits."""
    return [row.astype(">u2").tobytes() for row in samples]


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def levels(picture: torch.Tensor | None, highest: int = 255) -> list:
    """Integer samples of a picture, (H, W, C) as nested lists; fails if it is not made of whole levels."""
    assert picture is not None
    values = picture.double() * highest
    assert (values - values.round()).abs().max() < 1e-2
    return values.round().int()[0].permute(1, 2, 0).tolist()


# -- kinds of pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, mode) for kind in ("PNG", "TIFF") for mode in ("L", "LA", "RGB", "RGBA")),
        ("BMP", "L"),
        ("BMP", "RGB"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
    ],
)
def test_8_bit_samples_arrive_as_they_are(stored, kind, mode):
    samples = noise(5, 7, len(mode)).squeeze()
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    file = read_picture(stored("x", saved(Image.fromarray(samples, mode), kind, **options)))
    assert file.bit_depth == 8
    assert file.picture.dtype == torch.float32
    assert (file.picture.shape[1], file.alpha is not None) == (1 if mode[0] == "L" else 3, mode.endswith("A"))
    got = file.picture if file.alpha is None else torch.cat([file.picture, file.alpha], 1)
    assert levels(got) == samples.reshape(5, 7, -1).tolist()


@pytest.mark.parametrize("colour_type", [GREY, GREY_ALPHA, RGB, RGBA])
def test_16_bit_png(stored, raw_png, colour_type):
    channels = {GREY: 1, GREY_ALPHA: 2, RGB: 3, RGBA: 4}[colour_type]
    samples = noise(5, 7, channels, dtype=np.uint16)
    samples[0, :, -1] = 0
    file = read_picture(stored("x.png", raw_png((7, 5), 16, colour_type, big_endian(samples))))
    assert file.bit_depth == 16
    assert file.picture.shape[1] == (1 if channels < 3 else 3)
    got = file.picture if file.alpha is None else torch.cat([file.picture, file.alpha], 1)
    assert levels(got, 65535) == samples.tolist()


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (3, {}),
        (3, {"byteorder": ">"}),
        (3, {"compression": "zlib", "predictor": True}),
        (3, {"bigtiff": True}),
        (3, {"tile": (16, 16)}),
        (4, {"extrasamples": ["unassalpha"]}),
        (1, {}),
        (1, {"photometric": "miniswhite"}),
    ],
)
def test_16_bit_tiff(stored, channels, options):
    tifffile = pytest.importorskip("tifffile")
    samples = noise(32, 48, channels, dtype=np.uint16)
    file = io.BytesIO()
    kind = {"photometric": "rgb" if channels > 2 else "minisblack", **options}
    tifffile.imwrite(file, samples.squeeze(), **kind)
    got = read_picture(stored("x.tif", file.getvalue()))
    assert got.bit_depth == 16
    whole = got.picture if got.alpha is None else torch.cat([got.picture, got.alpha], 1)
    expected = 65535 - samples if kind["photometric"] == "miniswhite" else samples
    assert levels(whole, 65535) == expected.tolist()


def test_premultiplied_16_bit_tiff_becomes_straight(stored):
    tifffile = pytest.importorskip("tifffile")
    samples = np.array([[[10000, 20000, 30000, 40000], [0, 0, 0, 0]]], np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", extrasamples=["assocalpha"])
    got = read_picture(stored("x.tif", file.getvalue()))
    straight = [round(value / 40000 * 65535) for value in (10000, 20000, 30000)]
    assert levels(got.picture, 65535) == [[straight, [0, 0, 0]]]
    assert levels(got.alpha, 65535) == [[[40000], [0]]]


def test_fourth_sample_that_is_not_alpha_is_left_out(stored):
    tifffile = pytest.importorskip("tifffile")
    samples = noise(4, 4, 4, dtype=np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", extrasamples=["unspecified"])
    got = read_picture(stored("x.tif", file.getvalue()))
    assert got.alpha is None
    assert levels(got.picture, 65535) == samples[..., :3].tolist()


def test_palette_with_transparency(stored, raw_png):
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    chunks = [(b"PLTE", bytes(sum(palette, ()))), (b"tRNS", bytes([0, 128]))]
    file = read_picture(stored("x.png", raw_png((3, 1), 8, PALETTE, [bytes([0, 1, 2])], chunks)))
    assert levels(file.picture) == [[list(colour) for colour in palette]]
    assert levels(file.alpha) == [[[0], [128], [255]]]


def test_palette_without_transparency_has_no_alpha(stored, raw_png):
    chunks = [(b"PLTE", bytes([9, 8, 7, 1, 2, 3]))]
    file = read_picture(stored("x.png", raw_png((2, 1), 1, PALETTE, [b"\x40"], chunks)))
    assert levels(file.picture) == [[[9, 8, 7], [1, 2, 3]]]
    assert file.alpha is None


@pytest.mark.parametrize(
    ("depth", "row", "key", "grey"),
    [
        (1, b"\x60", 1, [0, 1, 1, 0]),
        (2, bytes([0b00011011]), 2, [0, 1, 2, 3]),
        (4, bytes([0x03, 0xF8]), 3, [0, 3, 15, 8]),
        (8, bytes([3, 4, 5, 3]), 3, [3, 4, 5, 3]),
        (16, struct.pack(">4H", 3, 259, 5, 3), 3, [3, 259, 5, 3]),
    ],
)
def test_transparent_level_of_a_grey_png(stored, raw_png, depth, row, key, grey):
    file = read_picture(stored("x.png", raw_png((4, 1), depth, GREY, [row], [(b"tRNS", struct.pack(">H", key))])))
    assert levels(file.picture, 2**depth - 1) == [[[level] for level in grey]]
    assert levels(file.alpha) == [[[0 if level == key else 255] for level in grey]]


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_of_an_rgb_png(stored, raw_png, depth):
    colours = [[3, 4, 5], [3, 4, 6]]
    row = np.array(colours, f">u{depth // 8}").tobytes()
    file = read_picture(stored("x.png", raw_png((2, 1), depth, RGB, [row], [(b"tRNS", struct.pack(">3H", 3, 4, 5))])))
    assert levels(file.picture, 2**depth - 1) == [colours]
    assert levels(file.alpha) == [[[0], [255]]]


def test_bilevel_tiff(stored):
    samples = noise(5, 7) > 127
    file = read_picture(stored("x.tif", saved(Image.fromarray(samples), "TIFF")))
    assert levels(file.picture) == (samples[..., None] * 255).tolist()


def test_grey_jpeg_stays_grey(stored):
    file = read_picture(stored("x.jpg", saved(Image.new("L", (9, 8), 77), "JPEG")))
    assert tuple(file.picture.shape) == (1, 1, 8, 9)
    assert levels(file.picture)[0][0] == [77]


def test_first_frame_of_an_animation(stored):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    file = read_picture(stored("x.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    assert file.frames == 3
    assert levels(file.picture)[0][0] == [255, 0, 0]


def test_jpeg_of_a_telephone_with_a_gain_map_is_one_picture(stored):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (4, 4), "blue")
    data = saved(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    file = read_picture(stored("x.jpg", data))
    assert (file.frames, tuple(file.picture.shape)) == (1, (1, 3, 8, 8))


def test_avif(stored):
    if "AVIF" not in picture_file.readable_formats():
        pytest.skip("this Pillow has no AVIF")
    file = read_picture(stored("x.avif", saved(Image.new("RGBA", (16, 16), (200, 100, 50, 128)), "AVIF", quality=100)))
    assert np.abs(np.array(levels(file.picture))[8, 8] - [200, 100, 50]).max() <= 2
    assert levels(file.alpha)[8][8] == [128]


# -- colours ---------------------------------------------------------------------------------------------------------


def test_cmyk_without_profile(stored):
    inks = Image.new("CMYK", (16, 8), (0, 0, 0, 0))
    inks.paste((0, 255, 255, 0), (8, 0, 16, 8))
    file = read_picture(stored("x.jpg", saved(inks, "JPEG", quality=100, subsampling=0)))
    got = np.array(levels(file.picture))
    assert np.abs(got[4, 3] - 255).max() <= 2
    assert np.abs(got[4, 12] - [255, 0, 0]).max() <= 2
    assert (file.icc, file.bit_depth) == (None, 8)


def test_cmyk_goes_through_its_profile(stored, cmyk_profile):
    inks = Image.new("CMYK", (24, 8), (0, 0, 0, 0))
    inks.paste((255, 0, 0, 0), (8, 0, 16, 8))
    inks.paste((0, 0, 0, 255), (16, 0, 24, 8))
    file = read_picture(stored("x.jpg", saved(inks, "JPEG", quality=100, subsampling=0, icc_profile=cmyk_profile)))
    got = np.array(levels(file.picture))
    cyan = lab2rgb(np.array([[[60.0, -30.0, -40.0]]]))[0, 0] * 255
    assert np.abs(got[4, 4] - 255).max() <= 2
    assert np.abs(got[4, 12] - cyan).max() <= 4
    assert got[4, 20].max() <= 3
    assert file.icc is None


def p3_in_srgb(*colour: int) -> list[float]:
    """Display P3 to sRGB by the matrix of CSS Color Module Level 4, in levels of 0 to 255, cut to the gamut."""
    matrix = [[1.22494, -0.22494, 0.0], [-0.04206, 1.04206, 0.0], [-0.01964, -0.07864, 1.09828]]
    encoded = np.array(colour) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = (np.array(matrix) @ linear).clip(0, 1)
    return (np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255).tolist()


@pytest.mark.parametrize("depth", [8, 16])
def test_profile_is_kept_unless_srgb_is_asked_for(stored, raw_png, rgb_profile, depth):
    icc = rgb_profile("Display P3")
    row = np.array([[200, 30, 60]], np.uint8).repeat(depth // 8, axis=1).tobytes()
    path = stored("x.png", raw_png((1, 1), depth, RGB, [row], [(b"iCCP", b"p3\0\0" + zlib.compress(icc))]))
    kept, converted = read_picture(path), read_picture(path, convert_to_srgb=True)
    assert kept.icc == icc
    assert levels(kept.picture) == [[[200, 30, 60]]]
    assert converted.icc is None
    assert (converted.picture.flatten() * 255).tolist() == pytest.approx(p3_in_srgb(200, 30, 60), abs=0.6)


# -- what travels along ----------------------------------------------------------------------------------------------


def described(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Maker"
    exif[315] = "Somebody"
    exif[34665] = {36867: "2024:01:02 03:04:05", 33434: 0.01, 40962: 999, 40963: 888}
    exif[34853] = {1: "N", 2: (48.0, 12.0, 30.0)}
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "PNG 16", "TIFF 16"])
def test_orientation_is_applied_once(stored, raw_png, kind, orientation):
    samples = noise(4, 6, 3)
    samples[:] = samples[:1, :1]
    samples[:2, :2] = (255, 255, 255)
    samples[2:, 2:] //= 2
    image, exif = Image.fromarray(samples), described(orientation)
    if kind == "PNG 16":
        data = raw_png((6, 4), 16, RGB, big_endian(samples.astype(np.uint16) * 257), [(b"eXIf", exif.tobytes()[6:])])
    elif kind == "TIFF 16":
        tifffile = pytest.importorskip("tifffile")
        file = io.BytesIO()
        extra = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(file, samples.astype(np.uint16) * 257, photometric="rgb", extratags=extra)
        data = file.getvalue()
    else:
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
        data = saved(image, kind, exif=exif.tobytes(), **options)
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    file = read_picture(stored("x", data))
    got = (file.picture[0].permute(1, 2, 0) * 255).round().int().numpy()
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= (20 if kind == "JPEG" else 0)
    if file.exif:
        kept = Image.Exif()
        kept.load(file.exif)
        assert 274 not in kept


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_kept_without_what_is_no_longer_true(stored, kind):
    file = read_picture(stored("x", saved(Image.new("RGB", (8, 4)), kind, exif=described(6).tobytes())))
    assert file.exif is not None
    kept = Image.Exif()
    kept.load(file.exif)
    assert set(kept) == {271, 315, 34665, 34853}
    assert (kept[271], kept[315]) == ("Maker", "Somebody")
    shot = kept.get_ifd(34665)
    assert set(shot) == {36867, 33434}
    assert float(shot[33434]) == pytest.approx(0.01)
    assert [float(value) for value in kept.get_ifd(34853)[2]] == [48, 12, 30]


def test_damaged_exif_is_ignored(stored):
    data = saved(Image.new("RGB", (8, 4)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xfe" * 40)
    assert read_picture(stored("x.jpg", data)).picture.shape[2:] == (4, 8)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 0.6), ("PNG", 0.02), ("TIFF", 0.01), ("BMP", 0.02)])
def test_resolution(stored, kind, tolerance):
    file = read_picture(stored("x", saved(Image.new("RGB", (8, 4)), kind, dpi=(300, 150))))
    assert file.dpi == pytest.approx((300, 150), abs=tolerance)


def test_resolution_turns_with_the_picture(stored):
    file = read_picture(stored("x.jpg", saved(Image.new("RGB", (8, 4)), "JPEG", dpi=(300, 150), exif=described(6))))
    assert file.dpi == (150, 300)
    assert file.picture.shape[2:] == (8, 4)


def test_no_resolution_is_none(stored):
    assert read_picture(stored("x.png", saved(Image.new("RGB", (8, 4)), "PNG"))).dpi is None


# -- what cannot be read ---------------------------------------------------------------------------------------------

WHOLE = {
    "jpg": saved(Image.fromarray(noise(64, 64, 3)), "JPEG"),
    "png": saved(Image.fromarray(noise(64, 64, 3)), "PNG"),
    "webp": saved(Image.fromarray(noise(64, 64, 3)), "WEBP"),
    "gif": saved(Image.fromarray(noise(64, 64)), "GIF"),
    "bmp": saved(Image.fromarray(noise(64, 64, 3)), "BMP"),
    "tif": saved(Image.fromarray(noise(64, 64, 3)), "TIFF"),
    "packed.tif": saved(Image.fromarray(noise(64, 64, 3)), "TIFF", compression="tiff_lzw"),
    "avif": saved(Image.fromarray(noise(64, 64, 3)), "AVIF") if "AVIF" in picture_file.readable_formats() else b"",
}


@pytest.mark.parametrize("suffix", sorted(WHOLE))
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_file_that_breaks_off_is_refused(stored, suffix, part, monkeypatch):
    if not WHOLE[suffix]:
        pytest.skip("this Pillow has no AVIF")
    # What another program in the same process may have set.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = stored(f"broken.{suffix}", WHOLE[suffix][: int(len(WHOLE[suffix]) * part)])
    with pytest.raises(InputError) as caught:
        read_picture(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_16_bit_file_that_breaks_off_is_refused(stored, raw_png, kind, part):
    if kind == "png":
        data = raw_png((64, 64), 16, RGB, big_endian(noise(64, 64, 3, dtype=np.uint16)))
    else:
        tifffile = pytest.importorskip("tifffile")
        file = io.BytesIO()
        tifffile.imwrite(file, noise(64, 64, 3, dtype=np.uint16), photometric="rgb", rowsperstrip=8)
        data = file.getvalue()
    with pytest.raises(InputError, match="damaged or cut off"):
        read_picture(stored("x", data[: int(len(data) * part)]))


def test_damage_inside_a_16_bit_png_is_refused(stored, raw_png):
    data = bytearray(raw_png((64, 64), 16, RGB, big_endian(noise(64, 64, 3, dtype=np.uint16))))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InputError, match="damaged"):
        read_picture(stored("x.png", bytes(data)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is no picture", "not a readable picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a readable picture"),
    ],
)
def test_what_is_no_picture_is_refused(stored, content, reason):
    with pytest.raises(InputError, match=reason):
        read_picture(stored("x.png", content))


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="folder"):
        read_picture(tmp_path)


def test_decompression_bomb_is_refused(stored, raw_png):
    with pytest.raises(InputError, match="400000000 pixels"):
        read_picture(stored("bomb.png", raw_png((20000, 20000), 1, GREY, [])))


def test_float_tiff_is_refused(stored):
    image = Image.fromarray(np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="8 or 16 bits"):
        read_picture(stored("x.tif", saved(image, "TIFF")))


def test_separate_planes_of_16_bits_are_refused(stored):
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, noise(3, 16, 16, dtype=np.uint16), photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match="interleaved"):
        read_picture(stored("x.tif", file.getvalue()))


def test_path_may_have_any_letters(tmp_path):
    path = tmp_path / "b\u00e4ckdrop \u80cc\u666f.png"
    path.write_bytes(saved(Image.new("RGB", (2, 3)), "PNG"))
    assert read_picture(str(path)).picture.shape == (1, 3, 3, 2)


def test_a_profile_that_is_cut_off_is_none(stored):
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for part, kept in ((whole, True), (whole[:200], False), (whole[:-1], False)):
        path = stored("x.png", saved(Image.fromarray(noise(8, 8, 3)), "PNG", icc_profile=part))
        assert (read_picture(path).icc == part) is kept


def test_signed_pixels_are_not_called_damaged(stored):
    data = bytearray(saved(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)), "TIFF", tiffinfo={339: 1}))
    with Image.open(io.BytesIO(data)) as image:
        start = image.tag_v2.offset
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] == 339:
            struct.pack_into("<H", data, place + 8, 2)
    path = stored("x.tif", bytes(data))
    with pytest.raises(InputError, match="signed or floating-point"):
        read_picture(path)
