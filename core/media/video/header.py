"""What a video file's header says about its tracks that PyAV does not expose: cropping, and Dolby Vision.

MP4 and MOV: ISO/IEC 14496-12, boxes ``clap`` and, of Dolby's "Dolby Vision Streams within the ISO Base Media File
Format", ``dvcC`` and ``dvvC``. Matroska: RFC 9559 (PixelCrop) and its Dolby Vision block additions.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

LARGEST_PART = 1 << 24
"""Largest part of the header to read, in bytes; sample tables are larger and not needed."""


class Margins(NamedTuple):
    """Pixels of the stored frame that a player crops."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True, kw_only=True)
class TrackHeader:
    """``dolby`` is the (profile, base layer compatibility) of Dolby Vision, None without it. ``number`` is the track's
    number in the file."""

    number: int
    margins: Margins = Margins()
    dolby: tuple[int, int] | None = None


def video_tracks(source: Path | BinaryIO, container: str) -> list[TrackHeader]:
    """The video tracks, in the order of the file. ``container`` is FFmpeg's name of the format; formats other than MP4,
    MOV and Matroska, and damaged headers, give an empty list."""
    readers = {"mov": _mp4_tracks, "matroska": _matroska_tracks}
    reader = readers.get(container.split(",")[0])
    if reader is None:
        return []
    with _file_of(source) as file:
        try:
            return list(reader(file))
        except (struct.error, ValueError, IndexError, OSError):
            return []


@contextmanager
def _file_of(source: Path | BinaryIO) -> Generator[BinaryIO]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        place = source.tell()
        source.seek(0)
        yield source
        source.seek(place)


class _Part(NamedTuple):
    """An MP4 box or a Matroska element: its name, and the position of its content."""

    name: bytes
    start: int
    end: int


def _content(file: BinaryIO, part: _Part) -> bytes:
    if part.end - part.start > LARGEST_PART:
        raise ValueError(part)
    file.seek(part.start)
    return file.read(part.end - part.start)


def _end_of(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            head = 16
        length = size or end - start
        if length < head:
            return
        yield _Part(name, start + head, min(start + length, end))
        start += length


def _child(file: BinaryIO, part: _Part, *path: bytes) -> _Part | None:
    for name in path:
        found = next((box for box in _boxes(file, part.start, part.end) if box.name == name), None)
        if found is None:
            return None
        part = found
    return part


def _mp4_tracks(file: BinaryIO) -> Iterator[TrackHeader]:
    for movie in _boxes(file, 0, _end_of(file)):
        if movie.name == b"moov":
            for track in _boxes(file, movie.start, movie.end):
                if track.name == b"trak" and (header := _mp4_track(file, track)):
                    yield header


def _mp4_track(file: BinaryIO, track: _Part) -> TrackHeader | None:
    head, handler = _child(file, track, b"tkhd"), _child(file, track, b"mdia", b"hdlr")
    table = _child(file, track, b"mdia", b"minf", b"stbl", b"stsd")
    if head is None or handler is None or table is None or _content(file, handler)[8:12] != b"vide":
        return None
    fields = _content(file, head)
    (number,) = struct.unpack_from(">I", fields, 20 if fields[0] else 12)
    entry = next(_boxes(file, table.start + 8, table.end), None)
    if entry is None:
        return None
    file.seek(entry.start + 24)
    width, height = struct.unpack(">HH", file.read(4))
    inner = {box.name: box for box in _boxes(file, entry.start + 78, entry.end)}
    margins, dolby = Margins(), None
    if clap := inner.get(b"clap"):
        margins = _clean_aperture(struct.unpack(">8i", _content(file, clap)[:32]), width, height)
    if record := inner.get(b"dvcC") or inner.get(b"dvvC"):
        dolby = _dolby(_content(file, record))
    return TrackHeader(number=number, margins=margins, dolby=dolby)


def _clean_aperture(numbers: tuple[int, ...], width: int, height: int) -> Margins:
    """Margins in whole pixels, from the size and the offset of the centre as fractions; none for invalid numbers."""
    if any(divisor <= 0 for divisor in numbers[1::2]):
        return Margins()
    across, down, right, below = (n / d for n, d in zip(numbers[::2], numbers[1::2], strict=True))
    left, top = round((width - across) / 2 + right), round((height - down) / 2 + below)
    return _checked(Margins(left, top, width - round(across) - left, height - round(down) - top), width, height)


def _checked(margins: Margins, width: int, height: int) -> Margins:
    fits = min(margins) >= 0 and margins.left + margins.right < width and margins.top + margins.bottom < height
    return margins if fits else Margins()


def _dolby(record: bytes) -> tuple[int, int]:
    """From the decoder configuration record: seven bits of profile, and four bits for the kind of base layer."""
    return record[2] >> 1, record[4] >> 4


SEGMENT, TRACKS, TRACK, NUMBER, KIND, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xD7, 0x83, 0xE0
WIDTH, HEIGHT = 0xB0, 0xBA
CROPS = (0x54CC, 0x54BB, 0x54DD, 0x54AA)
ADDITION, ADDITION_KIND, ADDITION_DATA = 0x41E4, 0x41E7, 0x41ED
CLUSTER = 0x1F43B675
MOVING_PICTURES = 1


def _number(file: BinaryIO, keep_marker: bool) -> tuple[int, bool]:
    """A variable-length integer, and whether all its bits are set, which means an unknown size."""
    first = file.read(1)[0]
    length = 9 - first.bit_length()
    if length > 8:
        raise ValueError(first)
    value = int.from_bytes(bytes([first]) + file.read(length - 1), "big")
    bits = value & ((1 << 7 * length) - 1)
    return value if keep_marker else bits, bits == (1 << 7 * length) - 1


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, _Part]]:
    while start < end:
        file.seek(start)
        name, _ = _number(file, keep_marker=True)
        size, unknown = _number(file, keep_marker=False)
        begin = file.tell()
        stop = end if unknown else min(begin + size, end)
        yield name, _Part(b"", begin, stop)
        start = stop


def _matroska_tracks(file: BinaryIO) -> Iterator[TrackHeader]:
    for name, segment in _elements(file, 0, _end_of(file)):
        if name != SEGMENT:
            continue
        for inner, part in _elements(file, segment.start, segment.end):
            if inner == CLUSTER:
                return  # the tracks come before the pictures
            if inner == TRACKS:
                tracks = (each for kind, each in _elements(file, part.start, part.end) if kind == TRACK)
                yield from filter(None, [_matroska_track(file, each) for each in tracks])
                return


def _matroska_track(file: BinaryIO, track: _Part) -> TrackHeader | None:
    fields = list(_elements(file, track.start, track.end))
    whole = dict(fields)
    video = whole.get(VIDEO)
    if _unsigned(file, whole.get(KIND)) != MOVING_PICTURES or video is None:
        return None
    inner = dict(_elements(file, video.start, video.end))
    width, height = (_unsigned(file, inner.get(name)) for name in (WIDTH, HEIGHT))
    margins = Margins(*(_unsigned(file, inner.get(name)) for name in CROPS))
    additions = [dict(_elements(file, part.start, part.end)) for name, part in fields if name == ADDITION]
    records = [
        _content(file, each[ADDITION_DATA])
        for each in additions
        if ADDITION_DATA in each and _unsigned(file, each.get(ADDITION_KIND)) in DOLBY_KINDS
    ]
    return TrackHeader(
        number=_unsigned(file, whole.get(NUMBER)),
        margins=_checked(margins, width, height),
        dolby=_dolby(records[0]) if records else None,
    )


DOLBY_KINDS = (int.from_bytes(b"dvcC", "big"), int.from_bytes(b"dvvC", "big"))


def _unsigned(file: BinaryIO, part: _Part | None) -> int:
    return int.from_bytes(_content(file, part), "big") if part else 0
