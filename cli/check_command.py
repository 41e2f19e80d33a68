"""``backplate check`` and ``backplate profiles``: the rules of marketplaces, without changing a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .errors import ALL_FAILED, SOME_FAILED, reporting


@reporting
def check(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures and folders of pictures.")],
    profile: Annotated[str, typer.Option(metavar="amazon|google|shopify|FILE", help="Marketplace whose rules apply.")],
    recursive: Annotated[bool, typer.Option("--recursive", help="Include subfolders.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per picture, for scripts.")] = False,
) -> None:
    """Hold pictures against a marketplace's rules; nothing is written.

    The exit code is 0 if all of them keep every rule that must be kept, else 2; 1 if none can be read.
    """
    from ..core.errors import InputError
    from ..core.jobs.marketplace.measure import Finding, Verdict, examine, facts_of
    from ..core.jobs.marketplace.profile import find_profile
    from ..core.media.picture_folder import list_pictures

    rules = find_profile(profile)
    pictures = [
        path
        for given in inputs
        for path in ([each.path for each in list_pictures(given, recursive=recursive)] if given.is_dir() else [given])
    ]
    read, broken = 0, 0
    for path in pictures:
        try:
            findings: list[Finding] = examine(facts_of(path), rules)
        except InputError as error:
            typer.echo(str(error), err=True)
            continue
        read += 1
        broken += any(finding.verdict is Verdict.FAILED for finding in findings)
        typer.echo(_as_json(path, findings) if as_json else _as_text(path, findings))
    if code := ALL_FAILED if not read else SOME_FAILED if broken or read < len(pictures) else 0:
        raise typer.Exit(code)


def _as_text(path: Path, findings: list) -> str:  # pyright: ignore[reportMissingTypeArgument]
    kept = sum(finding.verdict.value == "passed" for finding in findings)
    lines = [f"  {finding.text}" for finding in findings if finding.verdict.value != "passed"]
    return "\n".join([f"{path}: {kept} of {len(findings)} rules kept", *lines])


def _as_json(path: Path, findings: list) -> str:  # pyright: ignore[reportMissingTypeArgument]
    return json.dumps({"source": str(path), "rules": [asdict(finding) for finding in findings]})


@reporting
def profiles(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="Default: the bundled ones.")
    ] = None,
) -> None:
    """Print the rules of marketplaces as tables in Markdown, each with where and when it was read."""
    from ..core.jobs.marketplace.profile import find_profile, profile_names, table

    typer.echo("\n\n".join(table(find_profile(name)) for name in names or profile_names()))
