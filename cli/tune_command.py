"""``backplate tune``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import reporting, say
from .options import AsJson, Device, ModelFile, ModelsDir, WantedPrecision

if TYPE_CHECKING:
    from ..core.engines.plan import Choice


@reporting
def tune(
    model: ModelFile,
    precision: WantedPrecision = "auto",
    device: Device = None,
    models_dir: ModelsDir = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Time limit of the trial in seconds. Default: as long as --engine auto.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how a model runs fastest on this machine.

    All commands and nodes do that by themselves, for a few seconds, the first time a model meets a device, and use what
    they found from then on; --no-tune and BACKPLATE_TUNE=0 stop them. This measures anew, longer, and shows the table.
    """
    from ..core.engines.autotune.choose import choose_plan, keep_part
    from ..core.engines.json_cache import device_name
    from ..core.engines.registry import AUTO_SECONDS, Engine, EngineRequest, auto_candidates
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.loaded import load_model
    from ..model_loader.precision import Precision, choose_device
    from .parsing import as_usage, choice

    with as_usage():
        asked = choice(Precision, precision, "--precision")
    loaded = load_model(find_model(model, default_folders(models_dir)))
    chosen = choose_device(device)
    candidates = auto_candidates(EngineRequest(model=loaded, device=chosen, precision=asked))
    limit = AUTO_SECONDS if seconds is None else seconds
    result = choose_plan(loaded.facts.sha256, chosen, candidates, anew=True, limit=limit)
    alone = [candidate for candidate in candidates if candidate.plan.engine == Engine.PYTORCH.value]
    part = keep_part(loaded.facts.sha256, chosen, alone, result)
    if as_json:
        typer.echo(json.dumps(_as_dict(result, loaded.facts.name, device_name(chosen)), indent=2))
    else:
        typer.echo(f"{loaded.facts.name} on {device_name(chosen)}")
        typer.echo(_table(result))
    if result.disturbed:
        kept = "this is not kept" if part.disturbed else "only the part about pytorch is kept"
        say(f"something else kept the machine busy, so {kept}; run it again when the machine is idle.")


def _as_dict(result: Choice, model: str, device: str) -> dict[str, object]:
    from dataclasses import asdict

    return {"model": model, "device": device, "best": result.best.name, "trials": [asdict(t) for t in result.trials]}


def _table(result: Choice) -> str:
    from ..core.metrics.compare import text_table

    rows = [["how", "seconds a megapixel", ""]]
    for trial in result.trials:
        pace = "-" if trial.seconds is None else f"{trial.seconds:.2f}"
        remark = "<- the fastest" if trial is result.best and trial.seconds is not None else trial.reason
        if trial.disturbed:
            remark = f"{remark} (disturbed)".lstrip()
        rows.append([trial.name, pace, remark])
    return text_table(rows)
