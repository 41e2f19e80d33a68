"""Pictures that are made to do harm, and the process that reads them beside other code."""

from __future__ import annotations

import io
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image import room
from backplate.core.image.fit import Fit, Target
from backplate.core.media.picture import read as picture_file
from backplate.core.media.picture.read import read_picture
from backplate.core.media.picture.write import write_picture
from backplate.core.tiled.pipeline import upscale, upscale_to
from backplate.core.types import Size, SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

FORMATS = ("jpg", "png", "tif", "webp", "avif")


def noise(width: int = 64, height: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_nothing_of_the_process_is_changed_by_readers_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(400, 300)).save(tmp_path / "good.jpg", quality=95)
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    accepted: list[str] = []
    gate = threading.Barrier(4)

    def read() -> None:
        gate.wait()
        for name in ("good.jpg", "cut.jpg") * 15:
            try:
                read_picture(tmp_path / name)
                accepted.append(name)
            except InputError:
                continue

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accepted == ["good.jpg"] * 60
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert list(warnings.filters) == filters


def test_the_setting_stays_until_the_last_reader_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    strict = picture_file._StrictPillow()
    with strict:
        with strict:
            pass
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_tiff_that_stops_before_its_last_row_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "tall.tif"
    Image.fromarray(noise(20, 24)).save(path)
    data = bytearray(path.read_bytes())
    with Image.open(path) as image:
        start = image.tag_v2.offset
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] == 257:
            struct.pack_into("<HI", data, place + 2, 4, 1)
            struct.pack_into("<I", data, place + 8, 4_000_000)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="20x4000000 pixels and holds 20x24"):
        read_picture(path)


EXTREMES = (
    0, 1, -1, 255, 65535, 65536, 2**31, 2**32 - 1, 2**32, -(2**31), 2**63, 2**70, 0.5, 1e300, float("nan"),
    float("inf"),
    TiffImagePlugin.IFDRational(1, 0), TiffImagePlugin.IFDRational(0, 0), TiffImagePlugin.IFDRational(2**32 - 1, 1),
    TiffImagePlugin.IFDRational(-1, 3), "text", "\u96ea", b"\x00\xff", "", b"",
)  # fmt: skip
TAGS = (0x010E, 0x0131, 0x013B, 0x4746, 0x4749, 0x8298, 0x9C9B, 0x829A, 0x8827, 0x9003, 0x9201, 0x920A, 0x927C, 0x9286)


def raw_exif(entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """EXIF of entries (tag, type, count, value of four bytes), as a damaged file may hold them."""
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, kind, count, value in sorted(entries):
        body += struct.pack("<HHI", tag, kind, count) + value
    return b"Exif\x00\x00" + body + bytes(4) + bytes(64)


@pytest.mark.parametrize("seed", range(40))
def test_absurd_numbers_in_exif_do_not_stop_a_result(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    source = tmp_path / "in.webp"
    if seed % 2:
        entries = [
            (dice.choice((*TAGS, 282, 283, 296, 274, 34665)), dice.randrange(14), dice.choice((1, 2, 3, 4, 2**31)),
             dice.randbytes(4))
            for _ in range(8)
        ]  # fmt: skip
        exif = raw_exif(entries)
    else:
        made = Image.Exif()
        for tag in dice.sample(TAGS, 6):
            one = Image.Exif()
            one[tag] = dice.choice(EXTREMES)
            try:
                one.tobytes()
            except Exception:  # noqa: BLE001  Pillow cannot even write it
                continue
            made[tag] = one[tag]
        exif = made.tobytes()
    Image.fromarray(noise()).save(source, exif=exif)
    read = read_picture(source)
    for suffix in FORMATS:
        output = tmp_path / f"out.{suffix}"
        write_picture(output, read.picture, exif=read.exif, dpi=read.dpi, software="test")
        again = read_picture(output)
        assert again.picture.shape == read.picture.shape


@pytest.mark.parametrize("dpi", [(300.0, 1073742124.0), (1e9, 1e9), (float("inf"), 300.0)])
def test_absurd_resolutions_are_left_out(dpi: tuple[float, float], tmp_path: Path) -> None:
    exif = Image.Exif()
    for tag, value in ((282, dpi[0]), (283, dpi[1])):
        if value != float("inf"):
            exif[tag] = TiffImagePlugin.IFDRational(int(value), 1)
    Image.fromarray(noise()).save(tmp_path / "in.webp", exif=exif.tobytes())
    assert read_picture(tmp_path / "in.webp").dpi is None
    with pytest.raises(InputError, match="dpi is outside"):
        write_picture(tmp_path / "out.png", torch.rand(1, 3, 8, 8), dpi=dpi)


class Large:
    spec = UpscalerSpec(
        name="large", scale=4, input_channels=3, output_channels=3, size_rule=SizeRule(),
        halo=Halo(pixels=2, exact=True), max_tile_pixels=0, batch_size=1,
    )  # fmt: skip

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the work began")


def test_results_that_no_memory_holds_are_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda: 20e6)
    picture = torch.zeros(1, 3, 300, 400)
    with pytest.raises(InputError, match=r"1600x1200 needs 0\.0 GB.*at most \d+x\d+"):
        upscale(picture, Large())
    with pytest.raises(InputError, match=r"at most \d+x\d+"):
        upscale_to(picture, None, Large(), Target(fit=Fit.COVER, width=4000, height=3000))
    with pytest.raises(InputError, match="4 results of 1600x1200.*fewer at a time|at most"):
        upscale(picture.expand(4, -1, -1, -1), Large())


def test_the_size_that_would_fit_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda: 8e9)
    source, wanted = Size(13_300, 13_300), Size(26_600, 26_600)
    with pytest.raises(InputError) as caught:
        room.check_room(source, wanted, 3)
    fitting = str(caught.value).split("at most ")[1].split(",")[0]
    width, height = (int(each) for each in fitting.split("x"))
    room.check_room(source, Size(width, height), 3)
    with pytest.raises(InputError):
        room.check_room(source, Size(width + 10, height + 10), 3)
    room.check_room(Size(20, 4_000), Size(40, 8_000), 3)


def test_memory_that_the_system_refuses_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "check_room", lambda *_: None)
    with pytest.raises(InputError, match="The system refuses the"):
        room.room_for(torch.zeros(1, 3, 2, 2), Size(2**27, 2**27))


def test_a_bomb_stays_a_sentence_where_warnings_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(noise(100, 100)).save(file, "PNG")
    (tmp_path / "large.png").write_bytes(file.getvalue())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="split the picture"):
            read_picture(tmp_path / "large.png")


def with_size(data: bytes, width: int, height: int, at: int, order: str) -> bytes:
    return data[:at] + struct.pack(order, width, height) + data[at + struct.calcsize(order) :]


@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_of_fewer_bytes_than_its_size_needs_is_refused_before_it_is_decoded(tmp_path: Path, depth: int) -> None:
    write_picture(tmp_path / "a.png", torch.rand(1, 3, 24, 20), bit_depth=depth)
    header = with_size((tmp_path / "a.png").read_bytes()[:29], 12_000, 12_000, 16, ">II")
    data = header + struct.pack(">I", zlib.crc32(header[12:29])) + (tmp_path / "a.png").read_bytes()[33:]
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=rf"12000x12000 pixels take at least \d+ bytes, and it has {len(data)}\."):
        read_picture(tmp_path / "a.png")


def test_a_chunk_longer_than_the_file_is_refused_before_memory_is_reserved(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", torch.rand(1, 3, 24, 20), bit_depth=16)
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:at] + b"\xe8\0\0\0" + data[at + 4 :])
    with pytest.raises(InputError, match="chunk b'IDAT' says 3892314112 bytes, and "):
        read_picture(tmp_path / "a.png")


def test_a_jpeg_of_fewer_bits_than_its_size_has_blocks_is_refused(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    at = data.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(with_size(data, 12_000, 12_000, at, ">HH"))
    with pytest.raises(InputError, match="12000x12000 pixels take at least 281250 bytes"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_emptiest_pictures_are_read(tmp_path: Path, kind: str) -> None:
    settings = {"compress_level": 9} if kind == "png" else {"optimize": True, "progressive": True, "quality": 1}
    Image.new("L", (4000, 3000)).save(tmp_path / f"a.{kind}", **settings)
    assert read_picture(tmp_path / f"a.{kind}").picture.shape == (1, 1, 3000, 4000)


def test_a_tiff_that_is_cut_off_in_its_profile_is_refused(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise()).save(tmp_path / "a.tif", compression="tiff_lzw", icc_profile=profile)
    data = (tmp_path / "a.tif").read_bytes()
    end = data.index(profile) + len(profile)
    (tmp_path / "a.tif").write_bytes(data[: end - 1])
    with pytest.raises(InputError, match=rf"colour profile ends at byte {end}, and it has {end - 1}\."):
        read_picture(tmp_path / "a.tif")
