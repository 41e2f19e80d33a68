"""The model as files and manifests name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...model_loader.licences import licence_line, licence_of, refuse_unless_commercial

if TYPE_CHECKING:
    from ...model_loader.loaded import ModelFacts
    from ...model_loader.precision import Precision
    from ..engines.export.files import OpenedFile


@dataclass(frozen=True, kw_only=True)
class Model:
    """What the manifest says about the model; a change of ``sha256`` or ``precision`` makes everything anew.
    ``licence`` is empty, and ``commercial_use`` None, where nobody knows."""

    name: str
    sha256: str
    precision: str = "auto"
    licence: str = ""
    commercial_use: bool | None = None

    def software_tag(self, program: str = "Backplate") -> str:
        """What files record as that which made them; ``program`` may name its version."""
        return f"{program}; {self.name}; sha256 {self.sha256[:12]}"

    def licence_line(self) -> str:
        """For a person."""
        return licence_line(self.licence, self.commercial_use)

    def check_commercial_use(self) -> None:
        """Raises ``LicenceError`` unless the licence is known to allow it."""
        refuse_unless_commercial(self.name, self.sha256, self.licence, self.commercial_use)


def model_of(facts: ModelFacts, precision: Precision) -> Model:
    return Model(
        name=facts.name,
        sha256=facts.sha256,
        precision=precision.value,
        licence=facts.licence or "",
        commercial_use=facts.commercial_use,
    )


def exported_model(name: str, sha256: str, precision: Precision, made_from: str) -> Model:
    """Of an exported model; its licence is that of the model with the hash ``made_from``, if that is known."""
    licence = licence_of(made_from) or licence_of(sha256)
    return Model(
        name=name,
        sha256=sha256,
        precision=precision.value,
        licence=licence.text if licence else "",
        commercial_use=licence.commercial_use if licence else None,
    )


def model_of_file(opened: OpenedFile, precision: Precision) -> Model:
    made_from = opened.record.model_sha256 if opened.record else ""
    return exported_model(opened.name, opened.sha256, precision, made_from)
