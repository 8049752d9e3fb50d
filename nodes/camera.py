"""ZoomCamera: what moves the camera of a film beyond direction and easing."""

from __future__ import annotations

from comfy_api.input import CurveInput
from comfy_api.v0_0_2 import io

from ..zoom_core.camera import MAX_ROLL, Motion
from ..zoom_core.curves import Curve
from ..zoom_core.sound import Listening
from .audio import sound_of
from .types import CATEGORY, ZoomCameraType

SPEED, PLACE = "speed", "place"
LISTEN = {
    "off": None,
    "speed by beats": ("beats", SPEED),
    "speed by loudness": ("loudness", SPEED),
    "place by loudness": ("loudness", PLACE),
}
_SAMPLES = 1025


def _curve_input(name: str, tooltip: str) -> io.Input:
    """A socket for core's CURVE; its own widget would give a curve where none is wanted."""
    return io.Custom("CURVE").Input(name, optional=True, tooltip=tooltip, extra_dict={"forceInput": True})


def _curve(points: str, drawn: CurveInput | dict | list | None, name: str) -> Curve | None:
    """The curve of a text, or the drawn one where there is one; None where there is neither."""
    if drawn is None:
        return Curve.parse(points, name)
    try:
        drawn = CurveInput.from_raw(drawn)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a curve, got {str(drawn)[:60]} ({error}).") from error
    # Checks the points; the editor's own interpolation is kept by taking it densely.
    Curve(drawn.points, name=name)
    x = [i / (_SAMPLES - 1) for i in range(_SAMPLES)]
    return Curve([(at, drawn.interp(at)) for at in x], smooth=False, name=name)


class ZoomCamera(io.ComfyNode):
    """Curves, roll and sound for the camera of Zoom Video Frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomCamera",
            display_name="Zoom Camera",
            category=CATEGORY,
            description="Gives the camera a will: speed or place over time, a roll, and dives on the beat of a sound.",
            search_aliases=["camera curve", "zoom speed", "camera roll", "beat zoom", "audio reactive zoom"],
            inputs=[
                io.String.Input(
                    "points",
                    default="",
                    multiline=True,
                    tooltip=(
                        'A curve over the time of the way, as pairs of time and value: "0 0.2, 0.5 1, 1 0.2". Time goes'
                        " from 0 to 1. Empty: the film's easing."
                    ),
                ),
                io.Combo.Input(
                    "points_set",
                    options=[SPEED, PLACE],
                    default=SPEED,
                    tooltip=(
                        "speed: how fast the camera is at each moment, against the rest of the way. place: how much of"
                        " the way is done, 0 to 1; it may turn back."
                    ),
                ),
                io.Float.Input(
                    "roll",
                    default=0.0,
                    min=-MAX_ROLL,
                    max=MAX_ROLL,
                    step=5.0,
                    round=False,
                    tooltip="Degrees that the picture turns clockwise on the way through a level.",
                ),
                io.String.Input(
                    "roll_points",
                    default="",
                    tooltip=(
                        'How much of the whole roll is done over the time of the film: "0 0, 0.5 1, 1 0" turns there'
                        " and back. Empty: the roll follows the zoom."
                    ),
                ),
                io.Combo.Input(
                    "listen",
                    options=list(LISTEN),
                    default="off",
                    tooltip=(
                        "What the sound sets: the camera's speed by its beats or by how loud it is, or how far in the"
                        " camera is by how loud it is."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=0.8,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the speed is the sound's: 0 none, 1 stands still while nothing is heard.",
                ),
                _curve_input("curve", "A curve from Curve Editor in place of points."),
                _curve_input("roll_curve", "A curve from Curve Editor in place of roll_points."),
                io.Audio.Input("audio", optional=True, tooltip="The sound to listen to."),
            ],
            outputs=[ZoomCameraType.Output("camera", tooltip="The camera, for Zoom Video Frames.")],
        )

    @classmethod
    def execute(
        cls,
        points,
        points_set,
        roll,
        roll_points,
        listen,
        strength,
        curve=None,
        roll_curve=None,
        audio=None,
    ) -> io.NodeOutput:
        way = _curve(points, curve, "points" if curve is None else "curve")
        rolled = _curve(roll_points, roll_curve, "roll_points" if roll_curve is None else "roll_curve")
        heard, follows, sound = None, SPEED, sound_of(audio)
        wanted = LISTEN[listen]
        if wanted is not None:
            if sound is None:
                raise ValueError(f'listen is "{listen}" and audio brings no sound: connect one, or set listen to off.')
            hears, follows = wanted
            heard = Listening(sound.waveform, sound.rate, hears)
        motion = Motion(
            speed=way if points_set == SPEED else None,
            place=way if points_set == PLACE else None,
            roll=roll,
            rolled=rolled,
            listening=heard,
            follows=follows,
            strength=strength,
        )
        return io.NodeOutput(motion)


NODES = [ZoomCamera]
