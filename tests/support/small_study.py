"""Small studies: noise that every side blurs in its own way."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from backplate.core.study.design import Design, Key, Trial, read_design, read_key, schedule
from backplate.core.study.make import StudySettings, make_study
from backplate.core.study.scenes import Scene
from backplate.core.study.simulate import vote_on
from backplate.core.study.votes import LEFT, NONE, RIGHT, Vote


def scene(
    name: str, labels: list[str], *, side: int = 24, source: bool = True, seed: int = 0, frames: int = 1
) -> Scene:
    dice = torch.Generator().manual_seed(seed)
    base = torch.rand((frames, 3, side, side), generator=dice)
    results = {label: (base * (1 - 0.2 * place)).clamp(0, 1) for place, label in enumerate(labels)}
    small = base[..., ::2, ::2] if source else None
    return Scene(name=name, results=results, source=small, rate=12.0 if frames > 1 else 0.0)


def made(folder: Path, labels: list[str], count: int, **changes: object) -> tuple[Design, Key]:
    scenes = [(f"p{n}", lambda n=n: scene(f"p{n}", labels, seed=n)) for n in range(count)]
    make_study(folder, labels, scenes, StudySettings(**{"side": 16, "voters": 4, **changes}))  # pyright: ignore
    return read_design(folder), read_key(folder)


def right_answer(trial: Trial, key: Key, favourite: Callable[[str], float]) -> str:
    """Of somebody who sees controls as they are and prefers the label with the larger number."""
    answer = key.answers[trial.item]
    if answer.kind == "identical":
        return NONE
    if answer.kind == "obvious":
        return LEFT if trial.left == answer.right else RIGHT
    left, right = favourite(key.models[trial.left]), favourite(key.models[trial.right])
    return NONE if left == right else LEFT if left > right else RIGHT


def votes_by(design: Design, key: Key, voters: int, favourite: Callable[[str], float]) -> list[Vote]:
    return [
        vote_on(trial, right_answer(trial, key, favourite), f"v{voter}", design.study)
        for voter in range(voters)
        for trial in schedule(design, voter)
    ]


def start(folder: Path, listener: socket.socket) -> BaseProcess:
    """A server of the study in its own process, which takes over the socket and accepts votes at any rate."""

    def run() -> None:
        import uvicorn
        from backplate.core.study.serve import RateLimit, application

        limit = RateLimit(burst=1e6, per_second=1e6)
        uvicorn.run(application(folder, limit), fd=listener.fileno(), access_log=False, log_level="error")

    server = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    server.start()
    return server
