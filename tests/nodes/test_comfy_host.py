"""What we borrow from ComfyUI, and how we give it back."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import spandrel
import tiny_models
import torch
from PIL import Image

if TYPE_CHECKING:
    from conftest import Host, Interrupted

IMAGE = torch.rand(1, 20, 24, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def compact(host: Host) -> Path:
    path = host.models / "compact.pth"
    torch.save({"params": tiny_models.compact(seed=1)}, path)
    return path


def borrow(path: Path) -> Any:
    """An UPSCALE_MODEL as loaders before 0.29 make it: no patcher, and nothing of ours."""
    return spandrel.ModelLoader().load_from_file(path).eval()


def upscale(host: Host, model: Any, image: torch.Tensor = IMAGE, tile_size: int = 0) -> torch.Tensor:
    image, _ = host.node("upscale", "TiledUpscale").execute(model, image, tile_size, "plain", keep_colours=False)
    return image


def untiled(path: Path, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return borrow(path)(image.movedim(3, 1).float()).clamp(0, 1).movedim(1, 3)


def test_our_models_carry_a_patcher_and_share_their_weights(host: Host, compact: Path) -> None:
    first, second = host.model(precision="fp32"), host.model(precision="auto")
    assert first is not second
    assert first.model is second.model
    assert first.patcher is second.patcher
    assert first.patcher.model is first.model
    assert [first.backplate.precision.value, second.backplate.precision.value] == ["fp32", "auto"]


@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
def test_a_run_leaves_the_shared_model_as_it_was(host: Host, compact: Path, precision: str) -> None:
    model = host.model(precision=precision)
    before = {name: weights.clone() for name, weights in model.model.state_dict().items()}
    result = upscale(host, model, tile_size=32)
    torch.testing.assert_close(result, untiled(compact, IMAGE), atol=2e-5, rtol=0)
    after = model.model.state_dict()
    assert all(torch.equal(after[name], weights) for name, weights in before.items())
    assert {weights.dtype for weights in after.values()} == {torch.float32}


def test_a_precision_that_cannot_be_followed_is_said_on_the_node(host: Host, compact: Path) -> None:
    upscale(host, host.model(precision="fp16"))
    assert [sentence for sentence in host.said if "fp16" in sentence and "fp32" in sentence]


def test_a_model_of_another_loader_works(host: Host, compact: Path) -> None:
    foreign = borrow(compact)
    torch.testing.assert_close(upscale(host, foreign), untiled(compact, IMAGE), atol=2e-5, rtol=0)


def test_handles_of_the_host_stay_with_the_one_network_they_belong_to(host: Host, compact: Path) -> None:
    foreign = borrow(compact)
    patcher = host.node("comfy_host", "attach_patcher")(foreign, torch.device("cpu"))
    handles = foreign.model.dynamic_vbars[patcher.load_device]
    upscale(host, foreign)
    assert foreign.model.dynamic_vbars == {patcher.load_device: handles}
    assert foreign.model.dynamic_patchers == {id(patcher)}
    ((placed, _),) = host.loaded
    copied = placed[0].model
    assert copied is not foreign.model
    assert copied.dynamic_vbars[patcher.load_device] is not handles
    assert copied.dynamic_patchers == {id(placed[0])}


def test_a_model_that_another_node_left_in_half_precision_works_and_stays_so(host: Host, compact: Path) -> None:
    foreign = borrow(compact)
    foreign.model.half()
    result = upscale(host, foreign)
    torch.testing.assert_close(result, untiled(compact, IMAGE), atol=5e-3, rtol=0)
    assert {weights.dtype for weights in foreign.model.parameters()} == {torch.float16}


@pytest.mark.parametrize("thing", [object(), SimpleNamespace(scale=4), torch.nn.Conv2d(3, 3, 1)])
def test_something_else_than_a_model_is_refused(host: Host, thing: object) -> None:
    with pytest.raises(ValueError, match=type(thing).__name__):
        upscale(host, thing)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_channels_stay_and_results_are_float32(host: Host, compact: Path, channels: int, dtype: torch.dtype) -> None:
    image = torch.rand(2, 9, 7, channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    result = upscale(host, host.model(), image)
    assert result.shape == (2, 36, 28, channels)
    assert result.dtype == torch.float32


def test_results_have_the_type_that_comfyui_wants(host: Host, compact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = host.node("comfy_host", "mm")
    monkeypatch.setattr(memory, "intermediate_dtype", lambda: torch.float16, raising=False)
    assert upscale(host, host.model()).dtype == torch.float16


def test_the_bar_ends_full_and_never_goes_back(host: Host, compact: Path) -> None:
    upscale(host, host.model(), torch.rand(2, 70, 90, 3), tile_size=32)
    assert host.bars[-1][0] == host.bars[-1][1] >= 12
    assert host.bars == sorted(host.bars)


def test_cancel_passes_through_between_tiles(host: Host, compact: Path, interrupted: type[Interrupted]) -> None:
    model = host.model()
    host.interrupt_after = 4
    with pytest.raises(interrupted):
        upscale(host, model, torch.rand(1, 70, 90, 3), tile_size=32)
    assert host.checks == 5


def test_weights_that_comfyui_left_behind_are_brought_along(host: Host, compact: Path) -> None:
    """``load_models_gpu`` leaves them on the CPU under --novram; the stand-in never moves anything."""
    descriptor = borrow(compact)
    placed = host.node("comfy_host", "place")(descriptor, torch.device("meta"))
    assert {weights.device.type for weights in placed.model.parameters()} == {"meta"}
    ((models, how),) = host.loaded
    assert models == [descriptor.patcher]
    assert how["force_full_load"] is True
    assert how["memory_required"] > 0


def test_only_files_that_may_hold_models_are_offered(host: Host, compact: Path) -> None:
    for name in ("a.safetensors", "b.bin", "c.pkl", "d.param", "e.PTH", "f.engine", "g.onnx", "g.onnx.json"):
        (host.models / name).touch()
    names = host.node("comfy_host", "model_names")()
    assert [name for name in names if not name.startswith("backplate-")] == [
        "a.safetensors",
        "compact.pth",
        "e.PTH",
        "d.param",
        "f.engine",
        "g.onnx",
    ]


@pytest.mark.parametrize("name", ["compct.pth", "../compact.pth", "/etc/hostname"])
def test_a_missing_file_or_one_outside_the_folder_is_refused(host: Host, compact: Path, name: str) -> None:
    with pytest.raises(ValueError, match="There is no model"):
        host.node("load", "LoadUpscaleModel").execute(name, "auto")


def test_the_fingerprint_follows_the_file(host: Host, compact: Path) -> None:
    fingerprint = host.node("load", "LoadUpscaleModel").fingerprint_inputs
    first = fingerprint("compact.pth", "auto")
    assert fingerprint("compact.pth", "auto") == first
    os.utime(compact, ns=(1, 1))
    assert fingerprint("compact.pth", "auto") != first
    assert fingerprint("gone.pth", "auto") == "gone.pth"
    assert fingerprint(precision="auto") == ""


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2000, 3), (40, 5000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_preview_is_small_and_rgb(host: Host, channels: int, height: int, width: int) -> None:
    side = host.node("comfy_host", "PREVIEW_SIDE")
    small = host.node("comfy_host", "thumbnail")(torch.full((2, channels, height, width), 0.5))
    assert small.mode == "RGB"
    assert max(small.size) == min(max(height, width), side)
    assert small.getpixel((0, 0)) == (128, 128, 128)


def test_what_is_transparent_is_shown_on_a_checkerboard(host: Host) -> None:
    thumbnail = host.node("comfy_host", "thumbnail")
    picture, alpha = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    picture[:, 0] = 1.0
    alpha[..., :16] = 1.0
    shown = thumbnail(picture, alpha)
    assert shown.getpixel((4, 4)) == (255, 0, 0)
    assert {shown.getpixel((20, y)) for y in (4, 12)} == {(153, 153, 153), (204, 204, 204)}


def test_notes_are_told_once_after_what_was_done(host: Host) -> None:
    progress = host.node("comfy_host", "HostProgress")()
    for sentence in ("It runs in ncnn.", "It runs in ncnn.", "12x12 to 24x24."):
        progress.note(sentence)
    assert progress.told("12x12 to 24x24.") == {"text": ("12x12 to 24x24.\nIt runs in ncnn.",)}


def test_a_live_view_is_no_preview_of_comfyui(host: Host) -> None:
    """That one would outlast the run, and be taken for the video."""
    host.node("comfy_host", "show_live")(torch.full((1, 3, 8, 8), 0.5))
    ((event, data),) = host.sent
    assert (event, data["node"]) == ("backplate.preview", "7")
    kind, _, content = data["image"].partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert (image.format, image.size) == ("JPEG", (8, 8))


def test_finished_rows_are_shown_while_the_work_goes_on(host: Host) -> None:
    progress = host.node("comfy_host", "HostProgress")()
    picture = torch.full((1, 3, 1024, 512), float("nan"))
    picture[:, :, :512] = 0.75
    progress.show_rows(picture, 512)
    assert not host.sent, "the first seconds are too short for a view"
    progress.next_view = 0.0
    progress.show_rows(picture, 512)
    progress.show_rows(picture, 512)
    ((name, message),) = host.sent
    assert name == "backplate.preview"
    view = np.asarray(Image.open(io.BytesIO(base64.b64decode(message["image"].partition(",")[2]))), float) / 255
    assert view.shape == (512, 256, 3)
    assert abs(view[:250] - 0.75).max() < 0.03
    assert abs(view[262:] - 0.25).max() < 0.03, "what is not finished is grey"
