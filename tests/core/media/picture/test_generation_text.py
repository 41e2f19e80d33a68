"""What generators wrote into a picture is found again by the programs that wrote it, in whichever format."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backplate.core.jobs.picture import PictureSettings, enlarge, read_source, write_enlarged
from backplate.core.media.picture.generation_text import decoded_comment
from backplate.core.media.picture.read import read_picture
from PIL import Image, PngImagePlugin, TiffImagePlugin

WORKFLOW = json.dumps({"nodes": [{"id": 1, "title": "\u96ea: snow"}]})
PROMPT = json.dumps({"1": {"class_type": "LoadImage", "inputs": {"image": "a: b"}}})
PARAMETERS = "a castle, \u96ea\nNegative prompt: rain\nSteps: 20, Sampler: Euler, Seed: 1"
MADE = {"prompt": PROMPT, "workflow": WORKFLOW, "parameters": PARAMETERS}
FORMATS = ["png", "jpg", "webp", "avif", "tif"]


def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def generated(folder: Path, kind: str) -> Path:
    """As ComfyUI's and A1111's savers write it."""
    path = folder / f"in.{kind}"
    if kind == "png":
        chunks = PngImagePlugin.PngInfo()
        for name, text in MADE.items():
            chunks.add_text(name, text) if text.isascii() else chunks.add_itxt(name, text)
        image().save(path, pnginfo=chunks)
        return path
    exif: Any = TiffImagePlugin.ImageFileDirectory_v2() if kind == "tif" else Image.Exif()
    exif[0x0110], exif[0x010F] = f"prompt:{PROMPT}", f"workflow:{WORKFLOW}"
    exif[0x8769] = {0x9286: b"UNICODE\0" + PARAMETERS.encode("utf-16-be")}
    image().save(path, **{"tiffinfo" if kind == "tif" else "exif": exif})
    return path


def as_the_front_end_reads(exif: bytes) -> dict[str, str]:
    """The outer text tags of an EXIF block, split at the first colon: how ComfyUI's front end finds a workflow."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = "<" if exif[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    found = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        _, kind, length, value = struct.unpack_from(order + "HHII", exif, at)
        if kind == 2:
            name, _, text = exif[value : value + length - 1].decode("utf-8", "replace").partition(":")
            found[name] = text
    return found


def written_as(path: Path, output: Path, settings: PictureSettings | None = None) -> dict[str, str]:
    """What programs find in the result."""
    settings = settings or PictureSettings(software="Backplate")
    source = read_source(path, output, settings, 1)
    write_enlarged(output, enlarge(source, None, settings, _silent()), source, settings)
    with Image.open(output) as seen:
        seen.load()
        if output.suffix == ".png":
            return {name: text for name, text in seen.text.items() if name in MADE}
        if output.suffix == ".tif":
            named = {tag: seen.tag_v2[tag].partition(":") for tag in (0x010F, 0x0110) if tag in seen.tag_v2}
            found = {name: text for name, _, text in named.values()}
        else:
            found = as_the_front_end_reads(seen.info["exif"])
        comment = seen.getexif().get_ifd(0x8769).get(0x9286)
    return {name: text for name, text in found.items() if name in MADE} | {"parameters": decoded_comment(comment)}


def _silent():
    from backplate.core.progress import Progress

    return Progress()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("output", FORMATS)
def test_from_each_format_to_each(kind: str, output: str, tmp_path: Path) -> None:
    assert written_as(generated(tmp_path, kind), tmp_path / f"out.{output}") == MADE


@pytest.mark.parametrize("kind", FORMATS)
def test_from_one_to_the_next_and_back(kind: str, tmp_path: Path) -> None:
    first = tmp_path / f"first.{kind}"
    written_as(generated(tmp_path, "png"), first)
    assert written_as(first, tmp_path / "second.png") == MADE


def test_a_camera_keeps_its_name_beside_a_workflow(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon: Inc", "EOS {R5}"
    image().save(tmp_path / "in.jpg", exif=exif)
    settings = PictureSettings(embedded=(("prompt", PROMPT), ("workflow", WORKFLOW)))
    source = read_source(tmp_path / "in.jpg", tmp_path / "out.webp", settings, 1)
    write_enlarged(tmp_path / "out.webp", enlarge(source, None, settings, _silent()), source, settings)
    with Image.open(tmp_path / "out.webp") as seen:
        assert (seen.getexif()[0x010F], seen.getexif()[0x0110]) == ("Canon: Inc", "EOS {R5}")
        found = as_the_front_end_reads(seen.info["exif"])
    assert (found["prompt"], found["workflow"]) == (PROMPT, WORKFLOW)


def test_the_running_workflow_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    settings = PictureSettings(embedded=(("workflow", '{"nodes": []}'),))
    for output in ("out.png", "out.webp"):
        found = written_as(generated(tmp_path, "png"), tmp_path / output, settings)
        assert found == {**MADE, "workflow": '{"nodes": []}'}


def test_a_jpeg_takes_what_64_kilobytes_hold_and_names_the_rest(tmp_path: Path) -> None:
    long = json.dumps({"nodes": ["x" * 70_000]})
    settings = PictureSettings(embedded=(("workflow", long), ("prompt", PROMPT)))
    path = generated(tmp_path, "png")
    assert written_as(path, tmp_path / "out.jpg", settings) == {"prompt": PROMPT, "parameters": PARAMETERS}
    source = read_source(path, tmp_path / "out.jpg", settings, 1)
    assert source.notes == ('left out, because JPEG cannot hold it: the text "workflow"',)
    assert written_as(path, tmp_path / "out.webp", settings)["workflow"] == long


@pytest.mark.parametrize(
    "comment",
    [b"UNICODE\0" + PARAMETERS.encode("utf-16-be"), b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
     bytes(8) + PARAMETERS.encode(), PARAMETERS.encode()],
)  # fmt: skip
def test_comments_in_every_encoding(comment: bytes) -> None:
    assert decoded_comment(comment) == PARAMETERS


@pytest.mark.parametrize("comment", [b"ASCII\0\0\0Steps: up to the castle", b"UNICODE\0", b"", b"UNICODE\0\xff"])
def test_what_people_wrote_is_no_parameters(comment: bytes, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x9286: comment}
    image().save(tmp_path / "in.jpg", exif=exif)
    assert read_picture(tmp_path / "in.jpg").description.text == ()


def test_stripped_is_all_but_the_colours(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(generated(tmp_path, "webp")) as seen:
        seen.save(tmp_path / "in.png", exif=seen.info["exif"], icc_profile=profile, dpi=(300, 300))
    settings = PictureSettings(strip_metadata=True, software="Backplate")
    for output in FORMATS:
        path = tmp_path / f"out.{output}"
        source = read_source(tmp_path / "in.png", path, settings, 1)
        write_enlarged(path, enlarge(source, None, settings, _silent()), source, settings)
        with Image.open(path) as seen:
            seen.load()
            assert seen.info["icc_profile"] == profile
            # A TIFF says its sizes in tags of EXIF.
            assert set(seen.getexif()) <= (
                {*range(254, 260), 262, 273, 277, 278, 279, 284, 317, 34675} if output == "tif" else set()
            )
            assert not getattr(seen, "text", None)
            assert "xmp" not in seen.info
