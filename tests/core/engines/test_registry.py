"""Engines are chosen by name, and PyTorch takes over where one cannot run a model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines import registry as engines
from backplate.core.engines.autotune import store as plan_store
from backplate.core.engines.autotune.choose import SWITCH, TOO_SHORT
from backplate.core.engines.autotune.tiles_and_rows import TilesAndRows
from backplate.core.engines.plan import Candidate, Choice, RunPlan, Trial
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.registry import Engine, EngineRequest, EngineUnusable, list_engines, open_upscaler
from backplate.core.progress import Cancelled
from backplate.core.tiled.pipeline import upscale
from backplate.core.upscaler import Upscaler
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision
from recorder import Recorder

CPU = torch.device("cpu")


def refuse(request: EngineRequest) -> Upscaler:
    raise EngineUnusable(f"the operator Roll of {request.model.facts.name} is not supported; use another model")


def test_pytorch_runs_the_model_itself_and_says_nothing(build: Callable[[str], LoadedModel]):
    progress = Recorder()
    assert isinstance(open_upscaler(build("compact"), CPU, progress=progress), EagerUpscaler)
    assert progress.notes == []


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (SimpleNamespace(unusable=lambda: "ncnn is not installed", open_model=refuse), "ncnn is not installed"),
        (SimpleNamespace(unusable=lambda: None, open_model=refuse), "Roll of compact"),
    ],
)
def test_pytorch_takes_over_with_one_sentence(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, module: SimpleNamespace, said: str
):
    monkeypatch.setattr(engines, "engine_module", lambda engine: module)
    progress = Recorder()
    upscaler = open_upscaler(build("compact"), CPU, engine=Engine.NCNN, progress=progress)
    assert isinstance(upscaler, EagerUpscaler)
    assert len(progress.notes) == 1
    assert progress.notes[0].startswith("compact runs in PyTorch instead of ncnn: ")
    assert said in progress.notes[0]


def test_another_precision_is_said(build: Callable[[str], LoadedModel]):
    progress = Recorder()
    open_upscaler(build("compact"), CPU, Precision.FP16, progress=progress)
    assert len(progress.notes) == 1
    assert "fp32 instead of fp16" in progress.notes[0]


def test_whatever_stops_the_building_passes_through(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    def stopped(request: EngineRequest) -> Upscaler:
        raise KeyboardInterrupt

    module = SimpleNamespace(unusable=lambda: None, open_model=stopped)
    monkeypatch.setattr(engines, "engine_module", lambda engine: module)
    with pytest.raises(KeyboardInterrupt):
        open_upscaler(build("compact"), CPU, engine=Engine.NCNN)


def test_every_engine_is_listed_with_a_reason_or_without():
    rows = list_engines()
    assert rows[0].engine is Engine.PYTORCH
    assert rows[0].reason is None
    assert len({row.engine for row in rows}) == len(rows)


def test_the_trial_of_pytorch_alone_can_be_cancelled(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(plan_store, "_chosen", {})
    with pytest.raises(Cancelled):
        open_upscaler(build("compact"), CPU, progress=Recorder(0))
    assert not plan_store.plans.read()


def test_auto_may_take_one_engine_for_small_pictures_and_another_for_large_ones(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    model = build("compact")
    tiles = EagerUpscaler(model, CPU, plan=RunPlan(max_tile_pixels=48 * 48))
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(
        engines, "engine_module", lambda _: SimpleNamespace(unusable=lambda: None, open_model=lambda _: tiles)
    )

    def choose(_sha256: str, _device: torch.device, candidates: list[Candidate], **_options: object) -> Choice:
        assert [each.plan.engine for each in candidates[:2]] == ["ncnn", "pytorch"], "a chain of convolutions"
        figures = {candidates[1].name: (1.0, 1.0), "ncnn": (2.0, 0.5)}
        return Choice(
            tuple(
                Trial(name=each.name, plan=each.plan, seconds=figures[each.name][0], alone=figures[each.name][1])
                for each in candidates
                if each.name in figures
            )
        )

    monkeypatch.setattr(engines, "choose_plan", choose)
    progress = Recorder()
    upscaler = open_upscaler(model, CPU, engine=Engine.AUTO, progress=progress)
    assert isinstance(upscaler, TilesAndRows)
    assert len(progress.notes) == 1
    assert "and in ncnn up to 48x48 pixels" in progress.notes[0]
    for side in (40, 100):
        picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        assert (upscale(picture, upscaler) - model.descriptor(picture)).abs().max() < 1e-5


def test_auto_takes_ncnn_for_chains_of_convolutions_without_a_trial_where_the_job_is_short(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("ncnn")
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(plan_store, "_chosen", {})
    model, progress = build("compact"), Recorder()
    small = open_upscaler(model, CPU, engine=Engine.AUTO, progress=progress, pixels=100 * 100)
    assert isinstance(small, EagerUpscaler)
    assert progress.notes == [f"{model.facts.name} runs in pytorch: this job is too small for another engine."]
    progress.notes.clear()
    upscaler = open_upscaler(model, CPU, engine=Engine.AUTO, progress=progress, pixels=300 * 300)
    assert not isinstance(upscaler, EagerUpscaler)
    assert progress.notes == [f"{model.facts.name} runs in ncnn, unmeasured: {TOO_SHORT}."]
    picture = torch.rand(1, 3, 70, 50, generator=torch.Generator().manual_seed(1))
    assert (upscale(picture, upscaler) - model.descriptor(picture)).abs().max() < 1e-4
    assert not plan_store.plans.read(), "what was not measured is not kept"
