"""The server of a study: pages for invited voters, and the same as a JSON API.

GET  /v/LINK/                    the page
GET  /v/LINK/pictures/TOKEN.png  a picture
GET  /v/LINK/next                the next trial
POST /v/LINK/vote                a vote; answered when it is on the disk
GET  /v/LINK/status              this voter's progress
GET  /status                     the study's progress; nothing about who leads
"""

# Starlette's handlers take requests whose state is not typed.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import InputError
from .ballot_box import BallotBox
from .design import PICTURES, QUESTIONS, Trial, read_design, schedule
from .invites import Invite, read_invites
from .page import policy, served_page
from .pictures import picture_path
from .votes import Vote, parse_vote

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Content-Security-Policy": policy("'self'", "'self'"),
}
KEPT = {"Cache-Control": "private, max-age=86400, immutable"}
"""For pictures: the next pair is loaded while the voter looks at this one."""
DISK_REFUSED = 507
LONGEST_BODY = 4096
"""Bytes of a vote; a usual one has about 500."""
RECORDS = 20
"""Votes and undone votes that a voter may send per trial."""


class RateLimit:
    """A token bucket for each link: ``burst`` requests at once, ``per_second`` in the long run. A clock that jumps back
    adds nothing."""

    def __init__(
        self, burst: float = 60.0, per_second: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.burst, self.per_second, self.clock = burst, per_second, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, link: str) -> bool:
        now = self.clock()
        level, before = self._buckets.get(link, (self.burst, now))
        level = min(self.burst, level + max(0.0, now - before) * self.per_second)
        self._buckets[link] = (level - 1, now) if level >= 1 else (level, now)
        return level >= 1


class Booth:
    """A study that is open for votes. It never reads the key."""

    def __init__(self, folder: Path, limit: RateLimit | None = None) -> None:
        """Raises ``InputError`` for a folder without a study."""
        self.folder, self.design = folder, read_design(folder)
        self.invites = {invite.token: invite for invite in read_invites(folder)}
        self.items = self.design.by_item()
        self.tokens = frozenset(token for item in self.design.items for token in item.tokens)
        self.box = BallotBox(folder, self.design)
        self.limit = limit or RateLimit()
        self.records: dict[str, int] = {}

    def invite(self, request: Request) -> Invite:
        link = str(request.path_params["link"])
        if link not in self.invites:
            raise HTTPException(404, "This link does not belong to this study; ask for a new one.")
        return self.invites[link]

    def trials(self, invite: Invite) -> list[Trial]:
        return schedule(self.design, invite.place)

    async def page(self, request: Request) -> Response:
        invite = self.invite(request)
        html = served_page(self.design, invite.voter, self.trials(invite), self.box.done(invite.voter))
        return Response(html, media_type="text/html; charset=utf-8")

    async def picture(self, request: Request) -> Response:
        self.invite(request)
        token = str(request.path_params["token"])
        if token not in self.tokens:
            raise HTTPException(404, "This study has no such picture.")
        content = await run_in_threadpool(picture_path(self.folder / PICTURES, token).read_bytes)
        return Response(content, media_type="image/png", headers=KEPT)

    async def next_trial(self, request: Request) -> Response:
        invite = self.invite(request)
        trials, done = self.trials(invite), self.box.done(invite.voter)
        left = next((trial for trial in trials if trial.number not in done), None)
        answer: dict[str, Any] = {"study": self.design.study, "done": len(done), "total": len(trials), "trial": None}
        if left is not None:
            answer["trial"] = {**asdict(left), "text": QUESTIONS[left.question]}
        return JSONResponse(answer)

    async def vote(self, request: Request) -> Response:
        invite = self.invite(request)
        if not self.limit.allows(invite.token):
            raise HTTPException(429, "Too many votes at once; send it again in a second.", {"Retry-After": "1"})
        vote = self._checked(await _body(request), invite)
        self.records[invite.voter] = self.records.get(invite.voter, 0) + 1
        try:
            counted = await run_in_threadpool(self.box.take, vote)
        except OSError as error:
            reason = error.strerror or str(error)
            raise HTTPException(DISK_REFUSED, f"the vote could not be stored: {reason}") from error
        return JSONResponse({"id": vote.id, "stored": True, "counted": counted}, 201 if counted else 200)

    def _checked(self, body: bytes, invite: Invite) -> Vote:
        """The vote, counted for the invited voter whatever name it carries, on a trial that this voter was shown."""
        trials = self.trials(invite)
        if self.records.get(invite.voter, 0) >= RECORDS * len(trials):
            raise HTTPException(429, "This link has sent all the votes that it may.", {"Retry-After": "3600"})
        try:
            data: Any = json.loads(body.decode("utf-8"))
            mine: dict[str, Any] = {"study": self.design.study, **data, "voter": invite.voter}
            vote = parse_vote(mine, self.design, self.items)
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise HTTPException(400, "a vote is a JSON object.") from error
        wanted = trials[vote.number] if vote.number is not None and vote.number < len(trials) else None
        if wanted is None or (wanted.item, wanted.left, wanted.right) != (vote.item, vote.left, vote.right):
            raise HTTPException(400, "the vote is not on a trial that this voter was shown.")
        return vote

    async def voter_status(self, request: Request) -> Response:
        invite = self.invite(request)
        done, total = len(self.box.done(invite.voter)), len(self.trials(invite))
        return JSONResponse({"study": self.design.study, "done": done, "total": total, "finished": done >= total})

    async def study_status(self, request: Request) -> Response:
        voters = [invite.voter for invite in self.invites.values()]
        voted, votes = self.box.progress(voters)
        planned = {"invited": len(voters), "planned_voters": self.design.voters}
        return JSONResponse({"study": self.design.study, **planned, "voted": voted, "votes": votes})


async def _no_icon(request: Request) -> Response:
    """Every browser requests one."""
    return Response(status_code=204)


async def _body(request: Request) -> bytes:
    """Reads no more bytes than a vote may have."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, f"A vote has at most {LONGEST_BODY} bytes.")
    return body


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
    return JSONResponse({"error": "The server failed; send it again."}, 500, headers=HEADERS)


def application(folder: Path, limit: RateLimit | None = None) -> Starlette:
    """Raises ``InputError`` for a folder without a study."""
    booth = Booth(folder, limit)
    app = Starlette(
        routes=[
            Route("/v/{link}/", booth.page),
            Route("/v/{link}/pictures/{token}.png", booth.picture),
            Route("/v/{link}/next", booth.next_trial),
            Route("/v/{link}/vote", booth.vote, methods=["POST"]),
            Route("/v/{link}/status", booth.voter_status),
            Route("/status", booth.study_status),
            Route("/favicon.ico", _no_icon),
        ],
        exception_handlers={HTTPException: _refuse, Exception: _refuse},
    )
    app.add_middleware(_Headers)
    return app


class _Headers:
    """Adds our headers to every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)


def serve(folder: Path, host: str, port: int) -> None:
    """Serves until interrupted. Addresses are neither logged nor stored. Raises ``InputError``."""
    import uvicorn

    uvicorn.run(
        application(folder),
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        h11_max_incomplete_event_size=16_384,
    )
