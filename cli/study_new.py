"""``backplate study new``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import UsageProblem, reporting, say
from .options import ModelOptions, Scale, WantedFit, WantedSize, takes

if TYPE_CHECKING:
    from ..core.image.fit import Target
    from ..core.progress import Progress
    from ..core.study.make import Scenes, StudySettings
    from ..core.study.scenes import Side
    from ..core.upscaler import Upscaler

QUESTIONS = "looks|truer|both"
LANCZOS = "lanczos"


@dataclass(frozen=True, kw_only=True)
class NewOptions(ModelOptions):
    """A study, as written on the command line."""

    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the study.")]
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", "-m", metavar="NAME_OR_PATH...", help="Models, presets (.json) or lanczos to run here."
        ),
    ] = None
    results: Annotated[
        list[str] | None,
        typer.Option("--results", metavar="LABEL=DIR...", help="Or folders of finished results, matched by name."),
    ] = None
    more: Annotated[list[str] | None, typer.Argument(metavar="[MORE]...", help="More models or results.")] = None
    images: Annotated[
        Path | None, typer.Option(help="Pictures for the models to enlarge; with --results: the sources.")
    ] = None
    references: Annotated[
        Path | None, typer.Option(help="What the results should look like, matched by name, for the figures.")
    ] = None
    scale: Scale = None
    size: WantedSize = None
    fit: WantedFit = None
    title: Annotated[str, typer.Option(help="Shown to voters; it should not name a side.")] = ""
    question: Annotated[
        str, typer.Option(metavar=QUESTIONS, help="Which looks better, which is truer to the source, or both.")
    ] = "both"
    decides: Annotated[str, typer.Option(metavar="looks|truer", help="The question that decides the study.")] = ""
    voters: Annotated[int, typer.Option(min=1, help="Number of voters you plan; see `backplate study plan`.")] = 12
    trials: Annotated[int, typer.Option(min=0, help="Most pairs to show each voter; 0: all.")] = 0
    side: Annotated[int, typer.Option(min=16, help="Longest side of what voters see, in pixels.")] = 512
    metrics: Annotated[str, typer.Option(metavar="NAMES", help="With references: psnr, ssim, ms_ssim, lpips.")] = (
        "psnr,ssim,lpips"
    )


@reporting
@takes(NewOptions)
def new(options: NewOptions) -> None:
    """Make a study: study.json, pictures under tokens that say nothing, key.json, and page.html for voters."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.study.make import make_study
    from ..core.study.page import write_page
    from .screen import Screen

    if bool(options.models) == bool(options.results):
        raise UsageProblem("Give --models and --images, or --results LABEL=DIR for each side.")
    with Screen(1) as screen:
        screen.start_file(options.output)
        labels, scenes, problems, settings = _sides(options, screen)
        design, left_out = make_study(options.output, labels, scenes, settings)
        page = write_page(options.output, design)
    unavailable = settings.comparer.unavailable.values() if settings.comparer else ()
    for sentence in [*problems, *left_out, *unavailable]:
        say(sentence)
    pairs = f"{len(design.items)} pairs, controls included, for {design.voters} voters"
    say(f"{options.output} holds {pairs}. Keep key.json to yourself.")
    typer.echo(f"Hand {page} to the voters, or run: backplate study serve {options.output}")


def _sides(options: NewOptions, progress: Progress) -> tuple[list[str], Scenes, list[str], StudySettings]:
    from ..core.study.scenes import result_scenes

    more = options.more or []
    if options.results:
        folders = parse_results([*options.results, *more])
        scenes, problems = result_scenes(folders, options.images, options.references, progress)
        return list(folders), scenes, problems, _settings(options, {})
    return _model_sides(options, [*(options.models or []), *more], progress)


def parse_results(given: list[str]) -> dict[str, Path]:
    """``LABEL=DIR`` each. Raises ``UsageProblem``."""
    found: dict[str, Path] = {}
    for text in given:
        label, equals, folder = text.partition("=")
        if not (label and equals and folder):
            raise UsageProblem(f"--results {text}: write it as LABEL=DIR.")
        if label in found:
            raise UsageProblem(f"--results has {label!r} twice; give each side its own name.")
        if not Path(folder).is_dir():
            raise UsageProblem(f"--results {text}: there is no folder {folder}.")
        found[label] = Path(folder)
    return found


def _model_sides(
    options: NewOptions, names: list[str], progress: Progress
) -> tuple[list[str], Scenes, list[str], StudySettings]:
    from ..core.image.fit import Fit
    from ..core.study.scenes import model_scenes
    from ..core.tiled.pipeline import TileSettings
    from .parsing import as_usage, requested_target

    if options.images is None:
        raise UsageProblem("--models are run on --images; name a folder of small pictures.")
    with as_usage():
        target = requested_target(options.size, options.scale, None, options.fit, "center", 1)
    if target is None:
        raise UsageProblem("All sides need one size: give --scale or --size.")
    made = [_side(options, name) for name in names]
    labels = [side.label for side, _ in made]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise UsageProblem(f"Two sides are called {twice}; rename a file, or use presets with different labels.")
    settings = {side.label: {**stored, **_stored_target(target, Fit)} for side, stored in made}
    tiles = TileSettings(size=options.tile_size, keep_colours=True)
    sides = [side for side, _ in made]
    scenes, problems = model_scenes(sides, options.images, options.references, target, tiles, progress)
    return labels, scenes, problems, _settings(options, settings)


def _stored_target(target: Target, fit: Any) -> dict[str, Any]:
    if target.fit is fit.FACTOR:
        return {"scale": target.factor, "size": None, "fit": None}
    width, height = target.width or "", target.height or ""
    return {"scale": None, "size": f"{width}x{height}", "fit": target.fit.value}


def _side(options: NewOptions, name: str) -> tuple[Side, dict[str, Any]]:
    """A side and its preset. Its file is located now and opened when it is needed."""
    from ..core.engines.registry import Engine
    from ..core.study.preset import model_of, read_preset
    from ..core.study.scenes import Side
    from ..model_loader.files import sha256_of
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.precision import Precision
    from .parsing import choice, model_stem

    folders = default_folders(options.models_dir)
    if name.lower() == LANCZOS:
        return Side("Lanczos", None), {"label": "Lanczos", "model": "Lanczos"}
    engine, precision = options.checked_engine(), options.checked_precision()
    label, sharpen = model_stem(name), 0.0
    if name.lower().endswith(".json"):
        preset = read_preset(Path(name))
        path, label, sharpen = model_of(preset, folders), preset.label, preset.sharpen
        engine = choice(Engine, preset.engine, f"{name}: engine")
        precision = choice(Precision, preset.precision, f"{name}: precision")
    else:
        path = find_model(name, folders)
    stored = {"label": label, "model": path.name, "sha256": sha256_of(path), "sharpen": sharpen}
    opener = partial(_open, options, str(path), precision=precision, engine=engine)
    return Side(label, opener, sharpen), {**stored, "engine": engine.value, "precision": precision.value}


def _open(options: NewOptions, path: str, **how: Any) -> Upscaler:
    return options.opener(**how)(path)[0]


def _settings(options: NewOptions, made: Mapping[str, Mapping[str, Any]]) -> StudySettings:
    from ..core.metrics.compare import Comparer, CompareSettings
    from ..core.metrics.registry import metric_names
    from ..core.study.make import StudySettings
    from .parsing import as_usage, one_of

    question = one_of(QUESTIONS.split("|"), options.question, "--question") or "both"
    questions = ("looks", "truer") if question == "both" else (question,)
    with as_usage():
        metrics = metric_names(options.metrics.split(","))
    return StudySettings(
        title=options.title,
        voters=options.voters,
        trials=options.trials,
        side=options.side,
        questions=questions,
        decides=one_of(QUESTIONS.split("|")[:2], options.decides or questions[0], "--decides") or questions[0],
        comparer=Comparer(CompareSettings(metrics=metrics)) if options.references else None,
        settings=made,
    )
