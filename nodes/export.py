"""Writes upscale models as files of other engines."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.engines.export.export import ExportKind
from ..core.jobs.export import ExportRequest, export_as_requested
from . import comfy_host as host
from . import paths as places
from .schema import CATEGORY, AlwaysRun, choice_input, searchable
from .upscale_model import receive_model


class ExportModel(AlwaysRun, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateExportModel",
            display_name="Export Upscale Model (Backplate)",
            category=CATEGORY,
            description="Writes a model as ONNX or ncnn files for other programs and small devices, "
            "or as a TensorRT engine for this machine, and checks on drawn pictures that "
            "they compute the same. Files that differ too much are not written.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                choice_input(
                    "format",
                    ExportKind.ONNX,
                    tooltip="onnx: one file for ONNX Runtime, TensorRT and many others. ncnn: .param and .bin for "
                    "phones, single-board computers and Vulkan devices. tensorrt: an engine for NVIDIA GPUs like the "
                    "one in this machine, which takes minutes to build.",
                ),
                io.String.Input(
                    "file_name",
                    default="engines/model",
                    tooltip="File name inside ComfyUI's output folder, without extension; folders are created.",
                ),
                io.Boolean.Input(
                    "half_precision",
                    default=False,
                    tooltip="Store weights in 16 bits: half the size, with differences of up to 0.005.",
                ),
                io.Boolean.Input("overwrite", default=False, tooltip="Replace existing files of that name."),
            ],
            outputs=[
                io.String.Output("report", tooltip="The files, and how much they differ from PyTorch."),
                io.String.Output("file", tooltip="Path of the .onnx, .param or .engine file."),
            ],
            is_output_node=True,
            **searchable("onnx, ncnn, tensorrt, convert model, edge device"),
        )

    @classmethod
    def execute(
        cls, upscale_model: Any, format: str, file_name: str, half_precision: bool, overwrite: bool
    ) -> io.NodeOutput:
        model = receive_model(upscale_model).model
        host.leave_handles_out_of_copies(model.descriptor.model)
        output = places.result_file(file_name, ExportKind(format).suffix)
        request = ExportRequest(half=half_precision)
        report = export_as_requested(model, output, request, host.HostProgress(), overwrite=overwrite)
        text = host.printable(report.text())
        return io.NodeOutput(text, str(output), ui={"text": (text,)})


NODES: list[type[io.ComfyNode]] = [ExportModel]
