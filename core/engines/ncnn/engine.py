"""Runs a model in ncnn: on the CPU, where Winograd convolutions are faster than PyTorch's, or on any Vulkan device.

Models are written by ``convert`` on the fly, in a fraction of a second. Existing pairs of ``.param`` and ``.bin``
run too; see ``export.files``.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
import tempfile
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from ....model_loader.loaded import LoadedModel
from ....model_loader.precision import Precision
from ...errors import ModelOutputError, OutOfMemory
from ...progress import Progress
from ...upscaler import Upscaler, UpscalerSpec
from ..fuse import fuse_for_export
from ..memory import machine_memory
from ..onnx.export import OnnxSettings
from ..registry import EngineRequest, EngineUnusable
from ..spec import model_spec
from ..verify import verify
from .check import check_pair
from .convert import INPUT, OUTPUT, Layer, NotWritable, files_of, ncnn_files, ncnn_layers
from .param import ParamFile, parse_param, read_param
from .pnnx import convert_with_pnnx
from .pools import release_unused, share_pools
from .rows import OUT_OF_MEMORY, NcnnRows, NotStreamable, RowGraph
from .strips import NcnnStrips
from .tail import NcnnTail, cut

WORKSPACE = 3 * 2**30
"""Bytes that a tile may take in memory, and no more than a quarter of what the machine has."""

WORKSPACE_FACTOR = 12
"""Times the largest thing that a convolution reads or writes, which Winograd convolutions and their neighbours hold at
once, measured."""

AMPLE_MEMORY = 16 * 2**30
"""Of a machine on which what a large tile took stays for the next, until the model is dropped: to get 3 GB again takes
a seventh of the time of the tile."""

LARGEST_TILE = 768 * 768
"""Pixels from which a larger tile gains nothing."""

VULKAN_PIXELS = 256 * 256
"""Tile on a Vulkan device: what realesrgan-ncnn-vulkan takes on a device with 2 GB or more is 200 pixels a side."""

STREAM_FROM = 160 * 160
"""Pixels from which a picture is faster as rows than as one tile, whose layers leave the cache."""

NOT_LOCKING = (1, 0, 20261020)
"""The version of ncnn that, unlike 1.0.20260526, does not hold Python's global lock while a network runs."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NcnnSettings:
    """``threads``: 0 for as many as PyTorch uses. ``vulkan``: number of the Vulkan device; None for the CPU.

    ``fp16`` and ``bf16`` store and compute in half precision (difference to single precision about 1e-2); the other
    two choose how convolutions are computed, exact but for rounding, and are ncnn's defaults.
    """

    threads: int = 0
    vulkan: int | None = None
    winograd: bool = True
    sgemm: bool = True
    fp16: bool = False
    bf16: bool = False
    blocks_of_six: bool = False
    """Winograd convolutions in blocks of 6x6 alone, of networks that hint at shapes; else ncnn chooses by a table."""


class NcnnUpscaler:
    """An ``Upscaler`` over a pair of ncnn files, which may be removed once this is made. With a ``tail`` they are what
    comes before it.

    Raises ``EngineUnusable`` if ncnn cannot read them.
    """

    def __init__(
        self,
        param: Path,
        weights: Path,
        spec: UpscalerSpec,
        settings: NcnnSettings | None = None,
        names: tuple[str, str] = (INPUT, OUTPUT),
        rows: NcnnStrips | None = None,
        tail: NcnnTail | None = None,
    ) -> None:
        self._names, self._rows, self._tail = names, rows, tail
        self._spec = replace(spec, rows_from=STREAM_FROM) if rows else spec
        self._net = _load(param, weights, settings or NcnnSettings())
        weakref.finalize(self, release_unused)

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        batch = picture.detach().to("cpu", torch.float32).contiguous()
        result = torch.cat([self._run(each).unsqueeze(0) for each in batch]).clamp_(0, 1)
        if 2 * picture.shape[2] * picture.shape[3] >= self._spec.max_tile_pixels and machine_memory() < AMPLE_MEMORY:
            release_unused()
        return result

    def stream_height(self, width: int) -> int:
        """See ``StreamingUpscaler``."""
        rule = self._spec.size_rule
        # Colour goes through a grey model as three pictures, and rows are those of one.
        if self._rows is None or self._spec.input_channels == 1 or rule.multiple_of > 1 or rule.square:
            return 0
        return self._rows.height(width)

    @property
    def least_rows(self) -> int:
        """Rows that a stream begins with."""
        return self._rows.graph.least_rows if self._rows else 0

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        """See ``StreamingUpscaler``."""
        assert self._rows is not None, "stream_height said 0"
        portions = _led(chunks, self._rows.graph.least_rows)
        first = next(portions)
        second = next(portions, None)
        if second is None:
            yield self(first)
            return
        whole = (portion.detach().to("cpu", torch.float32)[0] for portion in chain((first, second), portions))
        try:
            with closing(self._rows.run(whole)) as streamed:
                for rows in streamed:
                    yield rows.unsqueeze(0).clamp_(0, 1)
        finally:
            release_unused()

    def _run(self, picture: torch.Tensor) -> torch.Tensor:
        values = self._run_net(self._net, picture)
        if self._tail is None:
            return values
        return self._tail.run(values) if values.shape[1] >= self._tail.least else self._run_net(self._tail.net, values)

    def _run_net(self, net: Any, picture: torch.Tensor) -> torch.Tensor:
        extractor = net.create_extractor()
        # Memory of its own, as a layer that computes in place would overwrite the picture.
        extractor.input(self._names[0], _ncnn().Mat(picture.numpy()).clone())
        code, result = extractor.extract(self._names[1])
        if code == OUT_OF_MEMORY:
            raise OutOfMemory(f"ncnn ran out of memory at {picture.shape[2]}x{picture.shape[1]} pixels")
        # Reading a result that is not there would end the process.
        if code != 0 or result.empty():
            raise ModelOutputError(
                f"ncnn failed on {self._spec.name} at {picture.shape[2]}x{picture.shape[1]} pixels (code {code}); use "
                "the engine pytorch."
            )
        return torch.tensor(numpy.array(result))


def _led(chunks: Iterator[torch.Tensor], rows: int) -> Iterator[torch.Tensor]:
    """The chunks, with as many of the first in one as make so many rows."""
    lead: list[torch.Tensor] = []
    for chunk in chunks:
        lead.append(chunk)
        if sum(part.shape[2] for part in lead) >= rows:
            break
    yield torch.cat(lead, dim=2)
    yield from chunks


def unusable() -> str | None:
    """See ``EngineModule``."""
    if importlib.util.find_spec("ncnn") is None:
        return "ncnn is not installed; pip install ncnn"
    return None


def _ncnn() -> Any:
    """The package, which has no types."""
    return importlib.import_module("ncnn")


def open_model(request: EngineRequest) -> Upscaler:
    """See ``EngineModule``."""
    settings = settings_for(request.device, request.precision)
    network = fuse_for_export(request.model.descriptor.model)
    try:
        layers, result = ncnn_layers(network)
    except NotWritable as reason:
        raise EngineUnusable(
            f"the architecture {request.model.facts.architecture} needs {reason}, which is not implemented for ncnn"
        ) from reason
    rows = _rows_of(network, settings)
    tail = None
    if rows is None and settings.vulkan is None and (parts := cut(layers, result)):
        tail = _tail_of(parts[1], settings)
        layers, result = (parts[0], len(parts[0]) - 1) if tail else (layers, result)
    param, weights = files_of(layers, result)
    budget = _tile_pixels(parse_param(param.decode("ascii")), settings)
    descriptor = request.model.descriptor
    spec = model_spec(request.model.facts, descriptor, max_tile_pixels=budget)
    with _files(param, weights) as files:
        upscaler = NcnnUpscaler(*files, spec, settings, rows=rows, tail=tail)
    verify(upscaler, request.model, half=settings.fp16 or settings.bf16)
    return upscaler


def _rows_of(network: nn.Module, settings: NcnnSettings) -> NcnnStrips | None:
    """None on a Vulkan device, where large tiles are faster, and for networks that cannot be streamed."""
    if settings.vulkan is not None:
        return None

    try:
        graph = RowGraph(network)
    except NotStreamable as reason:
        logger.debug("Rows cannot be streamed through this model in ncnn: %s", reason)
        return None
    six = _blocks_of_six_are_faster()
    settings = replace(settings, blocks_of_six=six)

    def rows(threads: int) -> NcnnRows:
        return NcnnRows(graph, partial(_load_contents, settings=replace(settings, threads=threads)), _matrix)

    return NcnnStrips(graph, rows, _threads(settings), block=6 if six else 4, apart=_leaves_python_running())


def _tail_of(layers: list[Layer], settings: NcnnSettings) -> NcnnTail | None:
    try:
        return NcnnTail(layers, partial(_load_contents, settings=settings), _matrix)
    except NotStreamable as reason:
        logger.debug("The end of this model cannot be streamed in ncnn: %s", reason)
        return None


def _leaves_python_running() -> bool:
    """Whether another thread of Python may run a network at the same time."""
    version = tuple(int(part) for part in re.findall(r"\d+", _ncnn().__version__)[:3])
    return version >= NOT_LOCKING


def _matrix(values: numpy.ndarray) -> Any:
    return _ncnn().Mat(values).clone()


def _load_contents(param: bytes, weights: bytes, settings: NcnnSettings) -> Any:
    with _files(param, weights) as files:
        return _load(*files, settings)


def _blocks_of_six_are_faster() -> bool:
    """For rows, on CPUs with 32 wide registers: 1.15 to 1.2 times there; ncnn's table was measured on one with 16."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@contextmanager
def _files(param: bytes, weights: bytes) -> Generator[tuple[Path, Path]]:
    """A pair of files for as long as it takes to read them."""
    with tempfile.TemporaryDirectory(prefix="backplate-") as folder:
        files = Path(folder, "model.param"), Path(folder, "model.bin")
        files[0].write_bytes(param)
        files[1].write_bytes(weights)
        yield files


def settings_for(device: torch.device, precision: Precision) -> NcnnSettings:
    """Single precision unless half was asked for. Raises ``EngineUnusable`` where the device is no CPU and ncnn finds
    no Vulkan."""
    half = {"fp16": precision is Precision.FP16, "bf16": precision is Precision.BF16}
    if device.type == "cpu":
        return NcnnSettings(**half)
    count = int(_ncnn().get_gpu_count())
    if not count:
        raise EngineUnusable(
            f"ncnn finds no Vulkan device to use in place of {device}; install the graphics driver with Vulkan, or "
            "choose the cpu device"
        )
    return NcnnSettings(vulkan=vulkan_number(device, count), **half)


def vulkan_number(device: torch.device, count: int) -> int:
    """Vulkan's number for a device of PyTorch, which counts otherwise: found by its name. Raises ``EngineUnusable``
    where no Vulkan device has it, rather than take the processor's own graphics or a software renderer."""
    if device.type != "cuda":
        return int(_ncnn().get_default_gpu_index())
    wanted = torch.cuda.get_device_name(device)
    names = [str(_ncnn().get_gpu_info(number).device_name()) for number in range(count)]
    fitting = [number for number, name in enumerate(names) if wanted in name or name in wanted]
    if not fitting:
        raise EngineUnusable(f"Vulkan has no device {wanted}, only {', '.join(names)}; choose another engine")
    # Of several cards of one kind the order is the same.
    alike = [index for index in range(torch.cuda.device_count()) if torch.cuda.get_device_name(index) == wanted]
    place = alike.index(device.index or 0) if (device.index or 0) in alike else 0
    return fitting[min(place, len(fitting) - 1)]


def _tile_pixels(graph: ParamFile, settings: NcnnSettings) -> int:
    return VULKAN_PIXELS if settings.vulkan is not None else max_tile_pixels(graph, machine_memory())


def max_tile_pixels(graph: ParamFile, memory: int) -> int:
    """Pixels of a tile on the CPU of a machine with so many bytes of memory."""
    room = min(WORKSPACE, memory // 4)
    return min(LARGEST_TILE, int(room / (4 * graph.values_per_pixel * WORKSPACE_FACTOR)))


def _load(param: Path, weights: Path, settings: NcnnSettings) -> Any:
    net = _ncnn().Net()
    _configure(net.opt, settings)
    if settings.vulkan is not None:
        net.set_vulkan_device(settings.vulkan)
    # Using a network that was not loaded would end the process.
    if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
        raise EngineUnusable(f"ncnn cannot read {param.name} with {weights.name}; get both files again")
    return net


def _threads(settings: NcnnSettings) -> int:
    return settings.threads or torch.get_num_threads()


def _configure(options: Any, settings: NcnnSettings) -> None:
    share_pools(options)
    options.num_threads = _threads(settings)
    options.use_vulkan_compute = settings.vulkan is not None
    options.use_winograd_convolution = settings.winograd
    options.use_winograd43_convolution = options.use_winograd23_convolution = not settings.blocks_of_six
    options.use_sgemm_convolution = settings.sgemm
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = settings.fp16
    options.use_bf16_packed = options.use_bf16_storage = settings.bf16


def write_files(model: LoadedModel, main: Path, settings: OnnxSettings, progress: Progress) -> Sequence[Path]:
    """See ``FileReader``. Networks that ``convert`` does not know go through pnnx, where that is installed."""
    files = companions(main)
    try:
        contents = ncnn_files(fuse_for_export(model.descriptor.model), half=settings.half)
    except NotWritable as reason:
        return convert_with_pnnx(model, main, str(reason), progress)
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


def open_file(main: Path, spec: UpscalerSpec, device: torch.device) -> Upscaler:
    """See ``FileReader``."""
    settings = settings_for(device, Precision.FP32)
    graph = read_param(main)
    names, spec = (graph.input, graph.output), replace(spec, max_tile_pixels=_tile_pixels(graph, settings))
    return NcnnUpscaler(*companions(main), spec=spec, settings=settings, names=names)


def check(main: Path) -> int:
    """See ``FileReader``."""
    return check_pair(*companions(main))


def companions(main: Path) -> tuple[Path, Path]:
    """See ``FileReader``."""
    return main, main.with_suffix(".bin")


def input_channels(main: Path) -> int:
    """See ``FileReader``."""
    return read_param(main).channels


def stand_in(main: Path) -> nn.Module:
    """See ``FileReader``."""
    return read_param(main).stand_in()
