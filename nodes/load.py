"""Nodes that make upscale models: from a file, and from two others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.engines.export.files import is_engine_file, open_engine_file
from ..core.engines.registry import Engine
from ..core.jobs.model_info import model_of, model_of_file
from ..model_loader.blend import blend_models
from ..model_loader.loaded import load_model
from ..model_loader.precision import Precision
from . import comfy_host as host
from .schema import CATEGORY, SLIDER, choice_input, searchable
from .upscale_model import ExportedModel, Received, receive_model, send_model


class LoadUpscaleModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateLoadUpscaleModel",
            display_name="Load Upscale Model (Backplate)",
            category=CATEGORY,
            description="Reads an upscale model without running any code in the file, and says what it is.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=host.model_names(),
                    tooltip="A model file from ComfyUI's folder models/upscale_models (press R to "
                    "refresh the list after adding one), or one that comes with Backplate: "
                    "backplate-standard for pictures, or the faster backplate-lite for video. "
                    "For more invented detail, get Real-ESRGAN.",
                ),
                choice_input(
                    "precision",
                    Precision.AUTO,
                    tooltip="The precision in which the Backplate nodes run the model. auto takes the "
                    "fastest that is safe for this model on this device. If fp16 or bf16 is "
                    "not possible, fp32 is used and facts says so. Other nodes always get the "
                    "model in fp32.",
                ),
                choice_input(
                    "engine",
                    Engine.AUTO,
                    optional=True,
                    tooltip="What runs the model in the Backplate nodes. auto: pytorch on a GPU; on a CPU the fastest "
                    "engine that computes the same, measured once for each model when a job is long enough. An engine "
                    "that cannot run the model is replaced by pytorch, and the node says so. Other nodes always run it "
                    "in pytorch.",
                ),
            ],
            outputs=[
                io.UpscaleModel.Output("upscale_model", tooltip="Works with every node that takes an upscale model."),
                io.String.Output("facts", tooltip="Architecture, scale, size, licence and hash of the model."),
            ],
            **searchable("load esrgan, esrgan, upscale model, 4x model, super resolution model"),
        )

    @classmethod
    def fingerprint_inputs(
        cls, model_name: str | None = None, precision: str | None = None, engine: str | None = None
    ) -> str:
        """Changes when the file is replaced, so that it is read again. None stands for a linked input."""
        return host.model_fingerprint(model_name) if model_name else ""

    @classmethod
    def execute(cls, model_name: str, precision: str, engine: str = Engine.AUTO.value) -> io.NodeOutput:
        wish, path = Precision(precision), host.model_path(model_name)
        if is_engine_file(path):
            opened = open_engine_file(path, host.model_device(), host.HostProgress())
            line = model_of_file(opened, wish).licence_line()
            host.say(line)
            return io.NodeOutput(ExportedModel(path, opened, wish), f"{opened.text()}\n{line}")
        model = load_model(path)
        sent = send_model(Received(model=model, precision=wish, engine=Engine(engine)))
        host.say(model_of(model.facts, wish).licence_line())
        return io.NodeOutput(sent, host.describe(model, wish))


class BlendUpscaleModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateBlendUpscaleModels",
            display_name="Blend Upscale Models (Backplate)",
            category=CATEGORY,
            description="Mixes the weights of two models of the same architecture into a new one with "
            "a look in between. The two models are not changed.",
            inputs=[
                io.UpscaleModel.Input("model_a", tooltip="The model that weight 0 returns unchanged."),
                io.UpscaleModel.Input(
                    "model_b",
                    tooltip="The model that weight 1 returns unchanged. It must have the same "
                    "architecture and size; models trained from the same ancestor blend best.",
                ),
                io.Float.Input(
                    "weight",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=SLIDER,
                    tooltip="Share of model_b: 0 is all model_a, 1 is all model_b.",
                ),
            ],
            outputs=[
                io.UpscaleModel.Output("upscale_model", tooltip="The blend, with the precision and engine of model_a."),
                io.String.Output("facts", tooltip="Architecture, scale, size, licence and hash of the blend."),
            ],
            **searchable("interpolate models, merge upscale models, mix"),
        )

    @classmethod
    def execute(cls, model_a: Any, model_b: Any, weight: float) -> io.NodeOutput:
        first, second = receive_model(model_a), receive_model(model_b)
        blend = replace(first, model=blend_models(first.model, second.model, weight))
        return io.NodeOutput(send_model(blend), host.describe(blend.model, blend.precision))


NODES: list[type[io.ComfyNode]] = [LoadUpscaleModel, BlendUpscaleModels]
