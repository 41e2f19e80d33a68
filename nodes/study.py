"""The nodes that put a blind study together from branches of a graph, and that say who won."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.study.design import DESIGN
from ..core.study.make import StudySettings, add_scenes
from ..core.study.page import write_page
from ..core.study.scenes import MOST_FRAMES, Scene
from ..core.study.tally import Tally, tally
from . import comfy_host as host
from . import convert
from . import paths as places
from .schema import ADVANCED, CATEGORY, AlwaysRun, searchable

SIDES = ("a", "b", "c", "d")
DEFAULT = "backplate/study"


def study_input(tooltip: str) -> io.Input:
    return io.String.Input("study", default=DEFAULT, tooltip=tooltip)


class StudyAdd(AlwaysRun, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        first, second, *others = (
            io.Image.Input(
                f"images_{side}", optional=place > 1, tooltip=f"What branch {side.upper()} of the graph made."
            )
            for place, side in enumerate(SIDES)
        )
        return io.Schema(
            node_id="BackplateStudyAdd",
            display_name="Add to Blind Study (Backplate)",
            category=CATEGORY,
            description="Adds the images from two to four branches of a graph to a blind study of "
                        "models, prompts or whole workflows: people say which is better without "
                        "knowing which is which. Run it for each picture, then hand out page.html.",
            inputs=[
                first,
                second,
                study_input("Folder of the study inside ComfyUI's output folder; it is created if "
                            "necessary."),
                io.String.Input(
                    "labels", default="",
                    tooltip="Names of the branches in the result, separated by commas; voters never "
                            "see them. Empty uses A, B, C, D.",
                ),
                io.String.Input("caption", default="", tooltip="Name of this picture in the result."),
                io.Float.Input(
                    "frame_rate", default=0.0, min=0.0, max=120.0, step=0.01,
                    tooltip=f"0: each image of a batch is a picture. Above 0: the batch is a clip of at most "
                    f"{MOST_FRAMES} frames.",
                ),
                io.Int.Input(
                    "voters", default=12, min=1, max=10_000, extra_dict=ADVANCED,
                    tooltip="How many voters you plan; fixed when the study is created.",
                ),
                *others,
                io.Image.Input(
                    "source", optional=True,
                    tooltip="What the images should be true to, for the second question: which is truer to the source?",
                ),
            ],
            outputs=[
                io.String.Output("text", tooltip="How many pairs the study has now."),
                io.String.Output("folder", tooltip="The folder of the study, with page.html for voters."),
            ],
            is_output_node=True,
            **searchable("ab test, a/b test, blind test, vote, compare prompts, survey"),
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        images_a: torch.Tensor,
        images_b: torch.Tensor,
        study: str,
        labels: str,
        caption: str,
        frame_rate: float,
        voters: int,
        images_c: torch.Tensor | None = None,
        images_d: torch.Tensor | None = None,
        source: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        folder = places.result_folder(study)
        sides = [images for images in (images_a, images_b, images_c, images_d) if images is not None]
        batches = dict(zip(labels_of(labels, len(sides)), map(picture_of, sides), strict=True))
        scenes = scenes_of(batches, None if source is None else picture_of(source), caption.strip(), frame_rate)
        folder.mkdir(parents=True, exist_ok=True)
        design = add_scenes(folder, list(batches), scenes, StudySettings(voters=voters))
        write_page(folder, design)
        text = host.printable(
            f"{len(design.items)} pairs, controls included, for {design.voters} voters. Hand page.html in {folder} to "
            f"them, or run: backplate study serve {folder}"
        )
        return io.NodeOutput(text, str(folder), ui={"text": (text,)})


def labels_of(text: str, count: int) -> list[str]:
    """Raises ``InputError`` for a wrong number of names, or a duplicate."""
    names = [name.strip() for name in text.split(",")] if text.strip() else [side.upper() for side in SIDES[:count]]
    if len(names) != count or len(set(names)) != count or not all(names):
        raise InputError(
            f"labels needs {count} different names, separated by commas, or none; {text!r} does not have that."
        )
    return names


def picture_of(images: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W), over mid grey where it is transparent, on the CPU."""
    received = convert.receive(images)
    picture = received.picture.cpu()
    if received.alpha is None:
        return picture
    alpha = received.alpha.cpu()
    return picture * alpha + 0.5 * (1 - alpha)


def scenes_of(
    batches: Mapping[str, torch.Tensor], source: torch.Tensor | None, caption: str, frame_rate: float
) -> list[Scene]:
    """One scene of a clip, or one for each image of the batches. Raises ``InputError`` for batches of unequal
    lengths."""
    counts = {len(batch) for batch in batches.values()}
    if len(counts) > 1:
        listed = ", ".join(f"{label} {len(batch)}" for label, batch in batches.items())
        raise InputError(f"The branches have different numbers of images ({listed}); connect the same number of each.")
    count, name = counts.pop(), caption or "picture"
    if frame_rate:
        if count > MOST_FRAMES:
            raise InputError(f"A clip has at most {MOST_FRAMES} frames and this has {count}; cut it.")
        return [Scene(name=name, results=batches, source=source, rate=frame_rate, caption=caption)]
    if source is not None and len(source) not in (1, count):
        raise InputError(f"There are {len(source)} sources for {count} images; connect the same number, or one.")
    return [
        Scene(
            name=name if count == 1 else f"{name} {place + 1}",
            results={label: batch[place : place + 1] for label, batch in batches.items()},
            source=None if source is None else source[min(place, len(source) - 1)][None],
            caption=caption,
        )
        for place in range(count)
    ]


class StudyResult(AlwaysRun, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateStudyResult",
            display_name="Result of Blind Study (Backplate)",
            category=CATEGORY,
            description="Counts the votes of a blind study and says which branch won, so that a graph "
            "can continue with it.",
            inputs=[study_input("Folder of the study inside ComfyUI's output folder.")],
            outputs=[
                io.String.Output("winner", tooltip="Label of the branch that won; empty if there is no clear winner."),
                io.Int.Output("index", tooltip="Its number, from 1; 0 if there is no clear winner."),
                *(
                    io.Float.Output(
                        f"share_{side}", tooltip=f"How often {side.upper()} is preferred to the others, 0 to 1."
                    )
                    for side in SIDES
                ),
                io.String.Output("text", tooltip="The verdict, who was left out and why, and warnings."),
            ],
            **searchable("ab test, votes, winner, blind test"),
        )

    @classmethod
    def execute(cls, study: str) -> io.NodeOutput:
        folder = places.result_folder(study)
        if not (folder / DESIGN).exists():
            raise InputError(f"There is no study in {study!r}; Add to Blind Study makes one.")
        found = tally(folder)
        index = found.key.labels.index(found.winner) + 1 if found.winner else 0
        text = host.printable(found.text())
        return io.NodeOutput(found.winner or "", index, *shares_of(found), text, ui={"text": (text,)})


def shares_of(found: Tally) -> list[float]:
    """For each side how far it is preferred over the others on average; NaN without votes and for sides that the study
    does not have."""
    standing = found.deciding
    shares: list[float] = []
    for label in found.key.labels if standing.votes else ():
        others = [each.share for each in standing.shares if each.label == label]
        shares.append(sum(others) / len(others))
    return [*shares, *[math.nan] * len(SIDES)][: len(SIDES)]


NODES: list[type[io.ComfyNode]] = [StudyAdd, StudyResult]
