"""Nothing that a voter gets tells which model a picture came from, except the picture itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.study.design import Design, Key, read_design, read_key, schedule
from backplate.core.study.invites import more_invites
from backplate.core.study.make import StudySettings, make_study
from backplate.core.study.page import file_page
from backplate.core.study.scenes import Scene
from backplate.core.study.serve import application
from starlette.testclient import TestClient

STUDIES, PICTURES = 50, 3
NAMES = ("noisy_model", "smooth_model")


def chunks(png: bytes) -> Iterator[tuple[bytes, int]]:
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], length
        at += 12 + length


def scene(number: int) -> Scene:
    """Sides whose files would be of very different sizes: noise, and nearly flat paint."""
    noise = torch.rand((1, 3, 24, 24), generator=torch.Generator().manual_seed(number))
    return Scene(name=f"p{number}", results={NAMES[0]: noise, NAMES[1]: noise / 50}, source=noise[..., ::2, ::2])


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("studies")
    for number in range(STUDIES):
        scenes = [(f"p{n}", lambda n=n: scene(n)) for n in range(PICTURES)]
        make_study(base / str(number), NAMES, scenes, StudySettings(side=16, voters=4))
    return [base / str(number) for number in range(STUDIES)]


def pairs(study: Path, *, leak: bool = False) -> Iterator[tuple[list[float], bool]]:
    """For each real pair: the differences of everything that is handed out about its two tokens, and whether the first
    is of the first model. ``leak``: as if files had not been made equally long."""
    design, key = read_design(study), read_key(study)
    html = file_page(study, design)
    link = more_invites(study, 1)[0].token
    client = TestClient(application(study))
    for place, item in enumerate(design.items):
        if key.answers[item.item].kind != "pair":
            continue
        tokens = (item.first, item.second)
        found = np.diff([facts(study, design, token, html, client, link, place, leak) for token in tokens], axis=0)[0]
        yield [*found, float(place), float(int(item.item[:4], 16))], key.models[item.first] == NAMES[0]


def facts(
    study: Path, design: Design, token: str, html: str, client: TestClient, link: str, place: int, leak: bool
) -> list[float]:
    path = study / f"pictures/{token}.png"
    answer = client.get(f"/v/{link}/pictures/{token}.png")
    seen = [
        float(trial.left == token)
        for voter in range(3)
        for trial in schedule(design, voter)[: len(design.items)]
        if trial.item == design.items[place].item
    ]
    inside = dict(chunks(path.read_bytes()))[b"IDAT"] if leak else 0
    order = sorted(study.joinpath("pictures").iterdir())
    return [
        path.stat().st_size,
        path.stat().st_mtime,
        float(answer.headers["content-length"]),
        float(len(answer.headers)),
        int(token[:8], 16),
        int(token[-8:], 16),
        html.index(token),
        html.count(token),
        order.index(path),
        *seen,
        inside,
    ]


def guessed(rows: list[tuple[list[float], bool]]) -> float:
    """How often a linear classifier that learned from the first half is right on the second."""
    values = np.array([row for row, _ in rows])
    spread = values.std(axis=0)
    values = np.c_[(values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), np.ones(len(rows))]
    wanted = np.array([1.0 if first else -1.0 for _, first in rows])
    half = len(rows) // 2
    weights = np.linalg.lstsq(values[:half], wanted[:half], rcond=1e-6)[0]
    return float((np.sign(values[half:] @ weights) == wanted[half:]).mean())


def test_a_classifier_does_no_better_than_chance(studies: list[Path]):
    rows = [row for study in studies for row in pairs(study)]
    assert len(rows) == STUDIES * PICTURES * 2
    deviation = 0.5 / np.sqrt(len(rows) / 2)
    assert guessed(rows) < 0.5 + 4 * deviation


def test_the_classifier_would_find_a_leak(studies: list[Path]):
    assert guessed([row for study in studies[:20] for row in pairs(study, leak=True)]) > 0.95


def test_files_of_a_pair_are_equally_long_and_hold_pixels_alone(studies: list[Path]):
    for study in studies[:10]:
        for item in read_design(study).items:
            files = [(study / f"pictures/{token}.png").read_bytes() for token in item.tokens]
            assert max(map(len, files)) <= 1.02 * min(map(len, files))
            for png in files:
                assert [kind for kind, _ in chunks(png)] == [b"IHDR", b"IDAT", b"paDd", b"IEND"]


def test_no_name_is_in_anything_that_is_handed_out(studies: list[Path]):
    study = studies[0]
    link = more_invites(study, 1)[0].token
    client = TestClient(application(study))
    handed = [(study / "study.json").read_text(), file_page(study, read_design(study))]
    handed += [client.get(path).text for path in (f"/v/{link}/", f"/v/{link}/next", f"/v/{link}/status", "/status")]
    words = (*NAMES, "identical", "obvious", *(f"p{n}.png" for n in range(PICTURES)))
    for text in handed:
        assert [word for word in words if word in text] == []


def test_the_order_of_the_design_does_not_follow_the_order_of_making(studies: list[Path]):
    """Who knows the order in which pairs are made must not find it again."""

    def real(design: Design, key: Key) -> tuple[str, ...]:
        return tuple(key.answers[i.item].picture for i in design.items if key.answers[i.item].kind == "pair")

    orders = {real(read_design(study), read_key(study)) for study in studies}
    assert len(orders) > STUDIES / 2
