"""A training run, from its start or from an interruption, to a model file with its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import choose_device
from ..atomic_write import remove_leftovers
from ..engines.pytorch.threads import torch_threads
from ..errors import InputError
from ..media.picture.read import write_picture
from ..metrics.lpips import LpipsNetwork
from ..parsed import as_plain
from ..progress import Cancelled, Progress
from ..types import SizeRule, size_rule_of
from .checkpoint import load_state, save_state, unwritten, write_model, write_text
from .config import TrainSettings, replaced, settings_text
from .dataset import Collection, FolderPictures, check_apart, open_collection, training_batch, validation_crops
from .degrade.pipeline import Pair
from .initial_model import check_round_trip, new_compact
from .loss_log import LOG_FILE, Journal
from .trainer import MOST_RESCUES, Diverged, Learner, check_channels, check_crop, fit_channels
from .validation import Scores, find_lpips, gain, is_better, score, scores_text, validation_pairs

STATE_FILE = "state.pt"
SETTINGS_FILE = "settings.yaml"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a run. Scores are those of the held-out pictures."""

    best: Path | None
    """The model that beat the starting point by the criterion; None if none did."""
    last: Path
    steps: int
    best_step: int
    before: Scores
    after: Scores
    """Scores of the best model if there is one, otherwise of the last."""
    criterion: str
    rescues: int

    def text(self) -> str:
        """A few readable lines: the file, and each score before and after."""
        better = gain(self.before, self.after, self.criterion)
        if self.best is None:
            verdict = (
                f"After {self.steps} steps the model is not better than its start by {self.criterion} ({better:+.3f}), "
                f"so none is named best; the last one is {self.last}."
            )
        else:
            verdict = f"Best by {self.criterion} after {self.best_step} steps: {self.best} ({better:+.3f} better)."
        return f"{verdict}\n{scores_text(self.before, self.after)}"


@dataclass
class _Standing:
    """The progress of the run, which is part of the state file."""

    step: int
    before: Scores
    best: Scores
    best_step: int
    last: Scores


def _model_files(out: Path) -> tuple[str, str]:
    """The file names of the best and the last model of the run in ``out``."""
    best, last = (f"{out.name}-{kind}.safetensors" for kind in ("best", "last"))
    return best, last


class _Run:
    """One run in one folder: what ``train`` keeps between steps."""

    def __init__(self, settings: TrainSettings, base: LoadedModel, out: Path, progress: Progress) -> None:
        self.settings, self.base, self.out, self.progress = settings, base, out, progress
        self.best_file, self.last_file = (out / name for name in _model_files(out))
        self.device = choose_device(settings.device or None)
        facts = base.facts
        rule = size_rule_of(facts)
        check_channels(facts.input_channels, facts.output_channels)
        check_crop(settings.data.crop, facts.scale, rule)
        check_round_trip(base)
        self.collection = open_collection(settings.data, settings.validation, settings.seed, progress.note)
        self.pairs = self._validation_pairs(rule)
        self.lpips: LpipsNetwork | None = find_lpips(settings.validation, progress.note)
        self.learner = Learner(settings, base.descriptor.model, facts.scale, facts.input_channels, self.device)
        self.standing = self._resume() or self._begin()
        self.journal = Journal(out, self.standing.step, progress.note)

    def _validation_pairs(self, rule: SizeRule) -> list[Pair]:
        facts, settings = self.base.facts, self.settings
        multiple = facts.scale * rule.multiple_of
        side = max(settings.validation.crop // multiple * multiple, settings.data.crop)
        crops = [
            fit_channels(crop, facts.input_channels)
            for crop in validation_crops(self.collection, side, multiple, square=rule.square)
        ]
        return validation_pairs(crops, settings.degradation, facts.scale, settings.seed)

    def _identity(self) -> dict[str, str]:
        """What must not change for a run to continue; device and threads may."""
        return {
            "settings": settings_text(replace(self.settings, device="", threads=0)),
            "base model": self.base.facts.sha256,
            "pictures": self.collection.fingerprint,
        }

    def _resume(self) -> _Standing | None:
        path = self.out / STATE_FILE
        if not path.is_file():
            return None
        state = load_state(path)
        for what, value in self._identity().items():
            if state["identity"].get(what) != value:
                raise InputError(
                    f"The run in {self.out} does not have the same {what}; give another folder to start again, "
                    f"or the same {what} to continue."
                )
        self.learner.restore(state["learner"])
        standing = _Standing(**state["standing"])
        if standing.step:
            self.progress.note(f"Continuing after step {standing.step} of {self.settings.steps}.")
        return standing

    def _begin(self) -> _Standing:
        write_text(self.out / SETTINGS_FILE, settings_text(self.settings))
        before, _ = self._score()
        standing = _Standing(step=0, before=before, best=before, best_step=0, last=before)
        self._save(standing)
        return standing

    def _save(self, standing: _Standing) -> None:
        state = {"identity": self._identity(), "learner": self.learner.state(), "standing": vars(standing)}
        save_state(self.out / STATE_FILE, state)

    def _score(self) -> tuple[Scores, list[Tensor]]:
        width = self.settings.losses.line_width
        return score(self.learner.average, self.pairs, self.device, width, self.lpips)

    def go(self) -> TrainResult:
        """Runs the remaining steps. If interrupted, it saves its state and raises the interruption again."""
        self.progress.begin(self.settings.steps, "Training")
        self.progress.advance(self.standing.step)
        try:
            with _Feed(self.collection, self.settings) as feed:
                while self.standing.step < self.settings.steps:
                    self.progress.check()
                    self._step(feed)
        except (KeyboardInterrupt, Cancelled):
            self._save(self.standing)
            self.progress.note(f"Stopped after step {self.standing.step}; the same command continues from there.")
            raise
        finally:
            self.journal.close()
        return self._result()

    def _step(self, feed: _Feed) -> None:
        step = self.standing.step
        try:
            values = self.learner.learn(feed.batch(step), step)
        except Diverged as reason:
            self._rescue(reason)
            return
        self.standing.step = step + 1
        self.journal.write(step + 1, values)
        self.progress.advance()
        last = self.standing.step == self.settings.steps
        if last or self.standing.step % self.settings.validation.every == 0:
            self._validate()
        if last or self.standing.step % self.settings.checkpoint_every == 0:
            self.journal.settle()
            self._save(self.standing)

    def _rescue(self, reason: Diverged) -> None:
        """Returns to the last good state, with half the learning rate and other random draws, a limited number of
        times."""
        failed, rescues = self.standing.step, self.learner.rescues + 1
        if rescues > MOST_RESCUES:
            raise InputError(
                f"Training failed at step {failed + 1} ({reason}) after going back {MOST_RESCUES} times; lower "
                f"optimiser.learning_rate (now {self.settings.optimiser.learning_rate:g}) or check the pictures."
            )
        state = load_state(self.out / STATE_FILE)
        self.learner.restore(state["learner"])
        self.learner.rescues = rescues
        self.standing = _Standing(**state["standing"])
        self._save(self.standing)
        self.journal.rewind(self.standing.step)
        self.progress.extend(failed - self.standing.step)
        self.progress.note(
            f"Step {failed + 1} failed ({reason}); back to step {self.standing.step} with {0.5**rescues:g} of the "
            "learning rate."
        )

    def _validate(self) -> None:
        standing = self.standing
        scores, outputs = self._score()
        standing.last = scores
        self.journal.write(standing.step, scores, "validation")
        self._write_samples(outputs)
        if is_better(scores, standing.best, standing.before, self.settings.validation):
            standing.best, standing.best_step = scores, standing.step
            self._write_model(self.best_file, scores)
        self.progress.note(f"Step {standing.step}: {scores_text(standing.before, scores)}")
        if isinstance(self.collection.pictures, FolderPictures) and self.collection.pictures.broken:
            broken = self.collection.pictures.broken
            self.progress.note(f"{len(broken)} pictures turned out to be damaged: {next(iter(broken.values()))}")

    def _write_samples(self, outputs: Sequence[Tensor]) -> None:
        """Input, output and reference side by side."""
        folder = self.out / "samples"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritten(folder, error) from error
        for index, output in enumerate(outputs[: self.settings.validation.samples]):
            pair = self.pairs[index]
            given = interpolate(pair.degraded, output.shape[-2:], mode="nearest")
            beside = torch.cat([given, output, pair.reference], -1)
            write_picture(folder / f"{index:02d}-step-{self.standing.step:06d}.png", beside)

    def _write_model(self, path: Path, scores: Scores) -> Path:
        card = model_card(self.settings, self.base, self.collection, self.standing.step, self.standing.before, scores)
        write_model(path, self.learner.average.state_dict(), card, half=self.settings.half_precision_file)
        return path

    def _result(self) -> TrainResult:
        standing = self.standing
        best = self.best_file if standing.best_step else None
        return TrainResult(
            best=best,
            last=self._write_model(self.last_file, standing.last),
            steps=standing.step,
            best_step=standing.best_step,
            before=standing.before,
            after=standing.best if best else standing.last,
            criterion=self.settings.validation.criterion.value,
            rescues=self.learner.rescues,
        )


class _Feed:
    """Prepares the next batch while the current one is used."""

    def __init__(self, collection: Collection, settings: TrainSettings) -> None:
        self._collection, self._settings = collection, settings
        self._next: tuple[int, Future[Tensor]] | None = None

    def __enter__(self) -> _Feed:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="backplate-training-data")
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> Tensor:
        """The references of ``step``, (B, 3, crop, crop) uint8."""
        ahead, self._next = self._next, None
        batch = ahead[1].result() if ahead is not None and ahead[0] == step else self._prepare(step)
        if step + 1 < self._settings.steps:
            self._next = step + 1, self._worker.submit(self._prepare, step + 1)
        return batch

    def _prepare(self, step: int) -> Tensor:
        settings = self._settings
        return training_batch(self._collection, settings.data, settings.batch, settings.seed, step)


def model_card(
    settings: TrainSettings, base: LoadedModel, collection: Collection, step: int, before: Scores, after: Scores
) -> dict[str, Any]:
    """The metadata of a trained file, without any path of the machine that trained it."""
    described = as_plain(settings)
    described["data"]["folder"] = Path(settings.data.folder).name
    for group, name in (("losses", "vgg_weights"), ("validation", "lpips_weights")):
        described[group][name] = Path(described[group][name]).name
    return {
        "base_model": base.facts.name,
        "base_sha256": base.facts.sha256,
        "base_licence": base.facts.licence,
        "architecture": base.facts.architecture,
        "scale": base.facts.scale,
        "recipe": settings.recipe,
        "steps": step,
        "data_fingerprint": collection.fingerprint,
        "training_pictures": len(collection.training),
        "validation_pictures": len(collection.validation),
        "scores_before": {k: v for k, v in before.items() if math.isfinite(v)},
        "scores_after": {k: v for k, v in after.items() if math.isfinite(v)},
        "settings": described,
    }


def train(
    settings: TrainSettings, out: Path, base: LoadedModel | None = None, progress: Progress | None = None
) -> TrainResult:
    """Trains ``base`` (or, without one, a new Compact network) and keeps everything in the folder ``out``.

    The folder gets ``settings.yaml``, ``state.pt`` (written completely or not at all), ``log.jsonl``, ``samples/``,
    ``<folder>-last.safetensors``, and ``<folder>-best.safetensors`` only if a model beats the starting point on the
    held-out pictures by the criterion. Called again with the same settings after a crash, it continues from the last
    state with the same losses as an uninterrupted run (on a CPU to the last digit; every random draw depends on the
    step). ``base`` is not changed.

    Raises ``InputError`` for unusable settings, pictures or models, for a folder that contains another run, and if the
    disk is full.
    """
    settings, progress = replaced(settings, {}), progress or Progress()
    if settings.data.folder:
        check_apart(out, Path(settings.data.folder).expanduser())
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be used as a folder for the run ({error.strerror}); name another.") from error
    remove_leftovers(out / name for name in (STATE_FILE, SETTINGS_FILE, LOG_FILE, *_model_files(out)))
    fork_rng = cast("Any", torch.random.fork_rng)  # pyright: ignore[reportUnknownMemberType]
    accelerators = list(range(torch.cuda.device_count()))
    with torch_threads(settings.threads), fork_rng(devices=accelerators), torch.inference_mode(False):
        return _Run(settings, base or new_compact(settings.network, settings.seed), out, progress).go()
