"""ZoomVideoFrames: the camera's way through a stack as a video."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..zoom_core.camera import DIRECTIONS, EASINGS, Camera
from ..zoom_core.compose import RAMP
from ..zoom_core.stack_file import MAX_SIDE
from .inputs import fit_input, ramp_input
from .lazy_video import LazyZoomVideo
from .notes import running_server, say
from .types import CATEGORY, ZoomCameraType, ZoomStackType

VIDEO_ONLY, ALL_FRAMES = "video only", "all frames"
AS_SET = "as set"
SIZES = {
    AS_SET: None,
    "1:1, 1080 x 1080": (1080, 1080),
    "16:9, 1920 x 1080": (1920, 1080),
    "16:9, 3840 x 2160": (3840, 2160),
    "9:16, 1080 x 1920": (1080, 1920),
}
# The place of `frames` among the outputs.
FRAMES_OUTPUT = 1


def check_even(name: str, size: int) -> None:
    """Raises ValueError for a size that h264 cannot encode."""
    if size % 2:
        raise ValueError(f"{name} must be even for h264 video, got {size}: take {size + 1} or {size - 1}.")


def is_taken(graph: dict, node_id: str, output: int) -> bool:
    """Whether any node of an API graph (id -> node) is connected to an output of a node."""
    return any([node_id, output] == value for node in graph.values() for value in node["inputs"].values())


def running_graph() -> dict:
    """The API graph (id -> node) that the server runs now; empty outside a server."""
    server = running_server()
    running = server.prompt_queue.get_current_queue_volatile()[0] if server is not None else []
    return {key: node for _, _, graph, *_ in running for key, node in graph.items()}


class ZoomVideoFrames(io.ComfyNode):
    """Flies through a stack; the frames are made while the video is saved."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomVideoFrames",
            display_name="Zoom Video Frames",
            category=CATEGORY,
            description=(
                "Turns a zoom stack into a smooth zoom video of any size and length. Connect video to Save Video."
            ),
            search_aliases=["zoom video", "zoom animation", "infinite zoom video", "camera zoom"],
            inputs=[
                ZoomStackType.Input("stack", tooltip="The stack to fly through."),
                io.Int.Input(
                    "width", default=1024, min=2, max=MAX_SIDE, step=2, tooltip="Width of the video in pixels, even."
                ),
                io.Int.Input(
                    "height", default=1024, min=2, max=MAX_SIDE, step=2, tooltip="Height of the video in pixels, even."
                ),
                io.Float.Input("fps", default=30.0, min=1.0, max=240.0, step=1.0, tooltip="Frames a second."),
                io.Float.Input(
                    "seconds_per_level",
                    default=2.0,
                    min=0.05,
                    max=600.0,
                    step=0.1,
                    tooltip=(
                        "How long the way from one level to the next takes, on average. Larger is slower and calmer."
                    ),
                ),
                io.Combo.Input(
                    "direction",
                    options=list(DIRECTIONS),
                    default="in",
                    tooltip=(
                        "in starts at the widest view, out at the closest. in-out and out-in go there and back and"
                        " repeat without a jump."
                    ),
                ),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="linear",
                    tooltip=(
                        "linear looks equally fast all the way. soft ends starts and stops gently, the others change"
                        " speed all along."
                    ),
                ),
                io.Float.Input(
                    "hold_start",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=0.1,
                    tooltip="Seconds to stand still before the camera leaves.",
                ),
                io.Float.Input(
                    "hold_end",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=0.1,
                    tooltip="Seconds to stand still at the other end.",
                ),
                io.Combo.Input(
                    "frames",
                    options=[VIDEO_ONLY, ALL_FRAMES],
                    default=VIDEO_ONLY,
                    tooltip=(
                        "The frames output is filled whenever something is connected to it; all frames fills it in any"
                        " case. It holds them all in memory; the video alone needs almost none."
                    ),
                ),
                io.Audio.Input("audio", optional=True, tooltip="Sound for the video, cut to its length."),
                fit_input(),
                ramp_input(),
                ZoomCameraType.Input(
                    "camera", optional=True, tooltip="Curves, a roll or a sound to follow, from Zoom Camera."
                ),
                io.Combo.Input(
                    "size",
                    options=list(SIZES),
                    default=AS_SET,
                    optional=True,
                    advanced=True,
                    tooltip="A common size in place of width and height.",
                ),
                io.Combo.Input(
                    "bit_depth",
                    options=["8", "10"],
                    default="8",
                    optional=True,
                    advanced=True,
                    tooltip="10 bits keep soft gradients free of bands; some players cannot show them.",
                ),
            ],
            outputs=[
                io.Video.Output("video", tooltip="The video, made while it is saved."),
                io.Image.Output("frames", tooltip="Every frame as an image, when something is connected here."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_inputs) -> bool:
        """A result without frames must not serve a graph that has since connected them."""
        return is_taken(running_graph(), cls.hidden.unique_id, FRAMES_OUTPUT)

    @classmethod
    def execute(
        cls,
        stack,
        width,
        height,
        fps,
        seconds_per_level,
        direction,
        easing,
        hold_start,
        hold_end,
        frames,
        audio=None,
        fit="crop",
        ramp=100 * RAMP,
        camera=None,
        size=AS_SET,
        bit_depth="8",
    ) -> io.NodeOutput:
        width, height = SIZES[size] or (width, height)
        check_even("width", width)
        check_even("height", height)
        way = Camera(stack.geometry, fps, seconds_per_level, direction, easing, hold_start, hold_end, camera)
        video = LazyZoomVideo(stack, way, width, height, fit, audio, ramp=ramp / 100, bit_depth=int(bit_depth))
        prompt = cls.hidden.dynprompt if cls.hidden else None
        graph = {node: prompt.get_node(node) for node in prompt.all_node_ids()} if prompt else {}
        if frames == VIDEO_ONLY and not (graph and is_taken(graph, cls.hidden.unique_id, FRAMES_OUTPUT)):
            return io.NodeOutput(video, ExecutionBlocker(None))
        say(cls, video.describe_memory())
        return io.NodeOutput(video, video.images())


NODES = [ZoomVideoFrames]
