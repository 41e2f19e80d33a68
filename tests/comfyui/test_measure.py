"""The measuring nodes in a running ComfyUI: figures in /history, a run that stops, and the report's files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models
from comfy_server import Client, Graph, Run
from graphs import SHOOTING, Link, fitting, graph_with, load_image, load_model, mask_of
from reference import drawing
from skimage.metrics import peak_signal_noise_ratio

pytestmark = pytest.mark.comfyui

COMPARING = {
    "metrics": "psnr,ssim",
    "channel": "rgb",
    "border": 0,
    "align": "none",
    "lpips_net": "alex",
    "vmaf_model": "vmaf_v0.6.1",
}
JUDGING = {"highest_delta_e": 0.0, "highest_overshoot": 0.0, "fail_on_defects": True}


def enlarged(graph: Graph, image: Link) -> Link:
    inputs = fitting(fit="factor", factor=4.0)
    return [graph.add("BackplateFitToResolution", image=image, **inputs), 0]


def test_figures_are_on_the_node_and_in_the_history(comfy: Client) -> None:
    first = drawing(48, 64)
    second = np.clip(first.astype(int) + 9, 0, 255).astype(np.uint8)
    graph = Graph()
    images = [load_image(graph, comfy, each, f"{name}.png") for name, each in (("first", first), ("second", second))]
    node = graph.add("BackplateCompareToReference", image=images[0], reference=images[1], **COMPARING)
    shown = [graph.text([node, output]) for output in (0, 3, 5)]
    run = comfy.succeed(graph)
    (figures,) = run.outputs[node]["figures"]
    expected = peak_signal_noise_ratio(second, first, data_range=255)
    assert figures["psnr"] == pytest.approx(expected, abs=1e-3)
    psnr, lpips, text = (comfy.string(run, each) for each in shown)
    assert float(psnr) == pytest.approx(figures["psnr"], abs=1e-3)
    assert lpips.lower() == "nan"
    assert "PSNR dB" in text
    assert comfy.string(run, node).startswith(f"Likeness to the reference, PSNR: {figures['psnr']:.2f} dB")


def test_equal_images_are_written_as_json_can(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(32, 32), "equal.png")
    beside = {"mask": mask_of(image), "reference_mask": mask_of(image)}
    node = graph.add("BackplateCompareToReference", image=image, reference=image, **COMPARING, **beside)
    run = comfy.succeed(graph)
    strict = comfy.get(f"/history/{run.prompt_id}").decode()
    history = json.loads(strict, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert history[run.prompt_id]["outputs"][node]["figures"] == [{"psnr": "Infinity", "ssim": 1.0}]


def judged(comfy: Client, lowest_lr_psnr: float, stop_on_fail: bool) -> tuple[Run, str, str]:
    """The run, the judging node, and the node that saves what it lets through."""
    graph, source = graph_with(comfy, drawing(48, 64), "judged.png")
    inputs = {"lowest_lr_psnr": lowest_lr_psnr, "stop_on_fail": stop_on_fail, **JUDGING}
    node = graph.add("BackplateFidelityReport", source=source, result=enlarged(graph, source), **inputs)
    saved = graph.save([node, 0])
    return comfy.run(graph), node, saved


def test_a_good_result_is_let_through(comfy: Client) -> None:
    run, node, saved = judged(comfy, 20.0, True)
    assert run.ending["type"] == "execution_success"
    assert comfy.string(run, node).startswith("Within the limits")
    assert run.outputs[node]["figures"][0]["lr_psnr"] > 20
    assert comfy.picture(run, saved).shape == (192, 256, 3)


def test_a_bad_result_stops_the_prompt_with_a_sentence(comfy: Client) -> None:
    run, node, saved = judged(comfy, 99.0, True)
    assert "LR-PSNR is" in run.error
    assert "wanted at least 99" in run.error
    assert run.error.count("\n") <= 1
    assert run.ending["data"]["node_id"] == node
    assert saved not in run.outputs


def test_a_bad_result_may_also_only_be_said(comfy: Client) -> None:
    run, node, saved = judged(comfy, 99.0, False)
    assert run.ending["type"] == "execution_success"
    assert "wanted at least 99" in comfy.string(run, node)
    assert saved in run.outputs


def test_a_shootout_lists_files_that_can_be_fetched(comfy: Client) -> None:
    graph, images = graph_with(comfy, drawing(48, 64), "shootout.png")
    foreign = [graph.add("UpscaleModelLoader", model_name=tiny_models.RRDB_NEW), 0]
    models = {"model_1": load_model(graph, tiny_models.COMPACT), "model_2": foreign}
    node = graph.add("BackplateModelShootout", images=images, **models, **SHOOTING)
    saved = graph.save([node, 0])
    run = comfy.succeed(graph)
    files = {each["filename"]: each for each in run.outputs[node]["files"]}
    assert sorted(files) == ["contact_sheet.png", "report.csv", "report.html", "report.json"]
    assert files["report.json"]["subfolder"].startswith("tests/shootout_")
    report = json.loads(comfy.get("/view", **files["report.json"]))
    assert len(report["means"]) == 3
    assert {"Lanczos", "tiny_compact_x4"} < set(report["means"])
    assert comfy.get("/view", **files["report.html"]).startswith(b"<!DOCTYPE html>")
    assert run.outputs[node]["images"] == [files["contact_sheet.png"]]
    assert "Sharpest edges:" in comfy.string(run, node)
    assert min(comfy.picture(run, saved).shape[:2]) > 200


def test_a_report_outside_the_output_folder_is_refused(comfy: Client) -> None:
    graph, images = graph_with(comfy, drawing(16, 16), "outside.png")
    inputs = {**SHOOTING, "filename_prefix": "../outside"}
    graph.add("BackplateModelShootout", images=images, model_1=load_model(graph, tiny_models.COMPACT), **inputs)
    assert "../outside" in comfy.run(graph).error
    assert not (comfy.server.base / "outside_00001_").exists()
