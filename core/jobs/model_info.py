"""The model as files and manifests name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Model:
    """What the manifest says about the model; a change of ``sha256`` or ``precision`` makes everything anew."""

    name: str
    sha256: str
    precision: str = "auto"

    def software_tag(self, program: str = "Backplate") -> str:
        """What files record as that which made them; ``program`` may name its version."""
        return f"{program}; {self.name}; sha256 {self.sha256[:12]}"
