"""What moves the camera beyond an easing: curves, roll and sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zoom_core import Geometry, ZoomLevels
from zoom_core.camera import Camera, Motion
from zoom_core.curves import Curve
from zoom_core.sound import Listening, beginnings

FIVE = ZoomLevels.uniform(5, 2.0).resolve(256, 256)
RATE = 22050


def zooms(motion: Motion, **settings) -> np.ndarray:
    camera = Camera(FIVE, 20, 1.0, motion=motion, **settings)
    return np.array([camera.zoom(i) for i in range(len(camera))])


def clicks(times: list[float], seconds: float = 4.0) -> torch.Tensor:
    """[1, samples]: short decaying tones at the given seconds over faint noise."""
    generator = torch.Generator().manual_seed(0)
    wave = 0.002 * torch.randn(int(seconds * RATE), generator=generator)
    tone = torch.arange(int(0.1 * RATE)) / RATE
    tone = torch.sin(2 * math.pi * 500 * tone) * torch.exp(-tone * 40)
    for time in times:
        begin = int(time * RATE)
        wave[begin : begin + len(tone)] += 0.8 * tone[: len(wave) - begin]
    return wave[None]


def test_a_curve_passes_its_points_and_never_overshoots():
    points = [(0.0, 0.0), (0.2, 1.0), (0.5, 1.0), (0.6, -2.0), (1.0, 3.0)]
    for smooth in (True, False):
        curve = Curve(points, smooth)
        assert np.allclose(curve(np.array([x for x, _ in points])), [y for _, y in points])
        fine = curve(np.linspace(0, 1, 4001))
        assert fine.min() >= -2 - 1e-9 and fine.max() <= 3 + 1e-9
        assert np.ptp(curve(np.linspace(0.2, 0.5, 50))) < 1e-12, "flat where the points are"
        assert np.abs(np.diff(fine)).max() < 0.02, "no jumps"
    assert np.allclose(Curve([(0.3, 2.0)])(np.array([0.0, 0.9])), 2.0)


def test_curves_are_read_from_text():
    expected = [(0.0, 0.2), (0.5, 1.0), (1.0, 0.25)]
    for text in (
        "0 0.2, 0.5 1, 1 .25",
        "0 0.2; 0.5 1; 1 0.25;",
        "0 0.2\n0.5 1\n1 0.25\n",
        "[[0, 0.2], [0.5, 1], [1, 0.25]]",
        "[0.2, 1, 0.25]",
    ):
        curve = Curve.parse(text)
        assert list(zip(curve.x, curve.y, strict=True)) == expected, text
    assert Curve.parse("  ") is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("0 0.2, nan 1", "points must hold finite numbers, point 2 is nan 1"),
        ("[[0, NaN]]", "points must hold finite numbers, point 1"),
        ("0 0, 0.6 1, 0.4 2", "points must go forward in x .*, point 3 at 0.4 does not come after 0.6"),
        ("0 0, 0 1", "points must go forward"),
        ("0 0, 2 1", "points must lie in 0..1 along x .* from 0 to 2"),
        ("0 0 1", "points must be pairs like .*, got '0 0 1'"),
        ("0 fast", "points must hold numbers, got 'fast'"),
        ("[]", "points must have from 1 to 100000 points, got 0"),
        ("[[0, 1], [1]]", r"points must be a list of numbers or of pairs \[x, y\], got \[1\]"),
        ("[0, 1", "points begins like JSON and is none"),
        ("[" * 5000, "points begins like JSON and is none"),
        ("[1, 1" + "0" * 400 + "]", "points must be a list of numbers"),
        ("[[0, 1e999]]", "points must hold finite numbers"),
    ],
)
def test_no_curve(text, message):
    with pytest.raises(ValueError, match=message):
        Curve.parse(text, "points")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"speed": Curve([(0, 1), (1, -1)])}, "speed must be 0 or more everywhere, got -1"),
        ({"speed": Curve([(0, 0), (1, 0)])}, "speed must be more than 0 somewhere"),
        ({"place": Curve([(0, 0), (1, 1.5)])}, "place must lie in 0..1, got 0 to 1.5"),
        ({"place": Curve([(0, 1)]), "speed": Curve([(0, 1)])}, "speed and place both say"),
        ({"roll": math.nan}, "roll must be from -3600 to 3600 degrees a level, got nan"),
        ({"strength": 2}, "strength must be from 0 to 1"),
        ({"place": Curve([(0, 1)]), "listening": Listening(clicks([1]), RATE)}, "place is set by a curve"),
    ],
)
def test_motion_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        Motion(**given)


@pytest.mark.parametrize("direction", ["in", "out", "in-out"])
def test_a_constant_speed_is_the_linear_easing(direction):
    curve = Motion(speed=Curve([(0, 0.3), (1, 0.3)]))
    assert np.allclose(zooms(curve, direction=direction), zooms(Motion(), direction=direction), atol=1e-9)


def test_speed_follows_its_curve_and_arrives():
    path = zooms(Motion(speed=Curve([(0, 1), (0.5, 3), (1, 1)], smooth=False)), hold_start=0.5, hold_end=0.25)
    assert path[:10].max() == 0 and (path[-6:] == 4).all()
    speed = np.diff(path[10:-5])
    assert speed[39] / speed[0] == pytest.approx(3, rel=0.05) and speed[-1] == pytest.approx(speed[0], rel=0.05)


def test_a_frame_is_as_far_as_the_speed_up_to_it_says():
    """A speed that rises evenly is a way that rises with the square of the time."""
    path = zooms(Motion(speed=Curve([(0, 0), (1, 1)], smooth=False)))
    assert np.allclose(path, 4 * np.linspace(0, 1, len(path)) ** 2, atol=1e-9)


def test_a_speed_of_zero_rests_and_goes_on():
    path = zooms(Motion(speed=Curve([(0, 1), (0.4, 1), (0.41, 0), (0.6, 0), (0.61, 1), (1, 1)], smooth=False)))
    assert np.ptp(path[34:48]) < 1e-9 and path[-1] == 4 and (np.diff(path) >= 0).all()


def test_place_may_turn_back():
    path = zooms(Motion(place=Curve([(0, 0), (0.5, 1), (1, 0.25)], smooth=False)))
    assert path[0] == 0 and path[40] == 4 and path[-1] == pytest.approx(1)
    out = zooms(Motion(place=Curve([(0, 0), (0.5, 1), (1, 0.25)], smooth=False)), direction="out")
    assert np.allclose(out, 4 - path)


@pytest.mark.parametrize("motion", [Motion(speed=Curve([(0, 1), (1, 4)])), Motion(place=Curve([(0, 0.1), (1, 0.8)]))])
def test_there_and_back_passes_the_same_places(motion):
    path = zooms(motion, direction="in-out", hold_end=0.5)
    assert len(path) == 170
    assert np.allclose(path[:81], np.append(path[90:], path[0])[::-1])


def test_beginnings_are_heard_where_they_are():
    times = [0.31, 0.9, 1.17, 2.0, 3.3]
    found, weights = beginnings(clicks(times)[0], RATE)
    assert len(weights) == len(found) and 0.5 < weights.min() and weights.max() == 1
    assert len(found) == len(times) and np.abs(found - times).max() < 0.03


def band(noise: float) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """A band from 90 to 130 beats a minute, over noise: [1, samples], seconds of its beats, seconds of all its notes.

    Bass drum and snare in turn on the beats, hi-hats twice as often, a bass that also plays between, and chords that
    swell and die away under all of it.
    """
    rng = np.random.default_rng(3)
    beats = np.concatenate([[0.4], 0.4 + np.cumsum(60 / np.linspace(90, 130, 31))])
    between = 0.5 * (beats[1:] + beats[:-1])
    wave = np.zeros(int((beats[-1] + 1.5) * RATE))
    time = np.arange(RATE) / RATE

    def play(at: float, sound: np.ndarray) -> None:
        begin = int(at * RATE)
        wave[begin : begin + len(sound)] += sound[: len(wave) - begin] * rng.uniform(0.8, 1.1)

    for number, beat in enumerate(beats):
        if number % 2 == 0:
            play(beat, np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-time * 18)))) * np.exp(-time * 12))
        else:
            play(beat, (0.5 * rng.standard_normal(RATE) + 0.4 * np.sin(2 * np.pi * 190 * time)) * np.exp(-time * 20))
        if number % 4 == 0:
            chord = sum(np.sin(2 * np.pi * pitch * time + pitch) for pitch in (220, 277, 330))
            play(beat, 0.12 * chord * np.sin(np.pi * time) ** 0.5)
    for at in [*beats, *between]:
        play(at, 0.15 * np.diff(rng.standard_normal(RATE + 1)) * np.exp(-time * 60))
    for at in between[::2]:
        play(at, 0.4 * np.sin(2 * np.pi * 82 * time) * np.exp(-time * 6))
    wave += noise * np.sqrt(np.mean(wave**2)) * rng.standard_normal(len(wave))
    return torch.from_numpy(wave.astype(np.float32))[None], beats, np.sort(np.concatenate([beats, between]))


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_a_band_is_heard_on_its_beats_and_the_camera_dives_there(noise):
    wave, beats, notes = band(noise)
    found, _ = beginnings(wave[0], RATE)
    assert np.mean([np.abs(found - beat).min() <= 0.05 for beat in beats]) >= 0.95
    assert np.mean([np.abs(notes - time).min() <= 0.05 for time in found]) >= 0.95
    # Stronger on the beats than on what is played between them, and stronger than anywhere else.
    fps = 60
    heard = Listening(wave, RATE).frames(fps, int(wave.shape[1] / RATE * fps))
    after = np.array([heard[int(beat * fps) : int(beat * fps) + 8].mean() for beat in beats[:-1]])
    before = np.array([heard[int(beat * fps) - 8 : int(beat * fps) - 1].mean() for beat in beats[1:]])
    assert np.median(after) > 2 * np.median(before)
    weaker = [heard[int(at * fps) : int(at * fps) + 8].mean() for at in 0.5 * (beats[1:] + beats[:-1])]
    assert np.median(after) > 1.25 * np.median(weaker)


def test_silence_and_a_steady_tone_have_no_beats():
    assert len(beginnings(torch.zeros(RATE), RATE)[0]) == 0
    tone = torch.sin(torch.arange(4 * RATE) * 0.1) * torch.linspace(0, 1, 4 * RATE).clamp_max(0.5)
    assert len(beginnings(tone, RATE)[0]) <= 1


def test_the_camera_dives_on_the_beat():
    times = [0.5, 1.5, 2.5, 3.5]
    motion = Motion(listening=Listening(clicks(times), RATE), strength=1.0)
    path = zooms(motion)
    assert path[0] == 0 and path[-1] == pytest.approx(4) and (np.diff(path) >= -1e-12).all()
    speed = np.diff(path)
    for time in times:
        dive, rest = (
            speed[int(time * 20) : int(time * 20) + 4].sum(),
            speed[int(time * 20) - 6 : int(time * 20) - 1].sum(),
        )
        assert dive > 8 * rest, time
    assert zooms(Motion(listening=Listening(clicks(times), RATE), strength=0.0)) == pytest.approx(zooms(Motion()))


def test_loudness_sets_speed_or_place():
    loud = torch.sin(torch.arange(4 * RATE) * 0.2) * torch.linspace(0.02, 1, 4 * RATE)
    heard = Listening(loud[None], RATE, "loudness")
    speed = np.diff(zooms(Motion(listening=heard, strength=1.0)))
    assert speed[70] / speed[10] == pytest.approx(5.95, rel=0.1)
    place = zooms(Motion(listening=heard, follows="place"))
    assert place[5] < 0.5 and place[-1] > 3.7 and (np.diff(place[:75]) > 0).all()


def test_silence_leaves_the_camera_to_its_easing():
    silent = Motion(listening=Listening(torch.zeros(2, RATE), RATE), strength=1.0)
    assert np.allclose(zooms(silent), zooms(Motion()))


def test_a_sound_shorter_than_the_film_ends_where_it_ends():
    path = zooms(Motion(listening=Listening(clicks([0.5], 1.0), RATE), strength=0.9))
    assert path[-1] == pytest.approx(4) and len(path) == 81


def test_roll_is_degrees_a_level():
    camera = Camera(FIVE, 20, 1.0, motion=Motion(roll=30))
    assert [camera.roll(20 * i) for i in range(5)] == pytest.approx([0, 30, 60, 90, 120])
    outward = Camera(FIVE, 20, 1.0, "out", motion=Motion(roll=30))
    assert [outward.roll(20 * i) for i in range(5)] == pytest.approx([120, 90, 60, 30, 0])
    both = Camera(FIVE, 20, 1.0, "in-out", motion=Motion(roll=30))
    assert both.roll(159) == pytest.approx(both.roll(1))


def test_roll_follows_its_own_curve_over_the_film():
    camera = Camera(FIVE, 20, 1.0, hold_end=1.0, motion=Motion(roll=-10, rolled=Curve([(0, 0), (1, 1)])))
    assert camera.roll(50) == pytest.approx(-20) and camera.roll(100) == pytest.approx(-40)
    with pytest.raises(IndexError):
        camera.roll(len(camera))


def test_one_level_takes_any_motion():
    still = Geometry(64, 64, ())
    for motion in (Motion(speed=Curve([(0, 1)])), Motion(listening=Listening(clicks([0.1], 1), RATE)), Motion(roll=5)):
        camera = Camera(still, 10, hold_start=1, motion=motion)
        assert [camera.shot(i) for i in range(len(camera))] == [(0.0, 0.0)] * 11
