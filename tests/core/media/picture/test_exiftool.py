"""Metadata that ExifTool wrote into a source, read back by ExifTool from the result."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backplate.core.jobs.picture import PictureSettings, enlarge, read_source, write_enlarged
from backplate.core.progress import Progress
from PIL import Image

pytestmark = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is missing")

FORMATS = ["jpg", "png", "webp", "tif", "avif"]
TERM = "http://cv.iptc.org/newscodes/digitalsourcetype/"
KEPT = {
    "IFD0:Make": "Canon",
    "IFD0:Model": "EOS R5",
    "IFD0:Artist": "J\u00f6rg",
    "IFD0:Copyright": "(c) Backplate",
    "ExifIFD:ExposureTime": "1/250",
    "ExifIFD:FNumber": 2.8,
    "ExifIFD:DateTimeOriginal": "2024:05:06 07:08:09",
    "ExifIFD:LensModel": "RF 50mm",
    "GPS:GPSLatitudeRef": "North",
    "XMP-dc:Creator": "J\u00f6rg",
    "XMP-dc:Title": "Castle in \u96ea",
    "XMP-xmpRights:WebStatement": "https://example.org/licence",
    "XMP-photoshop:Credit": "Backplate",
    "XMP-plus:Licensor": {"LicensorURL": "https://example.org"},
    "XMP-iptcExt:DigitalSourceType": TERM + "digitalCapture",
}
UNTRUE = {
    "XMP-tiff:ImageWidth": 20,
    "XMP-tiff:ImageHeight": 16,
    "XMP-exif:ExifImageWidth": 20,
    "XMP-tiff:Orientation": "Rotate 90 CW",
    "ExifIFD:ExifImageWidth": 20,
    "IFD0:Orientation": "Rotate 90 CW",
}


def exiftool(*words: str) -> str:
    return subprocess.run(["exiftool", *words], check=True, capture_output=True, text=True, timeout=60).stdout


def said_by(*paths: Path) -> list[dict[str, Any]]:
    found = json.loads(exiftool("-j", "-G1", "-struct", *map(str, paths)))

    def single(value: Any) -> Any:
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    return [{name: single(value) for name, value in each.items()} for each in found]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each format with all of it."""
    folder = tmp_path_factory.mktemp("sources")
    paths = {kind: folder / f"in.{kind}" for kind in FORMATS}
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    for path in paths.values():
        Image.fromarray(pixels).save(path)
    raw = {
        "IFD0:Orientation": 6, "XMP-tiff:Orientation": 6, "ExifIFD:ExposureTime": 0.004, "GPS:GPSLatitudeRef": "N",
        "GPS:GPSLatitude": 48.1, "XMP-plus:Licensor": "{LicensorURL=https://example.org}",
    }  # fmt: skip
    words = [f"-{name}={value}" for name, value in (KEPT | UNTRUE | raw).items()]
    exiftool("-q", "-overwrite_original", "-n", *words, *map(str, paths.values()))
    return paths


def results(path: Path, folder: Path, outputs: list[str], **settings: Any) -> list[dict[str, Any]]:
    """What ExifTool says of the source and of the results in those formats."""
    asked = PictureSettings(software="Backplate; tiny", **settings)
    written = [folder / f"out.{output}" for output in outputs]
    for output in written:
        read = read_source(path, output, asked, 1)
        assert read.notes == ()
        write_enlarged(output, enlarge(read, None, asked, Progress()), read, asked)
    return said_by(path, *written)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_describes_the_shot_is_read_back_from_every_format(
    kind: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    before, *after = results(sources[kind], tmp_path, FORMATS)
    assert {name: before.get(name) for name in KEPT} == KEPT, "what was written"
    for said, output in zip(after, FORMATS, strict=True):
        assert {name: said.get(name) for name in KEPT} == KEPT, output
        assert said["GPS:GPSLatitude"] == before["GPS:GPSLatitude"]
        assert said["IFD0:Software"] == "Backplate; tiny"
        assert "ExifTool:Warning" not in said, output
        turned = {name: said[name] for name in ("IFD0:Orientation", "XMP-tiff:Orientation") if name in said}
        assert set(turned.values()) <= {"Horizontal (normal)"}
        # A TIFF says its sizes in EXIF's first directory.
        assert not (UNTRUE.keys() & said.keys()) - turned.keys(), output


@pytest.mark.parametrize("kind", FORMATS)
def test_places_go_where_asked(kind: str, sources: dict[str, Path], tmp_path: Path) -> None:
    _, after = results(sources[kind], tmp_path, [kind], strip_gps=True)
    assert not [name for name in after if "GPS" in name]
    assert after["IFD0:Make"] == "Canon"


@pytest.mark.parametrize("kind", FORMATS)
def test_all_goes_where_asked(kind: str, sources: dict[str, Path], tmp_path: Path) -> None:
    _, after = results(sources[kind], tmp_path, [kind], strip_metadata=True)
    assert not {name for name in after if name.split(":")[0] in ("GPS", "ExifIFD") or name.startswith("XMP")}
    assert not {name for name in after if name in KEPT or name == "IFD0:Software"}


def test_a_source_type_is_read_back(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in.png")
    _, *after = results(tmp_path / "in.png", tmp_path, FORMATS, source_type="algorithmicallyEnhanced")
    assert {said["XMP-iptcExt:DigitalSourceType"] for said in after} == {TERM + "algorithmicallyEnhanced"}
