"""Advice follows the figures."""

from __future__ import annotations

from backplate.core.metrics.advice import advice
from backplate.core.metrics.ranking import rank
from backplate.core.metrics.registry import METRICS

JITTER = (-0.02, 0.01, 0.03, -0.01, 0.02)


def rankings(table: dict[str, dict[str, float]], without: str = "") -> dict:
    """From one mean per metric and model, with a little difference between five pictures."""
    return {
        metric: rank(
            METRICS[metric],
            {
                model: {f"p{index}": mean * (1 + step) for index, step in enumerate(JITTER)}
                for model, mean in by_model.items()
                if model != without
            },
        )
        for metric, by_model in table.items()
    }


def sentences(table: dict[str, dict[str, float]]) -> tuple[list[str], list[str]]:
    return advice(rankings(table, "Lanczos"), rankings(table), "Lanczos")


TABLE = {
    "edge_width": {"Lanczos": 5.0, "soft": 4.5, "sharp": 3.0},
    "overshoot": {"Lanczos": 3.0, "soft": 2.0, "sharp": 12.0},
    "lr_psnr": {"Lanczos": 45.0, "soft": 38.0, "sharp": 30.0},
    "seconds_per_megapixel": {"Lanczos": 0.1, "soft": 9.0, "sharp": 2.0},
}


def test_each_purpose_names_its_best_model_and_never_the_baseline():
    plain, _ = sentences(TABLE)
    chosen = {sentence.split(": ")[0]: sentence.split(": ")[1].split(",")[0] for sentence in plain}
    assert chosen == {
        "Sharpest edges": "sharp",
        "Least ringing": "soft",
        "Most faithful to its source": "soft",
        "Fastest": "sharp",
    }
    assert all("Lanczos has" in sentence for sentence in plain)


def test_sharpness_bought_with_overshoot_is_flagged():
    _, flags = sentences(TABLE)
    assert len(flags) == 1
    assert flags[0].startswith("Ringing: sharp buys its sharpness with overshoot: edges of 3.02 px")


def test_overshoot_without_sharpness_and_sharpness_without_overshoot_are_not_flagged():
    table = {
        "edge_width": {"Lanczos": 5.0, "wide": 6.0, "clean": 3.0},
        "overshoot": {"Lanczos": 3.0, "wide": 12.0, "clean": 5.0},
    }
    assert sentences(table)[1] == []


def test_models_that_are_level_are_all_named():
    table = {"overshoot": {"Lanczos": 3.0, "a": 4.0, "b": 4.0, "c": 9.0}}
    assert "no clear winner among a (4.02 %" in sentences(table)[0][0]
    assert "and b (" in sentences(table)[0][0]
    assert "c (" not in sentences(table)[0][0]


def test_overshoot_that_the_references_have_is_not_flagged():
    models = rankings(TABLE, "Lanczos")
    assert len(advice(models, rankings(TABLE), "Lanczos", natural=2.0)[1]) == 1
    assert advice(models, rankings(TABLE), "Lanczos", natural=10.0)[1] == []
