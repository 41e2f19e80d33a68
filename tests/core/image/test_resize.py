from __future__ import annotations

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image import resize as resize_module
from backplate.core.image.resize import RowResampler, resize
from backplate.core.types import FloatBox, Size
from PIL import Image

SIZES = [
    (Size(60, 40), Size(25, 17)),
    (Size(60, 40), Size(151, 97)),
    (Size(61, 37), Size(29, 83)),
    (Size(37, 91), Size(37, 20)),
    (Size(333, 7), Size(100, 7)),
    (Size(240, 160), Size(3, 2)),
    (Size(100, 99), Size(1, 1)),
    (Size(1, 1), Size(9, 5)),
    (Size(1, 50), Size(1, 13)),
    (Size(50, 1), Size(170, 1)),
    (Size(2, 3), Size(200, 301)),
    (Size(90, 60), Size(30, 20)),
]
BOXES = [
    (0.0, 0.0, 1.0, 1.0),
    (0.25, 0.1, 0.5, 0.8),
    (0.013, 0.27, 0.631, 0.499),
    (0.5, 0.0, 0.5, 0.31),
    (0.9, 0.9, 0.1, 0.1),
]


def noise(size: Size, channels: int = 3, batch: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size.width * 1000 + size.height)
    return torch.rand((batch, channels, size.height, size.width), generator=generator, dtype=dtype)


def part(size: Size, fractions: tuple[float, float, float, float]) -> FloatBox:
    """Box on a grid of 1/256 px, because Pillow stores boxes as float32."""
    x, y, width, height = fractions
    left, top = int(x * size.width * 256) / 256, int(y * size.height * 256) / 256
    right, bottom = min(left + width * size.width, size.width), min(top + height * size.height, size.height)
    return FloatBox(left, top, int((right - left) * 256) / 256, int((bottom - top) * 256) / 256)


def pillow(picture: torch.Tensor, size: Size, box: FloatBox | None = None) -> torch.Tensor:
    edges = None if box is None else (box.x, box.y, box.x + box.width, box.y + box.height)
    planes = [
        np.asarray(Image.fromarray(plane.numpy()).resize(size, Image.Resampling.LANCZOS, box=edges))
        for plane in picture.flatten(0, 1)
    ]
    return torch.from_numpy(np.stack(planes)).unflatten(0, picture.shape[:2])


@pytest.mark.parametrize(("source", "target"), SIZES, ids=str)
def test_equals_pillow(source: Size, target: Size) -> None:
    picture = noise(source, channels=2, batch=2)
    torch.testing.assert_close(resize(picture, target), pillow(picture, target), atol=2e-6, rtol=0)


@pytest.mark.parametrize("fractions", BOXES)
@pytest.mark.parametrize(("source", "target"), SIZES, ids=str)
def test_equals_pillow_with_a_box(source: Size, target: Size, fractions: tuple[float, float, float, float]) -> None:
    picture, box = noise(source, channels=1), part(source, fractions)
    torch.testing.assert_close(resize(picture, target, box), pillow(picture, target, box), atol=2e-6, rtol=0)


def test_equals_pillow_over_several_bands_and_runs() -> None:
    source, target = Size(1900, 700), Size(801, 295)
    picture = noise(source, channels=3, batch=2)
    torch.testing.assert_close(resize(picture, target), pillow(picture, target), atol=2e-6, rtol=0)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
@pytest.mark.parametrize("box", [None, (0.1, 0.21, 0.7, 0.66)])
@pytest.mark.parametrize(("source", "target"), SIZES, ids=str)
def test_any_split_gives_the_same_rows(
    source: Size, target: Size, box: tuple[float, float, float, float] | None, rows: int
) -> None:
    picture, crop = noise(source), None if box is None else part(source, box)
    resampler = RowResampler(source, target, crop)
    pieces = [resampler.push(piece) for piece in picture.split(rows, dim=2)]
    resampler.finish()
    torch.testing.assert_close(torch.cat(pieces, dim=2), resize(picture, target, crop), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("source", "target"), SIZES, ids=str)
def test_only_the_rows_needed_count(source: Size, target: Size) -> None:
    picture, box = noise(source), part(source, (0.0, 0.4, 1.0, 0.25))
    first, last = RowResampler(source, target, box).rows_needed
    resampler = RowResampler(source, target, box, first_row=first)
    rows = resampler.push(picture[:, :, first:last])
    resampler.finish()
    expected = resize(picture, target, box)
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=0)
    for row in (first, last - 1):
        changed = picture.clone()
        changed[:, :, row] += 100.0
        assert not torch.allclose(resize(changed, target, box), expected, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(Size(8, 900), Size(4, 450)), (Size(8, 300), Size(8, 1200))])
def test_keeps_only_the_rows_it_still_needs(source: Size, target: Size) -> None:
    picture = noise(source)
    resampler = RowResampler(source, target)
    taps = 6 * max(1, source.height // target.height) + 1
    for piece in picture.split(5, dim=2):
        resampler.push(piece)
        assert resampler.rows_held <= taps
    resampler.finish()
    assert resampler.rows_held == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_result_is_float32_for_shorter_types(dtype: torch.dtype) -> None:
    picture = noise(Size(40, 30)).to(dtype)
    result = resize(picture, Size(17, 55))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, pillow(picture.float(), Size(17, 55)), atol=2e-6, rtol=0)


def test_float64_is_kept_and_precise() -> None:
    picture = noise(Size(41, 30), dtype=torch.float64)
    result = resize(resize(picture, Size(41, 30), FloatBox(0, 0, 41, 30)), Size(41, 90))
    assert result.dtype == torch.float64
    centred = result[:, :, 1::3]
    torch.testing.assert_close(centred, picture, atol=1e-12, rtol=0)


def test_same_size_gives_the_same_values_in_a_new_tensor() -> None:
    picture = noise(Size(300, 40))
    result = resize(picture, Size(300, 40))
    assert torch.equal(result, picture)
    result.zero_()
    assert picture.max() > 0


def test_box_of_whole_pixels_of_the_same_size_is_a_crop() -> None:
    picture = noise(Size(90, 70))
    result = resize(picture, Size(31, 22), FloatBox(50.0, 48.0, 31.0, 22.0))
    assert torch.equal(result, picture[:, :, 48:70, 50:81])


def test_constant_picture_stays_constant() -> None:
    result = resize(torch.full((1, 3, 31, 77), 0.3), Size(501, 12), FloatBox(3.3, 0.2, 60.1, 30.1))
    torch.testing.assert_close(result, torch.full_like(result, 0.3), atol=1e-6, rtol=0)


def test_is_not_clamped() -> None:
    step = torch.cat((torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)), dim=3)
    result = resize(step, Size(64, 8))
    assert result.min() < -0.01
    assert result.max() > 1.01


def test_any_memory_layout_gives_the_same() -> None:
    picture = noise(Size(50, 40), batch=2)
    interleaved = picture.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(resize(interleaved, Size(21, 77)), resize(picture, Size(21, 77)))


def test_is_not_moved_by_reduced_matrix_precision() -> None:
    picture = noise(Size(400, 300))
    expected = resize(picture, Size(170, 130))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(resize(picture, Size(170, 130)), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_in_single_precision_are_close_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are on a graphics card."""
    picture = noise(Size(900, 700))
    expected = resize(picture, Size(170, 1130))
    monkeypatch.setattr(resize_module, "product_dtype", lambda _: torch.float32)
    assert (resize(picture, Size(170, 1130)) - expected).abs().max() < 5e-6


def test_the_precision_of_the_process_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with resize_module.full_precision(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same() -> None:
    picture = noise(Size(500, 300))
    box = FloatBox(10.3, 4.4, 400.1, 280.7)
    result = resize(picture.cuda(), Size(213, 777), box)
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), resize(picture, Size(213, 777), box), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "box",
    [
        FloatBox(-1, 0, 10, 10),
        FloatBox(0, 0, 10.1, 10),
        FloatBox(0, 5, 5, 6),
        FloatBox(0, 0, 0, 5),
        FloatBox(0, 0, float("nan"), 5),
    ],
)
def test_box_outside_the_picture_is_refused(box: FloatBox) -> None:
    with pytest.raises(InputError, match="does not lie within the 10x10 picture"):
        resize(noise(Size(10, 10)), Size(5, 5), box)


def test_empty_sizes_and_integers_are_refused() -> None:
    with pytest.raises(InputError, match="0x5"):
        resize(noise(Size(10, 10)), Size(0, 5))
    with pytest.raises(InputError, match="uint8"):
        resize(torch.zeros((1, 3, 4, 4), dtype=torch.uint8), Size(2, 2))


def test_missing_and_surplus_rows_are_refused() -> None:
    resampler = RowResampler(Size(10, 40), Size(5, 20))
    resampler.push(noise(Size(10, 30)))
    with pytest.raises(ValueError, match="ended at row 30"):
        resampler.finish()
    with pytest.raises(ValueError, match="rows 30 to 41"):
        resampler.push(noise(Size(10, 11)))
    with pytest.raises(ValueError, match="9 px"):
        resampler.push(noise(Size(9, 2)))
    with pytest.raises(ValueError, match="row 0 is needed"):
        RowResampler(Size(10, 40), Size(5, 20), first_row=1)
