"""The lazy VIDEO with ComfyUI's own classes, in this process."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
import torch

from zoom_core import ZoomLevels
from zoom_core.camera import Camera
from zoom_core.stack import ZoomStack
from zoom_core.view import StackRenderer

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import av  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.utils  # noqa: E402

RATE = 44100


@pytest.fixture(scope="module")
def stack() -> ZoomStack:
    levels = ZoomLevels.uniform(3)
    coarse = torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    layers = torch.nn.functional.interpolate(coarse, (96, 128), mode="bicubic").clamp(0, 1)
    return ZoomStack(layers, levels.resolve(96, 128), levels)


@pytest.fixture
def make(zoom_stack_pack, stack):
    from zoom_stack_pack.nodes.lazy_video import LazyZoomVideo

    def make(audio=None, **camera) -> LazyZoomVideo:
        settings = {"fps": 10, "seconds_per_level": 1} | camera
        return LazyZoomVideo(stack, Camera(stack.geometry, **settings), 128, 96, audio=audio)

    return make


def tone(seconds: float, channels: int = 2) -> dict:
    wave = torch.sin(torch.arange(int(seconds * RATE)) * 0.05)
    return {"waveform": wave.repeat(1, channels, 1), "sample_rate": RATE}


def decode(file) -> list[np.ndarray]:
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_knows_itself_without_rendering(make, monkeypatch):
    monkeypatch.setattr(StackRenderer, "_strips", lambda *_: pytest.fail("nothing should be rendered"))
    video = make(fps=12.5)
    assert video.get_dimensions() == (128, 96)
    assert video.get_frame_count() == 26
    assert video.get_frame_rate() == Fraction(25, 2)
    assert video.get_duration() == pytest.approx(26 / 12.5)
    assert video.get_container_format() == "mp4"
    assert video.get_bit_depth() == 8
    assert "26 frames of 128 x 96 pixels" in video.describe_memory()


def test_saves_every_frame_in_order(make, stack, tmp_path):
    video = make()
    video.save_to(str(tmp_path / "v.mp4"), crf=1.0)
    frames = decode(str(tmp_path / "v.mp4"))
    renderer = StackRenderer(stack, 96, 128)
    assert len(frames) == 21
    expected = np.stack([renderer.frame(i / 10).mean(-1) for i in range(21)])
    for i, frame in enumerate(frames):
        differences = np.abs(expected - frame.mean(-1)).mean((1, 2))
        assert differences.argmin() == i and differences[i] < 5
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_saves_to_a_buffer_with_metadata(make):
    buffer = BytesIO()
    make().save_to(
        buffer, format="mp4", codec="h264", metadata={"prompt": {"1": {"class_type": "X"}}, "workflow": {"nodes": []}}
    )
    buffer.seek(0)
    with av.open(buffer) as container:
        assert json.loads(container.metadata["prompt"]) == {"1": {"class_type": "X"}}
        assert json.loads(container.metadata["workflow"]) == {"nodes": []}
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (128, 96, 10)
        assert stream.codec_context.pix_fmt == "yuv420p"


def test_ten_bits(make):
    buffer = BytesIO()
    make().save_to(buffer, bit_depth=10)
    buffer.seek(0)
    with av.open(buffer) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
        assert sum(1 for _ in container.decode(video=0)) == 21


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("seconds", [0.7, 10.0])
def test_audio_is_carried_and_cut(make, channels, seconds):
    buffer = BytesIO()
    make(audio=tone(seconds, channels)).save_to(buffer)
    buffer.seek(0)
    with av.open(buffer) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.channels == channels
        heard = sum(frame.samples for frame in container.decode(stream)) / RATE
    # aac works in blocks of 1024 samples.
    assert heard == pytest.approx(min(seconds, 2.1), abs=0.08)


def test_audio_of_odd_channels_is_refused(make, tmp_path):
    with pytest.raises(ValueError, match="audio must have 1, 2 or 6 channels, got 3"):
        make(audio=tone(1, 3)).save_to(str(tmp_path / "v.mp4"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(RATE,), (2, RATE), (1, 2, RATE), (3, 1, RATE)])
def test_audio_without_batch_or_channels_is_heard(make, shape):
    sound = {"waveform": torch.sin(torch.arange(RATE) * 0.05).expand(shape), "sample_rate": RATE}
    buffer = BytesIO()
    make(audio=sound).save_to(buffer)
    buffer.seek(0)
    with av.open(buffer) as container:
        stream = container.streams.audio[0]
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)
    assert heard.shape[0] == (2 if 2 in shape else 1)
    assert heard.shape[1] / RATE == pytest.approx(1, abs=0.08) and heard.std() == pytest.approx(0.7, abs=0.05)


def test_audio_without_samples_makes_a_silent_film(make):
    for shape in ((1, 2, 0), (2, 0), (0,)):
        buffer = BytesIO()
        make(audio={"waveform": torch.zeros(shape), "sample_rate": RATE}).save_to(buffer)
        buffer.seek(0)
        with av.open(buffer) as container:
            assert container.streams.video and not container.streams.audio


def test_all_frames_without_a_server(zoom_stack_pack, stack):
    from zoom_stack_pack.nodes.video import ZoomVideoFrames

    settings = dict(width=32, height=24, fps=5.0, seconds_per_level=1.0, direction="in", easing="linear")
    made = ZoomVideoFrames.execute(stack, **settings, hold_start=0.0, hold_end=0.0, frames="all frames").args
    assert made[1].shape == (made[0].get_frame_count(), 24, 32, 3) and made[1].std() > 0.01


@pytest.mark.parametrize("rate", [192000, 12345, 8000])
def test_audio_of_any_rate_keeps_its_pitch(make, rate):
    wave = torch.sin(torch.arange(2 * rate) * (2 * math.pi * 440 / rate))
    buffer = BytesIO()
    make(audio={"waveform": wave[None, None], "sample_rate": rate}).save_to(buffer)
    buffer.seek(0)
    with av.open(buffer) as container:
        stream = container.streams.audio[0]
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        part = heard[stream.rate // 2 : stream.rate // 2 + stream.rate]
    assert len(heard) / stream.rate == pytest.approx(2, abs=0.15)
    assert np.abs(np.fft.rfft(part * np.hanning(len(part)))).argmax() == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    "audio, message",
    [
        ({"waveform": torch.full((1, 1, 100), math.nan), "sample_rate": RATE}, "audio must hold finite numbers"),
        ({"waveform": torch.zeros(0, 1, 100), "sample_rate": RATE}, "audio must hold a sound, got an empty batch"),
        ({"waveform": torch.zeros(1, 0, 100), "sample_rate": RATE}, "audio must have 1, 2 or 6 channels, got 0"),
        (
            {"waveform": torch.zeros(1, 1, 1, 9), "sample_rate": RATE},
            r"audio must hold a waveform .*, got \(1, 1, 1, 9",
        ),
        ({"waveform": torch.zeros(1, 1, 100), "sample_rate": 0}, "audio must have a sample_rate of 1 to 1000000"),
        ({"sample_rate": RATE}, "audio must hold a waveform .*, got NoneType"),
    ],
)
def test_audio_that_no_film_can_carry_is_refused_at_once(make, audio, message):
    with pytest.raises(ValueError, match=message):
        make(audio=audio)


def test_a_hold_is_one_frame_repeated(make, monkeypatch):
    """Rendered and converted once, not 2,000 times."""
    from zoom_stack_pack.nodes import lazy_video

    told, converted = [], []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: told.append(value))
    convert = lazy_video._Encoding.frame

    def counted(self, pixels):
        converted.append(1)
        return convert(self, pixels)

    monkeypatch.setattr(lazy_video._Encoding, "frame", counted)
    buffer = BytesIO()
    video = make(fps=200, seconds_per_level=0.01, hold_start=10)
    video.save_to(buffer)
    buffer.seek(0)
    assert len(converted) == 5 and told[-1] == 2005 and len(told) < 2000
    with av.open(buffer) as container:
        stream = container.streams.video[0]
        assert stream.frames == 2005
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    assert times == [Fraction(i, 200) for i in range(2005)]


@pytest.mark.parametrize("color_space, matrix", [("bt709", 1), ("bt601", 5), ("auto", 2)])
def test_what_newer_cores_ask_for_is_honoured(make, stack, color_space, matrix):
    buffer = BytesIO()
    make().save_to(buffer, color_space=color_space, preset="ultrafast", crf=1.0, something_newer=3)
    buffer.seek(0)
    with av.open(buffer) as container:
        context = container.streams.video[0].codec_context
        assert context.colorspace == matrix
        if color_space != "auto":
            assert context.color_range == 1
        frame = next(container.decode(video=0))
        source = None if color_space == "auto" else matrix
        pixels = frame.reformat(format="rgb24", src_colorspace=source).to_ndarray()
    # Colours have half the resolution in a film: compare means of blocks.
    error = (pixels.astype(float) - StackRenderer(stack, 96, 128).frame(0.0)).reshape(12, 8, 16, 8, 3).mean((1, 3))
    assert np.abs(error).mean() < 2


def test_a_file_that_is_there_is_replaced_whole(make, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"an earlier one")
    make().save_to(str(path))
    assert len(decode(path)) == 21 and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("given", [{"preset": "turbo"}, {"color_space": "purple"}])
def test_refuses_presets_and_color_spaces_that_there_are_none_of(make, given):
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be auto"):
        make().save_to(BytesIO(), **given)


@pytest.mark.parametrize(
    "start, duration, strict, expected",
    [
        (0, 0, False, range(0, 21)),
        (None, None, False, range(0, 21)),
        (0.5, 1.0, True, range(5, 15)),
        (0.5, 0, False, range(5, 21)),
        (1.9, 5, False, range(19, 21)),
        (1.9, 5, True, None),
        (9, 1, False, None),
        (-0.5, 0, False, range(16, 21)),
        (-50, 1, False, range(0, 10)),
    ],
)
def test_trimming_takes_frames(make, start, duration, strict, expected):
    trimmed = make().as_trimmed(start, duration, strict)
    if expected is None:
        assert trimmed is None
        return
    assert trimmed.get_frame_count() == len(expected)
    assert trimmed._span == expected
    twice = trimmed.as_trimmed(0.1, 0.1, False)
    assert twice._span == expected[1:2]


def test_trimmed_video_keeps_its_place_in_the_audio(make):
    sound = {"waveform": torch.arange(RATE * 3).float().repeat(1, 1, 1), "sample_rate": RATE}
    components = make(audio=sound).as_trimmed(0.5, 1.0, True).get_components()
    wave = components.audio["waveform"]
    assert wave[0, 0, 0] == RATE // 2 and wave.shape[-1] == RATE


def test_components_are_all_frames(make, stack):
    components = make().get_components()
    assert components.images.shape == (21, 96, 128, 3)
    assert components.frame_rate == 10 and components.audio is None
    view = StackRenderer(stack, 96, 128).render(1.3).movedim(0, -1)
    assert torch.equal(components.images[13], view)


def test_all_frames_that_do_not_fit_are_refused_beforehand(make, monkeypatch):
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda *_: 2**20)
    with pytest.raises(ValueError, match=r"21 frames of 128 x 96 pixels take 0.00 GiB .* use the video output"):
        make().get_components()


def test_progress_is_told_while_saving(make, monkeypatch):
    told = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: told.append((value, total)))
    make().save_to(BytesIO())
    assert told[-1] == (21, 21) and told[0] == (1, 21)


def test_an_interrupt_stops_it_and_leaves_nothing(make, tmp_path, monkeypatch):
    seen = []

    def interrupt_at_the_fifth():
        seen.append(1)
        if len(seen) == 5:
            raise comfy.model_management.InterruptProcessingException()

    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupt_at_the_fifth)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        make(seconds_per_level=60).save_to(str(tmp_path / "v.mp4"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [{"format": "webm"}, {"codec": "av1"}])
def test_refuses_other_formats(make, given):
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be auto or"):
        make().save_to(BytesIO(), **given)


def test_a_loop_has_no_doubled_frame(make):
    buffer = BytesIO()
    video = make(direction="in-out", seconds_per_level=0.5)
    images = video.get_components().images
    assert len(images) == 20
    looped = torch.cat([images, images[:1]])
    changes = (looped[1:] - looped[:-1]).abs().mean((1, 2, 3))
    assert changes.min() > 0.25 * changes.median()
    video.save_to(buffer)
    assert len(decode(BytesIO(buffer.getvalue()))) == 20


def test_odd_sizes_are_refused_with_the_even_one(zoom_stack_pack):
    from zoom_stack_pack.nodes.video import check_even

    check_even("width", 512)
    with pytest.raises(ValueError, match="width must be even for h264 video, got 511: take 512 or 510"):
        check_even("width", 511)


def test_frame_rates_of_film_are_kept(make):
    assert make(fps=23.976).get_frame_rate() == Fraction(23976, 1000)
    assert math.isclose(make(fps=23.976).get_duration(), 49 / 23.976)


def test_encoder_looks_ahead_less_for_large_frames(zoom_stack_pack):
    from zoom_stack_pack.nodes.lazy_video import h264_options

    assert h264_options(1024, 1024) == {}
    assert 4 <= int(h264_options(3840, 2160)["rc-lookahead"]) < 10
