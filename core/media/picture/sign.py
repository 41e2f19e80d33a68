"""A C2PA manifest for a result: what was done, and the source with its own manifest as an ingredient.

C2PA 2.4, sections 18.15 (actions) and 18.16 (ingredients). The signature is the user's: nothing is signed without the
certificate and the key that they name, and nobody is asked but the time-stamp server that they name.
"""

# c2pa-python and cryptography are optional, so their types are not known where this is checked.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import importlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from ...errors import InputError, one_line
from ...version import VERSION
from .content_credentials import SignedFile
from .xmp import TERMS

CERTIFICATE, KEY, TIMESTAMP = (f"BACKPLATE_C2PA_{name}" for name in ("CERTIFICATE", "KEY", "TIMESTAMP"))
"""Environment variables that name a signatory."""
SIGNABLE = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats of results that can hold a manifest."""
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
SOUND = ("Valid", "Trusted")
UNTRUSTED = "signingCredential.untrusted"
"""The one failure that says nothing about the picture: nobody here knows whom the reader trusts."""

Action = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Signatory:
    """Whose signature results get. ``certificate``: a PEM file, the signer's certificate first, then those that vouch
    for it. ``key``: a PEM file with its private key. ``timestamp``: address of an RFC 3161 server, empty for none."""

    certificate: Path
    key: Path
    timestamp: str = ""

    def check(self) -> None:
        """Signs a picture of its own and reads it back, with and without asking the time-stamp server. Raises
        ``InputError`` if that fails, or if c2pa-python is missing."""
        c2pa = _c2pa()
        try:
            _try(c2pa, replace(self, timestamp=""))
        except c2pa.C2paError as error:
            raise InputError(
                f"{self.certificate} and {self.key} cannot sign ({_reason(error)}): the file must begin with your own "
                "certificate, valid now, for digital signatures and not self-signed, and the key must belong to it."
            ) from error
        try:
            if self.timestamp:
                _try(c2pa, self)
        except c2pa.C2paError as error:
            raise InputError(
                f"{self.timestamp} gives no time stamp ({_reason(error)}); name an RFC 3161 server, or none."
            ) from error


def signatory_of(certificate: Path | None, key: Path | None, timestamp: str | None = None) -> Signatory | None:
    """None if neither a certificate nor a key is given. Raises ``InputError`` if only one is, and as
    ``Signatory.check``."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InputError("Content credentials need both a certificate and its private key; name the other one too.")
    signatory = Signatory(certificate=certificate, key=key, timestamp=timestamp or "")
    signatory.check()
    return signatory


def signatory_of_environment() -> Signatory | None:
    """The one that ``BACKPLATE_C2PA_CERTIFICATE``, ``_KEY`` and ``_TIMESTAMP`` name. Raises as ``signatory_of``."""
    certificate, key, timestamp = (os.environ.get(name, "").strip() for name in (CERTIFICATE, KEY, TIMESTAMP))
    return signatory_of(Path(certificate) if certificate else None, Path(key) if key else None, timestamp)


def sign(path: Path, title: str, kind: str, source: SignedFile, actions: Sequence[Action], signatory: Signatory) -> str:
    """Signs the finished picture ``path`` of a format of ``SIGNABLE``, as made of ``source`` by ``actions``, which
    follow ``c2pa.opened``. Its pixels and all else in it stay as they are. ``title`` is its name.

    Returns a note for the user, which may be empty. If it cannot be signed, the picture stays as it was and the note
    says why. Raises ``OSError`` if it cannot be written.
    """
    media_type = Image.MIME[kind]
    try:
        c2pa = _c2pa()
        signer = _signer(c2pa, signatory)
    except InputError as error:
        return f"not signed: {error}".rstrip(".")
    try:
        with c2pa.Builder(_definition(title, actions), _context(c2pa, signatory)) as builder:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            parent = {"title": source.name, "relationship": "parentOf"}
            builder.add_ingredient(parent, source.media_type, io.BytesIO(source.data))
            signed = _signed(builder, signer, media_type, io.BytesIO(path.read_bytes()))
        note = _history_note(_read_back(c2pa, signatory, media_type, signed))
    except (c2pa.C2paError, ValueError, KeyError) as error:
        return f"left out, because they cannot be carried on: C2PA content credentials ({_reason(error)})"
    path.write_bytes(signed.getbuffer())
    return note


def _try(c2pa: Any, signatory: Signatory) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    created = {"action": "c2pa.created", "digitalSourceType": TERMS + "digitalCreation"}
    signer = _signer(c2pa, signatory)
    with c2pa.Builder(_definition("", [created]), _context(c2pa, signatory)) as builder:
        media_type = Image.MIME["PNG"]
        _read_back(c2pa, signatory, media_type, _signed(builder, signer, media_type, picture))


def _c2pa() -> Any:
    try:
        return importlib.import_module("c2pa")
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f'Content credentials need c2pa-python ({one_line(error)}); run: python -m pip install "c2pa-python>=0.38"'
        ) from error


def _signer(c2pa: Any, signatory: Signatory) -> Any:
    """Raises ``InputError``."""
    key, algorithm = _key(signatory.key)
    certificates = _bytes_of(signatory.certificate)
    if b"-----BEGIN CERTIFICATE-----" not in certificates:
        raise InputError(f"{signatory.certificate}: no certificate in PEM form; openssl x509 -inform der converts one.")
    info = c2pa.C2paSignerInfo(algorithm, certificates, key, signatory.timestamp or None)
    try:
        return c2pa.Signer.from_info(info)
    except c2pa.C2paError as error:
        raise InputError(f"{signatory.certificate} and {signatory.key} cannot sign ({_reason(error)}).") from error


def _key(path: Path) -> tuple[bytes, str]:
    """The private key as PKCS 8, which is what c2pa-python takes, and the name of its algorithm. Raises
    ``InputError``."""
    serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
    unknown: Any = importlib.import_module("cryptography.exceptions").UnsupportedAlgorithm
    content = _bytes_of(path)
    try:
        key: Any = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise InputError(
            f"{path}: the key is locked with a passphrase; save it without one, where only you can read it."
        ) from error
    except (ValueError, unknown) as error:
        raise InputError(f"{path}: not a private key in PEM form ({one_line(error, 80)}).") from error
    name = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    algorithm = CURVES.get(name) or {"Ed25519PrivateKey": "ed25519"}.get(name.lstrip("_"))
    if algorithm is None and "RSA" in name:
        algorithm = "ps256"
    if algorithm is None:
        raise InputError(f"{path}: C2PA has no signatures by {name}; take ES256, ES384, ES512, PS256 or Ed25519.")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form), algorithm


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _context(c2pa: Any, signatory: Signatory) -> Any:
    host = urlsplit(signatory.timestamp).hostname
    return c2pa.Context.from_dict(
        {
            "core": {"allowed_network_hosts": [host] if host else []},
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            # What we say ourselves, unlike what we pass on.
            "builder": {
                "created_assertion_labels": ["c2pa.actions", "c2pa.ingredient"],
                "thumbnail": {"enabled": False},
            },
        }
    )


def _definition(title: str, actions: Sequence[Action]) -> dict[str, Any]:
    return {
        "claim_generator_info": [{"name": "Backplate", "version": VERSION}],
        "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}],
    }


def _signed(builder: Any, signer: Any, media_type: str, picture: io.BytesIO) -> io.BytesIO:
    picture.seek(0)
    signed = io.BytesIO()
    builder.sign(signer, media_type, picture, signed)
    signed.seek(0)
    return signed


def _read_back(c2pa: Any, signatory: Signatory, media_type: str, signed: io.BytesIO) -> dict[str, Any]:
    """The active manifest, if it belongs to the pixels of the file and nothing in it is wrong; ``C2paError`` if not."""
    with c2pa.Reader(media_type, signed, context=_context(c2pa, signatory)) as reader:
        found: dict[str, Any] = json.loads(reader.json())
        if (state := reader.get_validation_state()) not in SOUND:
            codes = ", ".join(_failures(found))
            raise c2pa.C2paError(f"read back, they are {state}: {codes}")
    return found["manifests"][found["active_manifest"]]


def _history_note(manifest: dict[str, Any]) -> str:
    failures = [code for part in manifest["ingredients"] for code in _failures(part)]
    if not failures:
        return ""
    return f"its C2PA content credentials were not valid ({', '.join(failures)}), and those of the result say so"


def _failures(part: dict[str, Any]) -> list[str]:
    results = part.get("validation_results", {}).get("activeManifest", {})
    return [each["code"] for each in results.get("failure", []) if each["code"] != UNTRUSTED]


def _reason(error: Exception) -> str:
    """What the library says, without the kind of error before it."""
    return re.sub(r"^[A-Z]\w*: ", "", one_line(error, 160)).rstrip(".")
