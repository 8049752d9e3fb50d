"""One long film over many workers: its stack goes to them as a file, each renders a segment, packets are joined."""

from __future__ import annotations

import copy
import io
import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from distributed import Client, Future

from ..client import ComfyClient, ExecutionFailed, Graph
from ..console import Problem
from ..workflow import upstream
from .jobs import Job
from .worker import JOB_ERRORS, LONG, Outcome, failed, put_input, run_job, this_server

_STACK, _SOUND, _LOAD, _SLICE = "batch stack", "batch sound", "batch load", "batch slice"
_FRAMES, _SAVE = "ZoomVideoFrames", "SaveVideo"
_DURATION = re.compile(r"Source duration: ([0-9.]+)")
# x264 begins anew with a key frame after so many frames anyway: parts of this length cost no size.
SHORTEST = 250
# A film in one pass keeps so many cores busy: the renderer has four threads at most, the encoder as much again.
_CORES = 8
_TOO_LATE = 1e5  # seconds: where no film has anything left


@dataclass(frozen=True)
class FilmPlan:
    """A job's graph, cut in two: what makes the stack (and the sound), and what renders a part of its film."""

    prepare: Graph
    render: Graph
    fps: float
    prefix: str


def plan_film(graph: Graph) -> FilmPlan:
    """Cut the graph at its one film; Problem for a graph that has none, or several."""
    saves = [key for key, node in graph.items() if node["class_type"] == _SAVE]
    films = [key for key, node in graph.items() if node["class_type"] == _FRAMES]
    if len(saves) != 1 or len(films) != 1 or graph[saves[0]]["inputs"].get("video") != [films[0], 0]:
        raise Problem(f"segments: expected a workflow with one {_FRAMES} whose video goes into one {_SAVE}.")
    save, film = saves[0], films[0]
    settings = graph[film]["inputs"]
    if isinstance(settings.get("fps"), list) or isinstance(graph[save]["inputs"].get("filename_prefix"), list):
        raise Problem("segments: fps and filename_prefix have to be values, not links.")

    prepare = copy.deepcopy(graph)
    del prepare[save]
    prepare[_STACK] = {
        "class_type": "ZoomStackSave",
        "inputs": {"stack": settings["stack"], "filename_prefix": "batch"},
    }
    if isinstance(settings.get("audio"), list):
        inputs = {"audio": settings["audio"], "filename_prefix": "batch"}
        prepare[_SOUND] = {"class_type": "SaveAudio", "inputs": inputs}

    render = copy.deepcopy(graph)
    render[film]["inputs"].pop("audio", None)
    render[film]["inputs"]["stack"] = [_LOAD, 0]
    render[_LOAD] = {"class_type": "ZoomStackLoad", "inputs": {"stack_file": ""}}
    render[_SLICE] = {"class_type": "Video Slice", "inputs": {"video": [film, 0], "strict_duration": False}}
    render[save]["inputs"]["video"] = [_SLICE, 0]
    prefix = graph[save]["inputs"].get("filename_prefix", "zoom")
    return FilmPlan(prepare, upstream(render, save), float(settings["fps"]), Path(prefix).name or "zoom")


def can_be_cut(job: Job) -> bool:
    """Whether the job makes one film that could be rendered in parts."""
    try:
        return bool(plan_film(job.graph))
    except Problem:
        return False


def cut(frames: int, segments: int, shortest: int = 1) -> list[range]:
    """Frames 0 to `frames` in at most `segments` runs of nearly equal length, none under `shortest` if possible."""
    count = max(1, min(segments, frames // shortest))
    edges = [i * frames // count for i in range(count + 1)]
    return [range(first, last) for first, last in zip(edges, edges[1:])]


def make_stack(plan: FilmPlan, inputs: dict[str, bytes], digest: str) -> tuple[Outcome, int]:
    """On a worker: run all but the film. Its stack and sound are among the files; also the film's frames."""
    made = run_job(plan.prepare, inputs, digest)
    if made.error:
        return made, 0
    try:
        return made, _count_frames(plan, made, digest)
    except JOB_ERRORS as error:
        return failed(error), 0


def _file_of(made: Outcome, node: str) -> bytes:
    (name,) = made.by_node[node]
    return made.files[name]


def _count_frames(plan: FilmPlan, made: Outcome, digest: str) -> int:
    """How many frames the whole film has, by asking for a part behind its end: core says how long the film is."""
    with this_server() as client:
        try:
            client.run(_segment(plan, client, made, digest, _TOO_LATE, 1.0), timeout=LONG)
        except ExecutionFailed as error:
            if found := _DURATION.search(error.message):
                return round(float(found[1]) * plan.fps)
            raise
    raise RuntimeError("core's Trim Video gave a part from behind the end of the film")


def _segment(plan: FilmPlan, client: ComfyClient, made: Outcome, digest: str, start: float, duration: float) -> Graph:
    name = f"batch-{digest}.safetensors"
    put_input(client, name, _file_of(made, _STACK))
    graph = copy.deepcopy(plan.render)
    graph[_LOAD]["inputs"]["stack_file"] = name
    graph[_SLICE]["inputs"].update(start_time=start, duration=duration)
    return graph


def render_segment(
    plan: FilmPlan, made: tuple[Outcome, int], segments: int, number: int, digest: str, shortest: int = 1
) -> bytes | Outcome:
    """On a worker: one segment of the film as the bytes of an mp4 file; empty where there is nothing to render.

    segments, shortest: see `cut`. What is wrong with the job is an Outcome with an error.
    """
    outcome, frames = made
    spans = cut(frames, segments, shortest) if not outcome.error else []
    if number >= len(spans):
        return b""
    span = spans[number]
    # A part holds the frames that begin within it; half a frame of room on both sides keeps rounding out of it.
    start = max(span.start - 0.5, 0.0)
    with this_server() as client:
        try:
            graph = _segment(plan, client, outcome, digest, start / plan.fps, (span.stop - 0.5 - start) / plan.fps)
            result = client.run(graph, timeout=LONG, zoom_job=digest)
        except JOB_ERRORS as error:
            return failed(error)
        (entry,) = (entry for entry in result.entries() if entry["filename"].endswith(".mp4"))
        return client.view(entry)


def join_film(plan: FilmPlan, made: tuple[Outcome, int], parts: list[bytes | Outcome]) -> Outcome:
    """On a worker: the outcome of the whole job, its film joined from the segments, packet by packet."""
    outcome, frames = made
    for broken in (part for part in [outcome, *parts] if isinstance(part, Outcome) and part.error):
        return broken
    sound = _file_of(outcome, _SOUND) if _SOUND in plan.prepare else None
    film = join([part for part in parts if isinstance(part, bytes) and part], sound, frames)
    inner = {name for node in (_STACK, _SOUND) for name in outcome.by_node.get(node, [])}
    files = {name: content for name, content in outcome.files.items() if name not in inner}
    return replace(outcome, files={**files, f"{plan.prefix}.mp4": film})


def join(parts: list[bytes], sound: bytes | None, frames: int) -> bytes:
    """One mp4 file of `frames` frames from the packets of several, which must come from the same encoder settings.

    Every part begins with a key frame that nothing before it is needed for. `sound`: any audio file; it is encoded
    once, here, cut to the length of the film. Raises ValueError where the parts do not go together.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "film.mp4"  # faststart reads it again
        _write_joined(whole, parts, sound, frames)
        return whole.read_bytes()


def _write_joined(whole: Path, parts: list[bytes], sound: bytes | None, frames: int) -> None:
    options = {"movflags": "use_metadata_tags+faststart"}
    with ExitStack() as stack:
        sources = [stack.enter_context(av.open(io.BytesIO(part), "r")) for part in parts]
        output = stack.enter_context(av.open(str(whole), "w", format="mp4", options=options))
        streams = [source.streams.video[0] for source in sources]
        first = streams[0]
        for name, value in sources[0].metadata.items():
            output.metadata[name] = value
        target = output.add_stream_from_template(first)
        rate, tick = first.average_rate, first.time_base
        if not rate or not tick:
            raise ValueError("the parts of the film do not say how long their frames last.")
        ticks = 1 / (rate * tick)
        for number, stream in enumerate(streams):
            if _settings(stream) != _settings(first):
                raise ValueError(f"part {number} of the film was encoded with other settings than part 0.")
        audio = _encoded(output, sound, Fraction(frames) / rate) if sound else iter(())
        pending = next(audio, None)
        done = 0
        for source, stream in zip(sources, streams):
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:  # the last, which is empty
                    continue
                packet.pts, packet.dts = (int(time + done * ticks) for time in (packet.pts, packet.dts))
                while pending is not None and _begins(pending) <= packet.dts * tick:
                    output.mux(pending)
                    pending = next(audio, None)
                packet.stream = target
                output.mux(packet)
            done += stream.frames
        while pending is not None:
            output.mux(pending)
            pending = next(audio, None)
        if done != frames:
            raise ValueError(f"the parts of the film hold {done} frames, expected {frames}.")


def _begins(packet: av.Packet) -> Fraction:
    """When an encoded packet is due, in seconds."""
    return (packet.dts or 0) * (packet.time_base or Fraction(1))


def _settings(stream: av.VideoStream) -> tuple:
    context = stream.codec_context
    return context.name, bytes(context.extradata or b""), stream.width, stream.height, stream.time_base


def _encoded(output, sound: bytes, seconds: Fraction) -> Iterator[av.Packet]:
    """The packets of a new audio stream of `output`: the whole of `sound` as AAC, no longer than `seconds`."""
    source = av.open(io.BytesIO(sound), "r")
    audio = source.streams.audio[0]
    stream = output.add_stream("aac", rate=audio.rate, layout=audio.layout.name)

    def packets() -> Iterator[av.Packet]:
        resampler = av.AudioResampler(format="fltp", layout=audio.layout.name, rate=audio.rate)
        left = math.ceil(seconds * audio.rate)
        with source:
            for decoded in source.decode(audio):
                for frame in resampler.resample(decoded):
                    if left <= 0:
                        break
                    if frame.samples > left:
                        cut_off = av.AudioFrame.from_ndarray(frame.to_ndarray()[:, :left], "fltp", audio.layout.name)
                        cut_off.sample_rate, cut_off.pts, cut_off.time_base = (
                            frame.sample_rate,
                            frame.pts,
                            frame.time_base,
                        )
                        frame = cut_off
                    left -= frame.samples
                    yield from stream.encode(frame)
            yield from stream.encode(None)

    return packets()


def parts_for(jobs: int, workers: int, cores: int | None = None) -> int:
    """In how many parts to render each job's film: as many as keep workers busy that have no job of their own.

    cores: of the one machine that all the workers share, where they do.
    """
    idle = workers // jobs
    return max(1, idle if cores is None else min(idle, cores // (_CORES * jobs)))


def submit_film(client: Client, job: Job, plan: FilmPlan, segments: int, shortest: int = 1, **options: Any) -> Future:
    """Put the tasks of a film on the cluster; the future of its outcome. segments, shortest: see `cut`."""
    inputs, digest = {path.name: path.read_bytes() for path in job.used_inputs()}, job.digest
    made = client.submit(make_stack, plan, inputs, digest, key=f"zoom-{digest}-stack", **options)
    parts = [
        client.submit(
            render_segment, plan, made, segments, i, digest, shortest, key=f"zoom-{digest}-part-{i}", **options
        )
        for i in range(segments)
    ]
    return client.submit(join_film, plan, made, parts, key=f"zoom-{digest}", **options)
