"""Certificates and signed pictures, made for the moment; nothing of it is anybody's."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif", "tif": "image/tiff"}
KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "tif": "TIFF"}
CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


class Authority:
    """Vouches for certificates, as nobody but a test believes it. ``issue`` writes a chain and a key as PEM files."""

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certificate("Authority", self.key.public_key(), authority=True)

    def issue(self, name: str = "signer", key: Any = None, **more: Any) -> tuple[Path, Path]:
        """``more``: ``days`` for which the certificate is valid, ``usage`` of the key."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(name, key.public_key(), **more)
        pem = serialization.Encoding.PEM
        return self._saved(name, certificate.public_bytes(pem) + self.certificate.public_bytes(pem), key)

    def itself(self) -> tuple[Path, Path]:
        return self._saved("authority", self.pem.encode(), self.key)

    def _saved(self, name: str, chain: bytes, key: Any) -> tuple[Path, Path]:
        from cryptography.hazmat.primitives import serialization as form

        # Both ways in which OpenSSL writes them.
        kind = form.PrivateFormat.PKCS8 if "Ed25519" in type(key).__name__ else form.PrivateFormat.TraditionalOpenSSL
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(chain)
        paths[1].write_bytes(key.private_bytes(form.Encoding.PEM, kind, form.NoEncryption()))
        return paths

    @property
    def pem(self) -> str:
        from cryptography.hazmat.primitives import serialization

        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _certificate(
        self,
        name: str,
        public: Any,
        *,
        authority: bool = False,
        days: tuple[int, int] = (-1, 30),
        usage: str = "EMAIL_PROTECTION",
    ) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        def named(text: str) -> Any:
            attributes = ((x509.NameOID.COMMON_NAME, text), (x509.NameOID.ORGANIZATION_NAME, "Test"))
            return x509.Name([x509.NameAttribute(*each) for each in attributes])

        now = datetime.now(timezone.utc)
        purposes = {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        others = (*others, "encipher_only", "decipher_only")
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(name if authority else "Authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**purposes, **dict.fromkeys(others, False)), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if not authority:
            purpose = getattr(x509.ExtendedKeyUsageOID, usage)
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def noise(kind: str, size: tuple[int, int] = (24, 16), **options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, KINDS[kind], **options)
    return file.getvalue()


def camera_file(kind: str, pair: tuple[Path, Path], **options: object) -> bytes:
    """A picture as a camera with credentials would write it."""
    import c2pa

    created = {"action": "c2pa.created", "digitalSourceType": CAPTURE}
    assertion = {"label": "c2pa.actions.v2", "data": {"actions": [created]}}
    camera = {"claim_generator_info": [{"name": "Camera", "version": "1"}], "assertions": [assertion]}
    info = c2pa.C2paSignerInfo(b"es256", pair[0].read_bytes(), _pkcs8(pair[1]), None)
    signed = io.BytesIO()
    with c2pa.Builder(camera, quiet()) as builder:
        builder.sign(c2pa.Signer.from_info(info), TYPES[kind], io.BytesIO(noise(kind, **options)), signed)
    return signed.getvalue()


def quiet(**more: object) -> Any:
    """Asks nobody."""
    import c2pa

    network = {"core": {"allowed_network_hosts": []}, "verify": {"remote_manifest_fetch": False}}
    return c2pa.Context.from_dict(network | {"builder": {"thumbnail": {"enabled": False}}} | more)


def read_manifests(path: Path, **more: object) -> tuple[str, dict[str, Any]]:
    """What the reader makes of it (Invalid, Valid, Trusted), and the store of manifests."""
    import c2pa

    with path.open("rb") as file, c2pa.Reader(TYPES[path.suffix[1:]], file, context=quiet(**more)) as reader:
        return reader.get_validation_state(), json.loads(reader.json())


def active(store: dict[str, Any]) -> dict[str, Any]:
    return store["manifests"][store["active_manifest"]]


def actions_in(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for part in manifest["assertions"] if "actions" in part["label"] for each in part["data"]["actions"]]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def _pkcs8(path: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(path.read_bytes(), None)
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
