"""XMP that may be carried, and what of it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from backplate.core.jobs.picture import PictureSettings, read_source
from backplate.core.media.picture.xmp import (
    LARGEST_XMP,
    TERMS,
    carried_xmp,
    source_type_of,
    with_source_type,
    without_provenance,
)
from PIL import Image

SPACES = " ".join(
    f'xmlns:{name}="http://example.org/{name}/"'
    for name in ("tiff", "exif", "xmp", "hdrgm", "GCamera", "Container", "dcterms", "xmpNote", "dc")
)
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"


def packet(attributes: str = "", elements: str = "", prefix: str = "rdf") -> bytes:
    """As Adobe's library writes it."""
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<{prefix}:RDF xmlns:{prefix}="{RDF}"><{prefix}:Description {prefix}:about="" {SPACES} {attributes}>'
        f'{elements}</{prefix}:Description></{prefix}:RDF></x:xmpmeta>\n   \n<?xpacket end="w"?>'
    ).encode()


def test_what_a_larger_picture_makes_untrue_goes_and_the_rest_stays() -> None:
    attributes = (
        'tiff:ImageWidth="32" exif:PixelXDimension="32" hdrgm:Version="1.0" GCamera:MotionPhoto="1" '
        'xmpNote:HasExtendedXMP="0123" exif:FNumber="28/10" tiff:Make="Canon"'
    )
    elements = (
        "<tiff:ImageLength>24</tiff:ImageLength><exif:PixelYDimension/>"
        "<xmp:Thumbnails><rdf:Alt><rdf:li>/9j/</rdf:li></rdf:Alt></xmp:Thumbnails>"
        "<Container:Directory><rdf:Seq><rdf:li/></rdf:Seq></Container:Directory>"
        "<dc:title>A castle, 32 &gt; 24</dc:title>"
    )
    kept = 'exif:FNumber="28/10" tiff:Make="Canon"'
    carried, reason = carried_xmp(packet(attributes, elements))
    assert reason == ""
    assert carried is not None
    wanted = packet(kept, "<dc:title>A castle, 32 &gt; 24</dc:title>")
    assert ElementTree.canonicalize(carried.decode()) == ElementTree.canonicalize(wanted.decode())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
def test_packets_in_other_encodings_become_utf8(encoding: str) -> None:
    plain = packet(elements="<dc:title>\u96ea</dc:title>")
    assert carried_xmp(plain.decode().encode(encoding)) == (plain, "")


HOSTILE = {
    "no XML": b"GPS 48,8N",
    "cut off": packet()[:-90],
    "entities": b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + packet(elements="<dc:t>&b;</dc:t>"),
    "a file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + packet(elements="<dc:t>&a;</dc:t>"),
    "a type elsewhere": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">' + packet(),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_what_is_no_packet_is_dropped_and_named(kind: str, suffix: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    if suffix == "png":
        from PIL import PngImagePlugin

        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", HOSTILE[kind].decode())
        image.save(tmp_path / "in.png", pnginfo=chunks)
    elif suffix == "tif":
        image.save(tmp_path / "in.tif", tiffinfo={700: HOSTILE[kind]})
    else:
        image.save(tmp_path / f"in.{suffix}", xmp=HOSTILE[kind])
    read = read_source(tmp_path / f"in.{suffix}", tmp_path / "out.png", PictureSettings(), 2)
    assert read.file.description.xmp is None
    assert [note for note in read.notes if note.startswith("left out: XMP that ")]


@pytest.mark.parametrize(
    "filling",
    [" ", "<!-- <tiff:ImageWidth> -->", "<!-- <tiff:ImageWidth -->", "<tiff:ImageWidth>1</tiff:ImageWidth>",
     "<dc:t>DigitalSourceType </dc:t>", "<!-- </rdf:RDF> -->"],
)  # fmt: skip
def test_a_megabyte_of_anything_is_looked_through_once(filling: str) -> None:
    """Patterns that begin again at every place would take hours."""
    elements = filling * (1_000_000 // len(filling)) + "<dc:title>A castle</dc:title>"
    carried, reason = carried_xmp(packet(elements=elements))
    assert reason == ""
    assert carried is not None
    assert b"A castle" in carried
    assert b"<tiff:ImageWidth>1" not in carried
    after, _ = with_source_type(carried, "algorithmicallyEnhanced")
    assert after is not None
    assert without_provenance(after) == (after, False)


def test_a_packet_over_a_megabyte_is_dropped_with_its_size() -> None:
    long = packet(elements=f"<dc:t>{'x' * LARGEST_XMP}</dc:t>")
    assert carried_xmp(long) == (None, f"XMP of {len(long):,} bytes, more than 1,048,576")


@pytest.mark.parametrize(
    "said",
    ['Iptc4xmpExt:DigitalSourceType="{}"', "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>",
     '<Iptc4xmpExt:DigitalSourceType rdf:resource="{}"/>'],
)  # fmt: skip
def test_what_somebody_said_of_the_source_is_not_written_over(said: str) -> None:
    said = said.format(TERMS + "digitalCapture")
    spaces = f'xmlns:Iptc4xmpExt="{EXT}" '
    before = packet(spaces, said) if said.startswith("<") else packet(spaces + said)
    assert source_type_of(before) == TERMS + "digitalCapture"
    after, note = with_source_type(before, "algorithmicallyEnhanced")
    assert after == before
    assert note.endswith("digitalCapture, and algorithmicallyEnhanced was not written over it")
    assert with_source_type(before, "digitalCapture") == (before, "")


@pytest.mark.parametrize(
    "before", [None, packet(), packet(prefix="r"), b'<x><rdf:RDF xmlns:rdf="' + RDF.encode() + b'"/></x>']
)
def test_a_source_type_is_added_where_there_was_none(before: bytes | None) -> None:
    after, note = with_source_type(before, "algorithmicallyEnhanced")
    assert note == ""
    assert after is not None
    assert carried_xmp(after) == (after, "")
    (described, *_) = [
        element for element in ElementTree.fromstring(after).iter(f"{{{RDF}}}Description")
        if element.get(f"{{{EXT}}}DigitalSourceType")
    ]  # fmt: skip
    assert described.get(f"{{{EXT}}}DigitalSourceType") == TERMS + "algorithmicallyEnhanced"
    assert described.get(f"{{{RDF}}}about") == ""


def test_a_link_to_a_manifest_elsewhere_is_cut() -> None:
    linked = packet('dcterms:provenance="https://example.org/manifest.c2pa" tiff:Make="Canon"')
    assert without_provenance(linked) == (
        linked.replace(b' dcterms:provenance="https://example.org/manifest.c2pa"', b""),
        True,
    )
    assert without_provenance(packet()) == (packet(), False)
