"""What of the EXIF data is left out on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from backplate.core.media.picture.metadata import without_place
from backplate.core.media.picture.read import read_picture, write_picture
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base


@pytest.fixture
def located(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[Base.Artist] = "somebody"
    exif[IFD.Exif] = {Base.ISOSpeedRatings: 400}
    exif[IFD.GPSInfo] = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (52.0, 31.0, 12.0)}
    path = tmp_path / "located.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_the_place_goes_and_the_rest_stays(located: Path, tmp_path: Path, suffix: str):
    file = read_picture(located)
    kept, stripped = tmp_path / f"kept.{suffix}", tmp_path / f"stripped.{suffix}"
    write_picture(kept, file.picture, exif=file.exif)
    write_picture(stripped, file.picture, exif=without_place(file.exif))
    for path, place in ((kept, True), (stripped, False)):
        with Image.open(path) as image:
            exif = image.getexif()
            assert exif[Base.Artist] == "somebody"
            assert exif.get_ifd(IFD.Exif)[Base.ISOSpeedRatings] == 400
            assert bool(exif.get_ifd(IFD.GPSInfo)) is place
    assert b"GPS" not in stripped.read_bytes()


def test_nothing_stays_nothing():
    assert without_place(None) is None


def test_exif_that_is_only_a_place_goes_whole():
    exif = Image.Exif()
    exif[IFD.GPSInfo] = {GPS.GPSLatitudeRef: "N"}
    assert without_place(exif.tobytes()) is None
