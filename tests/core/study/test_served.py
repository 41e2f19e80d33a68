"""The server as a process: a hundred voters at once, and kills at any moment."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from backplate.core.study.design import read_design, schedule
from backplate.core.study.invites import Invite, more_invites
from backplate.core.study.votes import read_votes
from small_study import start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a server that takes over a listening socket")


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Calls are queued from here on, so that nobody has to wait for a server to be ready."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as found:
        yield found


def vote_for(client: httpx.Client, invite: Invite, study: str, trials: list, round_: int) -> Iterator[str]:
    """Identifiers, as they are acknowledged."""
    for trial in trials:
        vote = {
            "id": f"{invite.place}-{trial.number}-{round_}", "study": study, "number": trial.number,
            "item": trial.item, "left": trial.left, "right": trial.right, "choice": "left",
        }  # fmt: skip
        answer = client.post(f"/v/{invite.token}/vote", json=vote)
        assert answer.status_code in (200, 201), answer.text
        if answer.json()["counted"]:
            yield vote["id"]


def test_a_hundred_voters_at_once(study: Path):
    design, invites = read_design(study), more_invites(study, 100)
    with listening() as listener:
        server = start(study, listener)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        barrier = threading.Barrier(100)

        def voter(invite: Invite) -> list[str]:
            """Sends every vote twice, as a page does whose answers are lost."""
            trials = schedule(design, invite.place)[:4]
            barrier.wait()
            with httpx.Client(base_url=address, timeout=120) as client:
                first = list(vote_for(client, invite, design.study, trials, 0))
                assert not list(vote_for(client, invite, design.study, trials, 0))
            return first

        with ThreadPoolExecutor(100) as pool:
            acknowledged = [vote for votes in pool.map(voter, invites) for vote in votes]
        os.kill(server.pid or 0, signal.SIGKILL)
        server.join()
    found = read_votes(study, design)
    assert len(acknowledged) == 400
    assert sorted(vote.id for vote in found.counted) == sorted(acknowledged)
    assert found.problems == ()


def test_no_acknowledged_vote_is_lost_when_the_server_is_killed(study: Path):
    design, invites = read_design(study), more_invites(study, 4)
    dice, acknowledged = random.Random(5), list[str]()
    with listening() as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for round_ in range(20):
            server = start(study, listener)
            enough, fatal = threading.Semaphore(0), dice.randrange(6)

            def voter(invite: Invite, round_: int = round_, enough: threading.Semaphore = enough) -> None:
                trials = [t for t in schedule(design, invite.place) if t.number % 20 == round_]
                try:
                    with httpx.Client(base_url=address, timeout=60) as client:
                        for vote in vote_for(client, invite, design.study, trials, round_):
                            acknowledged.append(vote)
                            enough.release()
                except httpx.TransportError:
                    return  # killed before it answered
                finally:
                    enough.release()

            with ThreadPoolExecutor(4) as pool:
                futures = [pool.submit(voter, invite) for invite in invites]
                for _ in range(fatal):
                    enough.acquire()
                os.kill(server.pid or 0, signal.SIGKILL)
                server.join()
                # Whoever is still in the queue of the socket is let go.
                rest = start(study, listener)
                for future in futures:
                    future.result()
                os.kill(rest.pid or 0, signal.SIGKILL)
                rest.join()
            on_disk = {vote.id for vote in read_votes(study, design).counted}
            assert set(acknowledged) <= on_disk
    assert acknowledged
