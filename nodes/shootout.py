"""The node that runs several upscale models over the same images and says which to use for what."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import folder_paths  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.image.tiling import Edge
from ..core.metrics.pair import Channel
from ..core.metrics.registry import CompareSettings, metric_names
from ..core.progress import Progress
from ..core.shootout.contact_sheet import contact_sheet
from ..core.shootout.report_files import write_report
from ..core.shootout.results import ShootoutResult
from ..core.shootout.run import ModelEntry, ShootoutSettings, run_shootout
from ..core.shootout.samples import Degrade, SampleFile, describe_samples, sample_file
from ..core.tiled.pipeline import TileSettings
from ..model_loader.errors import ModelError
from . import comfy_host as host
from . import convert
from . import paths as places
from .measure import known_metrics, metrics_input
from .schema import ADVANCED, CATEGORY, searchable, tile_inputs, values
from .upscale_model import identify, upscaler_for

NOT_DEGRADED = "none"
MOST_MODELS = 4


def model_inputs() -> list[io.Input]:
    first = io.UpscaleModel.Input("model_1", tooltip="The first model, from any upscale model loader.")
    others = [
        io.UpscaleModel.Input(f"model_{number}", optional=True, tooltip="Another model to compare with the first.")
        for number in range(2, MOST_MODELS + 1)
    ]
    return [first, *others]


class ModelShootout(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        first, *others = model_inputs()
        return io.Schema(
            node_id="BackplateModelShootout",
            display_name="Model Shootout (Backplate)",
            category=CATEGORY,
            description="Runs up to four upscale models and plain Lanczos on the same images; shows "
            "figures, crops side by side where they differ most, and which model to use "
            "for what. Writes a report.",
            inputs=[
                first,
                io.Image.Input(
                    "images",
                    tooltip="What the models enlarge: small images, or full-size originals if you "
                    "choose a degradation. Five to twenty images of your own kind make a "
                    "reliable verdict.",
                ),
                io.Combo.Input(
                    "degrade",
                    options=[NOT_DEGRADED, *values(Degrade)],
                    default=NOT_DEGRADED,
                    tooltip="none: enlarge the images as they are. Otherwise they are scaled down "
                    "first, and the results are compared with them. bicubic: clean reduction. "
                    "jpeg: with compression. realesrgan: blur, noise and compression as in "
                    "old web pictures.",
                ),
                io.Int.Input(
                    "scale",
                    default=4,
                    min=1,
                    max=8,
                    tooltip="Every result is enlarged by this factor, whatever the model's own, so "
                    "that all can be compared.",
                ),
                metrics_input(),
                io.String.Input(
                    "names",
                    default="",
                    tooltip="Names of the models in the report, in order, separated by commas. Empty "
                    "uses the file names.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="backplate/shootout",
                    tooltip="A numbered folder of this name inside ComfyUI's output folder receives the report.",
                ),
                io.Int.Input(
                    "degrade_seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    extra_dict=ADVANCED,
                    tooltip="Seed of the random damage in degrade realesrgan; the same number repeats the run.",
                ),
                *tile_inputs(),
                *others,
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="What the images should look like at the larger size, in the same order. "
                    "Only with degrade set to none.",
                ),
            ],
            outputs=[
                io.Image.Output("contact_sheet", tooltip="Crops side by side: source, Lanczos, the models."),
                io.String.Output("text", tooltip="Table of figures and which model to use for what."),
                io.String.Output("report_folder", tooltip="Folder with report.html, report.csv and report.json."),
            ],
            is_output_node=True,
            **searchable("compare models, benchmark, side by side, which upscaler, contact sheet, psnr"),
        )

    @classmethod
    def validate_inputs(cls, metrics: str | None = None) -> bool | str:
        return known_metrics(metrics)

    @classmethod
    def execute(
        cls,
        model_1: Any,
        images: torch.Tensor,
        degrade: str,
        scale: int,
        metrics: str,
        names: str,
        filename_prefix: str,
        degrade_seed: int,
        tile_size: int,
        edge: str,
        references: torch.Tensor | None = None,
        **others: Any,
    ) -> io.NodeOutput:
        how = None if degrade == NOT_DEGRADED else Degrade(degrade)
        settings = ShootoutSettings(
            scale=scale,
            compare=CompareSettings(metrics=metric_names(metrics.split(",")), channel=Channel.Y, border=scale),
            tiles=TileSettings(size=tile_size, edge=Edge(edge)),
            setting=(describe_samples(references is not None, how, scale, degrade_seed),),
        )
        progress = host.HostProgress()
        models = [model_1, *(model for _, model in sorted(others.items()) if model is not None)]
        entries = contestants_of(models, names, progress, tile_size)
        samples = samples_of(images, references, how, scale, degrade_seed)
        output = Path(folder_paths.get_output_directory())
        folder = report_folder(output, filename_prefix)
        result = run_shootout(entries, samples, settings, progress)
        refuse_without_results(result, entries)
        text = result.text()
        files = places.listed(write_report(result, folder))
        pictures = [each for each in files if each["filename"].endswith(".png")]
        ui = progress.told(short_text(result, folder)) | {"files": files, "images": pictures}
        return io.NodeOutput(sheet_image(result), text, str(folder), ui=ui)


def contestants_of(models: list[Any], names: str, progress: Progress, tile: int) -> list[ModelEntry]:
    """An entry for each model. What is not a model is refused when its turn comes, and the others still run."""
    given = [name.strip() for name in names.split(",")] if names.strip() else [""] * len(models)
    if len(given) != len(models):
        raise InputError(
            f"names holds {len(given)} names for {len(models)} models; give one for each, separated by commas, or none."
        )
    found: dict[str, ModelEntry] = {}
    for number, (name, model) in enumerate(zip(given, models, strict=True), start=1):
        label = name or name_of(model, number)
        if not name and label in found:
            label = f"{label} ({number})"
        if label in found:
            raise InputError(f"names has {label!r} twice; give each model its own name.")
        found[label] = ModelEntry(label, partial(upscaler_for, model, progress, tile))
    return list(found.values())


def name_of(model: Any, number: int) -> str:
    try:
        return identify(model).name
    except ModelError:
        return f"model_{number}"


def samples_of(
    images: torch.Tensor, references: torch.Tensor | None, how: Degrade | None, scale: int, seed: int
) -> list[SampleFile]:
    """A sample for each image. Raises ``InputError`` for references together with a degradation, or another number of
    them."""
    if references is not None and how is not None:
        raise InputError(
            "With references the images are not degraded; set degrade to none, or disconnect the references."
        )
    pictures = convert.receive(images).picture.cpu()
    originals = None if references is None else convert.receive(references).picture.cpu()
    if originals is not None and len(originals) != len(pictures):
        raise InputError(
            f"There are {len(originals)} references for {len(pictures)} images; connect the same number of both."
        )
    samples: list[SampleFile] = []
    for index in range(len(pictures)):
        one = partial(pictures.narrow, 0, index, 1)
        original = None if originals is None else partial(originals.narrow, 0, index, 1)
        samples.append(sample_file(f"image {index + 1}", one, original, how, scale, seed))
    return samples


def report_folder(output: Path, prefix: str) -> Path:
    """The next numbered folder of that name in ComfyUI's output folder, numbered like ComfyUI's files; it is created
    when the report is written. Raises ``InputError`` for an empty name, and for one that leads out of the folder, even
    through a link."""
    folder, name, _ = places.numbered_name(prefix, str(output))
    return folder / name


def refuse_without_results(result: ShootoutResult, entries: list[ModelEntry]) -> None:
    names = {each.name for each in entries}
    if not any(cell.values for cell in result.cells if cell.model in names):
        why = next(iter(result.all_problems), "")
        raise InputError(f"None of the {len(names)} models gave a result: {why}")


def short_text(result: ShootoutResult, folder: Path) -> str:
    """First which model to use, then where the report is, then the metrics; the report says how they were computed."""
    parts = [
        "\n".join(result.advice),
        f"Report: {places.shown(folder / 'report.html')}",
        result.table(),
        "\n".join(result.flags),
    ]
    return host.printable("\n\n".join(part for part in [*parts, "\n".join(result.all_problems)] if part))


def sheet_image(result: ShootoutResult) -> torch.Tensor:
    sheet = torch.from_numpy(np.array(contact_sheet(result))).movedim(2, 0)[None] / 255
    return convert.to_image(sheet, None, *host.where())


NODES: list[type[io.ComfyNode]] = [ModelShootout]
