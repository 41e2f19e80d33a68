"""The MASK inputs that say what is not to be invented."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.protect import magnified
from backplate.core.types import FloatBox, Size
from clips import drawing, write_clip
from PIL import Image

if TYPE_CHECKING:
    from conftest import Host

IMAGES = torch.rand(2, 20, 24, 3, generator=torch.Generator().manual_seed(2))


def upscale(host: Host, images: torch.Tensor, protect: torch.Tensor | None, **more: Any) -> torch.Tensor:
    return host.node("upscale", "TiledUpscale").execute(host.model(), images, 0, "plain", protect=protect, **more)[0]


def resize(host: Host, images: torch.Tensor, protect: torch.Tensor | None, **more: Any) -> torch.Tensor:
    inputs = {"fit": "factor", "factor": 4.0, "upscale_model": host.model(), "image": images, "protect": protect}
    return host.run("resolution", "UpscaleToResolution", **inputs, **more)[0]


def source_enlarged(images: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[1:3]
    box, size = FloatBox(0, 0, width, height), Size(4 * width, 4 * height)
    pictures = [torch.cat(list(magnified(each[None].movedim(3, 1), box, size)), dim=2) for each in images]
    return torch.cat(pictures).movedim(1, 3)


@pytest.mark.parametrize("run", [upscale, resize])
def test_white_is_the_source_and_black_is_the_models(host: Host, run: Any) -> None:
    plain = run(host, IMAGES, None)
    for black in (torch.zeros(1, 20, 24), torch.zeros(2, 20, 24), torch.zeros(20, 24), torch.zeros(1, 64, 64)):
        assert torch.equal(run(host, IMAGES, black), plain)
    for white in (torch.ones(1, 20, 24), torch.ones(20, 24), torch.ones(2, 40, 48)):
        assert torch.equal(run(host, IMAGES, white), source_enlarged(IMAGES))
    one_each = run(host, IMAGES, torch.stack([torch.ones(20, 24), torch.zeros(20, 24)]))
    assert torch.equal(one_each[:1], source_enlarged(IMAGES[:1]))
    assert torch.equal(one_each[1:], plain[1:])


@pytest.mark.parametrize("run", [upscale, resize])
@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.ones(3, 20, 24), "3 masks in protect for 2 images"),
        (torch.ones(1, 20, 80), "80x20 and the picture 24x20, 233% apart in proportions"),
        (torch.full((1, 20, 24), torch.nan), "480 values that are NaN"),
        (torch.ones(1, 3, 20, 24), "a MASK is"),
        (torch.ones(1, 20, 24, dtype=torch.int64), "a MASK is"),
    ],
)
def test_what_is_no_mask_for_these_images(host: Host, run: Any, mask: torch.Tensor, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        run(host, IMAGES, mask)


def test_a_stretched_mask_is_told(host: Host) -> None:
    heard: list[str] = []
    protection = host.node("protect", "protection_of")(
        torch.ones(1, 20, 26), "resample", IMAGES.movedim(3, 1), heard.append
    )
    assert protection.mask.shape == (1, 1, 20, 24)
    assert heard == ["The mask in protect is 26x20 and was stretched to the 24x20 of the picture."]


def test_transparency_is_another_input(host: Host) -> None:
    transparent = torch.zeros(1, 20, 24)
    transparent[:, :, :12] = 1
    node = host.node("upscale", "TiledUpscale")
    plain = node.execute(host.model(), IMAGES[:1], 0, "plain", transparent)
    result = node.execute(host.model(), IMAGES[:1], 0, "plain", transparent, protect=torch.ones(1, 20, 24))
    assert torch.equal(result[1], plain[1])
    assert not torch.equal(result[0], plain[0])


def test_a_folder_with_one_mask_and_one_of_its_own(host: Host) -> None:
    folder = host.folders / "input" / "products"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(drawing(0, 24, 20)).save(folder / name)
    Image.new("L", (24, 20), 0).save(folder / "b.protect.png")
    Image.new("L", (24, 20), 255).save(folder / "c.protect.png")
    inputs = {"folder": "products", "output_folder": "done", "fit": "factor", "factor": 4.0, "dither": "off"}
    run = partial(host.run, "folder", "UpscaleFolder", **inputs, upscale_model=host.model())
    summary, results = run(protect=torch.ones(1, 20, 24))
    assert "A mask has no picture of the same name beside it: c.protect.png" in summary
    assert "b.png: the mask b.protect.png marks nothing" in summary
    lines = map(json.loads, (Path(results) / "manifest.jsonl").read_text().splitlines())
    assert {line["source"]: line["protected"] for line in lines} == {"a.png": 1.0, "b.png": 0.0}
    with Image.open(folder / "a.png") as image:
        source = torch.from_numpy(np.array(image)).float()[None] / 255
    expected = (source_enlarged(source)[0] * 255).round().byte().numpy()
    assert np.array_equal(np.asarray(Image.open(Path(results) / "a.png")), expected)
    with pytest.raises(InputError, match="There are 2 masks in protect; connect one, which is for all pictures"):
        run(protect=torch.ones(2, 20, 24))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no PyAV 18, which video needs")
def test_one_still_mask_for_a_video(host: Host, tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", pictures=[drawing(number) for number in range(3)])
    node = host.node("video", "UpscaleVideo")
    inputs = {port.id: port.given.get("default") for port in node.define_schema().inputs}
    inputs |= {
        "upscale_model": host.model(),
        "video": host.node("video_source", "InputImpl").VideoFromFile(tmp_path / "in.mp4"),
    }
    inputs |= {"fit": "factor", "factor": 2.0}
    with pytest.raises(InputError, match="There are 3 masks in protect; connect one, which is for all frames"):
        node.execute(**(inputs | {"protect": torch.ones(3, 48, 64)}))
    video, text, _ = node.execute(**(inputs | {"protect": torch.ones(1, 24, 32)}))
    assert Path(video.path).is_file()
    assert "3 frames" in text
