"""A VIDEO whose frames are rendered while the encoder asks for them."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
import comfy.model_management
import comfy.utils
import numpy as np
import torch
from comfy_api.v0_0_2 import Input, Types

from ..zoom_core import files
from ..zoom_core.camera import Camera
from ..zoom_core.compose import RAMP
from ..zoom_core.stack import ZoomStack
from ..zoom_core.stream import stream_frames
from ..zoom_core.view import StackRenderer
from .audio import LAYOUTS, Sound, sound_of
from .devices import free_memory, render_device

# The encoder is told of progress, and the browser by it, this often (seconds): a film has up to a million frames.
_TELL_EVERY = 0.1
# x264 keeps two copies of every frame it looks ahead over, 40 frames by default.
_LOOKAHEAD_BYTES = 150 * 2**20
# What `save_to` may be asked for beyond what core asks today, as libx264 and the containers name it.
COLOR_SPACES = {"bt601": (5, 6, 6), "bt709": (1, 1, 1)}
PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)


class _Progress:
    """ComfyUI's progress bar, told at most every tenth of a second and at the end."""

    def __init__(self, total: int):
        self._bar, self._total, self._told = comfy.utils.ProgressBar(total), total, -math.inf

    def __call__(self, done: int) -> None:
        """Stops the work where the user has interrupted it."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        if done == self._total or time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            self._bar.update_absolute(done)


def h264_options(width: int, height: int) -> dict[str, str]:
    """libx264 options that keep its memory within bounds for large frames; none up to 1.3
    megapixels. Its defaults alone would take 1.4 GiB at 3840 x 2160."""
    lookahead = int(_LOOKAHEAD_BYTES / (3 * width * height))
    return {"rc-lookahead": str(max(lookahead, 4))} if lookahead < 40 else {}


@dataclass(frozen=True)
class _Encoding:
    """How frames become h264."""

    ten_bits: bool
    crf: float | None
    preset: str | None
    color_space: str | None

    @property
    def bits(self) -> int:
        """Bits of the frames to render."""
        return 16 if self.ten_bits else 8

    def set_up(self, stream) -> None:
        """Settings of an encoder's stream whose size is known."""
        stream.pix_fmt = "yuv420p10le" if self.ten_bits else "yuv420p"
        options = h264_options(stream.width, stream.height)
        if self.crf is not None:
            options["crf"] = str(self.crf)
        if self.preset is not None:
            options["preset"] = self.preset
        stream.options = options
        if self.color_space is not None:
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc = COLOR_SPACES[self.color_space]
            context.color_range = 1

    def frame(self, pixels: np.ndarray) -> av.VideoFrame:
        """[H, W, 3] as `StackRenderer.frame` gives it, as the encoder takes it."""
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if self.ten_bits else "rgb24")
        target = "yuv420p10le" if self.ten_bits else "yuv420p"
        if self.color_space is None:
            return frame.reformat(format=target)
        return frame.reformat(format=target, dst_colorspace=COLOR_SPACES[self.color_space][0])


class LazyZoomVideo(Input.Video):
    """The frames `span` of a camera's way through a stack, as a video of width x height pixels.

    fit, ramp: see `StackRenderer`. audio: ComfyUI's AUDIO, as long as the whole way. bit_depth: 8 or 10,
    where who saves it does not say.
    Raises ValueError for an audio that no film can carry.
    """

    def __init__(
        self,
        stack: ZoomStack,
        camera: Camera,
        width: int,
        height: int,
        fit: str = "crop",
        audio: Input.Audio | None = None,
        span: range | None = None,
        ramp: float = RAMP,
        bit_depth: int = 8,
    ):
        self._stack, self._camera, self._fit, self._ramp = stack, camera, fit, ramp
        self._bit_depth = bit_depth
        self._audio, self._sound = audio, sound_of(audio)
        self._width, self._height = width, height
        self._span = range(len(camera)) if span is None else span

    def get_dimensions(self) -> tuple[int, int]:
        return self._width, self._height

    def get_frame_count(self) -> int:
        return len(self._span)

    def get_frame_rate(self) -> Fraction:
        return Fraction(round(self._camera.fps * 1000), 1000)

    def get_duration(self) -> float:
        return float(len(self._span) / self.get_frame_rate())

    def get_bit_depth(self) -> int:
        return self._bit_depth

    def get_container_format(self) -> str:
        return "mp4"

    def memory(self) -> int:
        """Bytes that all frames take as an IMAGE batch."""
        size = torch.empty((), dtype=comfy.model_management.intermediate_dtype()).element_size()
        return len(self._span) * self._height * self._width * 3 * size

    def describe_memory(self) -> str:
        """What all frames at once would take, for people."""
        return (
            f"{len(self._span)} frames of {self._width} x {self._height} pixels take "
            f"{self.memory() / 2**30:.2f} GiB of memory"
        )

    def images(self) -> torch.Tensor:
        """All frames [F, H, W, 3] as ComfyUI keeps pictures between nodes.

        Raises ValueError where they would not fit in the memory that is free.
        """
        device = comfy.model_management.intermediate_device()
        free = free_memory(device)
        if self.memory() > free:
            raise ValueError(
                f"frames: {self.describe_memory()}, {free / 2**30:.2f} GiB is free. Take a smaller size, "
                "fewer seconds_per_level or fps, or use the video output, which needs none of it."
            )
        logging.info("Zoom Stack: %s.", self.describe_memory())
        shape = (len(self._span), self._height, self._width, 3)
        frames = torch.empty(shape, dtype=comfy.model_management.intermediate_dtype(), device=device)
        device = render_device(self._stack, self._height, self._width)
        renderer = StackRenderer(self._stack, self._height, self._width, self._fit, device, self._ramp)
        progress = _Progress(len(frames))
        last = None
        for i, (number, frame) in enumerate(zip(self._span, frames)):
            shot = self._camera.shot(number)
            if shot == last:
                frame.copy_(frames[i - 1])
            else:
                renderer.render(shot.zoom, frame.movedim(-1, 0), shot.roll)
            last = shot
            progress(i + 1)
        return frames

    def get_components(self) -> Types.VideoComponents:
        return Types.VideoComponents(images=self.images(), audio=self._cut_audio(), frame_rate=self.get_frame_rate())

    def _cut_sound(self) -> Sound | None:
        """The sound of the frames in the span, no longer than they are."""
        if self._sound is None:
            return None
        rate, frame_rate = self._sound.rate, self.get_frame_rate()
        first = round(self._span.start * rate / frame_rate)
        last = first + math.ceil(len(self._span) * rate / frame_rate)
        return Sound(self._sound.waveform[:, first:last], rate)

    def _cut_audio(self) -> Input.Audio | None:
        sound = self._cut_sound()
        return {"waveform": sound.waveform[None], "sample_rate": sound.rate} if sound else None

    def as_trimmed(
        self, start_time: float | None = None, duration: float | None = None, strict_duration: bool = False
    ) -> Input.Video | None:
        """The same video from `start_time` (seconds, negative: from the end) for `duration`
        (0 or None: to the end); None where nothing is left, or less than asked and strict."""
        rate, count = float(self.get_frame_rate()), len(self._span)
        start, duration = start_time or 0.0, duration or 0.0
        # A frame counts when it begins within the window, give or take rounding.
        first = math.ceil(max(start if start >= 0 else count / rate + start, 0.0) * rate - 1e-6)
        last = count if duration <= 0 else min(first + math.ceil(duration * rate - 1e-6), count)
        if last <= first or (strict_duration and (last - first) / rate < duration - 1e-6):
            return None
        span = self._span[first:last]
        return LazyZoomVideo(
            self._stack,
            self._camera,
            self._width,
            self._height,
            self._fit,
            self._audio,
            span,
            self._ramp,
            self._bit_depth,
        )

    def _frames(self, bits: int) -> Generator[np.ndarray]:
        shots = (self._camera.shot(number) for number in self._span)
        device = render_device(self._stack, self._height, self._width)
        size = self._height, self._width
        return stream_frames(self._stack, shots, *size, self._fit, device, bits=bits, ramp=self._ramp)

    def save_to(
        self,
        path: str | BytesIO,
        format: Types.VideoContainer = Types.VideoContainer.AUTO,
        codec: Types.VideoCodec = Types.VideoCodec.AUTO,
        metadata: dict | None = None,
        bit_depth: int | None = None,
        crf: float | None = None,
        preset: str | None = None,
        color_space: str | None = None,
        **_unknown,
    ) -> None:
        """Renders and encodes to a file or buffer, with progress, until done or interrupted.

        A file appears whole or not at all. Arguments as core's own videos take them; newer cores may
        give more, and what is not known here is left to the encoder's defaults.
        preset: one of libx264's. color_space: bt601 or bt709, how RGB becomes YUV; players guess
        from the size where it is not said.
        Raises ValueError for a format, codec, preset or color_space that there is none of.
        """
        if format not in (None, Types.VideoContainer.AUTO, Types.VideoContainer.MP4):
            raise ValueError(f"format must be auto or mp4, got {format}.")
        if codec not in (None, Types.VideoCodec.AUTO, Types.VideoCodec.H264):
            raise ValueError(f"codec must be auto or h264, got {codec}.")
        preset, color_space = (None if name in (None, "auto") else name for name in (preset, color_space))
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"preset must be auto or one of {', '.join(PRESETS)}, got {preset!r}.")
        if color_space is not None and color_space not in COLOR_SPACES:
            raise ValueError(f"color_space must be auto, {' or '.join(COLOR_SPACES)}, got {color_space!r}.")
        encoding = _Encoding((bit_depth or self._bit_depth) >= 10, crf, preset, color_space)
        if isinstance(path, BytesIO):
            with av.open(path, mode="w", format="mp4", options={"movflags": "use_metadata_tags"}) as output:
                self._encode(output, metadata, encoding)
            return
        with files.part_in(os.path.dirname(os.fspath(path))) as part:
            options = {"movflags": "use_metadata_tags+faststart"}
            with av.open(str(part), mode="w", format="mp4", options=options) as output:
                self._encode(output, metadata, encoding)
            os.replace(part, path)

    def _encode(self, output, metadata: dict | None, encoding: _Encoding) -> None:
        for key, value in (metadata or {}).items():
            output.metadata[key] = json.dumps(value)
        stream = output.add_stream("h264", rate=self.get_frame_rate())
        stream.width, stream.height = self._width, self._height
        encoding.set_up(stream)
        sound, voice = self._cut_sound(), None
        if sound:
            # All streams have to be there before the first packet is written.
            voice = output.add_stream("aac", rate=sound.encoded_rate, layout=LAYOUTS[len(sound.waveform)])

        progress = _Progress(len(self._span))
        frames = self._frames(encoding.bits)
        last, frame = None, None
        try:
            for i, pixels in enumerate(frames):
                if frame is None or pixels is not last:
                    last, frame = pixels, encoding.frame(pixels)
                frame.pts = i
                output.mux(stream.encode(frame))
                progress(i + 1)
        finally:
            frames.close()
        output.mux(stream.encode(None))
        if sound and sound.waveform.shape[1]:
            self._encode_sound(output, voice, sound)

    @staticmethod
    def _encode_sound(output, stream, sound: Sound) -> None:
        layout = LAYOUTS[len(sound.waveform)]
        frame = av.AudioFrame.from_ndarray(sound.waveform.contiguous().numpy(), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = sound.rate, 0
        frames = [frame]
        if sound.rate != sound.encoded_rate:
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=sound.encoded_rate)
            frames = [*resampler.resample(frame), *resampler.resample(None)]
        for part in frames:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
