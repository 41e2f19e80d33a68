"""The nodes that measure: figures as core has them, limits that hold for every image, reports inside the output."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import spandrel
import torch
from backplate.core.errors import InputError
from backplate.core.image.resize import resize
from backplate.core.types import Size
from skimage.metrics import peak_signal_noise_ratio

if TYPE_CHECKING:
    from conftest import Host, Interrupted

LIMITS = {
    "lowest_lr_psnr": 0.0,
    "highest_delta_e": 0.0,
    "highest_overshoot": 0.0,
    "fail_on_defects": True,
    "stop_on_fail": False,
}


def image(count: int = 1, height: int = 48, width: int = 64, channels: int = 3) -> torch.Tensor:
    """(B, H, W, C): smooth colours with a bright square, each image another."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 3, width), indexing="ij")
    planes = [0.4 + 0.2 * torch.sin(x * (c + 1) + y + b) for b in range(count) for c in range(channels)]
    picture = torch.stack(planes).reshape(count, channels, height, width).movedim(1, 3).clone()
    picture[:, height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 0.95
    return picture


def enlarged(picture: torch.Tensor, scale: int = 4) -> torch.Tensor:
    size = Size(picture.shape[2], picture.shape[1]).scaled(scale)
    return resize(picture.movedim(3, 1), size).clamp(0, 1).movedim(1, 3)


def compare(host: Host, ours: torch.Tensor, theirs: torch.Tensor, **changed: Any) -> tuple[Any, ...]:
    return host.run("measure", "CompareToReference", image=ours, reference=theirs, **changed)


def judge(host: Host, source: torch.Tensor, result: torch.Tensor, **changed: Any) -> tuple[Any, ...]:
    return host.node("measure", "FidelityReport").execute(source, result, **(LIMITS | changed))


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_that_of_another_library(host: Host, channels: int) -> None:
    reference = image(2, channels=channels)
    noisy = (reference + 0.05 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    psnr, ssim, *others, text = compare(host, noisy, reference)
    pairs = zip(reference.numpy(), noisy.numpy(), strict=True)
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    assert psnr == pytest.approx(sum(expected) / 2, abs=1e-4)
    assert 0 < ssim < 1
    assert all(math.isnan(value) for value in others)
    assert "mean of per-image values" in text


def test_equal_images_are_infinitely_close(host: Host) -> None:
    psnr, ssim, *_, text = compare(host, image(), image())
    assert psnr == math.inf
    assert ssim == pytest.approx(1)
    assert "inf" in text


def test_what_is_hidden_on_both_sides_does_not_count(host: Host) -> None:
    ours, theirs, hole = image(), image(), torch.zeros(1, 48, 64)
    hole[:, :, 40:] = 1
    ours[:, :, 40:], theirs[:, :, 40:] = 0, 1
    assert compare(host, ours, theirs)[0] < 10
    assert compare(host, ours, theirs, mask=hole, reference_mask=hole)[0] == math.inf
    four = [torch.cat([each, 1 - hole[..., None]], dim=3) for each in (ours, theirs)]
    assert compare(host, *four)[0] == math.inf


def test_a_metric_that_cannot_be_had_leaves_the_others_and_says_why(host: Host) -> None:
    psnr, _, ms_ssim, *_, text = compare(host, image(), 0.9 * image(), metrics="psnr, MS-SSIM")
    assert math.isfinite(psnr)
    assert math.isnan(ms_ssim)
    assert "MS-SSIM needs at least 176x176" in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"metrics": "psnr,simm"}, ["simm", "ssim"]),
        ({"metrics": ""}, ["metric"]),
        ({"metrics": "ms_ssim"}, ["176x176", "64x48"]),
        ({"border": 24}, ["24", "64x48"]),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    host: Host, changed: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        compare(host, image(), image(), **changed)
    assert [word for word in words if word not in str(refused.value)] == []


def test_sizes_that_differ_are_named_with_the_way_out(host: Host) -> None:
    with pytest.raises(InputError, match=r"64x48.*60x48.*'crop'.*'resize'"):
        compare(host, image(), image(width=60))
    assert compare(host, image(), image()[:, :, :60], align="crop")[0] == math.inf


def test_a_faithful_enlargement_passes_and_comes_out_unchanged(host: Host) -> None:
    source = image(2)
    result = enlarged(source)
    out, lr_psnr, delta_e, overshoot, edge_width, passed, text = judge(host, source, result, lowest_lr_psnr=30.0)
    assert out is result
    assert passed is True
    assert text.startswith("Within the limits that were set: LR-PSNR and no defects.\n")
    assert lr_psnr > 30
    assert delta_e < 1
    assert overshoot >= 0
    assert edge_width > 1


def test_one_bad_image_fails_the_batch_though_the_mean_is_good(host: Host) -> None:
    source = image(3)
    result = enlarged(source)
    result[1] = (result[1] - 0.05).clamp(0, 1)
    limits = {"lowest_lr_psnr": 30.0, "highest_delta_e": 10.0}
    _, lr_psnr, *_, passed, text = judge(host, source, result, **limits)
    assert lr_psnr > 30
    assert passed is False
    assert text.splitlines()[0].startswith("image 2: LR-PSNR is 2")
    assert text.splitlines()[1] == ""


def test_a_missed_limit_can_stop_the_prompt_with_one_sentence(host: Host) -> None:
    source = image(5)
    with pytest.raises(host.node("measure", "QualityMissed")) as stop:
        judge(host, source, 1 - enlarged(source), lowest_lr_psnr=30.0, stop_on_fail=True)
    sentence = str(stop.value)
    assert "image 1: LR-PSNR is" in sentence
    assert "wanted at least 30" in sentence
    assert sentence.endswith("; and 2 more.")


@pytest.mark.parametrize("checked", [True, False])
def test_a_black_area_is_a_defect_unless_nobody_asks(host: Host, checked: bool) -> None:
    source = image(height=128, width=128)
    result = enlarged(source)
    result[:, :256, :256] = 0
    *_, passed, text = judge(host, source, result, fail_on_defects=checked)
    assert passed is not checked
    assert "black" in text


@pytest.mark.parametrize("node", ["compare", "judge"])
def test_cancel_stops_between_images(host: Host, node: str, interrupted: type[Interrupted]) -> None:
    host.interrupt_after = 3
    with pytest.raises(interrupted):
        compare(host, image(9), image(9)) if node == "compare" else judge(host, image(9), enlarged(image(9)))
    assert host.checks == 4
    assert host.bars[-1] == (2, 9)


def shoot(host: Host, *models: Any, **changed: Any) -> tuple[torch.Tensor, str, Path]:
    inputs = {f"model_{number}": model for number, model in enumerate(models, start=1)}
    sheet, text, folder = host.run("shootout", "ModelShootout", **{"images": image(2), **inputs, **changed})
    return sheet, text, Path(folder)


def means(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "report.json").read_text())["means"]


def test_a_shootout_writes_its_report_into_the_output_folder(host: Host) -> None:
    models = host.model(1, "first"), host.model(2, "second")
    sheet, text, folder = shoot(host, *models, filename_prefix="tests/models")
    assert folder.parent == host.folders / "output" / "tests"
    assert folder.name == "models_00001_"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["contact_sheet.png", "report.csv", "report.html", "report.json"]
    assert sheet.ndim == 4
    assert sheet.shape[3] == 3
    assert 0 <= float(sheet.min()) < float(sheet.max()) <= 1
    assert list(means(folder)) == ["Lanczos", "first", "second"]
    assert "Sharpest edges:" in text
    assert shoot(host, *models, filename_prefix="tests/models")[2].name == "models_00002_"


@pytest.mark.parametrize("degrade", ["bicubic", "jpeg", "realesrgan"])
def test_degraded_images_are_their_own_references(host: Host, degrade: str) -> None:
    _, text, folder = shoot(host, host.model(1, "first"), degrade=degrade, scale=2, metrics="psnr")
    report = json.loads((folder / "report.json").read_text())
    assert [(each["source"], each["result"]) for each in report["pictures"]] == [([32, 24], [64, 48])] * 2
    assert set(report["means"]) == {"Lanczos", "first", "reference"}
    assert all(5 < report["means"][name]["psnr"] < 60 for name in ("Lanczos", "first"))
    assert "made 2 times smaller" in text


def test_references_may_be_given(host: Host) -> None:
    source = image(2)
    _, text, folder = shoot(host, host.model(1, "first"), images=source, references=enlarged(source), metrics="psnr")
    # The same Lanczos: only the rounding to 8 bits lies between the two.
    assert means(folder)["Lanczos"]["psnr"] > 55
    assert "given with references" in text


def test_models_of_other_loaders_and_names_by_hand(host: Host) -> None:
    mine = host.model(1, "first")
    foreign = spandrel.ModelLoader().load_from_file(host.models / "first.pth").eval()
    _, _, folder = shoot(host, mine, foreign, names="ours, theirs", images=image(1))
    ours, theirs = (means(folder)[name] for name in ("ours", "theirs"))
    assert ours["lr_psnr"] == pytest.approx(theirs["lr_psnr"], abs=1e-3)
    _, _, folder = shoot(host, mine, mine, images=image(1))
    assert list(means(folder)) == ["Lanczos", "first", "first (2)"]


def test_what_is_no_model_is_listed_and_the_others_run(host: Host) -> None:
    _, text, folder = shoot(host, host.model(1, "first"), object(), images=image(1))
    assert list(means(folder)) == ["Lanczos", "first"]
    assert "model_2 cannot be used: An upscale model was expected but a object was given" in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"names": "one, two"}, ["2 names", "1 models"]),
        ({"degrade": "bicubic", "references": image(2)}, ["references", "degrade"]),
        ({"references": image(3)}, ["3 references", "2 images"]),
        ({"metrics": "beauty"}, ["beauty"]),
        ({"model_1": object()}, ["None of the 1 models", "upscale model"]),
        ({"filename_prefix": "../out"}, ["../out"]),
        ({"filename_prefix": "/tmp/out"}, ["/tmp/out"]),
        ({"filename_prefix": ""}, ["filename_prefix"]),
        ({"filename_prefix": "link/out"}, ["link/out"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    host: Host, tmp_path: Path, changed: dict[str, Any], words: list[str]
) -> None:
    output, outside = host.folders / "output", tmp_path / "outside"
    output.mkdir(parents=True, exist_ok=True)
    outside.mkdir()
    (output / "link").symlink_to(outside, target_is_directory=True)
    inputs = {"model_1": host.model(1, "first"), **changed}
    with pytest.raises(InputError) as refused:
        shoot(host, **inputs)
    assert [word for word in words if word not in str(refused.value)] == []
    assert list(outside.iterdir()) == []
    assert [path for path in output.rglob("*") if path.is_file()] == []


def test_cancel_stops_a_shootout(host: Host, interrupted: type[Interrupted]) -> None:
    model = host.model(1, "first")
    host.interrupt_after = 3
    with pytest.raises(interrupted):
        shoot(host, model)
