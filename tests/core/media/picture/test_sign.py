"""Results of signed sources are signed by whom the user names, with the source's history in them, as c2pa's own reader
sees it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.marketplace.profile import find_profile
from backplate.core.jobs.picture import PictureSettings, enlarge, for_marketplace, read_source, write_enlarged
from backplate.core.media.picture.content_credentials import DROPPED
from backplate.core.media.picture.sign import Signatory, signatory_of, signatory_of_environment
from backplate.core.progress import Progress
from backplate.core.version import VERSION
from PIL import Image


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(InputError, match="need c2pa-python.*python -m pip install"):
        signatory_of(tmp_path / "chain.pem", tmp_path / "key.pem")


@pytest.mark.parametrize("given", [(Path("chain.pem"), None), (None, Path("key.pem"))])
def test_one_of_two_files_is_not_enough(given: tuple[Path | None, Path | None]) -> None:
    with pytest.raises(InputError, match="both a certificate and its private key"):
        signatory_of(*given)


def test_nobody_is_named_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CERTIFICATE", "KEY", "TIMESTAMP"):
        monkeypatch.delenv(f"BACKPLATE_C2PA_{name}", raising=False)
    assert signatory_of_environment() is None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")
    from c2pa_signing import Authority

    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority) -> tuple[Path, Path]:
    return authority.issue()


@pytest.fixture(scope="module")
def signatory(pair: tuple[Path, Path]) -> Signatory:
    return Signatory(certificate=pair[0], key=pair[1])


@pytest.fixture
def photo(pair: tuple[Path, Path], tmp_path: Path) -> Path:
    from c2pa_signing import camera_file

    path = tmp_path / "photo.jpg"
    path.write_bytes(camera_file("jpg", pair))
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [*(("jpg", kind) for kind in ("jpg", "png", "webp", "avif", "tif")), ("png", "jpg"), ("tif", "jpg"),
     ("webp", "jpg"), ("avif", "jpg")],
)  # fmt: skip
def test_the_history_is_carried_on_in_every_format(authority, pair, signatory, tmp_path, before, after):
    from c2pa_signing import actions_in, active, camera_file, read_manifests

    path = tmp_path / f"photo.{before}"
    path.write_bytes(camera_file(before, pair))
    output = tmp_path / f"out.{after}"
    assert result_of(path, output, PictureSettings(signatory=signatory)) == ((), "")
    state, store = read_manifests(output, trust={"user_anchors": authority.pem})
    assert state == "Trusted"
    manifest = active(store)
    (parent,) = manifest["ingredients"]
    assert (parent["title"], parent["relationship"]) == (path.name, "parentOf")
    assert parent["active_manifest"] == read_manifests(path)[1]["active_manifest"]
    assert store["manifests"][parent["active_manifest"]]["claim_generator_info"][0]["name"] == "Camera"
    assert manifest["claim_generator_info"][0]["name"] == "Backplate"
    assert manifest["claim_generator_info"][0]["version"] == VERSION
    assert [action["action"] for action in actions_in(manifest)] == ["c2pa.opened", "c2pa.transcoded"]


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "avif", "tif"])
def test_nothing_else_changes_in_the_file(pair, signatory, tmp_path, kind):
    from c2pa_signing import camera_file

    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x010E] = "a castle"
    path.write_bytes(camera_file("jpg", pair, exif=exif))
    seen = []
    for name, settings in {"plain": PictureSettings(), "signed": PictureSettings(signatory=signatory)}.items():
        result_of(path, tmp_path / f"{name}.{kind}", settings)
        with Image.open(tmp_path / f"{name}.{kind}") as image:
            seen.append((np.asarray(image), dict(image.getexif()).get(0x010E), image.info.get("icc_profile")))
    assert np.array_equal(seen[0][0], seen[1][0])
    assert seen[0][1:] == seen[1][1:]
    assert seen[0][1] == "a castle"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "avif", "tif"])
def test_a_change_of_the_pixels_is_noticed_by_the_reader(photo, signatory, tmp_path, kind):
    from c2pa_signing import flipped, read_manifests

    output, plain = tmp_path / f"out.{kind}", tmp_path / f"plain.{kind}"
    result_of(photo, plain, PictureSettings())
    result_of(photo, output, PictureSettings(signatory=signatory))
    pixels = plain.read_bytes()[-200:-100] if kind != "tif" else plain.read_bytes()[200:300]
    output.write_bytes(flipped(output.read_bytes(), output.read_bytes().index(pixels) + 50))
    state, store = read_manifests(output)
    codes = [each["code"] for each in store["validation_status"]]
    assert state == "Invalid"
    assert any(code.endswith("Hash.mismatch") for code in codes)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"target": Target(fit=Fit.FACTOR, factor=2.0)}, ["c2pa.resized.proportional"]),
        ({"target": Target(fit=Fit.COVER, width=16, height=16)}, ["c2pa.cropped", "c2pa.resized"]),
        ({"target": Target(fit=Fit.STRETCH, width=48, height=16)}, ["c2pa.resized"]),
        ({"target": Target(fit=Fit.PAD, width=48, height=48)}, ["c2pa.edited", "c2pa.resized"]),
    ],
)
def test_the_actions_say_what_was_done(photo, signatory, tmp_path, settings, expected):
    from c2pa_signing import actions_in, active, read_manifests

    result_of(photo, tmp_path / "out.jpg", PictureSettings(signatory=signatory, **settings))
    actions = actions_in(active(read_manifests(tmp_path / "out.jpg")[1]))
    assert [action["action"] for action in actions] == ["c2pa.opened", *expected]
    assert all(action["softwareAgent"]["name"] == "Backplate" for action in actions[1:])


@pytest.mark.parametrize("asked", ["", "algorithmicallyEnhanced"])
def test_what_a_model_drew_is_said_to_be_by_an_algorithm(photo, signatory, tmp_path, asked):
    from c2pa_signing import actions_in, active, read_manifests

    settings = PictureSettings(signatory=signatory, source_type=asked, software="Backplate; a model")
    source = read_source(photo, tmp_path / "out.jpg", settings, 1)
    enlarged = replace(enlarge(source, None, settings, Progress()), passes=1)
    write_enlarged(tmp_path / "out.jpg", enlarged, source, settings)
    edited = actions_in(active(read_manifests(tmp_path / "out.jpg")[1]))[1]
    assert edited["action"] == "c2pa.edited"
    assert edited["description"] == "Backplate; a model"
    assert edited["digitalSourceType"].rpartition("/")[2] == (asked or "compositeWithTrainedAlgorithmicMedia")


@pytest.mark.parametrize("how", ["plain source", "stripped", "bmp", "a shop without metadata"])
def test_what_is_not_to_be_signed_is_not(photo, signatory, tmp_path, how):
    from c2pa_signing import noise

    settings, output = PictureSettings(signatory=signatory), tmp_path / "out.png"
    notes: tuple[str, ...] = (f"left out: {DROPPED}",)
    if how == "plain source":
        photo.write_bytes(noise("jpg"))
        notes = ()
    elif how == "stripped":
        settings, notes = replace(settings, strip_metadata=True), ()
    elif how == "bmp":
        output = tmp_path / "out.bmp"
    else:
        shop = find_profile("shopify")
        bare = replace(shop, rules=(replace(shop.rules[0], kind="no_metadata", values=()),))
        settings = for_marketplace(settings, bare)
    assert result_of(photo, output, settings) == (notes, "")
    assert b"c2pa" not in output.read_bytes()


def test_without_a_signatory_it_is_said_how_to_keep_them(photo, tmp_path):
    ((note,), _) = result_of(photo, tmp_path / "out.jpg", PictureSettings())
    assert note.startswith(f"left out: {DROPPED}; with a certificate of your own")


def test_a_source_that_was_tampered_with_stays_so(photo, signatory, tmp_path):
    from c2pa_signing import active, flipped, read_manifests

    photo.write_bytes(flipped(photo.read_bytes(), -40))
    notes, note = result_of(photo, tmp_path / "out.jpg", PictureSettings(signatory=signatory))
    assert notes == ()
    assert "were not valid (assertion.dataHash.mismatch)" in note
    state, store = read_manifests(tmp_path / "out.jpg")
    assert state == "Valid"
    (parent,) = active(store)["ingredients"]
    codes = [each["code"] for each in parent["validation_results"]["activeManifest"]["failure"]]
    assert "assertion.dataHash.mismatch" in codes


def test_a_damaged_manifest_does_not_cost_the_picture(photo, signatory, tmp_path):
    from c2pa_signing import flipped

    data = photo.read_bytes()
    photo.write_bytes(flipped(data, data.index(b"c2pa") - 12))
    _, note = result_of(photo, tmp_path / "out.jpg", PictureSettings(signatory=signatory))
    assert note.startswith("left out, because they cannot be carried on: C2PA content credentials (")
    assert b"c2pa" not in (tmp_path / "out.jpg").read_bytes()
    Image.open(tmp_path / "out.jpg").load()


def test_a_key_that_is_gone_does_not_cost_the_picture(photo, authority, tmp_path):
    chain, key = authority.issue("gone")
    signatory = signatory_of(chain, key)
    key.unlink()
    _, note = result_of(photo, tmp_path / "out.jpg", PictureSettings(signatory=signatory))
    assert note == f"not signed: {key}: cannot be read (No such file or directory)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jpg", "photo.jpg"]
    Image.open(tmp_path / "out.jpg").load()


@pytest.mark.parametrize("algorithm", ["SECP384R1", "SECP521R1", "RSA", "Ed25519"])
def test_keys_of_every_algorithm_of_c2pa_sign(photo, authority, tmp_path, algorithm):
    from c2pa_signing import read_manifests
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = {
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
    }.get(algorithm, lambda: ec.generate_private_key(getattr(ec, algorithm)()))()
    signatory = signatory_of(*authority.issue(algorithm, key))
    result_of(photo, tmp_path / "out.jpg", PictureSettings(signatory=signatory))
    assert read_manifests(tmp_path / "out.jpg")[0] == "Valid"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("another key", "the signature does not match"),
        ("expired", "not valid at time of signing"),
        ("not yet valid", "not valid at time of signing"),
        ("self-signed", "the certificate was self-signed"),
        ("for servers", "the certificate is invalid"),
        ("no certificate", "no certificate in PEM form"),
        ("no key", "not a private key in PEM form"),
        ("passphrase", "locked with a passphrase"),
        ("missing", "cannot be read"),
        ("bitcoin", "no signatures by secp256k1"),
        ("time stamp", "http://127.0.0.1:9/ gives no time stamp"),
    ],
)
def test_what_cannot_sign_is_refused_before_any_work(authority, pair, tmp_path, wrong, said):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    chain, key = pair
    if wrong == "another key":
        _, key = authority.issue("another")
    elif wrong in ("expired", "not yet valid"):
        chain, key = authority.issue("late", days=(-10, -2) if wrong == "expired" else (2, 10))
    elif wrong == "self-signed":
        chain, key = authority.itself()
    elif wrong == "for servers":
        chain, key = authority.issue("server", usage="SERVER_AUTH")
    elif wrong == "no certificate":
        chain = key
    elif wrong == "no key":
        key = chain
    elif wrong == "passphrase":
        locked = form.BestAvailableEncryption(b"secret")
        loaded = form.load_pem_private_key(key.read_bytes(), None)
        key = tmp_path / "locked.key"
        key.write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked))
    elif wrong == "missing":
        chain = tmp_path / "none.pem"
    elif wrong == "bitcoin":
        chain, key = authority.issue("bitcoin", ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(InputError, match=said) as caught:
        signatory_of(chain, key, "http://127.0.0.1:9/" if wrong == "time stamp" else None)
    assert "\n" not in str(caught.value)


def result_of(path: Path, output: Path, settings: PictureSettings) -> tuple[tuple[str, ...], str]:
    """Makes the result without a model: notes after reading, and after writing."""
    source = read_source(path, output, settings, 1)
    return source.notes, write_enlarged(output, enlarge(source, None, settings, Progress()), source, settings)
