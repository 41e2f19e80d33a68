"""Files that are no upscale model: each is named for what it is, with something to try."""

from __future__ import annotations

import dataclasses
import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from backplate.model_loader import loaded, safe_load
from backplate.model_loader.catalogue import CATALOGUE
from backplate.model_loader.errors import (
    DamagedModelError,
    ModelError,
    ModelNotFoundError,
    UnknownArchitectureError,
    WrongModelError,
)
from backplate.model_loader.loaded import load_model
from backplate.model_loader.wrong_model import explain_keys
from PIL import Image
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DAT import DAT
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.LaMa import LaMa
from spandrel.architectures.SPAN import SPAN

HTML = b"\n<!DOCTYPE html><html><body>Sign in to continue</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4fa0d389\nsize 67040989\n"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"content")
    return buffer.getvalue()


CONTENT: dict[str, tuple[str, bytes, type[ModelError], str]] = {
    "web page": ("x.pth", HTML, DamagedModelError, r"web page saved under the name of a model \(61 bytes\)"),
    "web page with a mark": ("x.pth", b"\xef\xbb\xbf<html>", DamagedModelError, "web page"),
    "api answer": ("x.pth", b'{"error":"gated"}', DamagedModelError, r"is text \(17 bytes.*'\{\"error"),
    "git-lfs pointer": ("x.pth", LFS, DamagedModelError, r"git-lfs file \(\d+ bytes of text in place of 67\.0 MB\)"),
    "empty": ("x.pth", b"", DamagedModelError, "is empty"),
    "text pickle": ("x.pth", b"cos\nsystem\n(S'true'\ntR.", DamagedModelError, "is text"),
    "garbage": ("x.pth", b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", DamagedModelError, "00 01 02 03"),
    "picture": ("x.pth", png(), WrongModelError, "is a PNG picture"),
    "gzip": ("x.pth", gzip.compress(b"weights"), WrongModelError, "is a gzip archive"),
    "gguf": ("x.gguf", b"GGUF\x03\x00\x00\x00", WrongModelError, "is a GGUF file"),
    "zip of weights": ("x.pth", zipped("a/4x.pth"), WrongModelError, "contains a/4x.pth: unpack it"),
    "other zip": ("x.pth", zipped("readme.txt"), WrongModelError, "zip archive without PyTorch weights"),
    "onnx": ("x.onnx", b"\x08\x08\x12\x07pytorch\x1a\x03", WrongModelError, "is an ONNX model"),
    "onnx renamed": ("x.pth", b"\x08\x08\x12\x07pytorch\x1a\x03", WrongModelError, "is an ONNX model"),
    "ncnn param": ("x.param", b"7767517\n3 3\nInput data 0 1 data\n", WrongModelError, "half of an ncnn model"),
    "ncnn bin": ("x.bin", b"\x47\x6b\x30\x01" + bytes(64), WrongModelError, "half of an ncnn model"),
    "engine": ("x.engine", b"\x66\x74\x72\x74\x00\x01", WrongModelError, "is a TensorRT engine"),
}


@pytest.mark.parametrize("kind", CONTENT)
def test_files_that_hold_no_weights(tmp_path, kind):
    name, content, error, message = CONTENT[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        load_model(path)


KEYS: dict[str, tuple[list[str], str]] = {
    "Stable Diffusion": (["model.diffusion_model.input_blocks.0.0.weight"], "is a Stable Diffusion checkpoint"),
    "SDXL": (["conditioner.embedders.0.transformer.weight"], "is a Stable Diffusion checkpoint"),
    "Flux": (["double_blocks.0.img_attn.proj.weight"], "network of a diffusion model"),
    "LoRA of kohya": (["lora_unet_down_blocks_0.lora_up.weight", "lora_unet_x.alpha"], "is a LoRA"),
    "LoRA of peft": (["unet.down_blocks.0.attn.to_q.lora_A.weight"], "is a LoRA"),
    "LoRA on a transformer": (["double_blocks.0.img_attn.proj.lora_B.weight"], "is a LoRA"),
    "ControlNet": (["control_model.zero_convs.0.0.weight"], "is a ControlNet"),
    "VAE": (["encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight"], "is a VAE"),
    "text encoder": (["text_model.encoder.layers.0.mlp.fc1.weight"], "text or image encoder"),
    "embedding": (["emb_params"], "textual inversion"),
    "GFPGAN": (["toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight"], r"face restorer \(GFPGAN\)"),
    "CodeFormer": (["position_emb", "quantize.embedding.weight", "fuse_convs_dict.32.scale.0.weight"], "CodeFormer"),
    "LaMa": (["generator.model.1.bn_l.running_mean"], "is an inpainting model"),
    "SAM": (["image_encoder.blocks.0.norm1.weight", "mask_decoder.iou_token.weight"], "segmentation model"),
    "frame interpolation": (["flownet.block0.conv0.0.0.weight"], "several video frames"),
    "discriminator": (["conv0.weight", "conv1.weight_orig", "conv1.weight_u", "conv9.weight"], "discriminator"),
}


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors", "wrapped"])
@pytest.mark.parametrize("kind", KEYS)
def test_weights_of_something_else(tmp_path, kind, container):
    names, message = KEYS[kind]
    state = {name: torch.zeros(2, 2) for name in names}
    path = tmp_path / "other.pth"
    if container == "safetensors":
        safetensors.torch.save_file(state, path)
    elif container == "wrapped":
        torch.save({"params_ema": {f"module.{name}": value for name, value in state.items()}}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(WrongModelError, match=f"^other.pth .*{message}.*: .*(choose|use) "):
        load_model(path)


def test_weights_of_something_else_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "sd.ckpt"
    torch.save({"state_dict": {"model.diffusion_model.out.weight": torch.zeros(4)}}, path)

    def must_not_run(*_: object, **__: object) -> None:
        raise AssertionError("the content was read")

    monkeypatch.setattr(torch, "load", must_not_run)
    with pytest.raises(WrongModelError, match="Stable Diffusion"):
        load_model(path)


@pytest.mark.filterwarnings("ignore:Initializing zero-element", "ignore:torch.meshgrid")
def test_upscalers_are_not_taken_for_something_else():
    networks = [
        Compact(),
        ESRGAN(num_blocks=1),
        SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8),
        DAT(embed_dim=12, depth=[1], num_heads=[2]),
    ]
    for network in networks:
        assert explain_keys(network.state_dict()) is None, type(network).__name__


def test_a_face_restorer_that_only_spandrel_recognises_is_refused(compact_file):
    model = safe_load.read_model(compact_file)
    model._purpose = "FaceSR"
    with pytest.raises(WrongModelError, match=r"^x is a face restorer \(RealESRGAN Compact\).*upscale model here"):
        safe_load.picture_model(model, "x")


def test_an_inpainting_model_that_only_spandrel_recognises_is_refused():
    with torch.random.fork_rng(devices=[]):
        state = LaMa(in_nc=4, out_nc=3).state_dict()
    with pytest.raises(WrongModelError, match=r"^big-lama is an inpainting model \(LaMa\).*needs a mask"):
        safe_load.build_model(state, "big-lama")


def test_restoration_models_are_welcome(tmp_path, networks):
    path = tmp_path / "1x-clean.pth"
    torch.save(networks.seeded(lambda: networks.Compact(scale=1)).state_dict(), path)
    facts = load_model(path).facts
    assert (facts.purpose, facts.scale) == ("Restoration", 1)


def test_an_unknown_architecture_names_its_tensors_and_spandrel(tmp_path):
    path = tmp_path / "new.pth"
    torch.save({"stem.proj.weight": torch.zeros(2, 2), "head.bias": torch.zeros(2)}, path)
    with pytest.raises(UnknownArchitectureError, match=r"Spandrel \d.*2 tensors begin with stem\.proj\.weight, head"):
        load_model(path)


def test_weights_that_only_look_like_an_architecture(tmp_path, networks):
    state = networks.seeded(networks.Compact).state_dict()
    del state["body.2.bias"]
    path = tmp_path / "odd.pth"
    torch.save(state, path)
    with pytest.raises(
        UnknownArchitectureError, match=r"looks like RealESRGAN Compact but does not fit.*body\.2\.bias"
    ):
        load_model(path)


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_was_cut_off(tmp_path, networks, container, part):
    state = networks.seeded(networks.Compact).state_dict()
    path = tmp_path / "cut.pth"
    if container == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=container == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DamagedModelError, match=rf"incomplete or damaged \({int(len(content) * part)} bytes"):
        load_model(path)


def test_a_cut_off_known_model_is_compared_with_the_published_size(tmp_path):
    path = tmp_path / "RealESRGAN_x4plus.pth"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DamagedModelError, match=r"\(104 of 67040989 bytes"):
        load_model(path)


@pytest.mark.parametrize("member", ["data.pkl", "data/0", "data/1"])
def test_a_flipped_byte_is_noticed(compact_file, member):
    content = bytearray(compact_file.read_bytes())
    with zipfile.ZipFile(compact_file) as archive:
        info = next(info for info in archive.infolist() if info.filename.partition("/")[2] == member)
    name_and_extra = struct.unpack_from("<HH", content, info.header_offset + 26)
    content[info.header_offset + 30 + sum(name_and_extra) + info.file_size // 2] ^= 0xFF
    compact_file.write_bytes(bytes(content))
    with pytest.raises(DamagedModelError, match="tiny.pth is incomplete or damaged .*CRC-32"):
        load_model(compact_file)


def test_a_published_file_with_other_content_is_refused(compact_file, monkeypatch):
    entry = dataclasses.replace(CATALOGUE[0], file="tiny.pth", bytes=compact_file.stat().st_size)
    monkeypatch.setattr(loaded, "entry_by_name", lambda name: entry)
    with pytest.raises(DamagedModelError, match=rf"as long as the published file but differs.*{entry.sha256}"):
        load_model(compact_file)


def test_a_folder(tmp_path, compact_file):
    with pytest.raises(ModelError, match="is a folder: name a file in it, such as tiny.pth"):
        load_model(tmp_path)


def test_a_missing_file_names_what_is_there(tmp_path, compact_file):
    with pytest.raises(ModelNotFoundError, match="did you mean tiny.pth"):
        load_model(tmp_path / "tinny.pth")


def test_a_missing_known_model_names_its_source(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"BSD-3-Clause\) from https://github\.com/xinntao/.*/v0\.1\.0/"):
        load_model(tmp_path / "RealESRGAN_x4plus.pth")


def one_sentence(text: str) -> bool:
    return text.endswith((".", "?")) and "\n" not in text and ". " not in text.replace("Spandrel 0.", "")


@pytest.mark.parametrize("make", [lambda p: p.write_bytes(HTML), lambda p: p.write_bytes(b""), lambda p: p.mkdir()])
def test_refusals_are_one_sentence(tmp_path, make: Callable[[Path], object]):
    path = tmp_path / "x.pth"
    make(path)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert one_sentence(str(caught.value).replace(str(path), "x"))
