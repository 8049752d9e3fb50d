"""A VIDEO whose frames are rendered while the encoder asks for them."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator
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
from ..zoom_core.stack import ZoomStack
from ..zoom_core.stream import h264_options, stream_frames
from ..zoom_core.view import StackRenderer

AUDIO_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# A GPU renders when it has this many times the room that two levels and a frame take.
_GPU_HEADROOM = 4


def render_device(stack: ZoomStack, height: int, width: int) -> torch.device:
    """Where to render: the GPU when ComfyUI has one with room to spare, else where the stack lies."""
    device = comfy.model_management.get_torch_device()
    if device.type != "cuda" or stack.layers.device.type != "cpu":
        return stack.layers.device
    needed = 4 * stack.layers.shape[1] * (2 * stack.height * stack.width + 2 * height * width)
    if comfy.model_management.get_free_memory(device) < _GPU_HEADROOM * needed:
        return stack.layers.device
    return device


class LazyZoomVideo(Input.Video):
    """The frames `span` of a camera's way through a stack, as a video of width x height pixels.

    fit: "crop" or "fit", see `StackRenderer`. audio: ComfyUI's AUDIO, as long as the whole way.
    """

    def __init__(
        self,
        stack: ZoomStack,
        camera: Camera,
        width: int,
        height: int,
        fit: str = "crop",
        audio: dict | None = None,
        span: range | None = None,
    ):
        self._stack, self._camera, self._fit, self._audio = stack, camera, fit, audio
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
        free = comfy.model_management.get_free_memory(device)
        if self.memory() > free:
            raise ValueError(
                f"frames: {self.describe_memory()}, {free / 2**30:.2f} GiB is free. Take a smaller size, "
                "fewer seconds_per_level or fps, or use the video output, which needs none of it."
            )
        logging.info("Zoom Stack: %s.", self.describe_memory())
        shape = (len(self._span), self._height, self._width, 3)
        frames = torch.empty(shape, dtype=comfy.model_management.intermediate_dtype(), device=device)
        renderer = StackRenderer(
            self._stack, self._height, self._width, self._fit, render_device(self._stack, self._height, self._width)
        )
        progress = comfy.utils.ProgressBar(len(frames))
        for i, (number, frame) in enumerate(zip(self._span, frames)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            renderer.render(self._camera.zoom(number), out=frame.movedim(-1, 0))
            progress.update_absolute(i + 1)
        return frames

    def get_components(self) -> Types.VideoComponents:
        return Types.VideoComponents(images=self.images(), audio=self._cut_audio(), frame_rate=self.get_frame_rate())

    def _cut_audio(self) -> dict | None:
        """The audio of the frames in the span, no longer than they are."""
        if not self._audio:
            return None
        rate, frame_rate = int(self._audio["sample_rate"]), self.get_frame_rate()
        first = round(self._span.start * rate / frame_rate)
        last = first + math.ceil(len(self._span) * rate / frame_rate)
        return {"waveform": self._audio["waveform"][..., first:last], "sample_rate": rate}

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
        return LazyZoomVideo(
            self._stack, self._camera, self._width, self._height, self._fit, self._audio, self._span[first:last]
        )

    def _frames(self, bits: int) -> Iterator[np.ndarray]:
        zooms = (self._camera.zoom(number) for number in self._span)
        device = render_device(self._stack, self._height, self._width)
        return stream_frames(self._stack, zooms, self._height, self._width, self._fit, device, bits=bits)

    def save_to(
        self,
        path: str | BytesIO,
        format: Types.VideoContainer = Types.VideoContainer.AUTO,
        codec: Types.VideoCodec = Types.VideoCodec.AUTO,
        metadata: dict | None = None,
        bit_depth: int | None = None,
        crf: float | None = None,
    ) -> None:
        """Renders and encodes to a file or buffer, with progress, until done or interrupted.

        A file appears whole or not at all. Arguments as core's own videos take them.
        """
        if format not in (Types.VideoContainer.AUTO, Types.VideoContainer.MP4):
            raise ValueError(f"format must be auto or mp4, got {format}.")
        if codec not in (Types.VideoCodec.AUTO, Types.VideoCodec.H264):
            raise ValueError(f"codec must be auto or h264, got {codec}.")
        ten_bits = (bit_depth or 8) >= 10
        if isinstance(path, BytesIO):
            with av.open(path, mode="w", format="mp4", options={"movflags": "use_metadata_tags"}) as output:
                self._encode(output, metadata, ten_bits, crf)
            return
        with files.part_in(os.path.dirname(os.fspath(path))) as part:
            options = {"movflags": "use_metadata_tags+faststart"}
            with av.open(str(part), mode="w", format="mp4", options=options) as output:
                self._encode(output, metadata, ten_bits, crf)
            os.replace(part, path)

    def _encode(self, output, metadata: dict | None, ten_bits: bool, crf: float | None) -> None:
        for key, value in (metadata or {}).items():
            output.metadata[key] = json.dumps(value)
        stream = output.add_stream("h264", rate=self.get_frame_rate())
        stream.width, stream.height = self._width, self._height
        stream.pix_fmt = "yuv420p10le" if ten_bits else "yuv420p"
        stream.options = h264_options(self._width, self._height)
        if crf is not None:
            stream.options = stream.options | {"crf": str(crf)}
        audio = self._cut_audio()
        if audio:
            waveform = audio["waveform"][0].float().cpu().contiguous().numpy()
            if waveform.shape[0] not in AUDIO_LAYOUTS:
                raise ValueError(f"audio must have 1, 2 or 6 channels, got {waveform.shape[0]}.")
            layout = AUDIO_LAYOUTS[waveform.shape[0]]
            # All streams have to be there before the first packet is written.
            audio_stream = output.add_stream("aac", rate=audio["sample_rate"], layout=layout)

        progress = comfy.utils.ProgressBar(len(self._span))
        frames = self._frames(16 if ten_bits else 8)
        try:
            for i, pixels in enumerate(frames):
                comfy.model_management.throw_exception_if_processing_interrupted()
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if ten_bits else "rgb24")
                output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
                progress.update_absolute(i + 1)
        finally:
            frames.close()
        output.mux(stream.encode(None))
        if audio and waveform.shape[1]:
            frame = av.AudioFrame.from_ndarray(waveform, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = audio["sample_rate"], 0
            output.mux(audio_stream.encode(frame))
            output.mux(audio_stream.encode(None))
