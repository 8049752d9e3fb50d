"""ComfyUI's AUDIO, as a film takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# What AAC can be written at; other rates are brought to 48 kHz by the encoder's resampler.
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
OTHER_RATE = 48000


class Sound(NamedTuple):
    """waveform: [channels, samples] float32 on the processor; rate: samples a second."""

    waveform: torch.Tensor
    rate: int

    @property
    def encoded_rate(self) -> int:
        """The rate that an AAC stream of this sound has."""
        return self.rate if self.rate in AAC_RATES else OTHER_RATE


def sound_of(audio: Mapping[str, Any] | None) -> Sound | None:
    """The first sound of an AUDIO, whose waveform is [batch, channels, samples]; without a batch, or
    without channels either, it is taken as one sound. None where there is none.

    Raises ValueError for anything else than finite numbers in 1, 2 or 6 channels at a whole rate.
    """
    if not audio:
        return None
    waveform, rate = audio.get("waveform"), audio.get("sample_rate")
    if not isinstance(waveform, torch.Tensor) or not 1 <= waveform.ndim <= 3 or not waveform.is_floating_point():
        found = tuple(waveform.shape) if isinstance(waveform, torch.Tensor) else type(waveform).__name__
        raise ValueError(f"audio must hold a waveform of [batch, channels, samples], got {found}.")
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate != rate or not 1 <= rate <= 1_000_000:
        raise ValueError(f"audio must have a sample_rate of 1 to 1000000 a second, got {rate!r}.")
    if waveform.ndim == 3:
        if not len(waveform):
            raise ValueError("audio must hold a sound, got an empty batch.")
        waveform = waveform[0]
    waveform = waveform if waveform.ndim == 2 else waveform[None]
    if waveform.shape[0] not in LAYOUTS:
        raise ValueError(f"audio must have 1, 2 or 6 channels, got {waveform.shape[0]}.")
    waveform = waveform.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(waveform.sum(dtype=torch.float64))):
        raise ValueError("audio must hold finite numbers, got NaN or infinity.")
    return Sound(waveform, int(rate)) if waveform.shape[1] else None
