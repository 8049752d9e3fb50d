"""What a sound asks of a camera: how loud it is, and where something begins, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

LISTENING = ("loudness", "beats")
_WINDOW, _HOP = 0.046, 0.0115  # seconds of the spectra that beginnings are looked for in
# A beginning stands out from the half second around it by this much of the largest, and
# comes at least this many seconds after the one before.
_STANDS_OUT, _APART = 0.1, 0.12
# How long a beat is felt, in seconds.
_DECAY = 0.18
# Loudness is told over this many seconds.
_LOUD = 0.2


@dataclass(frozen=True, eq=False)
class Listening:
    """A sound that drives a camera.

    waveform: [channels, samples] float32; rate: samples a second; hears: a name in LISTENING.
    Raises ValueError for a name that is not, or numbers that are not finite.
    """

    waveform: torch.Tensor
    rate: int
    hears: str = "beats"

    def __post_init__(self) -> None:
        if self.hears not in LISTENING:
            raise ValueError(f"a camera hears one of {', '.join(LISTENING)}, got {self.hears!r}.")
        if self.waveform.ndim != 2 or not bool(torch.isfinite(self.waveform.sum(dtype=torch.float64))):
            raise ValueError("audio must be finite numbers of [channels, samples].")

    def frames(self, fps: float, count: int) -> np.ndarray:
        """[count] from 0 to 1: what is heard at every frame; 0 throughout for silence."""
        mono = self.waveform.mean(0)
        if self.hears == "loudness":
            return _loudness(mono, self.rate, fps, count)
        return _pulses(*beginnings(mono, self.rate), fps, count)


def _loudness(mono: torch.Tensor, rate: int, fps: float, count: int) -> np.ndarray:
    """Rms around every frame against that of the loudest parts."""
    energy = np.concatenate([[0.0], np.cumsum(mono.double().numpy() ** 2)])
    middle = (np.arange(count) + 0.5) / fps * rate
    reach = 0.5 * max(_LOUD, 1 / fps) * rate
    low, high = (np.clip(np.rint(middle + sign * reach), 0, len(mono)).astype(int) for sign in (-1, 1))
    rms = np.sqrt(np.maximum(energy[high] - energy[low], 0) / np.maximum(high - low, 1))
    loud = np.percentile(rms, 98) if count else 0.0
    return np.clip(rms / loud, 0, 1) if loud > 1e-5 else np.zeros(count)


def beginnings(mono: torch.Tensor, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds at which notes and beats of a sound [samples] begin, and how much each stands out, 0..1.

    By spectral flux: the rise of the logarithmic spectrum from one short window to the next (Bello et al.
    2005, section III)."""
    size, hop = max(int(_WINDOW * rate), 16), max(int(_HOP * rate), 4)
    if len(mono) < size or mono.abs().max() < 1e-5:
        return np.zeros(0), np.zeros(0)
    padded = torch.nn.functional.pad(mono / mono.abs().max(), (size, size))
    window = torch.hann_window(size, dtype=torch.float32)
    spectrum = torch.stft(padded, size, hop, window=window, center=False, return_complex=True).abs()
    rise = torch.log1p(100 * spectrum / size).diff(dim=1).clamp_min(0).mean(0).double().numpy()
    # The window that brings a rise is centred half a window after it starts.
    times = ((np.arange(len(rise)) + 1) * hop + 0.5 * size - size) / rate
    around = max(int(0.25 / _HOP), 1)
    local = np.convolve(np.pad(rise, around, mode="edge"), np.full(2 * around + 1, 1 / (2 * around + 1)), "valid")
    stands_out = rise - local
    floor = _STANDS_OUT * stands_out.max()
    near = max(int(0.03 / _HOP), 1)
    found: list[float] = []
    weights: list[float] = []
    for i in np.flatnonzero(stands_out > floor):
        if rise[i] < rise[max(i - near, 0) : i + near + 1].max():
            continue
        if not found or times[i] - found[-1] >= _APART:
            found.append(max(float(times[i]), 0.0))
            weights.append(float(stands_out[i] / stands_out.max()))
    return np.array(found), np.array(weights)


def _pulses(times: np.ndarray, weights: np.ndarray, fps: float, count: int) -> np.ndarray:
    """[count]: a pulse from every time on that dies away, as the mean over each frame."""
    pulses, reach = np.zeros(count), int(8 * _DECAY * fps) + 2
    for time, weight in zip(times, weights):
        first = int(time * fps)
        edges = np.arange(first, min(first + reach, count) + 1) / fps
        felt = _DECAY * (1 - np.exp(-np.maximum(edges - time, 0) / _DECAY))
        pulses[first : first + len(edges) - 1] += weight * np.diff(felt) * fps
    return pulses / pulses.max() if count and pulses.max() > 0 else pulses
