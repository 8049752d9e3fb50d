"""The demo model's network: core ComfyUI's UNet on pictures folded 4 x 4 into channels."""

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import nn
from torch.nn import functional as F

FOLD = 4  # 16 x 16 places instead of 64 x 64 keep training on a CPU possible
DATA_STD = 0.5  # of the pictures, about; see ZoomUNet
UNET = dict(
    image_size=16,
    in_channels=3 * FOLD * FOLD + 3,
    out_channels=3 * FOLD * FOLD,
    model_channels=96,
    channel_mult=(1, 2),
    num_res_blocks=[2, 1],
    num_head_channels=32,
    legacy=False,
    use_scale_shift_norm=True,
    num_classes="sequential",
    adm_in_channels=128,
    use_spatial_transformer=True,
    use_linear_in_transformer=True,
    context_dim=128,
    transformer_depth=[0, 0, 0],
    transformer_depth_middle=1,
    transformer_depth_output=[0, 0, 0, 0, 0],
)


def spread_of(t: torch.Tensor) -> torch.Tensor:
    """Standard deviation of a noisy picture at noise level t in 0..1."""
    return (((1 - t) * DATA_STD) ** 2 + t**2).sqrt()


def places(x: torch.Tensor) -> torch.Tensor:
    """Where in the frame each pixel of x [B, C, H, W] lies: x and y in -1..1 and the distance from the middle."""
    v, u = torch.meshgrid(
        *(torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[-2:]), indexing="ij"
    )
    return torch.stack([u, v, (u * u + v * v).sqrt() * 2 - 1]).expand(len(x), -1, -1, -1)


class ZoomUNet(UNetModel):
    """`UNetModel` whose input and output are pictures [B, 3, H, W] in -1..1.

    The context's first token (the start token, which has read the others) also goes to every
    block together with the time: so small a model learns kinds and colours much sooner that way.

    The UNet itself predicts, from an input of unit variance, a target of unit variance at every
    noise level (Karras et al. 2022, section 5, rewritten for x = (1 - t) picture + t noise); here
    its answer is turned into the velocity that core's flow models give. Straight velocities would
    ask so small a net to carry the noise through before it learns what a picture is.
    """

    def forward(self, x, timesteps=None, context=None, y=None, control=None, transformer_options={}, **kwargs):
        """Velocity (noise minus picture) of the noisy pictures x at `timesteps` 0..1000."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % FOLD, 0, -height % FOLD), mode="replicate")
        t = (timesteps / 1000.0).to(x).view(-1, 1, 1, 1)
        spread = spread_of(t)
        folded = F.pixel_unshuffle(x / spread, FOLD)
        folded = torch.cat([folded, places(folded)], 1)
        out = super().forward(folded, timesteps, context, context[:, 0], control, transformer_options, **kwargs)
        keep = (t - (1 - t) * DATA_STD**2) / spread**2
        velocity = keep * x - DATA_STD / spread * F.pixel_shuffle(out, FOLD).to(x)
        return velocity[..., :height, :width]


def initialise(model: nn.Module) -> None:
    """Fresh weights: core's layers come without; outputs of residual branches start at 0."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
        if name.endswith(("out_layers.3", "proj_out", "out.2", "label_emb.0.2")) and isinstance(
            module, (nn.Conv2d, nn.Linear)
        ):
            nn.init.zeros_(module.weight)
