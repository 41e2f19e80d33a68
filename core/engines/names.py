"""The engines by name: read by command lines and nodes, so this imports nothing heavy."""

from __future__ import annotations

from enum import Enum


class Engine(str, Enum):
    """What runs the model.

    ``module``: the one of this folder that runs it, imported on use (see ``EngineModule``); empty for PyTorch itself,
    and for the choice among the others.
    """

    module: str

    def __new__(cls, value: str, module: str = "") -> Engine:
        member = str.__new__(cls, value)
        member._value_ = value
        member.module = module
        return member

    AUTO = "auto"
    PYTORCH = "pytorch"
    COMPILED = "compiled", ".torch_compile"
    TENSORRT = "tensorrt", ".tensorrt.engine"
    ONNXRUNTIME = "onnxruntime", ".onnx.engine"
    NCNN = "ncnn", ".ncnn.engine"


MODULES = {engine: engine.module for engine in Engine if engine.module}
