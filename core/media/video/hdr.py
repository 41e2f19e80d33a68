"""What an HDR10 video says of the screen that it was made on and of its brightest pixels (SMPTE ST 2086, CTA-861.3)."""

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
"""Data that changes from frame to frame and that no encoder here can be given."""


@dataclass(frozen=True, kw_only=True)
class HdrFacts:
    """``mastering`` is x and y of red, green, blue and white, then the darkest and brightest light in candela per
    square metre; ``light`` the brightest pixel and the brightest frame on average, likewise. Empty where a video does
    not say. ``dynamic`` names what changes from frame to frame."""

    mastering: tuple[Fraction, ...] = ()
    light: tuple[int, ...] = ()
    dynamic: tuple[str, ...] = ()

    def encoder_options(self, encoder: str) -> dict[str, str]:
        """Parameters of the encoder by the name of the option that takes them; empty for those that take none."""
        if encoder == "libx265":
            parts = [f"master-display={self._display(50_000, 10_000)}"] if self.mastering else []
            parts += [f"max-cll={self.light[0]},{self.light[1]}"] if self.light else []
            return {"x265-params": ":".join(parts)} if parts else {}
        if encoder == "libsvtav1":
            parts = [f"mastering-display={self._display(1, 1)}"] if self.mastering else []
            parts += [f"content-light={self.light[0]},{self.light[1]}"] if self.light else []
            return {"svtav1-params": ":".join(parts)} if parts else {}
        return {}

    def left_out(self, encoder: str) -> str:
        """What the result does not keep, for a sentence; empty if it keeps everything."""
        static = "mastering display and light levels" if self.mastering or self.light else ""
        kept = bool(self.encoder_options(encoder))
        return ", ".join(filter(None, ["" if kept else static, *(f"{name} data" for name in self.dynamic)]))

    def _display(self, colour: int, light: int) -> str:
        """In these parts of a unit, as whole numbers unless they are units."""
        red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y, darkest, brightest = self.mastering
        points = (("G", green_x, green_y), ("B", blue_x, blue_y), ("R", red_x, red_y), ("WP", white_x, white_y))
        groups = [(name, x * colour, y * colour) for name, x, y in points] + [("L", brightest * light, darkest * light)]
        whole = colour > 1
        return "".join(
            f"{name}({round(a)},{round(b)})" if whole else f"{name}({float(a):.6g},{float(b):.6g})"
            for name, a, b in groups
        )


def hdr_of(frames: Sequence[VideoFrame]) -> HdrFacts:
    """What the first frames of a video say, as FFmpeg hands it out (libavutil/mastering_display_metadata.h)."""
    mastering: tuple[Fraction, ...] = ()
    light: tuple[int, ...] = ()
    dynamic: dict[str, None] = {}
    for frame in frames:
        for kind, content in frame_data(frame):
            if kind == Type.MASTERING_DISPLAY_METADATA:
                mastering = mastering or _mastering(np.frombuffer(content, np.int32).tolist())
            elif kind == Type.CONTENT_LIGHT_LEVEL:
                light = light or _light(np.frombuffer(content, np.uint32).tolist())
            elif kind in DYNAMIC:
                dynamic[DYNAMIC[kind]] = None
    return HdrFacts(mastering=mastering, light=light, dynamic=tuple(dynamic))


def _mastering(numbers: list[int]) -> tuple[Fraction, ...]:
    """Ten fractions, then whether colours and light are given; both or nothing, as encoders take them."""
    if len(numbers) < 22 or not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return ()
    return tuple(Fraction(n, d) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True))


def _light(numbers: list[int]) -> tuple[int, ...]:
    return tuple(numbers[:2]) if any(numbers[:2]) else ()
