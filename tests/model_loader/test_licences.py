"""What may be used commercially, and where that is known from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backplate.model_loader.catalogue import CATALOGUE
from backplate.model_loader.errors import LicenceError
from backplate.model_loader.files import sha256_of
from backplate.model_loader.find import BUNDLED
from backplate.model_loader.licence_index import import_index
from backplate.model_loader.licences import (
    FROM_NOTHING,
    allows_commercial_use,
    licence_of,
    licence_of_file,
    refuse_unless_commercial,
)
from backplate.model_loader.loaded import load_model
from safetensors.torch import save_file

CLOSED = "a5812231fc936b42af08a5edba784195495d303d5b3248c24489ef0c4021fe01"


pytestmark = pytest.mark.usefixtures("data_folder")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("MIT", True), ("Apache-2.0", True), ("BSD-3-Clause", True), ("CC-BY-4.0", True), ("CC-BY-SA-4.0", True),
     ("CC0-1.0", True), ("GPL-3.0-only", True), ("WTFPL", True), ("Unlicense", True), (FROM_NOTHING, True),
     ("CC-BY-NC-4.0", False), ("CC-BY-NC-SA-4.0", False), ("CC-BY-NC-ND-4.0", False), ("cc-by-nc-sa-4.0", False),
     ("Academic-Research-Only", False), ("LicenseRef-Non-Commercial", False), ("PolyForm-Noncommercial-1.0.0", False),
     ("LicenseRef-my-own", None), ("", None), (None, None), ("MITRE-custom", None), ("NCSA", None),
     ("MIT OR CC-BY-NC-4.0", True), ("MIT AND CC-BY-NC-4.0", False), ("MIT AND LicenseRef-x", None),
     ("CC-BY-NC-4.0 AND LicenseRef-x", False), ("CC-BY-NC-4.0 OR LicenseRef-x", None)],
)  # fmt: skip
def test_what_expressions_allow(text: str | None, allowed: bool | None) -> None:
    assert allows_commercial_use(text) is allowed


def test_the_catalogue_agrees_with_what_its_licences_say() -> None:
    for entry in CATALOGUE:
        assert allows_commercial_use(entry.licence) is entry.commercial_use, entry.file
        found = licence_of(entry.sha256)
        assert found is not None
        assert (found.text, found.commercial_use, found.source) == (entry.licence, entry.commercial_use, entry.url)


def test_a_bundled_model_is_known_wherever_it_lies(tmp_path: Path) -> None:
    for bundled in BUNDLED.glob("*.safetensors"):
        copy = tmp_path / f"renamed {bundled.name}"
        copy.write_bytes(bundled.read_bytes())
        found = licence_of_file(copy, sha256_of(copy))
        assert found is not None
        assert (found.text, found.commercial_use) == ("Apache-2.0", True)


def carded(path: Path, networks: Any, card: object, **more: str) -> Path:
    state = {name: tensor.clone() for name, tensor in networks.seeded(networks.Compact).state_dict().items()}
    save_file(state, path, {"backplate.model_card": card if isinstance(card, str) else json.dumps(card), **more})
    return path


@pytest.fixture
def made(networks: Any, tmp_path: Path) -> Any:
    return lambda card, **more: carded(tmp_path / "tuned.safetensors", networks, card, **more)


def test_what_was_trained_from_a_model_has_its_licence(made: Any) -> None:
    facts = load_model(made({"base_sha256": CLOSED, "base_model": "4x-UltraSharp", "base_licence": "MIT"})).facts
    assert (facts.licence, facts.commercial_use) == ("CC-BY-NC-SA-4.0", False)
    assert "of 4x-UltraSharp, from which it was trained" in facts.text()
    with pytest.raises(LicenceError, match="CC-BY-NC-SA-4.0, which forbids commercial use: choose one that allows it"):
        refuse_unless_commercial(facts.name, facts.sha256, facts.licence, facts.commercial_use)


def test_what_a_file_says_of_its_parent_counts_where_the_parent_is_not_known(made: Any) -> None:
    facts = load_model(made({"base_sha256": "0" * 64, "base_model": "mine", "base_licence": "CC-BY-NC-4.0"})).facts
    assert (facts.licence, facts.commercial_use) == ("CC-BY-NC-4.0", False)
    facts = load_model(made({"base_licence": FROM_NOTHING})).facts
    assert facts.commercial_use is True
    facts = load_model(made({}, **{"modelspec.license": "MIT"})).facts
    assert (facts.licence, facts.licence_source) == ("MIT", "says the file")


@pytest.mark.parametrize(
    "card", ["{", "[]", "7", {"base_licence": 7}, {"base_licence": "x" * 201}, {"base_sha256": [1]}]
)
def test_cards_that_say_nothing(made: Any, card: object) -> None:
    facts = load_model(made(card)).facts
    assert facts.licence is None
    with pytest.raises(LicenceError, match=f"The licence of tuned .SHA-256 {facts.sha256}. is not known"):
        refuse_unless_commercial(facts.name, facts.sha256, facts.licence, facts.commercial_use)


def test_a_list_that_comes_later_reaches_a_model_in_the_cache(made: Any, tmp_path: Path) -> None:
    path = made({})
    facts = load_model(path).facts
    assert facts.licence is None
    listed = {"4x-Mine": {"license": "CC-BY-NC-4.0", "resources": [{"sha256": facts.sha256}]}}
    (tmp_path / "models.json").write_text(json.dumps(listed))
    import_index(tmp_path / "models.json")
    again = load_model(path)
    assert (again.facts.licence, again.facts.commercial_use) == ("CC-BY-NC-4.0", False)
    assert again.facts.licence_source == "https://openmodeldb.info/models/4x-Mine"


def test_a_list_that_is_here_is_not_to_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(LicenceError, match="is not known here, so commercial use .* `backplate models index fetch`"):
        refuse_unless_commercial("a", "f" * 64, None, None)
    (tmp_path / "models.json").write_text(json.dumps({"x": {"license": "MIT", "resources": [{"sha256": "0" * 64}]}}))
    import_index(tmp_path / "models.json")
    with pytest.raises(LicenceError, match="nor to OpenModelDB's list") as caught:
        refuse_unless_commercial("a", "f" * 64, None, None)
    assert "index fetch" not in str(caught.value)


def test_refusals_are_one_sentence_with_licence_hash_and_a_way_on() -> None:
    refuse_unless_commercial("a", "f" * 64, "MIT", True)
    for licence, commercial in (("CC-BY-NC-4.0", False), ("LicenseRef-x", None), (None, None)):
        with pytest.raises(LicenceError) as caught:
            refuse_unless_commercial("a", "f" * 64, licence, commercial)
        text = str(caught.value)
        assert "f" * 64 in text
        assert (licence or "not known") in text
        assert text.endswith("RealESRGAN_x4plus (BSD-3-Clause) or backplate-lite-x4 (Apache-2.0).")
