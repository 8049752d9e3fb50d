"""Tiny random models of every kind, loaded by ComfyUI's own loaders, and conditioning that fits them.

    path = checkpoint("flux", folder)             a .safetensors file that the core detects
    model = load("flux", folder)                  a MODEL, through comfy.sd.load_diffusion_model
    model = toy("v", channels=4)                  a MODEL with a UNet of a few kilobytes, for tests of samplers
    positive, negative = conditioning("flux", 3)  one random CONDITIONING a level; no text encoder needed

Everything is seeded. Weights are scaled so that outputs react to picture, time and prompt.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ldm.flux.model
import comfy.ldm.wan.model
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models_base
import comfy.taesd.taesd
import safetensors.torch
import torch
from comfy import latent_formats
from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

OPERATIONS = comfy.ops.disable_weight_init


@dataclass(frozen=True)
class Kind:
    """An architecture: how to build it, and the shapes of what goes in."""

    build: Callable[..., torch.nn.Module]
    config: dict[str, Any]
    latent: tuple[int, ...]
    context: int
    pooled: int = 0
    prefix: str = ""


def _sd1(in_channels: int) -> dict[str, Any]:
    return dict(
        image_size=32, in_channels=in_channels, out_channels=4, model_channels=320, num_res_blocks=[1],
        channel_mult=[1], transformer_depth=[1], transformer_depth_output=[1, 0], transformer_depth_middle=-1,
        num_heads=8, num_head_channels=-1, use_spatial_transformer=True, use_linear_in_transformer=False,
        context_dim=768, legacy=False, use_checkpoint=False,
    )  # fmt: skip


FLUX = dict(
    image_model="flux", in_channels=16, out_channels=16, vec_in_dim=32, context_in_dim=48, hidden_size=128,
    mlp_ratio=4.0, num_heads=1, depth=1, depth_single_blocks=1, axes_dim=[16, 56, 56], theta=10000,
    patch_size=2, qkv_bias=True, guidance_embed=True, txt_ids_dims=[], yak_mlp=False, txt_norm=False,
)  # fmt: skip
WAN = dict(
    model_type="t2v", patch_size=(1, 2, 2), in_dim=16, dim=128, ffn_dim=256, freq_dim=256, text_dim=4096,
    out_dim=16, num_heads=1, num_layers=1, window_size=(-1, -1), qk_norm=True, cross_attn_norm=True, eps=1e-6,
)  # fmt: skip
SD3 = dict(
    input_size=None, patch_size=2, in_channels=16, out_channels=16, depth=1, num_patches=4096,
    pos_embed_max_size=64, pos_embed_scaling_factor=None, adm_in_channels=64,
    context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 96, "out_features": 64}},
)  # fmt: skip

KINDS = {
    "sd1": Kind(UNetModel, _sd1(4), (4,), 768, prefix="model.diffusion_model."),
    "sd1-inpaint": Kind(UNetModel, _sd1(9), (4,), 768, prefix="model.diffusion_model."),
    "sd3": Kind(OpenAISignatureMMDITWrapper, SD3, (16,), 96, 64, prefix="model.diffusion_model."),
    "flux": Kind(comfy.ldm.flux.model.Flux, FLUX, (16,), 48, 32),
    "flux-fill": Kind(comfy.ldm.flux.model.Flux, {**FLUX, "in_channels": 96}, (16,), 48, 32),
    "wan": Kind(comfy.ldm.wan.model.WanModel, WAN, (16, 1), 4096),
}


def _seed(name: str) -> int:
    return zlib.crc32(name.encode())


def randomize(module: torch.nn.Module, name: str, gain: float = 1.0) -> torch.nn.Module:
    """Seeded random weights: matrices keep variances, norms stay near one, biases near zero."""
    generator = torch.Generator().manual_seed(_seed(name))
    with torch.no_grad():
        for key, weight in [*module.named_parameters(), *module.named_buffers()]:
            values = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                values *= gain / max(weight[0].numel(), 1) ** 0.5
            elif key.endswith("weight") or key.endswith("scale"):
                values = 1 + 0.1 * values
            else:
                values *= 0.1
            weight.copy_(values)
    return module


def checkpoint(kind: str, folder: Path) -> Path:
    """The checkpoint of a kind in `folder`, written on first use."""
    path = Path(folder) / f"tiny-{kind}.safetensors"
    if not path.exists():
        spec = KINDS[kind]
        module = spec.build(**spec.config, dtype=torch.float32, device="cpu", operations=OPERATIONS)
        weights = randomize(module, kind).state_dict()
        safetensors.torch.save_file({spec.prefix + k: v.contiguous() for k, v in weights.items()}, path)
    return path


def load(kind: str, folder: Path):
    """A MODEL from the checkpoint of a kind, in float32, by the core's detection."""
    return comfy.sd.load_diffusion_model(str(checkpoint(kind, folder)), model_options={"dtype": torch.float32})


def taesd(channels: int = 4) -> comfy.sd.VAE:
    """A random TAESD as the core's VAE."""
    module = randomize(comfy.taesd.taesd.TAESD(latent_channels=channels), f"taesd {channels}", gain=2**0.5)
    return comfy.sd.VAE(sd=module.state_dict())


class _ToyConfig(comfy.supported_models_base.BASE):
    unet_config = {}
    unet_extra_config = {}
    supported_inference_dtypes = [torch.float32]
    memory_usage_factor = 0.1


class _ToyLatent(latent_formats.LatentFormat):
    """Scaled and shifted, so that mixing up model space and latent space shows."""

    def __init__(self, channels: int):
        self.latent_channels = channels
        self.scale_factor = 0.7

    def process_in(self, latent):
        return (latent - 0.1) * self.scale_factor

    def process_out(self, latent):
        return latent / self.scale_factor + 0.1


TOY_CONTEXT = 16
PREDICTIONS = {
    "eps": comfy.model_base.ModelType.EPS,
    "v": comfy.model_base.ModelType.V_PREDICTION,
    "flow": comfy.model_base.ModelType.FLOW,
}


def _toy_unet(channels: int, middle: bool) -> dict[str, Any]:
    return dict(
        image_size=32, in_channels=channels, out_channels=channels, model_channels=32, num_heads=2,
        num_res_blocks=[1, 1] if middle else [1], channel_mult=[1, 2] if middle else [1],
        transformer_depth=[0, 1] if middle else [1], transformer_depth_output=[0] * 4 if middle else [0, 0],
        transformer_depth_middle=1 if middle else -2, num_head_channels=-1,
        use_spatial_transformer=True, context_dim=TOY_CONTEXT, legacy=False, use_checkpoint=False,
    )  # fmt: skip


def toy(prediction: str = "eps", channels: int = 4, middle: bool = False):
    """A MODEL of the core's UNet at a hundredth of its width; prediction: "eps", "v" or "flow".

    middle: with a middle block, for patches that work there.
    """
    config = _ToyConfig(_toy_unet(channels, middle))
    config.latent_format = _ToyLatent(channels)
    config.sampling_settings = {"shift": 3.0} if prediction == "flow" else {}
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, model_type=PREDICTIONS[prediction])
    randomize(model.diffusion_model, f"toy {prediction} {channels}")
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def x4_upscaler():
    """A MODEL of the core's x4 upscaler, tiny: 4 latent channels, a picture and how much it was noised beside them."""
    unet = {**_toy_unet(4, False), "in_channels": 7, "num_classes": 1000}
    config = _ToyConfig(unet)
    config.latent_format = _ToyLatent(4)
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.SD_X4Upscaler(config)
    randomize(model.diffusion_model, "x4")
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def lora(model, name: str, rank: int = 2) -> dict[str, torch.Tensor]:
    """A random LoRA for the matrices of a model, in the plain format that the core reads."""
    generator = torch.Generator().manual_seed(_seed(name))
    weights = {}
    for key, weight in model.model.diffusion_model.state_dict().items():
        if weight.ndim == 2:
            stem = f"diffusion_model.{key.removesuffix('.weight')}"
            weights[f"{stem}.lora_up.weight"] = torch.randn(weight.shape[0], rank, generator=generator) * 0.1
            weights[f"{stem}.lora_down.weight"] = torch.randn(rank, weight.shape[1], generator=generator) * 0.1
    return weights


def controlnet(name: str = "control"):
    """A random ControlNet for "sd1", detected and loaded by the core."""
    config = _sd1(4)
    config.pop("out_channels")
    config.pop("transformer_depth_output")
    module = comfy.cldm.cldm.ControlNet(
        **config, hint_channels=3, dtype=torch.float32, device="cpu", operations=OPERATIONS
    )
    return comfy.controlnet.load_controlnet_state_dict(randomize(module, name).state_dict())


def _entries(context: int, pooled: int, count: int, seed: int) -> list:
    """`count` CONDITIONINGs; their lengths differ, as prompts of different lengths do."""
    generator = torch.Generator().manual_seed(seed)
    conds = []
    for i in range(count):
        tokens = torch.randn(1, 8 * (1 + i % 2), context, generator=generator)
        extra = {"pooled_output": torch.randn(1, pooled, generator=generator)} if pooled else {}
        conds.append([[tokens, extra]])
    return conds


def conditioning(kind: str, count: int, seed: int = 0) -> tuple[list, list]:
    """(positive, negative): `count` random CONDITIONINGs each, for a kind or for "toy"."""
    spec = KINDS.get(kind)
    context, pooled = (spec.context, spec.pooled) if spec else (TOY_CONTEXT, 0)
    return _entries(context, pooled, count, seed), _entries(context, pooled, count, seed + 1)


def empty_latent(kind: str, count: int, height: int = 16, width: int = 16) -> torch.Tensor:
    """Zeros [count, C, (1,) height, width] as the kind wants them; "toy" has 4 channels."""
    return torch.zeros(count, *(KINDS[kind].latent if kind in KINDS else (4,)), height, width)
