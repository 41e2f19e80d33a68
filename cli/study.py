"""``backplate study``: blind A/B studies from the first picture to the setting of the next job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageProblem, reporting, say
from .study_new import new

study_app = typer.Typer(
    help="Ask people in a blind test which result is better; the winner becomes a preset.", no_args_is_help=True
)
study_app.command()(new)

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The folder that `backplate study new` wrote.")]


@study_app.command()
@reporting
def plan(
    share: Annotated[float, typer.Option(min=50.1, max=99, help="Preference to detect, in percent.")] = 60,
    power: Annotated[float, typer.Option(min=1, max=99.9, help="Probability of detecting it, in percent.")] = 90,
    pictures: Annotated[list[int] | None, typer.Option(min=3, help="Numbers of pictures. Repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the simulation.")] = 0,
) -> None:
    """Say how many voters and pictures a study needs, from simulated studies."""
    from ..core.study.simulate import MOST_VOTERS, Crowd, gap_for, voters_needed

    crowd = Crowd(gap=gap_for(share / 100, Crowd()))
    typer.echo(
        f"To name the winner of {share:g}:{100 - share:g} with {power:g} % probability, each voter sees every picture:"
    )
    for count in pictures or [10, 20, 30, 40, 60, 80]:
        voters = voters_needed(crowd, count, power / 100, seed=seed)
        what = f"{voters} voters" if voters else f"not even {MOST_VOTERS} voters; more pictures are needed"
        typer.echo(f"  {count:3d} pictures: {what}")
    typer.echo(
        f"Tastes (standard deviation {crowd.voter:g}) and pictures ({crowd.picture:g}, in log strengths) are taken to "
        "differ as they usually do."
    )


@study_app.command()
@reporting
def serve(
    study: StudyFolder,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others on the network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8765,
    invite: Annotated[int, typer.Option(min=0, help="Total number of links; 0: one for each planned voter.")] = 0,
) -> None:
    """Let invited people vote. Links go to stdout; a vote is on the disk before it is acknowledged."""
    from ..core.study.design import read_design
    from ..core.study.invites import more_invites

    run = _server()
    design = read_design(study)
    invites = more_invites(study, invite or design.voters)
    shown = f"[{host}]" if ":" in host else host
    for each in invites:
        typer.echo(f"http://{shown}:{port}/v/{each.token}/")
    if host not in ("127.0.0.1", "::1", "localhost"):
        say(f"{host} can be reached from other machines, without encryption; whoever has a link can vote.")
    run(study, host, port)


def _server() -> Callable[[Path, str, int], None]:
    """Raises ``UsageProblem`` without the extra."""
    try:
        from ..core.study.serve import serve as run
    except ModuleNotFoundError as error:
        raise UsageProblem(f"{error.name} is missing; install it with: pip install 'backplate[study]'") from error
    return run


@study_app.command(name="import")
@reporting
def import_(
    study: StudyFolder,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Saved pages (.jsonl), or .jsonl or .csv from elsewhere.")
    ],
) -> None:
    """Take votes from saved pages, from another page, or from a log of clicks."""
    from ..core.study.importing import import_votes

    for path in files:
        added, problems = import_votes(study, path)
        for sentence in problems:
            say(sentence)
        typer.echo(f"{path}: {added} more vote{'s' * (added != 1)} count.")


@study_app.command()
@reporting
def tally(
    study: StudyFolder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report. Default: report, inside the study.")
    ] = None,
    write_preset: Annotated[
        Path | None,
        typer.Option("--write-preset", metavar="FILE", help="Write the winner's settings, if there is a winner."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the bootstrap.")] = 0,
) -> None:
    """Count the votes: who won, how sure that is, who was left out, which figure to trust. Exit code 1 if a preset is
    wanted and there is no clear winner."""
    from ..core.study.preset import preset_of
    from ..core.study.preset import write_preset as write
    from ..core.study.report import write_report
    from ..core.study.tally import require_winner
    from ..core.study.tally import tally as count

    found = count(study, seed=seed)
    typer.echo(found.text())
    for path in write_report(found, study, output or study / "report"):
        say(f"wrote {path}")
    if write_preset is not None:
        winner = require_winner(found)
        write(write_preset, preset_of(winner, found.key.settings.get(winner, {})))
        say(f"wrote {write_preset}")
