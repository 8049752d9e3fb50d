"""The demo model as ComfyUI objects: MODEL, CLIP and VAE that every stock node takes.

Core's detection of checkpoints knows only its own models, so the config, the tokenizer and
the text model are put together here, in the order of `comfy.sd.load_state_dict_guess_config`.
"""

from pathlib import Path

import comfy.conds
import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import torch
from comfy import sd1_clip
from comfy.model_base import BaseModel, ModelType

from . import text
from .network import FINISH, UNET, ZoomUNet

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "zoom_demo.safetensors"
FINISH_WEIGHTS = FOLDER / "zoom_demo_finish.safetensors"
STAGES = ("picture", "finish")


class PixelLatent(comfy.latent_formats.LatentFormat):
    """Latents that are pictures: 3 channels in -1..1, one latent pixel a pixel."""

    latent_channels = 3
    spacial_downscale_ratio = 1
    scale_factor = 1.0
    latent_rgb_factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


class DemoConfig(comfy.supported_models_base.BASE):
    """What core wants to know about the network."""

    unet_extra_config = {}
    latent_format = PixelLatent
    # More steps where the picture is still open, fewer on the last grain.
    sampling_settings = {"shift": 2.0}
    memory_usage_factor = 0.05
    # Float32 only: the network is small, and the files' float16 weights are read exactly.
    supported_inference_dtypes = [torch.float32]

    def get_model(self, state_dict, prefix="", device=None) -> BaseModel:
        """The network inside core's wrapper for flow models."""
        return BaseModel(self, model_type=ModelType.FLOW, device=device, unet_model=ZoomUNet)


class FinishModel(BaseModel):
    """Core's wrapper for flow models around a network that is shown a picture, as core's x4 upscaler is."""

    def extra_conds(self, **kwargs):
        """What the network gets beside the noisy picture: core's `concat_image`, a picture in -1..1."""
        noise, image = kwargs["noise"], kwargs.get("concat_image")
        if image is None:
            raise ValueError(
                "The finishing model needs the pictures that it is to finish: put SD_4XUpscale_Conditioning, with "
                "the enlarged pictures, before the sampler's positive and negative."
            )
        if image.shape[-2:] != noise.shape[-2:]:
            image = comfy.utils.common_upscale(image, noise.shape[-1], noise.shape[-2], "bilinear", "center")
        image = comfy.utils.resize_to_batch_size(image.to(kwargs["device"]), len(noise))
        return super().extra_conds(**kwargs) | {"c_concat": comfy.conds.CONDNoiseShape(image)}


class FinishConfig(DemoConfig):
    """What core wants to know about the network of the second stage."""

    def get_model(self, state_dict, prefix="", device=None) -> BaseModel:
        """The network inside `FinishModel`."""
        return FinishModel(self, model_type=ModelType.FLOW, device=device, unet_model=ZoomUNet)


class DemoSDTokenizer(sd1_clip.SDTokenizer):
    """Core's prompt weights and embeddings around our word tokenizer."""

    def __init__(self, embedding_directory=None, tokenizer_data={}):
        super().__init__(
            text.VOCABULARY,
            max_length=text.LENGTH,
            pad_with_end=False,
            pad_token=text.PAD,
            embedding_directory=embedding_directory,
            embedding_size=text.CONFIG["d_model"],
            embedding_key="clip_zoom",
            tokenizer_class=text.WordTokenizer,
            tokenizer_data=tokenizer_data,
        )


class DemoTokenizer(sd1_clip.SD1Tokenizer):
    """The tokenizer that CLIP Text Encode calls."""

    def __init__(self, embedding_directory=None, tokenizer_data={}):
        super().__init__(embedding_directory, tokenizer_data, clip_name="zoom", tokenizer=DemoSDTokenizer)


def unknown_words(clip, texts: list[str]) -> list[str]:
    """The words that this model's text encoder does not know, each once; none where `clip` is another model's."""
    if not isinstance(getattr(clip, "tokenizer", None), DemoTokenizer):
        return []
    tokenizer = clip.tokenizer.clip_zoom.tokenizer
    return list(dict.fromkeys(word for text in texts for word in tokenizer.unknown(text)))


class DemoTextModel(sd1_clip.SDClipModel):
    """Core's text model wrapper around our encoder."""

    def __init__(self, device="cpu", dtype=None, model_options={}):
        super().__init__(
            device=device,
            dtype=dtype,
            max_length=text.LENGTH,
            textmodel_json_config=dict(text.CONFIG),
            model_class=text.TextEncoder,
            layer_norm_hidden_state=False,
            enable_attention_masks=True,
            special_tokens={"start": text.START, "end": text.END, "pad": text.PAD},
            return_projected_pooled=False,
            model_options=model_options,
        )


class DemoClip(sd1_clip.SD1ClipModel):
    """The text model that core's CLIP object holds."""

    def __init__(self, device="cpu", dtype=None, model_options={}):
        super().__init__(
            device=device, dtype=dtype, model_options=model_options, clip_name="zoom", clip_model=DemoTextModel
        )


def _read(path: Path, command: str, networks: dict[str, torch.nn.Module]) -> list[dict[str, torch.Tensor]]:
    """The weights of each of the networks, as float32; names in the file begin with theirs. `command` trains them."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The demo model's weights are missing: expected {path}. Install the pack again, or train them with "
            f"`{command}`."
        )
    state = {name: value.float() for name, value in comfy.utils.load_torch_file(str(path), safe_load=True).items()}
    expected = {
        f"{part}.{name}": value.shape
        for part, network in networks.items()
        for name, value in network.state_dict().items()
    }
    found = {name: value.shape for name, value in state.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        name = wrong[0]
        shapes = (
            "nothing" if shape is None else f"a tensor {list(shape)}" for shape in (expected.get(name), found.get(name))
        )
        raise ValueError(
            "{} is not this demo model: for {} expected {}, got {} ({} of {} differ).".format(
                path, name, *shapes, len(wrong), len(expected)
            )
        )
    return [
        {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}
        for part in networks
    ]


# On no device: only what the networks are made of is asked.
_EMPTY = dict(dtype=torch.float32, device="meta", operations=comfy.ops.disable_weight_init)


def read_weights(path: Path = WEIGHTS) -> list[dict[str, torch.Tensor]]:
    """The weights of the UNet and of the text encoder, as float32."""
    networks = {"unet": ZoomUNet(**UNET, **_EMPTY), "text": text.TextEncoder(text.CONFIG, **_EMPTY)}
    return _read(path, "python -m demo_model.train", networks)


def load_model(unet: dict[str, torch.Tensor], config: comfy.supported_models_base.BASE | None = None):
    """UNet weights -> MODEL, by default of the first stage."""
    config = config or DemoConfig(UNET)
    parameters = comfy.utils.calculate_parameters(unet)
    device = comfy.model_management.get_torch_device()
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model(unet, device=comfy.model_management.unet_inital_load_device(parameters, torch.float32))
    patcher = comfy.model_patcher.CoreModelPatcher(
        model, load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )
    model.load_model_weights(unet, "", assign=patcher.is_dynamic())
    return patcher


def load_finish(path: Path = FINISH_WEIGHTS):
    """MODEL of the second stage, which finishes pictures that are too soft."""
    (unet,) = _read(path, "python -m demo_model.finish", {"unet": ZoomUNet(**FINISH, **_EMPTY)})
    return load_model(unet, FinishConfig(FINISH))


def load_clip(weights: dict[str, torch.Tensor], embedding_directory: list[str] | None = None):
    """Text encoder weights -> CLIP."""
    target = comfy.supported_models_base.ClipTarget(DemoTokenizer, DemoClip)
    return comfy.sd.CLIP(
        target,
        embedding_directory=embedding_directory,
        state_dict=[weights],
        parameters=comfy.utils.calculate_parameters(weights),
        model_options={"dtype": torch.float32},
    )


def load_vae():
    """The VAE that only moves pixels between 0..1 and -1..1."""
    return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})


def load(path: Path = WEIGHTS, embedding_directory: list[str] | None = None, stage: str = STAGES[0]):
    """(MODEL, CLIP, VAE); path: the weights of the first stage and of the text encoder, which both stages read."""
    unet, encoder = read_weights(path)
    model = load_model(unet) if stage == STAGES[0] else load_finish()
    return model, load_clip(encoder, embedding_directory), load_vae()
