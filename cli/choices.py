"""Values that options take, spelled out for ``--help``: what defines them would import PyTorch."""

from __future__ import annotations

from ..core.engines.names import Engine

FITS = "cover|contain|pad|stretch|longest|shortest|megapixels|factor"
ANCHORS = "center|top|bottom|left|right|top-left|top-right|bottom-left|bottom-right"
EDGES = "plain|replicate|wrap horizontal|wrap both"
PRECISIONS = "auto|fp32|tf32|fp16|bf16"
ENGINES = "|".join(Engine)
EXPORTS = "onnx|ncnn|tensorrt"
PROTECT_MODES = "resample|anchor"
FORMATS = "png|jpg|webp|tiff|avif"
SCHEDULERS = "ray"
SOURCE_TYPES = "algorithmicallyEnhanced|compositeWithTrainedAlgorithmicMedia"
