"""Names of nodes in the languages that ComfyUI's front end offers most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("de", "en", "es", "fr", "ja", "ko", "zh")
PUBLIC = json.loads((ROOT / "tests" / "nodes" / "public_interface.json").read_text(encoding="utf-8"))
SAID = json.loads((ROOT / "tests" / "object_info" / "0.33.0.json").read_text(encoding="utf-8"))
"""What ComfyUI hands to the front end, in English."""
TRANSLATED = [each for each in LANGUAGES if each != "en"]


def texts(language: str) -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def names(language: str) -> dict[str, str]:
    return {node: about["display_name"] for node, about in texts(language).items()}


def test_these_languages_and_no_others():
    assert sorted(path.name for path in (ROOT / "locales").iterdir()) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_a_name_of_its_own_that_says_whose_it_is(language: str):
    found = names(language)
    assert set(found) == set(PUBLIC)
    assert len(set(found.values())) == len(found)
    assert all(name.endswith(" (Backplate)") for name in found.values())


@pytest.mark.parametrize("language", TRANSLATED)
def test_names_are_translated(language: str):
    english = names("en")
    assert [node for node, name in names(language).items() if name == english[node]] == []


@pytest.mark.parametrize("node", PUBLIC)
@pytest.mark.parametrize("language", TRANSLATED)
def test_every_input_and_output_has_its_text_and_no_other(language: str, node: str):
    told, english = texts(language)[node], SAID[node]
    inputs = {**english["input"].get("required", {}), **english["input"].get("optional", {})}
    assert set(told["inputs"]) == set(inputs)
    assert told["description"] != english["description"]
    for name, about in told["inputs"].items():
        source = (inputs[name] + [{}])[1].get("tooltip", "")
        assert about["name"]
        assert bool(about.get("tooltip")) == bool(source), name
        assert not source or about["tooltip"] != source, f"{name} is not translated"
    assert set(told["outputs"]) == set(map(str, range(len(english["output"]))))
    assert all(about["name"] for about in told["outputs"].values())


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_words_of_the_scripts_are_translated(language: str):
    """Those that web/js/advanced.js asks the front end for."""

    def words(of: str) -> dict[str, str]:
        return json.loads((ROOT / "locales" / of / "main.json").read_text(encoding="utf-8"))["backplate"]["advanced"]

    assert set(words(language)) == set(words("en")) == {"show", "hide"}
    assert not set(words(language).values()) & set(words("en").values())
