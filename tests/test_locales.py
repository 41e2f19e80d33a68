"""Names of nodes in the languages that ComfyUI's front end offers most."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("de", "en", "es", "fr", "ja", "ko", "zh")
PUBLIC = json.loads((ROOT / "tests" / "nodes" / "public_interface.json").read_text(encoding="utf-8"))


def names(language: str) -> dict[str, str]:
    nodes = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    return {node: about["display_name"] for node, about in nodes.items()}


def test_these_languages_and_no_others():
    assert sorted(path.name for path in (ROOT / "locales").iterdir()) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_a_name_of_its_own_that_says_whose_it_is(language: str):
    found = names(language)
    assert set(found) == set(PUBLIC)
    assert len(set(found.values())) == len(found)
    assert all(name.endswith(" (Backplate)") for name in found.values())


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])
def test_names_are_translated(language: str):
    english = names("en")
    assert [node for node, name in names(language).items() if name == english[node]] == []
