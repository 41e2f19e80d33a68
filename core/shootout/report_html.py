"""The report as one self-contained HTML file that includes its pictures."""

from __future__ import annotations

import io

from ..metrics.ranking import INTERVAL_CONVENTION, RankedModel, Ranking
from ..metrics.registry import METRICS
from ..report import html
from .contact_sheet import as_image
from .results import BASELINE, REFERENCE, SOURCE, Crop, ShootoutResult

POLICY = f"{html.POLICY}; script-src 'unsafe-inline'"

STYLE = f"""{html.STYLE}
:root {{ --zoom: 1; }} body {{ max-width: 1500px; }} .warn {{ margin: .3rem 0; }}
td small {{ display: block; color: var(--quiet); font-size: .75rem; }}
td.best {{ color: var(--best); font-weight: 650; }} td.level {{ color: var(--best); }}
tr.baseline td:not(.best, .level) {{ color: var(--quiet); }}
.bar {{ position: sticky; top: 0; z-index: 1; background: var(--paper); padding: .5rem 0; display: flex; gap: .7rem;
  align-items: center; border-bottom: 1px solid var(--line); }} .bar input {{ width: 14rem; }}
.row {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .6rem; margin: .4rem 0 1.4rem;
  --x: 50%; --y: 50%; }}
figure {{ max-width: 22rem; }} figcaption {{ color: inherit; margin-bottom: .15rem; }}
.view {{ overflow: hidden; border-radius: 4px; background: var(--line); cursor: crosshair; touch-action: pan-y; }}
.view img {{ display: block; width: 100%; image-rendering: pixelated; transform-origin: var(--x) var(--y);
  transform: scale(var(--zoom)); }}
summary {{ cursor: pointer; margin: .3rem 0; }}
"""

SCRIPT = """
const slider = document.getElementById('zoom'), shown = document.getElementById('shown');
function zoom(value) {
  slider.value = Math.min(8, Math.max(1, value));
  document.documentElement.style.setProperty('--zoom', slider.value);
  shown.textContent = Number(slider.value).toFixed(1) + 'x';
}
slider.addEventListener('input', () => zoom(slider.value));
for (const row of document.querySelectorAll('.row')) {
  row.addEventListener('pointermove', event => {
    const view = event.target.closest('.view');
    if (!view) return;
    const box = view.getBoundingClientRect();
    row.style.setProperty('--x', 100 * (event.clientX - box.left) / box.width + '%');
    row.style.setProperty('--y', 100 * (event.clientY - box.top) / box.height + '%');
  });
  row.addEventListener('wheel', event => {
    if (!event.target.closest('.view') || !event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    zoom(slider.value * (event.deltaY + event.deltaX < 0 ? 1.25 : 0.8));
  }, { passive: false });
}
"""


def report_html(result: ShootoutResult) -> str:
    """A page for light and dark screens: advice, metrics with intervals, crops that zoom together, the metrics of every
    picture, conventions and problems."""
    pictures = f"{len(result.pictures)} picture{'s' * (len(result.pictures) != 1)}"
    sections = [
        f"<h1>Model shoot-out</h1><p class='quiet'>{len(result.models) - 1} models and {BASELINE}, {pictures}, "
        f"scale {result.scale}. {html.text(' '.join(result.setting))}</p>",
        _advice(result),
        _figures(result),
        _crops(result),
        _by_picture(result),
        html.section("Problems", html.items(result.all_problems)),
        html.section("How the figures came about", html.items(result.notes)),
    ]
    script = SCRIPT if result.crops else ""
    return html.page("Model shoot-out", "".join(sections), style=STYLE, policy=POLICY, script=script)


def _advice(result: ShootoutResult) -> str:
    if not result.advice:
        return ""
    warnings = "".join(f"<p class='warn'>{html.text(flag)}</p>" for flag in result.flags)
    return f"<h2>Which model for what</h2>{html.items(result.advice)}{warnings}"


def _figures(result: ShootoutResult) -> str:
    if not result.metrics:
        return ""
    rows = (
        html.row([html.text(model)], _kind(model), tags=(_figure(result, model, name) for name in result.metrics))
        for model in result.rows
    )
    return (
        f"<h2>Figures</h2>{html.grid(_heads(result), rows)}{html.items(result.verdicts)}"
        f"<p class='quiet'>Means over the pictures. Bold: clearly the best; coloured only: no clear winner among "
        f"these; *: not ranked, some pictures are missing. {html.text(INTERVAL_CONVENTION)}</p>"
    )


def _figure(result: ShootoutResult, model: str, name: str) -> str:
    ranking = result.rankings.get(name)
    standing = next((each for each in ranking.standings if each.model == model), None) if ranking else None
    if ranking is None or standing is None:
        return f"<td>{html.text(result.mean_text(model, name))}</td>"
    bounds = standing.interval
    text = result.mean_text(model, name)
    if bounds:
        text += f"<small>{ranking.metric.format(bounds.low)} to {ranking.metric.format(bounds.high)}</small>"
    return f"<td{_mark(ranking, standing)}>{text}</td>"


def _mark(ranking: Ranking, standing: RankedModel) -> str:
    if ranking.winner == standing.model:
        return " class='best'"
    return " class='level'" if ranking.winner is None and standing in ranking.level else ""


def _crops(result: ShootoutResult) -> str:
    if not result.crops:
        return ""
    bar = (
        "<div class='bar'><label for='zoom'>Zoom</label><input id='zoom' type='range' min='1' max='8' step='0.1' "
        "value='1'><output id='shown'>1.0x</output><span class='quiet'>Move over a crop to look around in all of "
        "them; shift and wheel zooms.</span></div>"
    )
    rows = "".join(_crop_row(crop) for crop in result.crops)
    return f"<h2>Where the models differ most</h2>{bar}{rows}"


def _crop_row(crop: Crop) -> str:
    place = f"{crop.picture}: {crop.box.size} pixels at ({crop.box.x}, {crop.box.y})"
    views = "".join(
        f"<figure><figcaption>{html.text(label)}</figcaption><div class='view'>"
        f"<img alt='{html.text(label)} of {html.text(crop.picture)}' src='{_data_uri(crop, label)}'></div></figure>"
        for label in (SOURCE, *(label for label in crop.views if label != SOURCE))
    )
    return f"<p class='quiet'>{html.text(place)}</p><div class='row'>{views}</div>"


def _by_picture(result: ShootoutResult) -> str:
    parts: list[str] = []
    for picture in result.pictures:
        rows = (
            html.row(
                [html.text(cell.model), *(METRICS[name].format(cell.values.get(name)) for name in result.metrics)],
                _kind(cell.model),
            )
            for cell in result.cells
            if cell.picture == picture.name
        )
        parts.append(
            f"<details><summary>{html.text(picture.name)} <span class='quiet'>{picture.source} to {picture.result}"
            f"</span></summary>{html.grid(_heads(result), rows)}</details>"
        )
    return html.section("Every picture", "".join(parts))


def _heads(result: ShootoutResult) -> list[str]:
    return ["", *map(_head, result.metrics)]


def _head(name: str) -> str:
    metric = METRICS[name]
    arrow = "&uarr;" if metric.higher_is_better else "&darr;"
    return f"{html.text(metric.label)} {arrow}<br><span class='quiet'>{html.text(metric.unit) or '&nbsp;'}</span>"


def _kind(model: str) -> str:
    return "baseline" if model in (BASELINE, REFERENCE) else ""


def _data_uri(crop: Crop, label: str) -> str:
    data = io.BytesIO()
    as_image(crop.views[label]).save(data, "PNG")
    return html.data_uri("png", data.getvalue())
