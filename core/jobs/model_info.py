"""The model as files and manifests name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...model_loader.licences import licence_line, licence_of, refuse_unless_commercial, said

if TYPE_CHECKING:
    from ...model_loader.loaded import ModelFacts
    from ...model_loader.precision import Precision
    from ..engines.export.files import OpenedFile, Record


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


def exported_model(name: str, sha256: str, precision: Precision, record: Record | None) -> Model:
    """Of an exported model. Its licence is that of the model that it was made from: by its hash, else as the record
    says, which is all that is known of a blend."""
    licence = licence_of(sha256)
    if record:
        licence = licence_of(record.model_sha256) or licence or said(record.licence, "says the record beside the file")
    return Model(
        name=name,
        sha256=sha256,
        precision=precision.value,
        licence=licence.text if licence else "",
        commercial_use=licence.commercial_use if licence else None,
    )


def model_of_file(opened: OpenedFile, precision: Precision) -> Model:
    return exported_model(opened.name, opened.sha256, precision, opened.record)
