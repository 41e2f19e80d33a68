"""HDR10 metadata: the mastering display and the light levels (SMPTE ST 2086, CTA-861.3)."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from .frame_data import frame_data

DYNAMIC = {Type.DYNAMIC_HDR_PLUS: "HDR10+", Type.DOVI_METADATA: "Dolby Vision", Type.DYNAMIC_HDR_VIVID: "HDR Vivid"}
"""Dynamic metadata, per frame, which no encoder here accepts."""


OPTIONS = {
    "libx265": ("x265-params", "master-display", (50_000, 10_000), "max-cll"),
    "libsvtav1": ("svtav1-params", "mastering-display", (1, 1), "content-light"),
}
"""By encoder: its option, and the names in it of the mastering display, with its units of colour and light, and of the
light levels."""


@dataclass(frozen=True, kw_only=True)
class HdrFacts:
    """``mastering`` is x and y of red, green, blue and white, then the minimum and maximum luminance in candela per
    square metre; ``light`` is the brightest pixel and the brightest frame average, likewise. Empty if unspecified.
    ``dynamic`` names the dynamic metadata."""

    mastering: tuple[Fraction, ...] = ()
    light: tuple[int, ...] = ()
    dynamic: tuple[str, ...] = ()

    def encoder_options(self, encoder: str) -> dict[str, str]:
        """Encoder parameters by the name of their option; empty for encoders that accept none."""
        if encoder not in OPTIONS:
            return {}
        option, display, units, light = OPTIONS[encoder]
        parts = [f"{display}={self._display(*units)}"] if self.mastering else []
        parts += [f"{light}={self.light[0]},{self.light[1]}"] if self.light else []
        return {option: ":".join(parts)} if parts else {}

    def left_out(self, encoder: str) -> str:
        """What the result loses, for a sentence; empty if it keeps everything."""
        static = "mastering display and light levels" if self.mastering or self.light else ""
        kept = bool(self.encoder_options(encoder))
        return ", ".join(filter(None, ["" if kept else static, *(f"{name} data" for name in self.dynamic)]))

    def _display(self, colour: int, light: int) -> str:
        """In these fractions of a unit, as whole numbers unless in whole units."""
        red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y, darkest, brightest = self.mastering
        points = (("G", green_x, green_y), ("B", blue_x, blue_y), ("R", red_x, red_y), ("WP", white_x, white_y))
        groups = [(name, x * colour, y * colour) for name, x, y in points] + [("L", brightest * light, darkest * light)]
        whole = colour > 1
        return "".join(
            f"{name}({round(a)},{round(b)})" if whole else f"{name}({float(a):.6g},{float(b):.6g})"
            for name, a, b in groups
        )


def hdr_of(frames: Sequence[VideoFrame]) -> HdrFacts:
    """The metadata in the first frames of a video, in FFmpeg's layout (libavutil/mastering_display_metadata.h)."""
    mastering: tuple[Fraction, ...] = ()
    light: tuple[int, ...] = ()
    dynamic: dict[str, None] = {}
    for frame in frames:
        for kind, content in frame_data(frame):
            if kind == Type.MASTERING_DISPLAY_METADATA:
                mastering = mastering or _mastering(np.frombuffer(content, np.int32).tolist())
            elif kind == Type.CONTENT_LIGHT_LEVEL:
                levels = tuple(np.frombuffer(content, np.uint32).tolist()[:2])
                light = light or (levels if any(levels) else ())
            elif kind in DYNAMIC:
                dynamic[DYNAMIC[kind]] = None
    return HdrFacts(mastering=mastering, light=light, dynamic=tuple(dynamic))


def _mastering(numbers: list[int]) -> tuple[Fraction, ...]:
    """Ten fractions, then flags for colours and luminance. Encoders need both, so one alone counts as none."""
    if len(numbers) < 22 or not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return ()
    return tuple(Fraction(n, d) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True))
