"""The edge of the program, where exceptions become one line on stderr and an exit code."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from typing import Any

import typer

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
ALL_FAILED, SOME_FAILED = FAILED, 2
"""For a folder: nothing could be done; or some pictures failed or need a look."""
OURS = __name__.partition(".cli.")[0]


class UsageProblem(Exception):
    """The command line makes no sense; nothing was done."""


def debugging() -> bool:
    return os.environ.get("BACKPLATE_DEBUG", "") not in ("", "0")


def say(sentence: str) -> None:
    """Writes a line to stderr, prefixed with the program's name."""
    typer.echo(f"backplate: {sentence}", err=True)


def sentence_for(error: BaseException) -> str:
    """The message for the user. Our own errors are sentences already; any other is reported as unexpected."""
    if type(error).__module__.startswith(OURS):
        return str(error)
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {text} (set BACKPLATE_DEBUG=1 to see where)"


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Wraps a command so that it ends with a message and the agreed exit code instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt as error:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from error
        except Exception as error:
            if debugging():
                traceback.print_exc()
            say(sentence_for(error))
            raise typer.Exit(MISUSED if isinstance(error, UsageProblem) else FAILED) from error

    return run
