"""The gate on files: what is mended, what is rejected, and that its own results pass unchanged."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.marketplace.deliver import Delivery, deliver, highest_quality
from backplate.core.jobs.marketplace.framing import check_outputs
from backplate.core.jobs.marketplace.measure import Verdict, examine, facts_of, other_space
from backplate.core.jobs.marketplace.profile import Profile, find_profile, parse_profile
from backplate.core.jobs.picture import PictureSettings, enlarge, for_marketplace, read_source
from backplate.core.progress import Progress
from PIL import Image, ImageCms

AMAZON = find_profile("amazon")


def product(
    path: Path,
    box: tuple[int, int, int, int],
    size: tuple[int, int] = (120, 120),
    background: tuple[int, int, int] = (255, 255, 255),
    **saving: object,
) -> Path:
    """A blue block on a background."""
    image = Image.new("RGB", size, background)
    image.paste((20, 60, 140), box)
    image.save(path, **saving)
    return path


def through(source: Path, output: Path, profile: Profile = AMAZON, **settings: object) -> Delivery:
    wanted = for_marketplace(PictureSettings(**settings), profile)
    read = read_source(source, output, wanted, 2)
    return deliver(source, output, enlarge(read, None, wanted, Progress()), read, wanted)


def verdicts(delivery: Delivery) -> dict[str, str]:
    return {
        finding.rule: finding.verdict.value for finding in delivery.findings if finding.verdict is not Verdict.WARNING
    }


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_a_small_product_on_tinted_paper_is_mended(tmp_path) -> None:
    source = product(tmp_path / "in.png", (40, 30, 70, 90), background=(244, 243, 241))
    delivery = through(source, tmp_path / "out.jpg")
    assert delivery.reason == ""
    assert delivery.path == tmp_path / "out.jpg"
    assert verdicts(delivery) == {
        "format": "passed", "longest_side": "mended", "white_background": "mended", "fill": "mended",
        "opaque": "passed", "srgb": "passed", "dpi": "mended", "bytes": "passed",
    }  # fmt: skip
    got = pixels(delivery.path)
    assert max(got.shape[:2]) == 2000
    assert (got[[0, -1]] == 255).all()
    assert (got[:, [0, -1]] == 255).all()
    rows = np.flatnonzero((got < 128).any(axis=(1, 2)))
    assert abs((rows[-1] - rows[0] + 1) / 2000 - 0.9) < 0.02


def test_its_own_results_pass_byte_for_byte(tmp_path) -> None:
    source = product(tmp_path / "in.png", (40, 30, 70, 90), background=(244, 243, 241))
    first = through(source, tmp_path / "out.jpg").path
    second = through(first, tmp_path / "again.jpg")
    assert second.path.read_bytes() == first.read_bytes()
    assert set(verdicts(second).values()) == {"passed"}
    # Anything that is asked for beside the rules is done.
    third = through(first, tmp_path / "grey.jpg", strip_gps=True)
    assert third.path.read_bytes() != first.read_bytes()


@pytest.mark.parametrize("background", [(200, 180, 160), (229, 240, 240), (0, 0, 0)])
def test_a_background_that_is_not_near_white_is_rejected(tmp_path, background) -> None:
    output = tmp_path / "out" / "a.jpg"
    output.parent.mkdir()
    output.write_bytes(b"an older result")
    delivery = through(product(tmp_path / "in.png", (10, 10, 110, 110), background=background), output)
    assert verdicts(delivery)["white_background"] == "failed"
    assert "100.0 % of the border is not white" in delivery.reason
    assert not output.exists()
    assert delivery.path == tmp_path / "out" / "failed" / "a.jpg"
    assert delivery.path.exists()
    good = through(product(tmp_path / "in.png", (10, 5, 110, 115)), output)
    assert good.path == output
    assert not delivery.path.exists()


def test_a_product_that_the_source_cuts_off_is_not_given_a_white_rim(tmp_path) -> None:
    source = product(tmp_path / "in.png", (50, 60, 70, 120))
    delivery = through(source, tmp_path / "out.png")
    assert [finding.rule for finding in delivery.broken] == ["white_background"]
    assert (pixels(delivery.path)[-1] < 255).any()


def test_a_tight_cutout_gets_room_and_white(tmp_path) -> None:
    image = Image.new("RGBA", (60, 90), (20, 60, 140, 255))
    image.save(tmp_path / "in.png")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(tmp_path / "in.png")
    delivery = through(tmp_path / "in.png", tmp_path / "out.png")
    assert delivery.reason == ""
    assert verdicts(delivery)["opaque"] == "mended"
    got = pixels(delivery.path)
    assert (got[0] == 255).all()
    rows = np.flatnonzero((got[:, got.shape[1] // 2] < 128).any(axis=1))
    assert abs(len(rows) / got.shape[0] - 0.9) < 0.02


def test_a_size_of_the_users_keeps_the_fill(tmp_path) -> None:
    source = product(tmp_path / "in.png", (40, 8, 70, 112), size=(240, 120))
    target = Target(fit=Fit.PAD, width=1500, height=1500)
    delivery = through(source, tmp_path / "out.png", target=target)
    assert delivery.reason == ""
    assert pixels(delivery.path).shape == (1500, 1500, 3)
    assert verdicts(delivery)["fill"] == "passed"  # of the source; as padded it would be 43 %


def test_a_size_that_breaks_the_profile_for_this_picture_is_refused_before_the_work(tmp_path) -> None:
    source = product(tmp_path / "in.png", (10, 5, 110, 115))
    with pytest.raises(InputError, match="longest side at least 500 px"):
        through(source, tmp_path / "out.png", target=Target(fit=Fit.FACTOR, factor=2))


def test_byte_limit_takes_the_highest_quality_that_fits(tmp_path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.png")
    rules = [{"rule": "bytes", "most": 45_000, "quality_floor": 40}]
    profile = parse_profile({"name": "x", "size": 200, "rules": rules})
    delivery = through(tmp_path / "in.png", tmp_path / "out.jpg", profile)
    assert verdicts(delivery) == {"bytes": "mended"}
    assert delivery.path.stat().st_size <= 45_000
    quality = int(delivery.findings[0].found.split("-> ")[1].split(",")[0])
    better = io.BytesIO()
    Image.fromarray(noise).save(better, "JPEG", quality=quality + 1, subsampling=0)
    assert better.tell() > 45_000
    rules[0]["quality_floor"] = 90
    rejected = through(
        tmp_path / "in.png", tmp_path / "out.jpg", parse_profile({"name": "x", "size": 200, "rules": rules})
    )
    assert [finding.rule for finding in rejected.broken] == ["bytes"]
    assert "quality 95 -> 90" in rejected.reason


@pytest.mark.parametrize("best", [40, 41, 73, 94])
def test_bisection_finds_the_best(best: int) -> None:
    assert highest_quality(lambda quality: quality * 10, best * 10, 40, 94) == best


def test_metadata_and_resolution(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a title"
    product(tmp_path / "in.jpg", (10, 5, 110, 115), exif=exif, dpi=(30, 30), quality=95)
    rules = [{"rule": "no_metadata"}, {"rule": "dpi", "least": 72, "most": 300}]
    delivery = through(
        tmp_path / "in.jpg",
        tmp_path / "out.png",
        parse_profile({"name": "x", "size": 120, "rules": rules}),
        software="us",
    )
    assert verdicts(delivery) == {"no_metadata": "mended", "dpi": "mended"}
    assert delivery.findings[0].found == "EXIF -> none"
    with Image.open(delivery.path) as image:
        assert "a title" not in str(image.info)
        assert "us" not in str(image.info)


def test_wide_colours_are_converted(tmp_path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert other_space(srgb) == ""
    assert other_space(None) == ""
    product(tmp_path / "in.jpg", (10, 5, 110, 115))
    with Image.open(tmp_path / "in.jpg") as image:
        image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    delivery = through(tmp_path / "cmyk.jpg", tmp_path / "out.jpg")
    assert verdicts(delivery)["srgb"] == "mended"
    assert next(finding for finding in delivery.findings if finding.rule == "srgb").found == "CMYK -> sRGB"
    with Image.open(delivery.path) as image:
        assert image.mode == "RGB"


def test_a_warning_does_not_reject(tmp_path) -> None:
    delivery = through(product(tmp_path / "in.png", (50, 50, 70, 70), background=(90,) * 3), tmp_path / "out.png",
                       find_profile("google"))  # fmt: skip
    assert delivery.reason == ""
    warned = {finding.rule for finding in delivery.findings if finding.verdict is Verdict.WARNING}
    assert warned == {"white_background", "fill"}
    assert torch.equal(facts_of(delivery.path).picture[0, :, 0, 0], torch.full((3,), 90 / 255))


def test_nothing_is_changed_by_measuring(tmp_path) -> None:
    source = product(tmp_path / "in.png", (40, 30, 70, 90))
    before = source.read_bytes()
    findings = {finding.rule: finding for finding in examine(facts_of(source), AMAZON)}
    assert findings["fill"].found == "50.0 %"
    assert findings["fill"].verdict is Verdict.FAILED
    assert source.read_bytes() == before


def test_an_empty_picture_has_no_product(tmp_path) -> None:
    Image.new("RGB", (600, 600), "white").save(tmp_path / "in.png")
    delivery = through(tmp_path / "in.png", tmp_path / "out.png")
    assert [finding.rule for finding in delivery.broken] == ["fill"]
    assert "found: 0.0 %" in delivery.reason


def test_a_product_from_edge_to_edge_is_not_set_into_a_corner(tmp_path) -> None:
    source = product(tmp_path / "in.png", (0, 30, 120, 90))
    delivery = through(source, tmp_path / "out.png", trim=True)
    assert [finding.rule for finding in delivery.broken] == ["white_background"]
    got = pixels(delivery.path)
    assert (got[1000, [0, -1]] < 200).any(axis=1).all()


def test_a_rule_without_an_aim_gets_one_within_its_limits(tmp_path) -> None:
    source = product(tmp_path / "in.png", (40, 40, 80, 80))
    for limits in ({"least": 0.95}, {"most": 0.3}, {"least": 0.4, "most": 0.6}):
        rules = [{"rule": "fill", **limits}]
        delivery = through(source, tmp_path / "out.png", parse_profile({"name": "x", "size": 900, "rules": rules}))
        assert delivery.reason == "", limits


def test_the_place_of_rejected_results_is_not_for_others(tmp_path) -> None:
    with pytest.raises(InputError, match="results that break a rule"):
        check_outputs(AMAZON, [tmp_path / "failed" / "a.jpg"])
