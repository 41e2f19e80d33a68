"""The server: what it takes, what it refuses, and what it never tells."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from backplate.core.errors import InputError
from backplate.core.study.design import QUESTIONS, read_design, read_key, schedule
from backplate.core.study.invites import more_invites, read_invites
from backplate.core.study.serve import LONGEST_BODY, RateLimit, application
from backplate.core.study.votes import read_votes
from small_study import made
from starlette.testclient import TestClient


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(study: Path) -> str:
    return f"/v/{more_invites(study, 3)[0].token}"


@pytest.fixture
def client(study: Path, link: str, clock: Clock) -> TestClient:
    return TestClient(application(study, RateLimit(clock=clock)))


def body(client: TestClient, link: str, number: int = 0) -> dict[str, Any]:
    trial = client.get(f"{link}/next").json()["trial"]
    assert trial["number"] == number
    wanted = {name: trial[name] for name in ("item", "left", "right", "number")}
    return {**wanted, "id": f"vote {number}", "choice": "left"}


def test_a_whole_study_through_the_api(client: TestClient, link: str, study: Path, clock: Clock):
    total = client.get(f"{link}/status").json()["total"]
    assert total == len(schedule(read_design(study), 0))
    for number in range(total):
        clock.now += 1
        trial = client.get(f"{link}/next").json()["trial"]
        assert trial["text"] == QUESTIONS[trial["question"]]
        for side in ("left", "right"):
            picture = client.get(f"{link}/pictures/{trial[side]}.png")
            assert picture.content == (study / f"pictures/{trial[side]}.png").read_bytes()
        assert client.post(f"{link}/vote", json=body(client, link, number)).status_code == 201
    assert client.get(f"{link}/next").json() == {
        "study": read_design(study).study, "done": total, "total": total, "trial": None,
    }  # fmt: skip
    assert client.get(f"{link}/status").json()["finished"] is True
    status = client.get("/status").json()
    assert (status["voted"], status["votes"], status["invited"], status["planned_voters"]) == (1, total, 3, 4)
    assert len(read_votes(study, read_design(study)).counted) == total


def test_a_vote_that_was_acknowledged_is_in_the_file(client: TestClient, link: str, study: Path):
    assert client.post(f"{link}/vote", json=body(client, link)).json() == {
        "id": "vote 0", "stored": True, "counted": True,
    }  # fmt: skip
    (line,) = (study / "votes/served.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "vote 0"
    assert stat.S_IMODE((study / "votes/served.jsonl").stat().st_mode) == 0o600


def test_doubles_are_answered_and_not_counted(client: TestClient, link: str, study: Path):
    first = body(client, link)
    answers = [client.post(f"{link}/vote", json=each) for each in (first, first, {**first, "id": "other"})]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert [answer.json()["counted"] for answer in answers] == [True, False, False]
    assert len((study / "votes/served.jsonl").read_text().splitlines()) == 1


def test_undo_opens_the_trial_again(client: TestClient, link: str, study: Path):
    first = body(client, link)
    client.post(f"{link}/vote", json=first)
    client.post(f"{link}/vote", json={**first, "id": "back", "choice": "undone"})
    assert client.get(f"{link}/next").json()["trial"]["number"] == 0
    assert client.post(f"{link}/vote", json={**first, "id": "new", "choice": "right"}).json()["counted"]
    (vote,) = read_votes(study, read_design(study)).counted
    assert vote.choice == "right"


def test_a_restart_knows_all_and_mends_a_line_that_was_cut_off(client: TestClient, link: str, study: Path):
    client.post(f"{link}/vote", json=body(client, link))
    with (study / "votes/served.jsonl").open("ab") as file:
        file.write(b'{"study": "cut o')
    again = TestClient(application(study))
    assert again.post(f"{link}/vote", json=body(again, link, 1)).status_code == 201
    found = read_votes(study, read_design(study))
    assert [vote.id for vote in found.counted] == ["vote 0", "vote 1"]
    assert len(found.problems) == 1


def test_nobody_votes_under_another_name(client: TestClient, link: str, study: Path):
    client.post(f"{link}/vote", json={**body(client, link), "voter": "somebody else"})
    (vote,) = read_votes(study, read_design(study)).counted
    assert vote.voter == read_invites(study)[0].voter
    assert vote.voter not in link


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"choice": "both"}, 400),
        ({"number": 1}, 400),
        ({"number": 10_000}, 400),
        ({"number": -1}, 400),
        ({"number": None}, 400),
        ({"item": "x"}, 400),
        ({"study": "x"}, 400),
        ({"id": "x" * 101}, 400),
        ({"ms": "x" * LONGEST_BODY}, 413),
    ],
)
def test_votes_that_make_no_sense_are_refused(
    client: TestClient, link: str, study: Path, changes: dict[str, object], status: int
):
    answer = client.post(f"{link}/vote", json={**body(client, link), **changes})
    assert answer.status_code == status
    assert answer.json()["error"]
    assert (study / "votes/served.jsonl").read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"3", b"\xff", b"{", b"[" * 4000])
def test_what_is_no_vote_is_refused(client: TestClient, link: str, content: bytes):
    assert client.post(f"{link}/vote", content=content).status_code == 400


def test_sides_the_other_way_round_are_refused(client: TestClient, link: str):
    """It would count for the wrong side."""
    wanted = body(client, link)
    swapped = {**wanted, "left": wanted["right"], "right": wanted["left"]}
    assert client.post(f"{link}/vote", json=swapped).status_code == 400


def test_a_link_may_send_only_so_much(client: TestClient, link: str, clock: Clock):
    wanted = body(client, link)
    answers = [client.post(f"{link}/vote", json=wanted).status_code for _ in range(80)]
    assert answers[0] == 201
    assert answers.count(429) == 20
    clock.now += 1
    assert client.post(f"{link}/vote", json=wanted).status_code == 200
    clock.now -= 100
    assert client.post(f"{link}/vote", json=wanted).status_code == 200


def test_a_full_disk_is_told_and_nothing_half_is_kept(
    client: TestClient, link: str, study: Path, monkeypatch: pytest.MonkeyPatch
):
    client.post(f"{link}/vote", json=body(client, link))
    before = (study / "votes/served.jsonl").read_bytes()
    write = os.write

    def full(handle: int, content: bytes) -> int:
        write(handle, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("backplate.core.study.ballot_box.os.write", full)
    wanted = body(client, link, 1)
    answer = client.post(f"{link}/vote", json=wanted)
    assert answer.status_code == 507
    assert "No space left on device" in answer.json()["error"]
    assert (study / "votes/served.jsonl").read_bytes() == before
    monkeypatch.undo()
    assert client.post(f"{link}/vote", json=wanted).json()["counted"]


@pytest.mark.parametrize(
    "path",
    [
        "/key.json", "/study.json", "/invites.json", "/", "/v/wrong/", "/v/wrong/next", "LINK/pictures/key.png",
        "LINK/pictures/..%2f..%2fkey.json", "LINK/../../key.json", "LINK/votes", "/docs", "/openapi.json",
    ],
)  # fmt: skip
def test_nothing_else_is_served(client: TestClient, link: str, path: str):
    answer = client.get(path.replace("LINK", link))
    assert answer.status_code == 404
    assert "models" not in answer.text


def test_every_answer_carries_the_policy(client: TestClient, link: str):
    for path in (f"{link}/", f"{link}/next", "/status", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_page_loads_nothing_from_elsewhere(client: TestClient, link: str):
    page = client.get(f"{link}/").text
    assert "//" not in page.replace("// ", "")
    assert "src=" not in page.split("<script")[0]


def test_links_stay_and_are_for_their_owner(study: Path):
    first = more_invites(study, 3)
    assert more_invites(study, 2) == first
    assert more_invites(study, 5)[:3] == first
    assert len({invite.token for invite in more_invites(study, 5)}) == 5
    assert all(len(invite.token) >= 22 for invite in first)
    assert stat.S_IMODE((study / "invites.json").stat().st_mode) == 0o600
    (study / "invites.json").write_text("[]")
    with pytest.raises(InputError, match="links stop working"):
        read_invites(study)


def test_a_study_without_a_key_can_be_served_but_not_counted(tmp_path: Path):
    """The key may lie on another machine."""
    made(tmp_path / "s", ["A", "B"], 3)
    (tmp_path / "s/key.json").unlink()
    link = more_invites(tmp_path / "s", 1)[0].token
    assert TestClient(application(tmp_path / "s")).get(f"/v/{link}/next").status_code == 200
    with pytest.raises(InputError):
        read_key(tmp_path / "s")
