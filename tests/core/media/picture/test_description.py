"""What people and programs wrote about a picture comes through, or is named."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.jobs.picture import PictureSettings, read_source
from backplate.core.media.picture.description import Description, fitting, without_place_in_xmp
from backplate.core.media.picture.read import read_picture
from backplate.core.media.picture.write import write_picture
from PIL import Image, PngImagePlugin, TiffImagePlugin

XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
    b'xmpRights:WebStatement="https://example.org/licence" tiff:Orientation="6" exif:GPSLatitude="48,8N">'
    b"<exif:GPSLongitude>11,34E</exif:GPSLongitude></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
)
WANTED = XMP.replace(b' tiff:Orientation="6"', b"")
IPTC = b"\x1c\x02\x74\x00\x12(c) Backplate GmbH\x1c\x02\x19\x00\x05snows"
PARAMETERS = "a castle, \u96ea\nSteps: 20, Sampler: Euler, Seed: 1"
TEXT = (("parameters", PARAMETERS), ("workflow", '{"nodes": []}'), ("Title", "Castle"))


def picture() -> torch.Tensor:
    return torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))


def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))


def resource(content: bytes, number: int = 0x0404) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)


def source(folder: Path, kind: str) -> Path:
    """A file of that kind as other programs write it."""
    path = folder / f"in.{kind}"
    if kind == "jpg":
        app13 = b"Photoshop 3.0\0" + resource(b"\0\0", 0x03ED) + resource(IPTC)
        extra = b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13
        image().save(path, xmp=XMP, extra=extra, comment=b"by hand")
    elif kind == "tif":
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[700] = XMP
        directory.tagtype[33723] = 7
        directory[33723] = IPTC
        image().save(path, tiffinfo=directory)
    elif kind == "png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
        for name, text in TEXT:
            chunks.add_itxt(name, text) if "\u96ea" in text else chunks.add_text(name, text, zip=name == "workflow")
        image().save(path, pnginfo=chunks)
    else:
        image().save(path, xmp=XMP)
    return path


def upright(xmp: bytes | None) -> bytes:
    """As it says that nothing is to be turned, or nothing of it, which Pillow makes of a TIFF's."""
    assert xmp is not None
    assert b'Orientation="6"' not in xmp
    return xmp.replace(b' tiff:Orientation="1"', b"").replace(b"  ", b" ")


@pytest.mark.parametrize("kind", ["jpg", "tif", "webp", "avif", "png"])
@pytest.mark.parametrize("output", ["jpg", "tif", "webp", "avif", "png", "16.png"])
def test_xmp_goes_from_each_format_to_each(kind: str, output: str, tmp_path: Path) -> None:
    read = read_picture(source(tmp_path, kind))
    assert upright(read.description.xmp) == WANTED
    written = tmp_path / f"out.{output}"
    depth = 16 if output == "16.png" else 8
    write_picture(written, read.picture, description=read.description, bit_depth=depth)
    assert upright(read_picture(written).description.xmp) == WANTED
    # Pillow's own reading, which knows nothing of ours.
    with Image.open(written) as seen:
        assert b"licence" in (seen.info.get("xmp") or seen.tag_v2[700])


@pytest.mark.parametrize("kind", ["jpg", "tif"])
@pytest.mark.parametrize("output", ["jpg", "tif", "png", "16.png"])
def test_iptc_goes_where_it_can_be_held(kind: str, output: str, tmp_path: Path) -> None:
    read = read_picture(source(tmp_path, kind))
    assert read.description.iptc == IPTC
    written = tmp_path / f"out.{output}"
    write_picture(written, read.picture, description=read.description, bit_depth=16 if output == "16.png" else 8)
    assert read_picture(written).description.iptc == IPTC
    if output == "jpg":
        with Image.open(written) as seen:
            assert seen.info["photoshop"][0x0404] == IPTC


@pytest.mark.parametrize("output", ["webp", "avif"])
def test_iptc_is_named_where_it_cannot_be_held(output: str, tmp_path: Path) -> None:
    path = source(tmp_path, "jpg")
    read = read_source(path, tmp_path / f"out.{output}", PictureSettings(), 2)
    assert any("cannot hold it: IPTC" in note for note in read.notes)


def test_text_of_a_png_stays_in_a_png(tmp_path: Path) -> None:
    read = read_picture(source(tmp_path, "png"))
    assert read.description.text == TEXT
    for depth in (8, 16):
        written = tmp_path / f"{depth}.png"
        write_picture(written, read.picture, description=read.description, bit_depth=depth, software="us")
        with Image.open(written) as seen:
            assert {**seen.text, "XML:com.adobe.xmp": ""} == {**dict(TEXT), "Software": "us", "XML:com.adobe.xmp": ""}


@pytest.mark.parametrize("output", ["jpg", "webp", "avif", "tif"])
def test_what_an_image_was_made_of_goes_into_exif(output: str, tmp_path: Path) -> None:
    """As the generators themselves write it into files without text."""
    path = source(tmp_path, "png")
    read = read_source(path, tmp_path / f"out.{output}", PictureSettings(), 2)
    assert read.notes == ()
    written = tmp_path / f"out.{output}"
    write_picture(written, read.file.picture, exif=read.file.exif, description=read.file.description)
    with Image.open(written) as seen:
        exif = seen.getexif()
        assert exif[270] == "Castle"
        assert exif[271] == 'workflow:{"nodes": []}'
        comment = exif.get_ifd(34665)[37510]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == PARAMETERS


@pytest.mark.parametrize("output", ["jpg", "webp", "tif", "png"])
@pytest.mark.parametrize(
    "name", ["J\u00f6rg \u00a9".encode(), "J\u00f6rg".encode("latin-1"), "\u96ea".encode("shift-jis")]
)
def test_names_keep_their_letters(output: str, name: bytes, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[315], exif[33432] = name, name
    exif[34665] = {0x9003: "2024:01:01 00:00:00"}
    image().save(tmp_path / "in.jpg", exif=exif)
    read = read_picture(tmp_path / "in.jpg")
    write_picture(tmp_path / f"out.{output}", read.picture, exif=read.exif, software="us", dpi=(300, 300))
    data = (tmp_path / f"out.{output}").read_bytes()
    assert data.count(name) == 2
    again = read_picture(tmp_path / f"out.{output}").exif
    assert again is not None
    assert name in again
    assert b"2024:01:01" in again


def test_titles_keep_their_letters(tmp_path: Path) -> None:
    described = Description(text=(("Title", "Gr\u00f6\u00dfe"),))
    write_picture(tmp_path / "out.jpg", picture(), description=described)
    assert "Gr\u00f6\u00dfe".encode() in (tmp_path / "out.jpg").read_bytes()


def test_a_comment_stays_one(tmp_path: Path) -> None:
    read = read_picture(source(tmp_path, "jpg"))
    write_picture(tmp_path / "out.jpg", read.picture, description=read.description)
    with Image.open(tmp_path / "out.jpg") as seen:
        assert seen.info["comment"] == b"by hand"


def test_bmp_names_everything(tmp_path: Path) -> None:
    read = read_source(source(tmp_path, "jpg"), tmp_path / "out.bmp", PictureSettings(), 2)
    assert read.notes == ('left out, because BMP cannot hold it: XMP, IPTC, the text "Comment"',)


def test_places_are_left_out_of_xmp_too(tmp_path: Path) -> None:
    settings = PictureSettings(strip_gps=True)
    read = read_source(source(tmp_path, "jpg"), tmp_path / "out.jpg", settings, 2)
    assert b"GPS" not in read.file.description.xmp
    assert b"licence" in read.file.description.xmp
    assert without_place_in_xmp(Description()) == Description()


def test_long_xmp_does_not_stop_a_jpeg(tmp_path: Path) -> None:
    long = Description(xmp=b"<x>" + b"y" * 70_000 + b"</x>", iptc=b"\x1c" + bytes(70_000))
    write_picture(tmp_path / "out.jpg", picture(), description=long)
    assert read_picture(tmp_path / "out.jpg").description == Description()
    assert fitting(long, "JPEG", None)[2] == "XMP of 70,007 bytes, IPTC"


@pytest.mark.parametrize("raw", [b"", b"8BIM", b"\x1c\x02", bytes(40)])
def test_damaged_resources_are_passed_over(raw: bytes, tmp_path: Path) -> None:
    app13 = b"Photoshop 3.0\0" + raw
    file = io.BytesIO()
    image().save(file, "JPEG", extra=b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13)
    path = tmp_path / "in.jpg"
    path.write_bytes(file.getvalue())
    assert read_picture(path).description.iptc is None
