"""The measured plan: the fastest right candidate, found in bounded time, kept until something it depends on changes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from backplate.core.engines.autotune import store as plan_store
from backplate.core.engines.autotune import timing as plan_timing
from backplate.core.engines.autotune import trial as plan_trial
from backplate.core.engines.autotune.candidates import describe_plan, pytorch_candidates
from backplate.core.engines.autotune.choose import JOB_SHARE, MEASURING, SWITCH, TOO_SHORT, choose_plan
from backplate.core.engines.autotune.tiles_and_rows import TilesAndRows
from backplate.core.engines.autotune.trial import measure
from backplate.core.engines.plan import EXACT_BAR, Candidate, EngineRequest, RunPlan
from backplate.core.engines.registry import open_upscaler
from backplate.core.progress import Cancelled
from backplate.core.tiled.pipeline import upscale
from backplate.core.types import SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from backplate.model_loader.loaded import LoadedModel
from recorder import Recorder

CPU = torch.device("cpu")


THREADS = 2


class Clock:
    """Time that passes only when a model runs, on all threads, and when something disturbs it."""

    def __init__(self) -> None:
        self.now = self.processor = 0.0

    def run(self, seconds: float) -> None:
        self.now += seconds
        self.processor += THREADS * seconds

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.processor


class Paced:
    """Takes so many seconds of the clock for a pixel."""

    def __init__(self, clock: Clock, each_pixel: float, offset: float = 0.0) -> None:
        self.clock, self.each_pixel, self.offset = clock, each_pixel, offset
        self.runs = 0
        self.spec = UpscalerSpec(
            name="paced",
            scale=1,
            input_channels=3,
            output_channels=3,
            size_rule=SizeRule(),
            halo=Halo(pixels=4, exact=True),
            max_tile_pixels=128 * 128,
        )

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        self.clock.run(picture[:, 0].numel() * self.each_pixel)
        return picture + self.offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(plan_timing, "time", clock)
    monkeypatch.setattr(plan_trial, "time", clock)
    monkeypatch.setattr(torch, "get_num_threads", lambda: THREADS)
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(plan_store, "_chosen", {})
    return clock


PLAN = RunPlan(max_tile_pixels=128 * 128)


def candidate(name: str, model: Paced, *, half: bool = False, engine: str = "pytorch") -> Candidate:
    return Candidate(name, replace(PLAN, engine=engine, dtype=name), lambda: model, half)


def test_the_fastest_is_chosen(clock: Clock):
    models = [Paced(clock, each) for each in (3e-6, 1e-6, 2e-6)]
    choice = choose_plan("a", CPU, [candidate(str(i), model) for i, model in enumerate(models)])
    assert choice.best.name == "1"
    # Context is work too: a tile of 128 gives 120 x 120 pixels.
    assert choice.best.seconds == pytest.approx(1.0 * 128**2 / 120**2)


def test_what_is_hardly_faster_is_taken_for_chance(clock: Clock):
    models = [Paced(clock, each) for each in (1e-6, 0.97e-6)]
    assert choose_plan("a", CPU, [candidate(str(i), model) for i, model in enumerate(models)]).best.name == "0"


class Streaming(Paced):
    """As fast in rows as in tiles, and rows have no context."""

    def stream_height(self, width: int) -> int:
        return 32

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        yield from map(self, chunks)


def test_one_engine_may_be_the_fastest_for_small_pictures_and_another_for_large_ones(clock: Clock):
    rows = Candidate("rows", replace(PLAN, stream_min_pixels=4096), lambda: Streaming(clock, 1.05e-6))
    slow = candidate("slow", Paced(clock, 1.2e-6))
    choice = choose_plan("a", CPU, [rows, candidate("tiles", Paced(clock, 0.95e-6)), slow])
    assert choice.best.name == "rows", "a tile of 128 computes 14 % of context"
    assert choice.best_alone is not None
    assert choice.best_alone.name == "tiles"
    assert choice.best_alone.alone == pytest.approx(0.95)
    assert choose_plan("b", CPU, [rows, slow]).best_alone is None


def test_small_pictures_then_go_in_tiles_and_large_ones_in_rows(clock: Clock):
    tiles, rows = Paced(clock, 1e-6), Streaming(clock, 1e-6)
    both = TilesAndRows(tiles, rows)
    for size, (in_tiles, in_rows) in (((128, 128), (1, 0)), ((200, 200), (1, 7))):
        picture = torch.rand(1, 3, *size)
        assert torch.equal(upscale(picture, both), picture)
        assert (tiles.runs, rows.runs) == (in_tiles, in_rows)


def test_results_that_differ_are_not_chosen(clock: Clock):
    right = candidate("right", Paced(clock, 2e-6))
    wrong = candidate("wrong", Paced(clock, 1e-6, offset=0.001))
    half = candidate("half", Paced(clock, 1.5e-6, offset=0.001), half=True)
    coarse = candidate("coarse", Paced(clock, 1e-6, offset=0.01), half=True)
    broken = candidate("broken", Paced(clock, 1e-6, offset=float("nan")), half=True)
    choice = choose_plan("a", CPU, [right, wrong, half, coarse, broken])
    assert choice.best.name == "half"
    reasons = {trial.name: trial.reason for trial in choice.trials}
    assert "differs by 1.0e-03" in reasons["wrong"]
    assert "differs by 1.0e-02" in reasons["coarse"]
    assert "not finite" in reasons["broken"]


def test_a_candidate_that_cannot_open_is_left_out_with_its_reason(clock: Clock):
    def fail() -> Paced:
        raise RuntimeError("no such device")

    choice = choose_plan("a", CPU, [Candidate("gone", PLAN, fail), candidate("here", Paced(clock, 1e-6))])
    assert choice.best.name == "here"
    assert choice.trials[0].reason == "no such device"


@pytest.mark.parametrize("each_pixel", [1e-6, 1e-4, 1e-2])
def test_the_trial_is_bounded_for_models_of_any_speed(clock: Clock, each_pixel: float):
    models = [Paced(clock, each_pixel) for _ in range(6)]
    list(measure([candidate(str(i), model) for i, model in enumerate(models)], limit=5.0))
    # The small pictures alone: three each and one for the reference.
    small = 64 * 64 * each_pixel * (3 * len(models) + 1)
    assert clock.now <= 5.0 + small


def test_nothing_measured_means_the_default(clock: Clock):
    choice = choose_plan("a", CPU, [candidate("default", Paced(clock, 1.0)), candidate("other", Paced(clock, 0.9))])
    assert choice.best.name == "default"
    assert "too long" in choice.best.reason


def test_a_choice_is_kept_on_disk(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    first, second = Paced(clock, 2e-6), Paced(clock, 1e-6)
    candidates = [candidate("a", first), candidate("b", second)]
    kept = choose_plan("model", CPU, candidates)
    monkeypatch.setattr(plan_store, "_chosen", {})
    runs = first.runs, second.runs
    assert choose_plan("model", CPU, candidates) == kept
    assert (first.runs, second.runs) == runs, "read, not measured"
    choose_plan("model", CPU, candidates, anew=True)
    assert first.runs > runs[0]


def test_whatever_it_depends_on_measures_anew(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    model = Paced(clock, 1e-6)
    candidates = [candidate("a", model), candidate("b", model)]

    def measured(sha256: str = "model", given: list[Candidate] = candidates) -> bool:
        before = model.runs
        choose_plan(sha256, CPU, given)
        return model.runs > before

    assert measured()
    assert not measured()
    assert measured(sha256="other model")
    assert measured(given=[*candidates, candidate("c", model)])
    assert measured(given=[candidates[0], candidate("b", model, engine="ncnn")])
    monkeypatch.setattr(torch, "__version__", "99")
    assert measured()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert measured()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("slow", "limit", "expected"), [(1e-6, 50.0, False), (1e-4, 5.0, False), (1e-4, 4.0, False), (1e-4, 50.0, True)]
)
def test_only_a_longer_limit_measures_anew_what_was_cut_short(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, in_memory: bool, slow: float, limit: float, expected: bool
):
    models = [Paced(clock, 1e-6), Paced(clock, slow), Paced(clock, slow), Paced(clock, slow)]
    candidates = [candidate(str(i), model) for i, model in enumerate(models)]
    first = choose_plan("model", CPU, candidates, limit=5.0)
    assert any(trial.cut_short for trial in first.trials) == (slow == 1e-4)
    if not in_memory:
        monkeypatch.setattr(plan_store, "_chosen", {})
    runs = models[-1].runs
    second = choose_plan("model", CPU, candidates, limit=limit)
    assert (models[-1].runs > runs) == expected
    assert second == first if not expected else not any(trial.cut_short for trial in second.trials)


class Stopped(Paced):
    """The process is stopped for an hour during each of these runs. The first two are not timed."""

    def __init__(self, clock: Clock, each_pixel: float, during: Sequence[int]) -> None:
        super().__init__(clock, each_pixel)
        self.during = during

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        if self.runs in self.during:
            self.clock.now += 3600
        return super().__call__(picture)


@pytest.mark.parametrize("run", range(2, 5))
def test_what_was_disturbed_once_is_measured_again_and_kept(clock: Clock, run: int):
    disturbed, other = Stopped(clock, 5e-5, [run]), Paced(clock, 1e-4)
    choice = choose_plan("model", CPU, [candidate("a", disturbed), candidate("b", other)])
    assert not choice.disturbed
    assert choice.trials[0].seconds == pytest.approx(50 * 128**2 / 120**2)
    assert choice.trials[1].seconds == pytest.approx(100 * 128**2 / 120**2), "it has its time still"
    assert len(plan_store.plans.read()) == 1


def test_what_is_disturbed_again_and_again_is_used_but_not_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    disturbed, other = Stopped(clock, 5e-5, range(2, 1000)), Paced(clock, 1e-4)
    candidates = [candidate("a", disturbed), candidate("b", other)]
    choice = choose_plan("model", CPU, candidates)
    assert choice.best.name == "b"
    assert [trial.disturbed for trial in choice.trials] == [True, False]
    assert not plan_store.plans.read()
    runs = disturbed.runs
    assert choose_plan("model", CPU, candidates) is choice, "this process goes on with it"
    assert disturbed.runs == runs
    monkeypatch.setattr(plan_store, "_chosen", {})
    disturbed.during = ()
    again = choose_plan("model", CPU, candidates)
    assert again.best.name == "a"
    assert not again.disturbed
    assert len(plan_store.plans.read()) == 1


def test_a_disturbed_trial_leaves_what_was_kept_before(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    model, other = Stopped(clock, 5e-5, ()), Paced(clock, 1e-4)
    candidates = [candidate("a", model), candidate("b", other)]
    kept = choose_plan("model", CPU, candidates)
    model.during = range(1000)
    assert choose_plan("model", CPU, candidates, anew=True).disturbed
    monkeypatch.setattr(plan_store, "_chosen", {})
    assert choose_plan("model", CPU, candidates) == kept


def test_the_only_figure_of_a_slow_model_is_used_though_it_was_disturbed(clock: Clock):
    # Once through takes more than half the limit, so there is no second time.
    disturbed = Stopped(clock, 1.8e-4, [4])
    choice = choose_plan("model", CPU, [candidate("a", disturbed), candidate("b", Paced(clock, 1e-6))])
    assert choice.trials[0].seconds == pytest.approx((1.8e-4 * 128**2 + 3600) / 120**2 * 1e6)
    assert choice.trials[0].disturbed
    assert choice.best.name == "b"
    assert not plan_store.plans.read()


class Crowded(Paced):
    """Another process has one of the two processors, and the threads wait for each other: eight times as slow."""

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        before = self.clock.processor
        result = super().__call__(picture)
        waited = 3 * (self.clock.processor - before)
        self.clock.now += waited + (self.clock.processor - before) / THREADS
        self.clock.processor += waited
        return result


def test_a_busy_machine_disturbs_too(clock: Clock):
    models = [Crowded(clock, 1e-6), Crowded(clock, 1e-6)]
    choice = choose_plan("model", CPU, [candidate(str(i), model) for i, model in enumerate(models)])
    assert all(trial.disturbed for trial in choice.trials)
    assert not plan_store.plans.read()


def test_one_thread_alone_is_busy_enough(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    models = [Crowded(clock, 1e-6), Crowded(clock, 1e-6)]
    assert not choose_plan("model", CPU, [candidate(str(i), model) for i, model in enumerate(models)]).disturbed


def test_a_process_that_waits_for_its_device_is_not_disturbed(clock: Clock):
    device = torch.device("mps")
    models = [Stopped(clock, 1e-9, range(1000)) for _ in range(2)]
    choice = choose_plan("model", device, [candidate(str(i), model) for i, model in enumerate(models)], limit=1e6)
    assert not choice.disturbed
    assert len(plan_store.plans.read()) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 11, "facts": {"KEY": {"trials": [1]}}}', "null"])
def test_a_damaged_file_is_measured_anew(clock: Clock, content: str, monkeypatch: pytest.MonkeyPatch):
    candidates = [candidate("a", Paced(clock, 2e-6)), candidate("b", Paced(clock, 1e-6))]
    kept = choose_plan("model", CPU, candidates)
    file = plan_store.plans.path
    (key,) = plan_store.plans.read()
    file.write_text(content.replace("KEY", key))
    monkeypatch.setattr(plan_store, "_chosen", {})
    assert choose_plan("model", CPU, candidates).best.name == kept.best.name
    assert plan_store.plans.read()[key]["trials"]


def test_a_home_that_cannot_be_written_only_costs_the_next_trial(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    candidates = [candidate("a", Paced(clock, 2e-6)), candidate("b", Paced(clock, 1e-6))]
    assert choose_plan("model", CPU, candidates).best.name == "b"


def test_the_switch_takes_the_default(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SWITCH, "0")
    slow, fast = Paced(clock, 2e-6), Paced(clock, 1e-6)
    assert choose_plan("a", CPU, [candidate("slow", slow), candidate("fast", fast)]).best.name == "slow"
    assert not slow.runs + fast.runs


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2", "span"])
def test_every_way_of_pytorch_gives_the_same_picture(build: Callable[[str], LoadedModel], name: str):
    model = build(name)
    picture = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    candidates = pytorch_candidates(EngineRequest(model, CPU))
    assert len({describe_plan(each.plan) for each in candidates}) == len(candidates) >= 4
    results = [each.open()(picture) for each in candidates]
    assert all((result - results[0]).abs().max() <= EXACT_BAR for result in results)


def test_a_real_trial_ends_with_a_model(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(plan_store, "_chosen", {})
    model = build("compact")
    picture = torch.rand(1, 3, 40, 30)
    assert (open_upscaler(model, CPU)(picture) - model.descriptor(picture)).abs().max() < 1e-5
    # Not on disk if other processes kept the machine busy.
    assert len(plan_store._chosen) == 1


def test_a_trial_can_be_cancelled_between_candidates(clock: Clock):
    models = [Paced(clock, 1e-6) for _ in range(3)]
    with pytest.raises(Cancelled):
        choose_plan("a", CPU, [candidate(str(i), model) for i, model in enumerate(models)], progress=Recorder(1))
    assert not models[1].runs


def test_nothing_is_opened_when_the_time_is_up(clock: Clock):
    opened: list[str] = []

    def opening(name: str) -> Candidate:
        def open_it() -> Paced:
            opened.append(name)
            return Paced(clock, 1.0)

        return Candidate(name, PLAN, open_it)

    trials = list(measure([opening("first"), opening("second")], limit=5.0))
    assert opened == ["first"]
    assert "too long" in trials[1].reason


@pytest.mark.parametrize("half_first", [False, True])
def test_what_the_others_are_compared_with_is_opened_once_where_it_comes_first(clock: Clock, half_first: bool):
    opened: list[str] = []

    def opening(name: str, *, half: bool = False) -> Candidate:
        def open_it() -> Paced:
            opened.append(name)
            return Paced(clock, 1e-9)

        return Candidate(name, PLAN, open_it, half)

    list(measure([opening("first", half=half_first), opening("second")]))
    # Kept until its turn, it would take memory while the first is measured.
    assert opened == (["second", "first", "second"] if half_first else ["first", "second"])


def test_a_trial_is_shown_once_candidate_by_candidate(clock: Clock) -> None:
    recorder = Recorder()
    candidates = [candidate("a", Paced(clock, 1e-6)), candidate("b", Paced(clock, 2e-6))]
    for _ in range(2):
        choose_plan("model", CPU, candidates, progress=recorder)
    assert recorder.labels == [MEASURING], "the second time it is known"
    assert (recorder.total, recorder.done) == (2, 2)


def test_a_small_job_gets_a_short_trial_that_a_large_one_does_not_take_for_its_own(clock: Clock) -> None:
    def tried() -> list[str]:
        return [trial.name for trial in choice.trials if trial.seconds is not None]

    candidates = [candidate("first", Paced(clock, 1e-5)), candidate("faster", Paced(clock, 5e-6))]
    choice = choose_plan("model", CPU, candidates, pixels=1000)
    assert (choice.best.name, choice.best.reason, tried()) == ("first", TOO_SHORT, [])
    job = 2_000_000
    before = clock.now
    choice = choose_plan("model", CPU, candidates, pixels=job)
    assert choice.limit == pytest.approx(JOB_SHARE * job * 1e-5)
    assert clock.now - before < 1.5 * JOB_SHARE * job * 1e-5, "openings are part of it"
    choice = choose_plan("model", CPU, candidates, pixels=100_000_000)
    assert choice.best.name == "faster"
    assert tried() == ["first", "faster"]
    before = clock.now
    assert choose_plan("model", CPU, candidates, pixels=1000) == choice
    assert clock.now == before, "what is known costs nothing"
