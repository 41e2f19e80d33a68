"""``--no-tune`` and ``backplate tune``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from backplate.core.engines import registry
from backplate.core.engines.autotune import choose as plan_choice
from backplate.core.engines.autotune import store as plan_store
from backplate.core.engines.plan import Candidate, Trial
from backplate.core.jobs.folder import ray_cluster as cluster
from backplate.core.jobs.folder.run import run_folder
from clips import drawing, write_clip
from PIL import Image

COMMANDS = {
    "upscale": ("upscale", "{pictures}/0.png", "-o", "{out}.png", "-m", "{model}"),
    "folder": ("upscale", "{pictures}", "-o", "{out}", "-m", "{model}"),
    "batch": ("batch", "{pictures}", "-o", "{out}", "-m", "{model}"),
    "video": ("video", "{clip}", "-o", "{out}.mp4", "-m", "{model}"),
    "shootout": ("shootout", "-m", "{model}", "--images", "{pictures}", "-o", "{out}", "--scale", "2"),
    "diagnose": ("diagnose", "-m", "{model}", "--data", "{pictures}"),
}


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The trials that are made, by their first candidate. They end at once, with no time left for the last."""
    made: list[str] = []

    def measure(candidates: Sequence[Candidate], *_: object, **__: object) -> Iterator[Trial]:
        made.append(candidates[0].name)
        yield from (Trial(name=each.name, plan=each.plan, seconds=1.0) for each in candidates[:-1])
        yield Trial(name=candidates[-1].name, plan=candidates[-1].plan, reason="too long", cut_short=True)

    def on_this_machine(job, load: Callable, progress, **_: object):
        return run_folder(job, load()[0], progress)

    monkeypatch.setattr(plan_choice, "measure", measure)
    # The jobs are short, which is another reason to try nothing.
    monkeypatch.setattr(plan_choice, "LEAST_TRIAL", 0.0)
    monkeypatch.setattr(registry, "SMALL_JOB", 0)
    monkeypatch.setattr(plan_store, "_chosen", {})
    monkeypatch.setattr(cluster, "run_folder_on_cluster", on_this_machine)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.fixture
def words(model: Path, tmp_path: Path) -> Callable[[str], list[str]]:
    (tmp_path / "pictures").mkdir()
    Image.effect_noise((48, 40), 60).convert("RGB").save(tmp_path / "pictures" / "0.png")
    clip = write_clip(tmp_path / "clip.mp4", pictures=[drawing(number) for number in range(3)])
    places = {"clip": clip, "pictures": tmp_path / "pictures", "out": tmp_path / "out", "model": model}
    return lambda name: [word.format(**places) for word in COMMANDS[name]]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("variable", "flags", "expected"), [("1", [], 1), ("1", ["--no-tune"], 0), ("0", [], 0), ("0", ["--no-tune"], 0)]
)
def test_the_flag_and_the_variable_switch_trials_off(
    backplate, words, trials, monkeypatch, name, variable, flags, expected
):
    monkeypatch.setenv(plan_choice.SWITCH, variable)
    backplate(*words(name), *flags)
    assert len(trials) == expected
    assert bool(plan_store.plans.read()) == bool(expected)


def test_the_variable_of_the_first_machine_holds_for_the_workers(backplate, words, trials, monkeypatch):
    def elsewhere(job, load: Callable, progress, **_: object):
        monkeypatch.delenv(plan_choice.SWITCH)
        return run_folder(job, load()[0], progress)

    monkeypatch.setattr(cluster, "run_folder_on_cluster", elsewhere)
    monkeypatch.setenv(plan_choice.SWITCH, "0")
    backplate(*words("batch"), code=0)
    assert not trials


def test_auto_is_pytorch_where_trials_are_switched_off(backplate, words, trials, monkeypatch):
    monkeypatch.setenv(plan_choice.SWITCH, "1")
    done = backplate(*words("upscale"), "--engine", "auto", "--no-tune", code=0)
    assert not trials
    assert "ncnn" not in done.stdout + done.stderr


@pytest.mark.parametrize("engine", ["auto", "pytorch"])
def test_what_was_tuned_is_what_upscale_takes(backplate, words, trials, monkeypatch, model, engine):
    monkeypatch.setenv(plan_choice.SWITCH, "1")
    table = backplate("tune", model, "--device", "cpu", code=0)
    assert "<- the fastest" in table.stdout
    assert len(trials) == 1
    backplate(*words("upscale"), "--engine", engine, "--device", "cpu", code=0)
    assert len(trials) == 1


@pytest.mark.parametrize(
    ("engine", "kept"), [("pytorch", "this is not kept"), ("ncnn", "only the part about pytorch is kept")]
)
def test_a_disturbed_trial_is_shown_and_not_kept(backplate, trials, monkeypatch, model, engine, kept):
    """``engine``: the one that was disturbed."""
    if engine == "ncnn":
        pytest.importorskip("ncnn")

    def measure(candidates: Sequence[Candidate], *_: object, **__: object) -> Iterator[Trial]:
        for each in candidates:
            found = each.plan.engine == engine
            yield Trial(name=each.name, plan=each.plan, seconds=1.0 if found else 2.0, disturbed=found)

    monkeypatch.setattr(plan_choice, "measure", measure)
    # The jobs are short, which is another reason to try nothing.
    monkeypatch.setattr(plan_choice, "LEAST_TRIAL", 0.0)
    monkeypatch.setattr(registry, "SMALL_JOB", 0)
    done = backplate("tune", model, "--device", "cpu", code=0)
    assert "<- the fastest (disturbed)" in done.stdout
    assert f"{kept}; run it again" in done.stderr
    assert bool(plan_store.plans.read()) == (engine == "ncnn")
