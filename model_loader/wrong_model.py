"""Recognises weights that are not an upscale model by the names of their tensors.

The patterns are specific enough that no network which Spandrel accepts as an upscaler has such names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class _Other(NamedTuple):
    pattern: str
    """Searched in the names of all tensors, one a line."""
    what: str
    advice: str


_FACE_ADVICE = "it only works on aligned faces, so use a face restoration node for it and an upscale model here"
_INPAINT_ADVICE = "it needs a mask, so use an inpainting node for it and an upscale model here"

# Tried in this order: adapters repeat the names of the model that they adapt.
_OTHERS = (
    _Other(
        r"lora_(up|down|A|B)\b|^lora_(unet|te\d?)_|\bhada_w1|\blokr_w1|\bdora_scale",
        "is a LoRA",
        "load it with a LoRA node onto its diffusion model (models/loras) and choose an upscale model here",
    ),
    _Other(
        r"^(control_model\.|controlnet_cond_embedding\.|controlnet_blocks\.|input_hint_block\.|zero_convs\.)",
        "is a ControlNet",
        "put it under models/controlnet and choose an upscale model here",
    ),
    _Other(
        r"^(image_proj\.|ip_adapter\.)",
        "is an IP-Adapter",
        "put it under models/ipadapter and choose an upscale model here",
    ),
    _Other(
        r"^(model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.|conditioner\.embedders\.)",
        "is a Stable Diffusion checkpoint or another complete diffusion model",
        "put it under models/checkpoints and choose an upscale model here",
    ),
    _Other(
        r"^(double_blocks\.0\.|joint_blocks\.0\.|single_transformer_blocks\.0\.|transformer_blocks\.0\.attn"
        r"|down_blocks\.0\.resnets\.|input_blocks\.0\.0\.|blocks\.0\.adaLN_modulation)",
        "is the network of a diffusion model",
        "put it under models/diffusion_models and choose an upscale model here",
    ),
    _Other(
        r"^(toRGB\.0\.weight|stylegan_decoder\.|style_mlp\.)",
        "is a face restorer (GFPGAN)",
        _FACE_ADVICE,
    ),
    _Other(
        r"^(fuse_convs_dict\.|position_emb$|quantize\.embedding\.weight)",
        "is a face restorer (CodeFormer or RestoreFormer)",
        _FACE_ADVICE,
    ),
    _Other(
        r"\.ffc\.convl2[lg]\.|^synthesis\.first_stage\.|^(model|generator)\.model\.1\.bn_l\.",
        "is an inpainting model (LaMa or MAT)",
        _INPAINT_ADVICE,
    ),
    _Other(
        r"^(decoder\.up\.0\.block\.|decoder\.up_blocks\.0\.|post_quant_conv\.weight)",
        "is a VAE",
        "put it under models/vae and choose an upscale model here",
    ),
    _Other(
        r"^(text_model\.encoder\.|text_projection|visual\.transformer\.|vision_model\.encoder\."
        r"|encoder\.block\.0\.layer\.0\.SelfAttention|model\.embed_tokens\.weight|transformer\.text_model\.)",
        "is a text or image encoder",
        "put it under models/text_encoders or models/clip_vision and choose an upscale model here",
    ),
    _Other(
        r"^(emb_params|string_to_param|clip_[gl])$",
        "is a textual inversion embedding",
        "put it under models/embeddings and choose an upscale model here",
    ),
    _Other(
        r"^(image_encoder\.(blocks|trunk)\.|mask_decoder\.|sam_mask_decoder\.)",
        "is a segmentation model (SAM)",
        "put it under models/sams and choose an upscale model here",
    ),
    _Other(
        r"^(flownet\.block\d\.|block\d\.conv0\.0\.0\.weight|spynet\.)",
        "works on several video frames at once (frame interpolation or video restoration)",
        "choose a model that upscales single pictures",
    ),
    _Other(
        r"^(conv\d\.weight_orig|conv9\.weight(?=[\s\S]*^conv0\.)|classifier\.6\.weight)",
        "is a discriminator or classifier of a training run",
        "choose the generator, often called net_g or without `netD` in its name",
    ),
)


def explain_keys(names: Iterable[str]) -> str | None:
    """What weights with these tensor names are and what to do about it, as the end of a sentence that begins with the
    file name.

    None if they may be an upscale model. A ``module.`` prefix of all names is ignored.
    """
    lines = "\n".join(name.removeprefix("module.") for name in names)
    for other in _OTHERS:
        if re.search(other.pattern, lines, re.MULTILINE):
            return f"{other.what}: {other.advice}"
    return None


def explain_purpose(purpose: str, architecture: str) -> str:
    """The same for a network that Spandrel knows but that is not for upscaling or restoring whole pictures."""
    if purpose == "FaceSR":
        return f"is a face restorer ({architecture}): {_FACE_ADVICE}"
    return f"is an inpainting model ({architecture}): {_INPAINT_ADVICE}"
