"""One small network of every architecture that Spandrel knows for pictures, with weights drawn from a seed.

They are loaded the way a file of a user is, so whatever Spandrel says about sizes holds. Their results are meaningless:
they show the receptive field of a model, not its quality.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Options = dict[str, Any]

_SWIN: Options = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2), "window_size": 8, "upscale": 2}

NETWORKS: dict[str, tuple[str, str, Options]] = {
    "Compact": ("Compact", "Compact", {"num_feat": 16, "num_conv": 6, "upscale": 2}),
    "ESRGAN": ("ESRGAN", "ESRGAN", {"num_filters": 16, "num_blocks": 2}),
    "ESRGAN x2 unshuffle": ("ESRGAN", "ESRGAN", {"in_nc": 12, "num_filters": 16, "num_blocks": 2, "shuffle_factor": 2}),
    "ESRGAN x1 unshuffle": ("ESRGAN", "ESRGAN", {"in_nc": 48, "num_filters": 16, "num_blocks": 2, "shuffle_factor": 4}),
    "ESRGAN plus": ("ESRGAN", "ESRGAN", {"num_filters": 16, "num_blocks": 2, "plus": True}),
    "SPAN": ("SPAN", "SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2}),
    "PLKSR": ("PLKSR", "PLKSR", {"dim": 16, "n_blocks": 4, "upscaling_factor": 2}),
    "RealPLKSR": ("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 4, "upscaling_factor": 2}),
    "RealPLKSR DySample": ("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 4, "upscaling_factor": 2, "dysample": True}),
    "MoSR": ("MoSR", "MoSR", {"dim": 16, "n_block": 4, "upscale": 2}),
    "MoESR": ("MoESR", "MoESR", {"dim": 16, "n_blocks": 2, "n_block": 2, "scale": 2}),
    "DAT": ("DAT", "DAT", {"embed_dim": 24, "split_size": [8, 16], "depth": [2, 2], "num_heads": [2, 2]}),
    "DAT light": ("DAT", "DAT", {"embed_dim": 24, "split_size": [8, 32], "depth": [2], "num_heads": [2],
                                 "upsampler": "pixelshuffledirect"}),
    "SwinIR": ("SwinIR", "SwinIR", {**_SWIN, "upsampler": "pixelshuffle"}),
    "SwinIR window 7": ("SwinIR", "SwinIR", {**_SWIN, "upscale": 1, "window_size": 7, "img_size": 126}),
    "Swin2SR": ("Swin2SR", "Swin2SR", {**_SWIN, "upsampler": "pixelshuffle"}),
    "HAT": ("HAT", "HAT", {**_SWIN, "window_size": 16, "compress_ratio": 3, "squeeze_factor": 6}),
    "DRCT": ("DRCT", "DRCT", {**_SWIN, "window_size": 16, "upsampler": "pixelshuffle", "gc": 8}),
    "ATD": ("ATD", "ATD", {**_SWIN, "window_size": 16, "category_size": 64, "num_tokens": 16,
                           "upsampler": "pixelshuffle"}),
    "GRL": ("GRL", "GRL", {"embed_dim": 24, "depths": [2, 2], "num_heads_window": [2, 2], "num_heads_stripe": [2, 2],
                           "window_size": 8, "stripe_size": [8, 8], "upscale": 2, "upsampler": "pixelshuffle"}),
    "RGT": ("RGT", "RGT", {"embed_dim": 24, "depth": [2, 2], "num_heads": [2, 2], "split_size": [8, 32]}),
    "CRAFT": ("CRAFT", "CRAFT", {"depths": [2, 2], "num_heads": [6, 6], "upscale": 2}),
    "OmniSR": ("OmniSR", "OmniSR", {"num_feat": 16, "up_scale": 2, "res_num": 2}),
    "FDAT": ("FDAT", "FDAT", {"embed_dim": 24, "num_groups": 1, "depth_per_group": 2, "num_heads": 2, "scale": 2}),
    "FDAT unshuffle": ("FDAT", "FDAT", {"embed_dim": 24, "num_groups": 1, "depth_per_group": 2, "num_heads": 2,
                                        "scale": 2, "unshuffle_mod": True}),
    "DITN": ("DITN", "DITN", {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}),
    "DCTLSA": ("DCTLSA", "DCTLSA", {"nf": 20, "upscale": 2}),
    "SAFMN": ("SAFMN", "SAFMN", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "SAFMN BCIE": ("SAFMNBCIE", "SAFMNBCIE", {"dim": 16, "n_blocks": 2, "num_layers": 2}),
    "SeemoRe": ("SeemoRe", "SeemoRe", {"scale": 2, "num_experts": 3, "num_layers": 2, "embedding_dim": 24}),
    "SwiftSRGAN": ("SwiftSRGAN", "SwiftSRGAN", {"num_channels": 16, "num_blocks": 2, "upscale_factor": 2}),
    "RCAN": ("RCAN", "RCAN", {"scale": 2, "n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4}),
    "RCAN unshuffle": ("RCAN", "RCAN", {"scale": 2, "n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4,
                                        "unshuffle_mod": True}),
    "RealCUGAN x2": ("RealCUGAN", "UpCunet2x", {}),
    "RealCUGAN x2 pro": ("RealCUGAN", "UpCunet2x", {"pro": True}),
    "RealCUGAN x2 fast": ("RealCUGAN", "UpCunet2x_fast", {}),
    "RealCUGAN x3": ("RealCUGAN", "UpCunet3x", {}),
    "RealCUGAN x4": ("RealCUGAN", "UpCunet4x", {}),
    "MMRealSR": ("MMRealSR", "MMRealSR", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 2,
                                          "num_grow_ch": 8, "num_feats": [16, 16, 16, 16],
                                          "num_blocks": [1, 1, 1, 1], "downscales": [1, 1, 2, 1]}),
    "IPT": ("IPT", "IPT", {"n_feats": 4, "patch_size": 24, "num_layers": 1, "num_heads": 2, "scale": [2]}),
    "NAFNet": ("NAFNet", "NAFNet", {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}),
    "KBNet": ("KBNet", "KBNet_s", {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}),
    "KBNet large": ("KBNet", "KBNet_l", {"dim": 24, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}),
    "SCUNet": ("SCUNet", "SCUNet", {"config": [1] * 7}),
    "DnCNN": ("DnCNN", "DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 16, "nb": 5}),
    "DRUNet": ("DRUNet", "DRUNet", {"in_nc": 4, "out_nc": 3, "nc": [8, 8, 16, 16], "nb": 2}),
    "FBCNN": ("FBCNN", "FBCNN", {"nc": [8, 8, 16, 512], "nb": 4}),
    "FFTformer": ("FFTformer", "FFTformer", {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1}),
    "Uformer": ("Uformer", "Uformer", {"embed_dim": 8, "depths": [1] * 9}),
    "RetinexFormer": ("RetinexFormer", "RetinexFormer", {"n_feat": 8, "stage": 1, "num_blocks": [1, 1, 1]}),
    "HVI-CIDNet": ("HVICIDNet", "HVICIDNet", {"channels": [12, 12, 24, 24], "heads": [1, 2, 2, 4]}),
    "MixDehazeNet": ("MixDehazeNet", "MixDehazeNet", {"embed_dims": [8, 16, 24, 16, 8]}),
}  # fmt: skip
"""Name, module of Spandrel, class in it, options."""

FULL_SIZE: dict[str, tuple[str, str, Options]] = {
    "compact": ("Compact", "Compact", {"num_feat": 64, "num_conv": 32, "upscale": 4}),
    "rrdbnet": ("ESRGAN", "ESRGAN", {"num_filters": 64, "num_blocks": 23, "scale": 4}),
    "small compact x2": ("Compact", "Compact", {"num_feat": 16, "num_conv": 2, "upscale": 2}),
}
"""The same for the timed models, the first two in the shape of realesr-general-x4v3 and RealESRGAN_x4plus."""
GAINS = {"RealCUGAN": 1.25}
"""Of the drawn convolutions, where without it nothing of the picture would arrive."""


def save_seeded(name: str, folder: Path, seed: int = 3) -> Path:
    """Writes the network of ``NETWORKS`` or ``FULL_SIZE`` with that name to a file in ``folder``."""
    module, network, options = (NETWORKS | FULL_SIZE)[name]
    torch.manual_seed(seed)
    built: Callable[..., torch.nn.Module] = getattr(
        importlib.import_module(f"spandrel.architectures.{module}"), network
    )
    gain = GAINS.get(module, 1.0)
    state = {key: value * (gain if value.ndim == 4 else 1) for key, value in built(**options).state_dict().items()}
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path
