"""The node that brings a whole folder of pictures to a target size."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.image.fit import Fit
from ..core.image.sharpen import RANGES, SharpenSettings
from ..core.jobs.folder.job import FolderJob, FolderProgress
from ..core.jobs.folder.manifest import Entry, Status
from ..core.jobs.folder.report_page import write_report
from ..core.jobs.folder.run import run_folder
from ..core.jobs.folder.summary import Summary, summarise
from ..core.jobs.marketplace.framing import check_outputs, suffixes_for
from ..core.jobs.marketplace.profile import Profile, find_profile, profile_names, read_profile
from ..core.jobs.model_info import Model
from ..core.jobs.picture import PictureSettings, for_marketplace
from ..core.media.picture_folder import (
    list_pictures,
    lone_masks,
    lone_masks_text,
    parse_template,
    passed_over,
    passed_over_text,
    pixels_of,
    plan_tasks,
    refuse_inputs_as_outputs,
)
from ..core.study.preset import read_preset
from . import comfy_host as host
from . import paths as places
from .protect import protect_inputs, settings_of_mask
from .provenance import (
    check_licence,
    commercial_input,
    metadata_input,
    signatory,
    source_type,
    source_type_input,
    strips,
    text_to_embed,
)
from .resolution import CheckedTarget, target_inputs, target_of
from .schema import (
    ADVANCED,
    CATEGORY,
    SLIDER,
    AlwaysRun,
    colours_input,
    dither_and_grain,
    fidelity_input,
    finish_of,
    only_for,
    searchable,
    tile_inputs,
    tiles_of,
)
from .upscale_model import identify, upscaler_for

NO_PROFILE = "none"
AS_SOURCE = "as source"
SUFFIXES = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tiff"}
DEPTHS = {AS_SOURCE: None, "8": 8, "16": 16}

SHOWN_PICTURES = 6
SHOWN_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif")


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
            tooltip="A folder inside ComfyUI's input folder; . is the input folder itself. Press R to "
            "refresh the list.",
        ),
        io.Boolean.Input(
            "subfolders",
            default=True,
            extra_dict=ADVANCED,
            tooltip="Include subfolders; the results mirror them.",
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
        io.Boolean.Input("trim", default=False, tooltip="Cut off uniform borders before fitting."),
        io.Float.Input(
            "sharpen", default=0.0, min=low, max=high, step=0.05, display_mode=SLIDER,
            tooltip="Sharpen the results, without halos. 0: off.",
        ),
        io.Combo.Input(
            "format", options=[AS_SOURCE, *SUFFIXES], default=AS_SOURCE, tooltip="File format of the results."
        ),
        io.Int.Input(
            "quality", default=95, min=1, max=100, extra_dict=only_for(format=["jpg", "webp", "avif"]),
            tooltip="For jpg, webp (100 is lossless) and avif.",
        ),
        io.Combo.Input(
            "bit_depth", options=list(DEPTHS), default=AS_SOURCE, extra_dict=ADVANCED,
            tooltip="Bits per channel for png and tiff; other formats have 8.",
        ),
        io.String.Input(
            "name_template", default="{stem}", extra_dict=ADVANCED,
            tooltip="Names of the results: {stem} and {suffix} of the source, {index} or {index:04d}, "
                    "and {model}.",
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
            tooltip="Skip what an earlier run has finished from the same file with the same settings.",
        ),
        io.Boolean.Input(
            "overwrite",
            default=False,
            extra_dict=ADVANCED,
            tooltip="Replace files in the output folder that do not belong to this job; otherwise "
                    "they are left alone.",
        ),
        io.Int.Input(
            "threads", default=2, min=1, max=16, extra_dict=ADVANCED,
            tooltip="Number of threads that read, and of threads that write, while the model works.",
        ),
    ]  # fmt: skip


def finish_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "profile", options=[NO_PROFILE, *profile_names()], default=NO_PROFILE, optional=True,
            tooltip="Makes pictures meet a marketplace's rules: size, white background, how much the product fills, "
            "sRGB, format, bytes, resolution. Pictures that still break one go into the folder failed. With width and "
            "height 0 the profile chooses the size.",
        ),
        io.String.Input(
            "profile_file", default="", optional=True, extra_dict=ADVANCED,
            tooltip="Your own rules instead of a profile: a .json file in ComfyUI's input folder.",
        ),
        *dither_and_grain(
            "in smooth gradients only. Areas of one colour are never dithered.",
            ". Adds nothing where the source has none.",
        ),
    ]  # fmt: skip


class UpscaleFolder(AlwaysRun, CheckedTarget, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateUpscaleFolder",
            display_name="Upscale Folder (Backplate)",
            category=CATEGORY,
            description="Brings every picture in a folder to the target size. Names are kept, one bad "
            "file costs only one picture, a cancelled run resumes, and a report shows "
            "each result.",
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
                    tooltip="The winner of a study: a file from `backplate study tally "
                    "--write-preset` inside ComfyUI's input folder. Connect the model that it "
                    "names; its sharpening applies if sharpen is 0.",
                ),
                colours_input(),
                fidelity_input(),
                metadata_input(),
                source_type_input(),
                commercial_input(),
                *finish_inputs(),
                *protect_inputs("Every picture"),
            ],
            outputs=[
                io.String.Output("summary", tooltip="Counts, speed, what failed and what needs a look."),
                io.String.Output("results", tooltip="The folder of the results, with manifest.jsonl and index.html."),
            ],
            is_output_node=True,
            **searchable(
                "upscale folder, batch, folder, directory, product pictures, upscale many, resume, "
                "enlarge, resize many, esrgan, 4k",
            ),
        )

    @classmethod
    def validate_inputs(
        cls,
        width: int | None = None,
        height: int | None = None,
        fit: str | None = None,
        pad_with: str | None = None,
        pad_colour: str | None = None,
        profile: str | None = NO_PROFILE,
        profile_file: str | None = "",
    ) -> bool | str:
        chosen_by_profile = (profile != NO_PROFILE or profile_file != "") and not (width or height)
        return super().validate_inputs(1 if chosen_by_profile else width, height, fit, pad_with, pad_colour)

    @classmethod
    def execute(
        cls, upscale_model: Any, folder: str, subfolders: bool, output_folder: str, **wanted: Any
    ) -> io.NodeOutput:
        source, output = places.picture_folder(folder), places.result_folder(output_folder)
        identity = identify(upscale_model)
        check_licence(upscale_model, identity, wanted)
        wanted = with_preset(wanted, identity)
        settings = settings_of(wanted, identity)
        if settings.profile is None:
            # A shop should not publish how its pictures were made.
            settings = replace(settings, embedded=text_to_embed(cls, wanted))
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
        allowed = suffixes_for(settings.profile) if settings.profile else ()
        tasks = plan_tasks(pictures, output, SUFFIXES.get(wanted["format"]), template, allowed)
        if settings.profile:
            check_outputs(settings.profile, (task.output for task in tasks))
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
        pixels = pixels_of([task.source for task in tasks], settings.target)
        upscaler = upscaler_for(upscale_model, opening, wanted["tile_size"], pixels)
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
        # In this order: App Mode opens the first file that it finds.
        files = {"images": places.listed(pictures_to_show(summary, output)), "files": places.listed(pages)}
        return io.NodeOutput(text, str(output), ui=files | progress.told(*lines))


def pictures_to_show(summary: Summary, output: Path) -> list[Path]:
    """A few results that a browser can show, those that should be looked at first."""
    entries = (*summary.with_status(Status.FLAGGED), *summary.with_status(Status.DONE))
    paths = (output / entry.output for entry in entries if Path(entry.output).suffix.lower() in SHOWN_SUFFIXES)
    return list(islice(filter(Path.is_file, paths), SHOWN_PICTURES))


def with_preset(wanted: dict[str, Any], model: Model) -> dict[str, Any]:
    """The inputs with a preset's values. Raises ``InputError`` for a file that is not a preset, lies outside the
    readable folders, or names another model."""
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
    """The settings of the inputs. Raises ``InputError`` for values that make no sense."""
    target, background = target_of(wanted)
    profile = profile_of(wanted)
    by_sides = target.fit not in (Fit.MEGAPIXELS, Fit.FACTOR)
    if profile and by_sides and not (target.width or target.height):
        target = None
    settings = PictureSettings(
        target=target,
        background=background,
        tiles=tiles_of(wanted),
        sharpen=SharpenSettings(amount=wanted["sharpen"]) if wanted["sharpen"] else None,
        trim=wanted["trim"],
        bit_depth=DEPTHS[wanted["bit_depth"]],
        quality=wanted["quality"],
        srgb=wanted["convert_to_srgb"],
        strip_gps=wanted["strip_gps"],
        software=model.software_tag(),
        strip_metadata=strips(wanted),
        source_type=source_type(wanted),
        signatory=signatory(wanted),
        **finish_of(wanted),
    )
    return for_marketplace(settings, profile) if profile else settings


def profile_of(wanted: dict[str, Any]) -> Profile | None:
    """The rules of a marketplace that the inputs name, if any. Raises ``InputError``."""
    if name := str(wanted.get("profile_file") or "").strip():
        return read_profile(places.input_file(name))
    chosen = wanted.get("profile") or NO_PROFILE
    if chosen not in (NO_PROFILE, *profile_names()):  # find_profile would accept a path, which a graph must not choose
        raise InputError(f"{chosen!r} is not a profile; choose one of {', '.join(profile_names())}.")
    return None if chosen == NO_PROFILE else find_profile(chosen)


NODES: list[type[io.ComfyNode]] = [UpscaleFolder]
