"""XMP packets: what may be carried to another file, and what a changed picture makes untrue.

ISO 16684-1 (XMP), IPTC Photo Metadata Standard 2023.2 (``DigitalSourceType``), C2PA 2.1 (``dcterms:provenance``).
"""

# PyPI's stubs of expat name its handlers only in part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from xml.parsers import expat

LARGEST_XMP = 1 << 20
"""Bytes of a packet that is carried."""

SOURCE_TYPES = {
    "algorithmicallyEnhanced": "enlarged by an algorithm that adds no content of its own",
    "compositeWithTrainedAlgorithmicMedia": "edited by generative AI",
}
"""IPTC's terms for what was made of a picture, and what they say (NewsCodes, scheme digitalsourcetype)."""
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"

UNTRUE = (
    # Sizes, previews and check sums of the pixels that were.
    rb"(?:tiff|exif):(?:ImageWidth|ImageLength|PixelXDimension|PixelYDimension|NativeDigest)",
    rb"(?:xmp|xap):Thumbnails",
    # Pictures behind the picture: gain maps, depth, and the film of a moving photograph.
    rb"hdrgm:\w+",
    rb"(?:GContainer|Container):Directory",
    rb"(?:GCamera|Camera):(?:MotionPhoto|MicroVideo)\w*",
    rb"GDepth:\w+",
    rb"GImage:\w+",
    # The rest of a packet in two parts, which is not carried.
    rb"xmpNote:HasExtendedXMP",
)
PROVENANCE = rb"dcterms:provenance"
"""Where the signed history of the old pixels lies."""
PLACE = rb"exif:GPS\w+"

_SOURCE_TYPE = re.compile(
    rb"""DigitalSource(?:file)?Type(?:\s*=\s*["']([^"']*)["']|[^<>]{0,200}?resource\s*=\s*["']([^"']*)["']|[^<>]{0,200}>([^<]*))"""
)
_END_OF_RDF = re.compile(rb"</([\w.-]{1,40}):RDF\s*>")
_EMPTY_RDF = re.compile(rb"<([\w.-]{1,40}):RDF((?:\s[^<>]*?)?)/>")


class _HasTypes(Exception):
    """A document type may name entities, which are never followed."""


def carried_xmp(xmp: bytes) -> tuple[bytes | None, str]:
    """The packet in UTF-8 without what another picture makes untrue, or None and why it is not carried."""
    if len(xmp) > LARGEST_XMP:
        return None, f"XMP of {len(xmp):,} bytes, more than {LARGEST_XMP:,}"
    xmp = _as_utf8(xmp).strip(b"\0 \r\n\t")
    if reason := _unsound(xmp):
        return None, f"XMP that {reason}"
    for name in UNTRUE:
        xmp = without(xmp, name)
    return (None, "XMP that is no XML") if _unsound(xmp) else (xmp, "")


def without(xmp: bytes, name: bytes) -> bytes:
    """Without the attributes and elements of a name, which is a pattern."""
    return _without_elements(re.sub(rb"\s" + name + rb"""\s*=\s*(?:"[^"]*"|'[^']*')""", b"", xmp), name)


def _without_elements(xmp: bytes, name: bytes) -> bytes:
    """Forwards only: one pattern for an element and its end would look through the rest again from every beginning."""
    begin = re.compile(rb"<(" + name + rb")(?:\s[^<>]*|/)?>")
    kept, at, unclosed = [b""], 0, set[bytes]()
    while found := begin.search(xmp, at):
        kept.append(xmp[at : found.start()])
        at = found.end()
        if xmp[at - 2 : at] == b"/>":
            continue
        end = None if found[1] in unclosed else re.compile(rb"</" + found[1] + rb"\s*>").search(xmp, at)
        if end is None:
            # In a comment, which is no element.
            unclosed.add(found[1])
            kept.append(found[0])
        else:
            at = end.end()
    return b"".join([*kept, xmp[at:]])


def without_provenance(xmp: bytes) -> tuple[bytes, bool]:
    """Without the link to a C2PA manifest elsewhere, and whether there was one."""
    cut = without(xmp, PROVENANCE)
    return cut, cut != xmp


def source_type_of(xmp: bytes | None) -> str:
    """IPTC's ``DigitalSourceType``, an address as a rule; empty if there is none."""
    found = _SOURCE_TYPE.search(xmp) if xmp else None
    return next((part.decode("utf-8", "replace").strip() for part in found.groups() if part), "") if found else ""


def with_source_type(xmp: bytes | None, term: str) -> tuple[bytes | None, str]:
    """The packet that says how the picture was made, and a note where it is not what was asked: what somebody has said
    before is kept. ``term``: of ``SOURCE_TYPES``."""
    before, wanted = source_type_of(xmp), TERMS + term
    if before:
        same = before.rpartition("/")[2] == term
        return xmp, "" if same else f"its DigitalSourceType stays {before}, and {term} was not written over it"
    if xmp is None:
        return _packet(wanted), ""
    said = rb'<%b:Description %b:about="" ' + _attribute(wanted) + b"/>"
    if end := next(reversed(list(_END_OF_RDF.finditer(xmp))), None):
        prefix = end[1]
        return xmp[: end.start()] + said % (prefix, prefix) + xmp[end.start() :], ""
    if empty := _EMPTY_RDF.search(xmp):
        prefix, attributes = empty.groups()
        whole = b"<%b:RDF%b>" % (prefix, attributes) + said % (prefix, prefix) + b"</%b:RDF>" % prefix
        return xmp[: empty.start()] + whole + xmp[empty.end() :], ""
    return xmp, "its XMP has no place for a DigitalSourceType"


def _attribute(value: str) -> bytes:
    space = b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    return space + f' Iptc4xmpExt:DigitalSourceType="{value}"'.encode()


def _packet(value: str) -> bytes:
    rdf = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    said = b'<rdf:Description rdf:about="" ' + _attribute(value) + b"/></rdf:RDF>"
    start = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    return start + rdf + said + b'</x:xmpmeta><?xpacket end="w"?>'


def _as_utf8(xmp: bytes) -> bytes:
    """Packets may be UTF-16 or UTF-32 (part 1, section 7.3.2); most formats of pictures want UTF-8."""
    for start, encoding in (
        (b"<\0\0\0", "utf-32-le"),
        (b"\0\0\0<", "utf-32-be"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
        (b"<\0", "utf-16-le"),
        (b"\0<", "utf-16-be"),
    ):
        if xmp.startswith(start):
            return xmp.decode(encoding, "replace").encode()
    return xmp.removeprefix(b"\xef\xbb\xbf")


def _unsound(xmp: bytes) -> str:
    """Why it is no packet that may be carried; empty if it is one. Nothing in it is followed or replaced."""
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise _HasTypes

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xmp, True)
    except _HasTypes:
        return "declares a document type"
    except (expat.ExpatError, ValueError):
        return "is no XML"
    return ""
