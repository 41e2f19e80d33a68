"""The node that brings a whole folder of pictures to a wanted size."""

from __future__ import annotations

import time
from typing import Any

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.image.sharpen import RANGES, SharpenSettings
from ..core.image.tiling import Edge
from ..core.jobs.folder.job import FolderJob, FolderProgress
from ..core.jobs.folder.manifest import Entry
from ..core.jobs.folder.report_page import write_report
from ..core.jobs.folder.run import run_folder
from ..core.jobs.folder.summary import summarise
from ..core.jobs.model_info import Model
from ..core.jobs.picture import PictureSettings
from ..core.media.picture_folder import (
    list_pictures,
    lone_masks,
    lone_masks_text,
    parse_template,
    passed_over,
    passed_over_text,
    plan_tasks,
    refuse_inputs_as_outputs,
)
from ..core.study.preset import read_preset
from ..core.tiled.pipeline import TileSettings
from . import comfy_host as host
from . import paths as places
from .protect import protect_inputs, settings_of_mask
from .resolution import CheckedTarget, target_inputs, target_of
from .schema import ADVANCED, CATEGORY, colours_input, fidelity_input, searchable, tile_inputs
from .upscale_model import identify, upscaler_for

AS_SOURCE = "as source"
SUFFIXES = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tiff"}
DEPTHS = {AS_SOURCE: None, "8": 8, "16": 16}


class CountingPictures(host.HostProgress, FolderProgress):
    """ComfyUI's bar counts pictures; the last one is shown on the node."""

    def start_folder(self, total: int) -> None:
        host.HostProgress.begin(self, total)

    def start_picture(self, name: str) -> None:
        host.say(f"{self.done + 1} of {self.total}: {name}")

    def finish_picture(
        self, entry: Entry, picture: torch.Tensor | None, skipped: bool, alpha: torch.Tensor | None = None
    ) -> None:
        if not entry.written:
            self.note(f"{entry.source}: {entry.reason}")
        self.done += 1
        if picture is None:
            self.bar.update_absolute(self.done, self.total)
        else:
            self.bar.update_absolute(self.done, self.total, ("JPEG", host.thumbnail(picture, alpha), host.PREVIEW_SIDE))

    def begin(self, total: int, what: str = "") -> None:
        self.check()

    def advance(self, steps: int = 1) -> None:
        """Tiles do not count here."""

    def extend(self, steps: int) -> None:
        """Nor do more of them."""


def folder_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "folder",
            options=places.picture_folders(),
            tooltip="A folder inside ComfyUI's input folder; . is that itself. Press R to refresh the list.",
        ),
        io.Boolean.Input(
            "subfolders", default=True, tooltip="Also the pictures in its sub-folders, which the results mirror."
        ),
        io.String.Input(
            "output_folder",
            default="backplate_folder",
            tooltip="Folder for the results, inside ComfyUI's output folder. Names are kept.",
        ),
    ]


def file_inputs() -> list[io.Input]:
    low, high = RANGES["amount"]
    return [
        io.Boolean.Input("trim", default=False, tooltip="Cut uniform borders off before fitting."),
        io.Float.Input(
            "sharpen", default=0.0, min=low, max=high, step=0.05, tooltip="Sharpen the results, without halos. 0: off."
        ),
        io.Combo.Input(
            "format", options=[AS_SOURCE, *SUFFIXES], default=AS_SOURCE, tooltip="File format of the results."
        ),
        io.Int.Input("quality", default=95, min=1, max=100, tooltip="For jpg, webp (100 is lossless) and avif."),
        io.Combo.Input(
            "bit_depth", options=list(DEPTHS), default=AS_SOURCE, extra_dict=ADVANCED,
            tooltip="Bits a channel of png and tiff; the others have 8.",
        ),
        io.String.Input(
            "name_template", default="{stem}", extra_dict=ADVANCED,
            tooltip="Names of the results: {stem} and {suffix} of the source, {index} or {index:04d}, {model}.",
        ),
        io.Boolean.Input(
            "convert_to_srgb", default=False, extra_dict=ADVANCED,
            tooltip="Convert colours to sRGB instead of keeping the profile of the file.",
        ),
        io.Boolean.Input(
            "strip_gps", default=False, extra_dict=ADVANCED, tooltip="Leave out where the shot was taken."
        ),
    ]  # fmt: skip


def job_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "resume",
            default=True,
            tooltip="Skip what an earlier run has done from the same file with the same settings.",
        ),
        io.Boolean.Input(
            "overwrite",
            default=False,
            tooltip="Replace files in the output folder that are not of this job; without it they are left alone.",
        ),
        io.Int.Input(
            "threads", default=2, min=1, max=16, extra_dict=ADVANCED,
            tooltip="Threads that read, and as many that write, while the model works.",
        ),
    ]  # fmt: skip


class UpscaleFolder(CheckedTarget, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateUpscaleFolder",
            display_name="Upscale Folder (Backplate)",
            category=CATEGORY,
            description="Brings every picture of a folder to the wanted size: names kept, one bad file costs one "
            "picture, a cancelled or broken run is resumed, and a report says what became of each.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                *folder_inputs(),
                *target_inputs(),
                *file_inputs(),
                *job_inputs(),
                *tile_inputs(),
                io.String.Input(
                    "preset",
                    default="",
                    optional=True,
                    extra_dict=ADVANCED,
                    tooltip="What won a study: a file of `backplate study tally --write-preset` inside ComfyUI's input "
                    "folder. The model must be the one that it names; its sharpening counts where sharpen is 0.",
                ),
                colours_input(),
                fidelity_input(),
                *protect_inputs("Every picture"),
            ],
            outputs=[
                io.String.Output("summary", tooltip="Counts, speed, what failed, what should be looked at."),
                io.String.Output("results", tooltip="The folder of the results, with manifest.jsonl and index.html."),
            ],
            is_output_node=True,
            **searchable(
                "upscale folder",
                "batch",
                "folder",
                "directory",
                "product pictures",
                "upscale many",
                "resume",
                "enlarge",
                "resize many",
                "esrgan",
                "4k",
            ),
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> int:
        """Always new: the files may have changed, and resuming finds out which."""
        return time.time_ns()

    @classmethod
    def execute(
        cls, upscale_model: Any, folder: str, subfolders: bool, output_folder: str, **wanted: Any
    ) -> io.NodeOutput:
        source, output = places.picture_folder(folder), places.result_folder(output_folder)
        identity = identify(upscale_model)
        wanted = with_preset(wanted, identity)
        settings = settings_of(wanted, identity)
        template = parse_template(wanted["name_template"], identity.name)
        pictures = list_pictures(source, recursive=subfolders, without=output)
        protect = settings_of_mask(wanted.get("protect"), wanted.get("protect_mode", "resample"), "pictures")
        others = " ".join(
            filter(
                None,
                [
                    passed_over_text(passed_over(source, recursive=subfolders, without=output)),
                    lone_masks_text(lone_masks(source, recursive=subfolders, without=output)),
                ],
            )
        )
        tasks = plan_tasks(pictures, output, SUFFIXES.get(wanted["format"]), template)
        refuse_inputs_as_outputs(tasks)
        job = FolderJob(
            tasks=tuple(tasks),
            output=output,
            settings=settings,
            model=identity,
            jobs=wanted["threads"],
            resume=wanted["resume"],
            overwrite=wanted["overwrite"],
            roots=places.input_roots(),
            passed_over=others,
            protect=protect,
        )
        progress = CountingPictures()
        opening = host.HostProgress()
        upscaler = upscaler_for(upscale_model, opening, wanted["tile_size"])
        progress.notes += opening.notes
        summary = summarise(job, run_folder(job, upscaler, progress))
        pages = write_report(job, summary)
        text = host.printable(summary.text())
        counts, _, details = text.partition("\n")
        lines = [
            counts,
            f"Before and after, the least faithful first: {places.shown(pages[-1])}",
            "",
            *details.split("\n"),
        ]
        return io.NodeOutput(text, str(output), ui=progress.told(*lines) | {"files": places.listed(pages)})


def with_preset(wanted: dict[str, Any], model: Model) -> dict[str, Any]:
    """The inputs with what a preset says. Raises ``InputError`` for a file that is none, leads out of the folders that
    may be read, or names another model."""
    name = str(wanted.get("preset") or "").strip()
    if not name:
        return wanted
    preset = read_preset(places.input_file(name))
    if preset.sha256 != model.sha256:
        raise InputError(
            f"{name} is about the model {preset.model} (SHA-256 {preset.sha256[:12]}), and {model.name} "
            f"({model.sha256[:12]}) is connected; load that one."
        )
    return {**wanted, "sharpen": wanted["sharpen"] or preset.sharpen}


def settings_of(wanted: dict[str, Any], model: Model) -> PictureSettings:
    """What the inputs ask for. Raises ``InputError`` for values that make no sense."""
    target, background = target_of(wanted)
    return PictureSettings(
        target=target,
        background=background,
        tiles=TileSettings(
            size=wanted["tile_size"], edge=Edge(wanted["edge"]), keep_colours=wanted.get("keep_colours", True)
        ),
        sharpen=SharpenSettings(amount=wanted["sharpen"]) if wanted["sharpen"] else None,
        trim=wanted["trim"],
        bit_depth=DEPTHS[wanted["bit_depth"]],
        quality=wanted["quality"],
        srgb=wanted["convert_to_srgb"],
        strip_gps=wanted["strip_gps"],
        fidelity=wanted.get("fidelity", 0.0),
        software=model.software_tag(),
    )


NODES: list[type[io.ComfyNode]] = [UpscaleFolder]
