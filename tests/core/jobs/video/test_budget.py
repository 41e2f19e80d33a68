"""Which model is chosen, with models whose time is told by a clock of the test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from backplate.core.errors import InputError, OutOfMemory
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.model_info import Model
from backplate.core.jobs.video import budget as video_budget
from backplate.core.jobs.video.budget import Budget, precision_of, settle_budget
from backplate.core.jobs.video.plan import VideoJob, VideoPlan, VideoSettings, plan_video
from backplate.core.upscaler import Upscaler
from backplate.model_loader.errors import DamagedModelError
from clips import Nearest, drawing, write_clip
from recorder import Recorder


class Clock:
    """Stands for the module ``time``."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Paced(Nearest):
    """Takes so many nanoseconds for a pixel."""

    def __init__(self, clock: Clock, nanoseconds: float, scale: int = 2) -> None:
        super().__init__(scale)
        self.clock, self.nanoseconds = clock, nanoseconds

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.clock.now += self.nanoseconds * 1e-9 * picture.shape[2] * picture.shape[3]
        return super().__call__(picture)


class TooLarge(Nearest):
    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        raise OutOfMemory("no room")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(video_budget, "time", clock)
    return clock


@pytest.fixture
def planned(tmp_path: Path) -> tuple[VideoJob, VideoPlan]:
    """200x100: 20,000 pixels a frame."""
    source = write_clip(tmp_path / "in.mp4", pictures=[drawing(0, 200, 100)] * 2)
    job = VideoJob(
        source=source,
        output=tmp_path / "out.mp4",
        settings=VideoSettings(target=Target(fit=Fit.FACTOR, factor=2)),
        model=named("wanted"),
        device=torch.device("cpu"),
    )
    return job, plan_video(job, Nearest())


def named(name: str) -> Model:
    return Model(name=name, sha256=name, precision="fp32")


def settle(planned: tuple[VideoJob, VideoPlan], clock: Clock, budget: float, live: bool) -> Budget:
    """Models of 2 ms (wanted), 1.2 ms, 0.4 ms and 200 ms a frame, and one that does not fit."""
    others = {"middle": Paced(clock, 60), "small": Paced(clock, 20), "huge": Paced(clock, 10_000), "fat": TooLarge()}
    candidates = [partial(lambda name, each: (each, named(name)), name, each) for name, each in others.items()]
    return settle_budget(*planned, Paced(clock, 100), budget, candidates, live=live)


def test_a_model_that_holds_the_budget_is_kept_and_no_other_tried(planned: tuple, clock: Clock):
    budget = settle(planned, clock, 2.5, live=True)
    assert (budget.model.name, budget.holds, len(budget.trials)) == ("wanted", True, 1)
    assert budget.trials[0].milliseconds == pytest.approx(2.0)
    assert "2.0 ms, 500.0 fps" in budget.sentence


def test_live_drops_to_the_model_that_uses_the_budget_best(planned: tuple, clock: Clock):
    budget = settle(planned, clock, 1.5, live=True)
    assert (budget.model.name, budget.holds) == ("middle", True)
    assert "continuing with middle in fp32: 1.2 ms" in budget.sentence


def test_without_live_the_wish_is_followed_and_the_fitting_model_named(planned: tuple, clock: Clock):
    budget = settle(planned, clock, 0.5, live=False)
    assert (budget.model.name, budget.holds) == ("wanted", False)
    assert "small in fp32: 0.4 ms, 2500.0 fps would hold it" in budget.sentence


def test_live_refuses_when_nothing_is_fast_enough(planned: tuple, clock: Clock):
    words = r"over the budget of 0.1 ms, and none is fast enough: middle.*; fat does not run here; allow more time"
    with pytest.raises(InputError, match=words):
        settle(planned, clock, 0.1, live=True)


def test_a_hopeless_model_is_judged_by_a_part_of_the_frame(planned: tuple, clock: Clock):
    trials = {trial.model.name: trial for trial in settle(planned, clock, 1.5, live=True).trials}
    assert trials["huge"].estimated
    assert trials["huge"].milliseconds == pytest.approx(200)
    assert trials["fat"].milliseconds == float("inf")


def damaged() -> tuple[Upscaler, Model]:
    raise DamagedModelError("broken.pth is empty (0 bytes): download it again.")


def test_a_model_that_cannot_be_opened_is_left_out_with_a_note(planned: tuple, clock: Clock):
    noting = Recorder()
    candidates = [damaged, lambda: (Paced(clock, 20), named("small"))]
    budget = settle_budget(*planned, Paced(clock, 100), 0.5, candidates, live=True, progress=noting)
    assert (budget.model.name, [trial.model.name for trial in budget.trials]) == ("small", ["wanted", "small"])
    assert noting.notes == ["A model is left out of the trial: broken.pth is empty (0 bytes): download it again."]


def test_where_no_other_model_opens_live_says_so(planned: tuple, clock: Clock):
    with pytest.raises(InputError, match="no other model that runs was found here"):
        settle_budget(*planned, Paced(clock, 100), 0.5, [damaged], live=True)


@pytest.mark.parametrize(
    ("requested", "dtype", "found"),
    [("auto", torch.float32, "fp32"), ("auto", torch.float16, "fp16"), ("fp16", torch.float32, "fp32"),
     ("tf32", torch.float32, "tf32"), ("bf16", torch.bfloat16, "bf16"), ("auto", None, "auto")],
)  # fmt: skip
def test_the_precision_is_the_one_that_the_model_runs_in(requested: str, dtype: torch.dtype | None, found: str):
    upscaler = Nearest()
    if dtype is not None:
        upscaler.dtype = dtype
    assert precision_of(upscaler, Model(name="a", sha256="0", precision=requested)) == found


def test_a_budget_must_be_positive(planned: tuple, clock: Clock):
    with pytest.raises(InputError, match="above 0"):
        settle(planned, clock, 0, live=False)
