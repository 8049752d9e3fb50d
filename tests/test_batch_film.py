"""One film over many workers: its segments, and the film that they are joined to."""

from __future__ import annotations

import io
import wave

import av
import numpy as np
import pytest

from launcher.batch.jobs import Job
from launcher.console import Problem

film = pytest.importorskip("launcher.batch.film", reason="needs distributed: run `python run.py test`")
from launcher.batch import engine, worker  # noqa: E402

FPS, SIZE = 10.0, (96, 64)


def graph() -> dict:
    """Five plain levels, a film of 31 frames with sound."""
    settings = {"width": SIZE[0], "height": SIZE[1], "fps": FPS, "seconds_per_level": 0.75, "frames": "video only"}
    camera = {"direction": "in", "easing": "linear", "hold_start": 0.0, "hold_end": 0.0}
    picture = {"class_type": "LoadImage", "inputs": {"image": "levels.png"}}
    return {
        "1": picture,
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 5}},
        "3": {
            "class_type": "ZoomStackRender",
            "inputs": {"images": ["2", 0], "blending": "none", "feather": 0.0, "zoom": 2.0},
        },
        "4": {"class_type": "LoadAudio", "inputs": {"audio": "tone.wav"}},
        "5": {"class_type": "ZoomVideoFrames", "inputs": {"stack": ["3", 0], "audio": ["4", 0], **settings, **camera}},
        "6": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["5", 0], "filename_prefix": "films/zoom", "format": "mp4", "codec": "h264"},
        },
        "7": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "picture"}},
    }


@pytest.fixture(scope="module")
def job(comfy) -> Job:
    """The film as a job; its picture and its sound are on the server."""
    y, x = np.mgrid[0:128, 0:128] / 128
    comfy.put_input("levels.png", np.stack([x, y, 0.5 + 0.5 * np.sin(40 * x * y)], -1))
    tone = (20000 * np.sin(np.arange(0, 5 * 44100) * 2 * np.pi * 440 / 44100)).astype("<i2")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(tone.tobytes())
    comfy.put_input("tone.wav", content.getvalue())
    return Job("film", graph())


def decoded(content: bytes) -> tuple[list[np.ndarray], list[float]]:
    """The pictures of a film, and when each is shown."""
    with av.open(io.BytesIO(content)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def test_a_joined_film_is_its_segments_frame_by_frame(comfy, job, monkeypatch):
    monkeypatch.setenv(worker.SERVER, comfy.url)
    plan = film.plan_film(job.graph)
    made = film.make_stack(plan, {}, job.digest)
    assert (made[0].error, made[1]) == ("", 31)
    parts = [film.render_segment(plan, made, 4, number, job.digest) for number in range(4)]
    outcome = film.join_film(plan, made, parts)
    # The stack and the sound were for the workers only.
    assert sorted(name.partition("_")[0] for name in outcome.files) == ["picture", "zoom.mp4"]
    whole, times = decoded(outcome.files["zoom.mp4"])
    pieces = [decoded(part)[0] for part in parts]
    assert [len(piece) for piece in pieces] == [7, 8, 8, 8]
    assert all(np.array_equal(a, b) for a, b in zip(whole, [frame for piece in pieces for frame in piece], strict=True))
    np.testing.assert_allclose(times, np.arange(31) / FPS, atol=1e-6)

    # The same film in one pass: other bits, the same pictures.
    (path,) = comfy.run(job.graph).files("6")
    once, once_times = decoded(path.read_bytes())
    assert once_times == times
    nearest = [max(range(31), key=[psnr(frame, other) for other in once].__getitem__) for frame in whole]
    assert nearest == list(range(31)) and min(map(psnr, whole, once)) > 28
    with av.open(io.BytesIO(outcome.files["zoom.mp4"])) as container, av.open(str(path)) as original:
        assert container.metadata["prompt"] == original.metadata["prompt"] or "zoom_job" in container.metadata
        (sound, before) = ([frame.to_ndarray() for frame in file.decode(audio=0)] for file in (container, original))
    sound, before = np.concatenate(sound, 1)[0], np.concatenate(before, 1)[0]
    assert abs(len(sound) - len(before)) <= 1024 and abs(len(sound) - 3.1 * 44100) <= 2048
    # One tone without a gap at the joints: no window of it is silent, and none clicks.
    power = [np.sqrt(np.mean(window**2)) for window in np.array_split(sound[2048:-2048], 100)]
    assert max(power) / min(power) < 1.1


def test_dask_workers_make_the_same_film(comfy, job):
    with engine.connect(engine.Place(servers=(comfy.url, comfy.url.replace("127.0.0.1", "localhost")))) as client:
        broken = graph()
        broken["3"]["inputs"]["zoom"] = 99.0
        jobs = [job, Job("broken", broken)]
        outcomes = {done.id: outcome for done, outcome in engine.run_jobs(client, jobs, segments=3)}
    assert "zoom" in outcomes["broken"].error and not outcomes["broken"].files
    assert outcomes["film"].error == ""
    whole, times = decoded(outcomes["film"].files["zoom.mp4"])
    np.testing.assert_allclose(times, np.arange(31) / FPS, atol=1e-6)


def test_parts_that_do_not_go_together_are_refused(comfy, job, monkeypatch):
    monkeypatch.setenv(worker.SERVER, comfy.url)
    plan = film.plan_film(job.graph)
    made = film.make_stack(plan, {}, job.digest)
    part = film.render_segment(plan, made, 4, 0, job.digest)
    with pytest.raises(ValueError, match="hold 14 frames, expected 31"):
        film.join([part, part], None, 31)
    key = next(key for key, node in plan.render.items() if node["class_type"] == "ZoomVideoFrames")
    plan.render[key]["inputs"]["width"] = 128
    with pytest.raises(ValueError, match="part 1 .* other settings"):
        film.join([part, film.render_segment(plan, made, 4, 1, job.digest)], None, 15)


def test_a_graph_that_cannot_be_cut_is_refused():
    for change in ({"6": None}, {"6": {"class_type": "SaveVideo", "inputs": {"video": ["9", 0]}}}):
        changed = {key: node for key, node in {**graph(), **change}.items() if node}
        with pytest.raises(Problem, match="one ZoomVideoFrames whose video goes into one SaveVideo"):
            film.plan_film(changed)


def key_frames(content: bytes) -> list[int]:
    """The numbers of a film's key frames."""
    with av.open(io.BytesIO(content)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.dts is not None]
    shown = sorted(packet.pts for packet in packets)
    return sorted(shown.index(packet.pts) for packet in packets if packet.is_keyframe)


@pytest.mark.parametrize(("shortest", "begins"), [(10, [0, 15]), (film.SHORTEST, [0])])
def test_workers_without_a_job_render_parts_where_the_film_is_long(comfy, job, monkeypatch, shortest, begins):
    monkeypatch.setattr(engine, "SHORTEST", shortest)
    plain = Job("plain", {key: graph()[key] for key in ("1", "7")})
    with engine.connect(engine.Place(servers=(comfy.url, comfy.url.replace("127.0.0.1", "localhost")))) as client:
        outcomes = {
            done.id: outcome
            for asked in ([job], [plain])
            for done, outcome in engine.run_jobs(client, asked, segments=None, workers=2)
        }
    assert [outcome.error for outcome in outcomes.values()] == ["", ""]
    assert key_frames(outcomes["film"].files["zoom.mp4"]) == begins
    assert [name.partition("_")[0] for name in outcomes["plain"].files] == ["picture"]


@pytest.mark.parametrize(("jobs", "workers", "parts"), [(1, 1, 1), (1, 8, 8), (3, 8, 2), (8, 8, 1), (100, 2, 1)])
def test_films_are_cut_for_workers_that_have_no_job(jobs, workers, parts):
    assert film.parts_for(jobs, workers) == parts


@pytest.mark.parametrize(
    ("jobs", "workers", "cores", "parts"), [(1, 2, 2, 1), (1, 4, 64, 4), (1, 8, 32, 4), (2, 8, 32, 2)]
)
def test_workers_that_share_too_few_cores_cut_no_films(jobs, workers, cores, parts):
    assert film.parts_for(jobs, workers, cores) == parts


def test_a_file_too_large_for_a_server_says_what_to_start_it_with(comfy, monkeypatch):
    monkeypatch.setenv(worker.SERVER, comfy.url)
    outcome = worker.run_job(graph(), {"large.bin": bytes(101 * 2**20)}, "0")
    assert "as large as large.bin, 101 MiB: start it with --max-upload-size 102" in outcome.error


@pytest.mark.parametrize(("frames", "segments"), [(31, 4), (1, 1), (3, 8), (1000, 7)])
def test_segments_are_all_frames_once(frames, segments):
    spans = film.cut(frames, segments)
    assert [i for span in spans for i in span] == list(range(frames))
    assert len(spans) == min(frames, segments) and max(map(len, spans)) - min(map(len, spans)) <= 1
    assert all(len(span) >= 250 for span in film.cut(frames, segments, 250)) or frames < 250
