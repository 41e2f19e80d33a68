"""``backplate compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ALL_FAILED, SOME_FAILED, UsageProblem, reporting, say
from .options import takes

if TYPE_CHECKING:
    from ..core.metrics.compare import Threshold
    from ..core.metrics.registry import CompareSettings

CHANNELS = "rgb|y"
ALIGNS = "none|crop|resize"
VMAF_MODELS = "vmaf_v0.6.1|4k|neg"
LPIPS_NETS = "alex|vgg"
METRICS = "psnr,ssim,ms_ssim,lpips,vmaf"
BELOW_THRESHOLD = 3
"""Exit code when a mean misses its threshold."""


@dataclass(frozen=True, kw_only=True)
class MetricOptions:
    """How results are compared with references."""

    vmaf_model: Annotated[str, typer.Option(metavar=VMAF_MODELS, help="VMAF model; shown with every score.")] = (
        "vmaf_v0.6.1"
    )
    lpips_net: Annotated[str, typer.Option(metavar=LPIPS_NETS, help="LPIPS backbone.")] = "alex"
    lpips_backbone: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with torchvision's weights for the backbone.")
    ] = None
    lpips_download: Annotated[
        bool,
        typer.Option(
            "--lpips-download", help="Download the weights from download.pytorch.org (233 or 528 MB) if necessary."
        ),
    ] = False

    def settings(self, names: Sequence[str], channel: str, border: int, align: str = "none") -> CompareSettings:
        """What the options say. Raises ``UsageProblem``, or ``InputError`` for an unknown metric or VMAF model."""
        from ..core.metrics import vmaf
        from ..core.metrics.lpips import LpipsNet
        from ..core.metrics.pair import Align, Channel
        from ..core.metrics.registry import CompareSettings, metric_names
        from .parsing import choice

        return CompareSettings(
            metrics=metric_names(names),
            channel=choice(Channel, channel, "--channel"),
            border=border,
            align=choice(Align, align, "--align"),
            vmaf_model=vmaf.vmaf_model(self.vmaf_model),
            lpips_net=choice(LpipsNet, self.lpips_net, "--lpips-net"),
            lpips_backbone=self.lpips_backbone,
            lpips_download=self.lpips_download,
        )


@dataclass(frozen=True, kw_only=True)
class CompareOptions(MetricOptions):
    """What is compared, as written on the command line."""

    result: Annotated[Path, typer.Argument(help="A picture, a video, or a folder of either.")]
    reference: Annotated[Path, typer.Argument(help="What it should look like; folders are matched by name.")]
    metrics: Annotated[str, typer.Option(metavar="NAMES", help=f"Of {METRICS}.")] = "psnr,ssim"
    channel: Annotated[str, typer.Option(metavar=CHANNELS, help="Channel for PSNR and SSIM; papers report y.")] = "rgb"
    border: Annotated[int, typer.Option(min=0, help="Pixels to leave out on every side; papers use the scale.")] = 0
    align: Annotated[str, typer.Option(metavar=ALIGNS, help="What to do if the sizes differ.")] = "none"
    fail_below: Annotated[
        list[str] | None,
        typer.Option("--fail-below", metavar="METRIC=MEAN", help="Exit code 3 if the mean is lower. Repeatable."),
    ] = None
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-above",
            metavar="METRIC=MEAN",
            help="Exit code 3 if the mean is higher; for LPIPS, where lower is better. Repeatable.",
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print only one object {metric: mean}.")] = False
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the figures of every pair to a file.")
    ] = None


@reporting
@takes(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Measure how close a result is to its reference. Exit codes: 0; 1 nothing could be compared; 2 some pairs could
    not; 3 a threshold was missed."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.metrics.compare import json_figures, missed
    from ..core.shootout.compare import compare_paths
    from ..core.shootout.report_files import write_json
    from .parsing import as_usage
    from .screen import Screen

    with as_usage():
        thresholds = requested_thresholds(options.fail_below or [], options.fail_above or [])
        names = [*options.metrics.split(","), *(threshold.metric for threshold in thresholds)]
        settings = options.settings(names, options.channel, options.border, options.align)
    with Screen(1) as screen:
        screen.start_file(options.result)
        found = compare_paths(options.result, options.reference, settings, screen)
    if options.report:
        write_json(options.report, found.as_dict())
    if options.as_json:
        typer.echo(json.dumps(json_figures(found.means)))
        for problem in found.all_problems:
            say(problem)
    else:
        typer.echo(found.text())
    misses = missed(found, thresholds)
    for sentence in misses:
        say(sentence)
    failed = sum(not row.values for row in found.rows)
    if misses:
        raise typer.Exit(BELOW_THRESHOLD)
    if failed:
        raise typer.Exit(ALL_FAILED if failed == len(found.rows) else SOME_FAILED)


def requested_thresholds(below: list[str], above: list[str]) -> list[Threshold]:
    """``psnr=30`` of each option. Raises ``UsageProblem`` for a metric with the opposite direction."""
    from ..core.metrics.compare import Threshold
    from ..core.metrics.registry import METRICS, metric_names

    thresholds: list[Threshold] = []
    for option, texts, higher in (("--fail-below", below, True), ("--fail-above", above, False)):
        for text in texts:
            name, _, number = text.partition("=")
            try:
                limit = float(number)
            except ValueError:
                raise UsageProblem(f"{option} {text}: write it as METRIC=MEAN, such as psnr=30.") from None
            (metric,) = metric_names([name])
            if METRICS[metric].higher_is_better is not higher:
                other = "--fail-above" if higher else "--fail-below"
                better = "lower" if higher else "higher"
                raise UsageProblem(f"{option} {text}: {METRICS[metric].label} is better when {better}; use {other}.")
            thresholds.append(Threshold(metric, limit))
    return thresholds
