"""The demo model's network: core ComfyUI's UNet on pictures folded 4 x 4 into channels, with fine stages around it."""

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import nn
from torch.nn import functional as F

FOLD = 4  # 16 x 16 places instead of 64 x 64 keep training on a CPU possible
DATA_STD = 0.5  # of the pictures, about; see ZoomUNet
SENT = 64  # channels that the UNet gives to the fine stages beside its picture
SEEN = 48  # channels that fine stages before the UNet give to it beside the noisy picture
CONTEXT = 128
UNET = dict(
    image_size=16,
    in_channels=3 * FOLD * FOLD + 3 + SEEN,
    out_channels=3 * FOLD * FOLD + SENT,
    model_channels=96,
    channel_mult=(1, 2),
    num_res_blocks=[2, 1],
    num_head_channels=32,
    legacy=False,
    use_scale_shift_norm=True,
    num_classes="sequential",
    adm_in_channels=CONTEXT,
    use_spatial_transformer=True,
    use_linear_in_transformer=True,
    context_dim=CONTEXT,
    transformer_depth=[0, 0, 0],
    transformer_depth_middle=1,
    transformer_depth_output=[0, 0, 0, 0, 0],
    fine=dict(half=128, full=32, before=2, after=4),
)
# The second stage sees an enlarged picture beside the noisy one. It learns from parts of frames: so it is not told
# where in the frame a pixel lies, and has no attention, which would meet many more pixels than it learned from. Its
# fine stages are small, since its frames are large.
FINISH = UNET | dict(
    in_channels=2 * 3 * FOLD * FOLD,
    transformer_depth_middle=-1,
    fine=dict(half=48, full=24, before=0, after=2),
    shown=True,
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


class FineBlock(nn.Module):
    """A residual block of two convolutions; the noise level and the text scale and shift its middle."""

    def __init__(self, width, operations, **kind):
        super().__init__()
        self.norm1 = operations.GroupNorm(8, width, **kind)
        self.conv1 = operations.Conv2d(width, width, 3, padding=1, **kind)
        self.told = operations.Linear(CONTEXT, 2 * width, **kind)
        self.norm2 = operations.GroupNorm(8, width, **kind)
        self.conv2 = operations.Conv2d(width, width, 3, padding=1, **kind)

    def forward(self, x, told):
        """x [B, width, H, W], told [B, CONTEXT]."""
        scale, shift = self.told(told)[..., None, None].chunk(2, 1)
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.norm2(y) * (1 + scale) + shift
        return x + self.conv2(F.silu(y))


class Fine(nn.Module):
    """Stages at a half and at the whole resolution around the folded UNet, so that its cells do not show.

    Those before it see lines that are thinner than a cell. Those after it add to its picture what convolutions over
    whole pixels make of it, of the noisy picture and of channels that the UNet sends. seen: channels of what it saw;
    half, full: widths at a half and at the whole resolution; before, after: blocks at a half.
    """

    def __init__(self, operations, seen, half, full, before, after, **kind):
        super().__init__()
        self.level = operations.Linear(CONTEXT, CONTEXT, **kind)
        self.words = operations.Linear(CONTEXT, CONTEXT, **kind)
        self.before = nn.ModuleList(FineBlock(half, operations, **kind) for _ in range(before))
        if before:
            self.look = operations.Conv2d(4 * seen, half, 3, padding=1, **kind)
            self.to_unet = operations.Conv2d(half, SEEN, 4, 2, 1, **kind)
        self.full_in = operations.Conv2d(seen + 3, full, 3, padding=1, **kind)
        self.to_half = operations.Conv2d(full, half, 4, 2, 1, **kind)
        self.from_unet = operations.Conv2d(SENT, half, 3, padding=1, **kind)
        self.at_half = nn.ModuleList(FineBlock(half, operations, **kind) for _ in range(after))
        self.from_half = operations.Conv2d(half, full, 1, **kind)
        self.at_full = FineBlock(full, operations, **kind)
        self.norm = operations.GroupNorm(8, full, **kind)
        self.out = operations.Conv2d(full, 3, 3, padding=1, **kind)

    def told(self, timesteps, context):
        """What all blocks are told [B, CONTEXT]: noise levels [B] in 0..1000 and the first token [B, CONTEXT]."""
        level = timestep_embedding(timesteps, CONTEXT).to(context)
        return F.silu(self.level(level) + self.words(context))

    def look_at(self, noisy, told):
        """Channels at a half of the resolution, kept for the stages after the UNet, and those [B, SEEN, ..] for it."""
        half = self.look(F.pixel_unshuffle(noisy, 2))
        for block in self.before:
            half = block(half, told)
        return half, self.to_unet(half)

    def forward(self, noisy, picture, sent, told, kept):
        """What to add to the UNet's `picture` [B, 3, H, W].

        noisy: what the UNet saw [B, seen, H, W], of unit variance; sent: its channels [B, SENT, H / FOLD, W / FOLD];
        kept: channels of `look_at`, 0 without stages before the UNet.
        """
        full = self.full_in(torch.cat([noisy, picture], 1))
        # Smooth interpolation: pixels must not know where in a cell they lie.
        half = self.to_half(full) + self.from_unet(F.interpolate(sent, scale_factor=2, mode="bilinear")) + kept
        for block in self.at_half:
            half = block(half, told)
        full = full + F.interpolate(self.from_half(half), scale_factor=2, mode="bilinear")
        return self.out(F.silu(self.norm(self.at_full(full, told))))


class ZoomUNet(UNetModel):
    """`UNetModel` whose input and output are pictures [B, 3, H, W] in -1..1.

    The context's first token (the start token, which has read the others) also goes to every
    block together with the time: so small a model learns kinds and colours much sooner that way.

    The network itself predicts, from an input of unit variance, a target of unit variance at every
    noise level (Karras et al. 2022, section 5, rewritten for x = (1 - t) picture + t noise); here
    its answer is turned into the velocity that core's flow models give. Straight velocities would
    ask so small a net to carry the noise through before it learns what a picture is.
    """

    def __init__(self, *args, fine, shown=False, dtype=None, device=None, operations=None, **kwargs):
        """fine: sizes of the fine stages (`Fine`); shown: whether the input has a picture more, to go by (FINISH)."""
        super().__init__(*args, dtype=dtype, device=device, operations=operations, **kwargs)
        self.shown = shown
        self.fine = Fine(operations, 6 if shown else 3, **fine, dtype=dtype, device=device)

    def forward(self, x, timesteps=None, context=None, y=None, control=None, transformer_options={}, **kwargs):
        """Velocity (noise minus picture) of the noisy pictures x at `timesteps` 0..1000."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % FOLD, 0, -height % FOLD), mode="replicate")
        t = (timesteps / 1000.0).to(x).view(-1, 1, 1, 1)
        spread = spread_of(t)
        x, shown = x[:, :3], x[:, 3:]
        noisy = x / spread
        seen = torch.cat([noisy, shown / DATA_STD], 1) if self.shown else noisy
        folded = F.pixel_unshuffle(seen, FOLD)
        told, kept = self.fine.told(timesteps, context[:, 0]), 0
        if not self.shown:
            folded = torch.cat([folded, places(folded)], 1)
        if self.fine.before:
            kept, for_unet = self.fine.look_at(seen, told)
            folded = torch.cat([folded, for_unet], 1)
        out = super().forward(folded, timesteps, context, context[:, 0], control, transformer_options, **kwargs)
        coarse, sent = out.split([3 * FOLD * FOLD, SENT], 1)
        picture = F.pixel_shuffle(coarse, FOLD)
        picture = picture + self.fine(seen, picture, sent, told, kept)
        keep = (t - (1 - t) * DATA_STD**2) / spread**2
        velocity = keep * x - DATA_STD / spread * picture.to(x)
        return velocity[..., :height, :width]


def widened(state: dict[str, torch.Tensor], fresh: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of `Net` with other fine stages, or none, made to fit; new ones add nothing to the UNet's picture yet.

    state, fresh: weights of `Net`, the old ones and those of a new network.
    """
    result = {name: value.clone() for name, value in fresh.items()}
    fine, ours = (
        {name: value.shape for name, value in weights.items() if name.startswith("unet.fine.")}
        for weights in (fresh, state)
    )
    for name, value in state.items():
        if name in ours and ours != fine:
            continue
        # What has more channels now gives or takes nothing by the new ones.
        result[name].zero_()
        result[name][tuple(map(slice, value.shape))] = value
    return result


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
        if name.endswith(("out_layers.3", "proj_out", "out.2", "label_emb.0.2", "conv2", "fine.out")) and isinstance(
            module, (nn.Conv2d, nn.Linear)
        ):
            nn.init.zeros_(module.weight)
