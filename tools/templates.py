"""Writes the templates: ``python tools/templates.py`` makes ``workflows/*.json`` and their prompts anew.

The pictures beside them are kept; see ``layout`` for how nodes are laid out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

import conftest  # noqa: E402, F401  loads this pack under its name
from backplate.model_loader.catalogue import entry_by_name  # noqa: E402
from layout import OBJECT_INFO, Column, Node, Template, build, column  # noqa: E402

BUNDLED = "backplate-standard-x4.safetensors"
EXAMPLE = "example.png"
"""The picture that comes with ComfyUI."""
SDXL = {
    "name": "sd_xl_base_1.0.safetensors",
    "url": "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
    "hash": "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
    "hash_type": "SHA256",
    "directory": "checkpoints",
}


def loader(file: str, title: str = "", *, change_me: bool = False) -> Node:
    entry = entry_by_name(file)
    models = []
    if entry is not None:
        url = entry.mirror or entry.url
        models = [
            {"name": file, "url": url, "hash": entry.sha256, "hash_type": "SHA256", "directory": "upscale_models"}
        ]
    return Node(
        type="BackplateLoadUpscaleModel", title=title, name=title or "model", values=[file, "auto"],
        models=models, change_me=change_me,
    )  # fmt: skip


def picture(title: str, file: str = EXAMPLE) -> Node:
    return Node(type="LoadImage", title=title, values=[file, "image"], change_me=True)


def video(title: str, file: str) -> Node:
    return Node(type="LoadVideo", title=title, values=[file], change_me=True)


def size(width: int, height: int, fit: str, pad: str = "edge", factor: float = 2.0) -> list[Any]:
    return [width, height, fit, "center", 4.0, factor, 1, pad, "#ffffff"]


def save(source: tuple[str, str], prefix: str, title: str = "") -> Node:
    return Node(type="SaveImage", title=title, name=title or "save", values=[prefix], inputs={"images": source})


def tiled(title: str, model: str, source: tuple[str, str], edge: str = "plain") -> Node:
    inputs = {"upscale_model": (model, "upscale_model"), "image": source}
    return Node(type="BackplateTiledUpscale", title=title, name=title or "tiled", values=[0, edge], inputs=inputs)


def sized(
    values: list[Any], source: tuple[str, str], title: str = "", edge: str = "plain", model: str = "model",
    **more: tuple[str, str],
) -> Node:  # fmt: skip
    inputs = {"upscale_model": (model, "upscale_model"), "image": source, **more}
    return Node(
        type="BackplateUpscaleToResolution", title=title, name=title or "upscale", values=[*values, 0, edge],
        inputs=inputs, change_me=True,
    )  # fmt: skip


def fitted(values: list[Any], title: str = "", *, change_me: bool = False, **inputs: tuple[str, str]) -> Node:
    return Node(
        type="BackplateFitToResolution", title=title, name=title or "fit", values=values, inputs=inputs,
        change_me=change_me,
    )  # fmt: skip


def stitched(side: str, gap: int, one: tuple[str, str], other: tuple[str, str], title: str = "") -> Node:
    """``other`` on that side of ``one``."""
    inputs = {"image1": one, "image2": other}
    return Node(type="ImageStitch", title=title, values=[side, False, gap, "white"], inputs=inputs)


def upscaled_video(
    source: str, target: list[Any], codec: str, container: str, depth: str, held: str, prefix: str, tile: int = 0
) -> Node:
    """``depth``: bits per channel. ``held``: how similar frames must be to be computed only once."""
    values = [*target, codec, -1, container, depth, held, 1.5, "output", prefix, True, True, True, False, False]
    inputs = {"upscale_model": ("model", "upscale_model"), "video": (source, "VIDEO")}
    return Node(
        type="BackplateUpscaleVideo", name="video", values=[*values, tile, "plain"], inputs=inputs, change_me=True
    )  # fmt: skip


def sharpened(values: list[Any], source: tuple[str, str], title: str = "", **more: tuple[str, str]) -> Node:
    inputs = {"base": source, **more}
    return Node(type="BackplateSharpenBlend", title=title, name=title or "sharpen", values=values, inputs=inputs)


def folder_job(title: str, *values: Any, **named: Any) -> list[Column]:
    """The pictures of ``input/products`` through the model, and a report."""
    node = Node(
        type="BackplateUpscaleFolder", title=title, name="folder",
        values=["products", True, *values, "as source", "{stem}", False, False, True, False, 2, 0, "plain"],
        named=named, inputs={"upscale_model": ("model", "upscale_model")}, change_me=True,
    )  # fmt: skip
    told = Node(type="PreviewAny", title="What became of them", inputs={"source": ("folder", "summary")})
    return [column("Upscale", node), column("Result", told)]


def painted(positive: str, negative: str, width: int, height: int) -> list[Column]:
    """SDXL, up to the picture."""
    checkpoint = ("checkpoint", "MODEL")
    prompts = {"What the background shows": positive, "What it must not show": negative}
    texts = [
        Node(type="CLIPTextEncode", title=title, values=[text], inputs={"clip": ("checkpoint", "CLIP")}, change_me=True)
        for title, text in prompts.items()
    ]
    sampler = Node(
        type="KSampler",
        values=[20, "fixed", 28, 6.0, "dpmpp_2m", "karras", 1.0],
        inputs={
            "model": checkpoint,
            "positive": (texts[0].key, "CONDITIONING"),
            "negative": (texts[1].key, "CONDITIONING"),
            "latent_image": ("latent", "LATENT"),
        },
    )
    decode = {"samples": ("KSampler", "LATENT"), "vae": ("checkpoint", "VAE")}
    return [
        column(
            "Generate",
            Node(type="CheckpointLoaderSimple", name="checkpoint", values=[SDXL["name"]], models=[SDXL]),
            Node(type="EmptyLatentImage", name="latent", values=[width, height, 1]),
        ),
        column("Generate", *texts),
        column("Generate", sampler, Node(type="VAEDecode", name="painted", inputs=decode)),
    ]


def templates() -> list[Template]:
    from template_list import TEMPLATES

    return TEMPLATES


def main() -> None:
    from comfy_cli.workflow_to_api import convert_ui_to_api

    info = json.loads(OBJECT_INFO[0].read_text(encoding="utf-8"))
    folder, stale = ROOT / "workflows", []
    for template in templates():
        workflow = build(template, info)
        prompt = convert_ui_to_api(workflow, json.loads(OBJECT_INFO[-1].read_text(encoding="utf-8")))
        for path, content in (
            (folder / f"{template.title}.json", workflow),
            (folder / "api" / f"{template.prompt}.json", prompt),
        ):
            text = json.dumps(content, indent=1) + "\n"
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
            elif not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
    if stale:
        sys.exit(f"Not what tools/templates.py makes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
