"""Profiles are data: what is unknown or out of range in one is refused by name."""

from __future__ import annotations

import copy
import json
import re

import pytest
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target, plan_fit
from backplate.core.jobs.marketplace.framing import check_target, suffixes_for, target_for
from backplate.core.jobs.marketplace.profile import find_profile, parse_profile, profile_names
from backplate.core.jobs.picture import PictureSettings, for_marketplace
from backplate.core.types import Size

GOOD = {
    "name": "mine",
    "size": 1200,
    "rules": [
        {"rule": "longest_side", "least": 1000, "most": 3000},
        {"rule": "fill", "least": 0.85, "aim": 0.9},
        {"rule": "white_background"},
        {"rule": "format", "values": ["jpeg"]},
    ],
}


def changed(*, at: int = 0, **values: object) -> dict:
    result = copy.deepcopy(GOOD)
    result["rules"][at] |= values
    return result


@pytest.mark.parametrize("name", ["amazon", "google", "shopify"])
def test_every_rule_of_ours_says_where_and_when_it_was_read(name: str) -> None:
    profile = find_profile(name)
    assert profile.name == name
    for rule in profile.rules:
        unstated = not rule.must and "states no" in rule.note
        assert unstated or re.match(r"https://\S+$", rule.source), rule.kind
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", rule.date), rule.kind
    assert name in profile_names()


def test_the_main_figures_are_those_of_the_marketplaces() -> None:
    amazon, google, shopify = (find_profile(name) for name in ("amazon", "google", "shopify"))
    assert (amazon.must("longest_side").least, amazon.must("longest_side").most) == (500, 10_000)
    assert amazon.must("fill").least == 0.85
    assert amazon.must("dpi").least == 72
    assert "webp" not in amazon.must("format").values
    assert google.must("bytes").most == 16_000_000
    assert google.must("megapixels").most == 64
    assert google.must("fill") is None
    assert (shopify.must("longest_side").most, shopify.must("megapixels").most) == (5000, 25)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([], "is a group of settings, not []"),
        ({**GOOD, "rulez": []}, "There is no rulez; did you mean rules."),
        ({**GOOD, "rules": []}, "rules cannot be []"),
        ({**GOOD, "size": 0}, "size cannot be 0: it should be greater than or equal to 1"),
        ({**GOOD, "size": True}, "size cannot be True"),
        ({**GOOD, "name": ""}, "name cannot be ''"),
        (changed(at=0, lest=3), "There is no rules.0.lest; did you mean rules.0.least."),
        (changed(at=0, least="many"), "rules.0.least cannot be 'many'"),
        (changed(at=0, least=4000), "at least 4000 and at most 3000"),
        (changed(at=0, near=3), "longest_side does not take near; it takes least, most"),
        (changed(at=0, level="maybe"), "rules.0.level is 'maybe': it should be 'must' or 'should'"),
        (changed(at=0, date="yesterday"), "'yesterday'"),
        (changed(at=1, least=1.2), "up to 1"),
        (changed(at=1, aim=0.5), "aims at 0.5"),
        (changed(at=1, rule="filling"), "there is no rule 'filling'"),
        (changed(at=2, near=0), "rules.2.near cannot be 0: it should be greater than 0"),
        (changed(at=3, values=["jpg2"]), "values must be a list of formats from jpeg"),
        ({**GOOD, "rules": [{"rule": "bytes"}]}, "neither least nor most"),
    ],
)
def test_what_is_wrong_is_named(written: object, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        parse_profile(written)


def test_a_file_that_is_none_is_refused_with_its_name(tmp_path) -> None:
    path = tmp_path / "own.json"
    for content in ("{", "\0", "[" * 100_000, '{"name": "x"}'):
        path.write_text(content)
        with pytest.raises(InputError, match=re.escape(str(path))):
            find_profile(str(path))
    with pytest.raises(InputError, match="amazon, google, shopify"):
        find_profile("ebay")
    path.write_text(json.dumps(GOOD))
    assert find_profile(str(path)).must("longest_side").most == 3000


@pytest.mark.parametrize(
    ("size", "longest"),
    [((400, 300), 1200), ((2000, 100), 2000), ((5000, 5000), 3000), ((1200, 900), 1200), ((10, 3000), 3000)],
)
def test_the_profile_chooses_a_size_and_keeps_one_that_it_takes(size: tuple[int, int], longest: int) -> None:
    profile = parse_profile(GOOD)
    canvas = plan_fit(Size(*size), target_for(profile, Size(*size))).canvas
    assert max(canvas) == longest


def test_megapixels_and_the_shortest_side_shape_the_size() -> None:
    profile = parse_profile(
        {
            "name": "x",
            "size": 100,
            "rules": [{"rule": "megapixels", "most": 1}, {"rule": "shortest_side", "least": 200}],
        }
    )
    canvas = plan_fit(Size(4000, 3000), target_for(profile, Size(4000, 3000))).canvas
    assert 0.99e6 < canvas.pixels <= 1e6
    assert min(plan_fit(Size(300, 100), target_for(profile, Size(300, 100))).canvas) == 200


@pytest.mark.parametrize(
    "target",
    [
        Target(fit=Fit.PAD, width=400, height=400),
        Target(fit=Fit.COVER, width=4000, height=1000),
        Target(fit=Fit.LONGEST, width=500),
        Target(fit=Fit.CONTAIN, width=900, height=900),
    ],
)
def test_a_size_that_contradicts_is_refused_early(target: Target) -> None:
    with pytest.raises(InputError, match="longest side"):
        check_target(parse_profile(GOOD), target)


def test_a_size_that_may_do_is_left_to_each_picture() -> None:
    for target in (Target(fit=Fit.FACTOR, factor=2), Target(fit=Fit.PAD, width=2000, height=2000)):
        check_target(parse_profile(GOOD), target)


def test_another_background_than_white_is_refused() -> None:
    from backplate.core.image.canvas import Background, Fill

    profile = parse_profile(GOOD)
    assert for_marketplace(PictureSettings(), profile).background == Background(Fill.COLOUR, "white")
    given = Background(Fill.COLOUR, "255,255,255")
    assert for_marketplace(PictureSettings(background=given), profile).background == given
    for background in (Background(Fill.COLOUR, "black"), Background(Fill.TRANSPARENT)):
        with pytest.raises(InputError, match="white background"):
            for_marketplace(PictureSettings(background=background), profile)


def test_formats_that_can_be_written_in_the_profiles_order() -> None:
    assert suffixes_for(find_profile("amazon"))[0] == ".jpg"
    assert ".webp" not in suffixes_for(find_profile("amazon"))
    with pytest.raises(InputError, match="heic only"):
        suffixes_for(parse_profile(changed(at=3, values=["heic"])))
