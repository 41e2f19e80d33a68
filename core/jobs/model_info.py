"""The model as it is recorded in files and manifests."""

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
    """What the manifest records about the model; after a change of ``sha256`` or ``precision`` everything is computed
    again. ``licence`` is empty, and ``commercial_use`` None, if unknown."""

    name: str
    sha256: str
    precision: str = "auto"
    licence: str = ""
    commercial_use: bool | None = None

    def software_tag(self, program: str = "Backplate") -> str:
        """What files record as the software that made them; ``program`` may include its version."""
        return f"{program}; {self.name}; sha256 {self.sha256[:12]}"

    def licence_line(self) -> str:
        """The licence as readable text."""
        return licence_line(self.licence, self.commercial_use)

    def check_commercial_use(self) -> None:
        """Raises ``LicenceError`` unless the licence is known to allow commercial use."""
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
    """An exported model has the licence of the model that it was made from: by its hash, or otherwise from the record,
    which is the only source for a blend."""
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
