"""A video whose frames are in memory, as other nodes produce them; they are read without encoding them first."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import torch
from av.container import OutputContainer

from ...errors import InputError
from ...types import Size
from .colour import WHITE_RGB, ColourTags, Pixels

SRGB = ColourTags(range=1, matrix=1, primaries=1, transfer=1)
"""The tags of results of such a video, unless the node that made it specifies others."""

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
OPUS_RATE = 48000
BITS_A_CHANNEL = 128_000


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageVideo:
    """``images`` (N, H, W, C), 0 to 1, C = 1, 3 or 4; ``rate`` in frames per second. ``bit_depth`` is the depth of a
    result that keeps the source's. ``sound`` (channels, samples), -1 to 1, at ``sound_rate`` samples per second; it is
    encoded with ``sound_codec``, because results copy encoded sound."""

    images: torch.Tensor
    rate: Fraction
    bit_depth: int = 8
    tags: ColourTags = SRGB
    sound: torch.Tensor | None = None
    sound_rate: int = 0
    sound_codec: str = "aac"

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[3] not in (1, 3, 4) or 0 in shape:
            raise InputError(f"A video of images of shape {shape} holds no frames of 1, 3 or 4 channels.")
        if self.rate <= 0:
            raise InputError(f"A video of {float(self.rate):g} frames a second is not possible; give a rate above 0.")
        if self.sound is not None and (self.sound.ndim != 2 or len(self.sound) not in LAYOUTS):
            raise InputError(
                f"Sound of shape {tuple(self.sound.shape)} is not (channels, samples) with 1 to 6 or 8 channels; mix "
                "it down to two."
            )

    @property
    def size(self) -> Size:
        return Size(self.images.shape[2], self.images.shape[1])

    @property
    def frames(self) -> int:
        return self.images.shape[0]

    def fingerprint(self) -> str:
        """Changes with any pixel, the rate or the sound."""
        facts = (tuple(self.images.shape), self.rate, self.bit_depth, self.tags, self.sound_rate, self.sound_codec)
        digest = hashlib.sha256(repr(facts).encode())
        for image in self.images:
            digest.update(_bytes(image))
        if self.sound is not None:
            digest.update(_bytes(self.sound))
        return digest.hexdigest()

    def frame(self, number: int) -> Pixels:
        """(H, W, 3) uint16, in which 65535 is 1.0. Raises ``InputError`` for values that are not finite."""
        image = self.images[number, ..., :3].detach().to("cpu", torch.float32)
        if not torch.isfinite(image).all():
            raise InputError(f"Frame {number} of the video holds values that are not finite; an earlier node failed.")
        values = image.clamp(0, 1).mul_(WHITE_RGB).round_().to(torch.int32).numpy().astype(np.uint16)
        return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values

    def companion(self) -> io.BytesIO:
        """A file with the sound, and one small frame, because a file with sound alone is not a video."""
        file = io.BytesIO()
        with av.open(file, "w", format="matroska" if self.sound_codec == "libopus" else "mp4") as container:
            picture = container.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            sound = None if self.sound is None else self._add_sound(container, self.sound)
            container.mux(picture.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(picture.encode(None))
            if self.sound is not None and sound is not None:
                container.mux(sound.encode(self._sound_frame(self.sound)))
                container.mux(sound.encode(None))
        file.seek(0)
        return file

    def _add_sound(self, container: OutputContainer, sound: torch.Tensor) -> av.AudioStream:
        known = self.sound_rate in AAC_RATES and self.sound_codec != "libopus"
        rate = self.sound_rate if known else OPUS_RATE
        stream = container.add_stream(self.sound_codec, rate=rate, layout=LAYOUTS[len(sound)])
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.bit_rate = BITS_A_CHANNEL * len(sound)
        return stream

    def _sound_frame(self, sound: torch.Tensor) -> av.AudioFrame:
        """The sound, at most as long as the pictures. The encoder resamples it."""
        most = math.ceil(self.frames / self.rate * self.sound_rate)
        samples = sound[:, :most].detach().to("cpu", torch.float32).contiguous().numpy()
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=LAYOUTS[len(sound)])
        frame.sample_rate, frame.pts, frame.time_base = self.sound_rate, 0, Fraction(1, self.sound_rate)
        return frame


def _bytes(values: torch.Tensor) -> memoryview:
    return values.detach().to("cpu", torch.float32).contiguous().numpy().data
