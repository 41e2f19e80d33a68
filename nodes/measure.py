"""Nodes that say in figures how good an image is: compared with a reference, or with its source."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.metrics.compare import (
    ComparisonReport,
    Threshold,
    compare_pictures,
    json_figures,
    missed,
)
from ..core.metrics.lpips import LpipsNet
from ..core.metrics.pair import Align, Channel
from ..core.metrics.registry import METRICS, WITH_REFERENCE, CompareSettings, metric_names
from ..core.metrics.source_figures import compare_with_source
from ..core.metrics.vmaf import VmafModel
from ..model_loader.errors import Named
from . import comfy_host as host
from . import convert
from .before_after import of_same_frame
from .schema import ADVANCED, CATEGORY, choice_input, searchable

REFERENCE_FIGURES = ("psnr", "ssim", "ms_ssim", "lpips", "vmaf")
"""Outputs of a published node: a metric that is new to the registry does not shift them."""
SOURCE_FIGURES = ("lr_psnr", "delta_e", "overshoot", "edge_width")
MOST_MISSES_NAMED = 3

PLAIN = {
    "psnr": ("Likeness to the reference, PSNR", "higher is closer"),
    "ssim": ("Likeness of structure, SSIM", "1 is equal"),
    "ms_ssim": ("Likeness of structure at five sizes, MS-SSIM", "1 is equal"),
    "lpips": ("Difference as people see it, LPIPS", "0 is equal"),
    "vmaf": ("VMAF", "100 is the best"),
    "lr_psnr": ("Likeness to the source", "LR-PSNR; 30 or more is faithful, under 20 is another picture"),
    "delta_e": ("Change of colours", "1 is just visible side by side"),
    "overshoot": ("Rims at edges", "0 has none"),
    "edge_width": ("Width of edges", "smaller is sharper"),
    "defects": ("Broken places", "black or flat where the source is not"),
}
"""What a figure says, and how to read it."""


class QualityMissed(Named, RuntimeError):
    """A result misses the required quality, and the prompt ends there."""


def figures(report: ComparisonReport, names: tuple[str, ...]) -> list[float]:
    """Means, with NaN (never a number that could be taken for a figure) for what was not measured."""
    means = report.means
    return [means.get(name, math.nan) for name in names]


def shown(text: str, report: ComparisonReport) -> dict[str, Any]:
    """What the node shows, and /history keeps: the text, and the means by metric."""
    return {"text": (text,), "figures": (json_figures(report.means),)}


def on_cpu(picture: torch.Tensor | None) -> torch.Tensor | None:
    """Metrics are computed on the CPU, wherever this ComfyUI keeps its images."""
    return None if picture is None else picture.cpu()


def known_metrics(metrics: str | None) -> bool | str:
    """Before the run: True, or why these cannot be measured. None comes over a link."""
    try:
        return metrics is None or bool(metric_names(metrics.split(",")))
    except InputError as error:
        return str(error)


def metrics_input() -> io.Input:
    return io.String.Input(
        "metrics",
        default="psnr,ssim",
        tooltip=f"What to measure, separated by commas: {', '.join(WITH_REFERENCE)}. psnr and ssim compare pixels; "
        "lpips and vmaf are closer to what people see, take longer, and need extra packages (the text says which).",
    )


class CompareToReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateCompareToReference",
            display_name="Compare to Reference (Backplate)",
            category=CATEGORY,
            description="Measures how close an image comes to the one it should look like: PSNR, "
            "SSIM, MS-SSIM, LPIPS and VMAF.",
            inputs=[
                io.Image.Input("image", tooltip="The result to judge, one image or a batch."),
                io.Image.Input(
                    "reference", tooltip="What it should look like: the originals, in the same size and number."
                ),
                metrics_input(),
                choice_input(
                    "channel",
                    Channel.RGB,
                    tooltip="What PSNR and SSIM compare. rgb: all colours. y: brightness only, as papers report it.",
                ),
                io.Int.Input(
                    "border",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Pixels to leave out on every side. Papers leave out as many as the scale: 4 for x4.",
                ),
                choice_input(
                    "align",
                    Align.NONE,
                    extra_dict=ADVANCED,
                    tooltip="What to do if the sizes differ. none: stop with an error. crop: cut both "
                    "to their common size, from the top left. resize: resample the image to "
                    "the size of the reference.",
                ),
                choice_input(
                    "lpips_net",
                    LpipsNet.ALEX,
                    extra_dict=ADVANCED,
                    tooltip="The network behind lpips: alex is the usual one for reports, vgg is slower.",
                ),
                choice_input(
                    "vmaf_model",
                    VmafModel.HD,
                    extra_dict=ADVANCED,
                    tooltip="The model behind vmaf: for HD, for 4K, or neg, which sharpening cannot fool.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Transparency of the image, 1 where transparent, from Load Image."
                ),
                io.Mask.Input(
                    "reference_mask",
                    optional=True,
                    tooltip="Transparency of the reference. Where both are transparent, colours do not count.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "psnr", tooltip="In dB, higher is better; infinite for identical images. NaN if not measured."
                ),
                io.Float.Output("ssim", tooltip="At most 1, which means identical. NaN if not measured."),
                io.Float.Output("ms_ssim", tooltip="SSIM at five scales, at most 1. NaN if not measured."),
                io.Float.Output("lpips", tooltip="Perceptual difference: lower is better. NaN if not measured."),
                io.Float.Output("vmaf", tooltip="0 to 100, higher is better. NaN if not measured."),
                io.String.Output("text", tooltip="All figures, for each image, and how they were computed."),
            ],
            is_output_node=True,
            **searchable("psnr, ssim, lpips, vmaf, quality metric, measure, difference"),
        )

    @classmethod
    def validate_inputs(cls, metrics: str | None = None) -> bool | str:
        return known_metrics(metrics)

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        reference: torch.Tensor,
        metrics: str,
        channel: str,
        border: int,
        align: str,
        lpips_net: str,
        vmaf_model: str,
        mask: torch.Tensor | None = None,
        reference_mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        settings = CompareSettings(
            metrics=metric_names(metrics.split(",")),
            channel=Channel(channel),
            border=border,
            align=Align(align),
            lpips_net=LpipsNet(lpips_net),
            vmaf_model=VmafModel(vmaf_model),
        )
        ours, theirs = convert.receive(image, mask), convert.receive(reference, reference_mask)
        report = compare_pictures(
            ours.picture.cpu(),
            theirs.picture.cpu(),
            settings,
            on_cpu(ours.alpha),
            on_cpu(theirs.alpha),
            host.HostProgress(),
        )
        if not report.means:
            raise InputError(report.all_problems[0])
        plain = "\n\n".join(filter(None, [plainly(report), "\n".join(report.all_problems)]))
        return io.NodeOutput(*figures(report, REFERENCE_FIGURES), report.text(), ui=shown(plain, report))


class FidelityReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateFidelityReport",
            display_name="Fidelity Report (Backplate)",
            category=CATEGORY,
            description="Measures what upscaling did to an image, without needing an original: "
            "whether it is still the same picture, whether its edges ring, how sharp they "
            "are, and whether anything is broken. Can stop a run that is not good enough.",
            inputs=[
                io.Image.Input("source", tooltip="The image before upscaling, one or a batch."),
                io.Image.Input(
                    "result",
                    tooltip="The same images enlarged, not cropped or padded, in the same number and order.",
                ),
                io.Float.Input(
                    "lowest_lr_psnr",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Fails if the result, scaled down again, is less like the source than "
                    "this (dB; 20 is loose, 30 is strict). 0: not checked.",
                ),
                io.Float.Input(
                    "highest_delta_e",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Fails if colours differ by more than this on average (CIEDE2000; 1 is "
                    "just visible side by side). 0: not checked.",
                ),
                io.Float.Input(
                    "highest_overshoot",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Fails if the bright and dark rims of edges (ringing) exceed this, in "
                    "percent of their height. 0: not checked.",
                ),
                io.Boolean.Input(
                    "fail_on_defects",
                    default=True,
                    tooltip="Fails if parts of the result are black or flat where the source is not.",
                ),
                io.Boolean.Input(
                    "stop_on_fail",
                    default=False,
                    tooltip="Stop the prompt with an error if a limit is missed, so that no node "
                    "after the image output runs. For unattended runs.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The result, unchanged: connect it to Save Image to save good ones."),
                io.Float.Output("lr_psnr", tooltip="Likeness to the source in dB, after scaling down again."),
                io.Float.Output("delta_e", tooltip="Mean colour difference to the source, CIEDE2000."),
                io.Float.Output("overshoot", tooltip="Ringing in percent of the height of edges. NaN without edges."),
                io.Float.Output("edge_width", tooltip="Width of edges in pixels: sharpness. NaN without edges."),
                io.Boolean.Output("passed", tooltip="True if every image meets every limit."),
                io.String.Output("text", tooltip="All figures, for each image, and which limits were missed."),
            ],
            is_output_node=True,
            **searchable("ringing, overshoot, sharpness, quality gate, no reference, measure, stop"),
        )

    @classmethod
    def execute(
        cls,
        source: torch.Tensor,
        result: torch.Tensor,
        lowest_lr_psnr: float,
        highest_delta_e: float,
        highest_overshoot: float,
        fail_on_defects: bool,
        stop_on_fail: bool,
    ) -> io.NodeOutput:
        wanted = {"lr_psnr": lowest_lr_psnr, "delta_e": highest_delta_e, "overshoot": highest_overshoot}
        thresholds = [Threshold(metric, limit) for metric, limit in wanted.items() if limit]
        if fail_on_defects:
            thresholds.append(Threshold("defects", 0))
        small, large = convert.receive(source), convert.receive(result)
        report = compare_with_source(small.continued.cpu(), large.continued.cpu(), progress=host.HostProgress())
        misses = missed_anywhere(report, thresholds)
        if misses and stop_on_fail:
            raise QualityMissed(stopped(misses))
        first = verdict(misses, thresholds)
        text = f"{first}\n\n{report.text()}"
        means = figures(report, SOURCE_FIGURES)
        ui = shown(f"{first}\n\n{plainly(report)}", report)
        ui |= of_same_frame(small.picture, large.picture, small.alpha, large.alpha)
        return io.NodeOutput(result, *means, not misses, text, ui=ui)


def verdict(misses: list[str], thresholds: list[Threshold]) -> str:
    """The headline. A result is called good only where a limit was set."""
    if misses:
        return "\n".join(misses)
    limits = [METRICS[each.metric].label for each in thresholds if each.metric != "defects"]
    checked = len(limits) < len(thresholds)
    if not limits:
        return "No defects; no limit was set for anything else." if checked else "No limit was set."
    return f"Within the limits that were set: {', '.join(limits)}{' and no defects' if checked else ''}."


def plainly(report: ComparisonReport) -> str:
    """A line for each figure, in plain words; for several images the mean and the worst."""
    lines: list[str] = []
    for name, mean in report.means.items():
        metric = METRICS[name]
        values = [row.values[name] for row in report.rows if name in row.values]
        what, hint = PLAIN.get(name, (metric.label, ""))
        worst = ""
        if len(values) > 1:
            pick = min if metric.higher_is_better else max
            worst = f" on average, {metric.format(pick(values))} at worst"
        unit = metric.unit if metric.unit in ("dB", "%", "px") else ""
        lines.append(f"{what}: {' '.join(filter(None, [metric.format(mean), unit]))}{worst}{hint and f' ({hint})'}")
    return "\n".join(lines)


def missed_anywhere(report: ComparisonReport, thresholds: list[Threshold]) -> list[str]:
    """A sentence for each limit that an image misses: one bad frame must not hide in the mean of a batch."""
    sentences: list[str] = []
    for row in report.rows:
        misses = missed(replace(report, rows=(row,)), thresholds)
        sentences += misses if len(report.rows) == 1 else [f"{row.name}: {miss}" for miss in misses]
    return sentences


def stopped(misses: list[str]) -> str:
    """One sentence that fits into an error dialog, however many images there are."""
    first = "; ".join(miss.rstrip(".") for miss in misses[:MOST_MISSES_NAMED])
    more = f"; and {len(misses) - MOST_MISSES_NAMED} more" if len(misses) > MOST_MISSES_NAMED else ""
    return f"Stopped because the result is not good enough: {first}{more}."


NODES: list[type[io.ComfyNode]] = [CompareToReference, FidelityReport]
