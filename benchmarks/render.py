"""Quality, misfits, speed and memory of the renderer, beside the usual crop-and-resize loop.

python benchmarks/render.py            everything but memory, about ten minutes
python benchmarks/render.py --memory   peak memory of 10 s against 100 s of video, and of 4K
python benchmarks/render.py --only quality|border|roll|misfits|speed
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measure, memory, usual_loop  # noqa: E402
from benchmarks.plane_waves import PlaneWaves, frames  # noqa: E402
from benchmarks.world_scene import WorldScene  # noqa: E402
from zoom_core import Geometry, ZoomLevels, blend  # noqa: E402
from zoom_core.camera import Camera  # noqa: E402
from zoom_core.seams import blend_agreeing, fuse  # noqa: E402
from zoom_core.stack import ZoomStack  # noqa: E402
from zoom_core.stream import available_cores, stream_frames  # noqa: E402
from zoom_core.view import StackRenderer  # noqa: E402

LEVELS, ZOOM, FRAMES_PER_LEVEL = 6, 2.0, 60


def table(title: str, rows: list[dict[str, object]]) -> None:
    """Prints rows of one set of columns as a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        cells = (
            f"{v:.4g}" if isinstance(v, float) and abs(v) < 10 else f"{v:.1f}" if isinstance(v, float) else str(v)
            for v in row.values()
        )
        print("| " + " | ".join(cells) + " |", flush=True)


def view_in_level_0(geometry: Geometry, camera: Camera, frame: int) -> tuple[float, float, float, float]:
    """(left, top, width, height) of a frame in fractions of level 0's frame."""
    view = camera.view(frame)
    left, top, width, height = frames(geometry)[view.level]
    return left + view.left * width, top + view.top * height, view.width * width, view.height * height


def quality(name: str, scene: PlaneWaves | WorldScene, size: int, every: int) -> None:
    """Against the exact picture of the scene at every zoom, seen at full and at half size."""
    levels = ZoomLevels.uniform(LEVELS, ZOOM)
    geometry = levels.resolve(size, size)
    stack, bytes_ = _for_renderers(scene.levels(geometry), geometry, levels)
    camera = Camera(geometry, FRAMES_PER_LEVEL, 1.0)
    numbers = range(0, len(camera), every)
    rows = []
    for output in (size, size // 2):
        makers: dict[str, Callable[[float], np.ndarray]] = {
            "Zoom Stack": _maker(stack, output),
            "Zoom Stack, ramp 0": _maker(stack, output, ramp=0.0),
            "crop and resize": _usual(bytes_, ZOOM, output),
        }
        results = {maker: ([], []) for maker in makers}
        for number in numbers:
            left, top, width, height = view_in_level_0(geometry, camera, number)
            exact = _in_colour(scene.picture(left, top, width, height, output, output)).clip(0, 1)
            for maker, make in makers.items():
                picture = make(camera.zoom(number))
                values, places = results[maker]
                values.append(measure.psnr(picture, exact))
                places.append(measure.displacements(picture.mean(-1), exact.mean(-1)))
        rate = np.log(ZOOM) * every / FRAMES_PER_LEVEL
        for maker, (values, places) in results.items():
            rows.append(
                {
                    "output": f"{output} x {output}",
                    "renderer": maker,
                    "PSNR mean": np.mean(values),
                    "PSNR worst": min(values),
                }
                | measure.motion(np.array(places), output, rate)
                | {
                    "crossing, largest change %": (
                        100
                        * max(
                            measure.crossing_change(makers[maker], level, 1 / FRAMES_PER_LEVEL)
                            for level in range(1, LEVELS - 1)
                        )
                    )
                }
            )
    table(
        f"Quality, {name}: {LEVELS} levels of {size} x {size}, zoom {ZOOM:g}, {FRAMES_PER_LEVEL // every} frames a"
        " level measured",
        rows,
    )


def _maker(stack: ZoomStack, output: int, **settings) -> Callable[[float], np.ndarray]:
    """Zoom (levels) -> [output, output, C] in 0..1, by our renderer."""
    renderer = StackRenderer(stack, output, output, **settings)
    return lambda zoom: renderer.render(zoom).movedim(0, -1).numpy()


def _usual(levels: np.ndarray, ratio: float, output: int) -> Callable[[float], np.ndarray]:
    """The same by the usual loop."""
    return lambda zoom: usual_loop.frame(levels, ratio, zoom, output) / 255.0


def border(size: int) -> None:
    """How visible the inner level's square is where the level around it is magnified."""
    rows = []
    for zoom in (2.0, 4.0):
        levels = ZoomLevels.uniform(3, zoom)
        geometry = levels.resolve(size, size)
        stack, bytes_ = _for_renderers(PlaneWaves(zoom**2, size).levels(geometry), geometry, levels)
        for output in (size, 2 * size):
            makers = {
                "Zoom Stack": _maker(stack, output),
                "Zoom Stack, ramp 0": _maker(stack, output, ramp=0.0),
                "crop and resize": _usual(bytes_, zoom, output),
            }
            for name, make in makers.items():
                steps = {}
                for t in (0.25, 0.5, 0.75):
                    inner = zoom ** (t - 1)
                    edges = output * (1 - inner) / 2, output * (1 + inner) / 2
                    steps[f"bits at {t}"] = measure.border_step(make(t).mean(-1).astype(np.float64), *edges)
                change = measure.crossing_change(make, 1, 1 / FRAMES_PER_LEVEL)
                shown = {"zoom": zoom, "output": f"{output} x {output}", "renderer": name}
                rows.append(shown | steps | {"crossing, largest change %": 100 * change})
    table(f"Step of the finest detail across a level's border, plane waves, levels of {size} x {size}", rows)


def roll(size: int) -> None:
    """Turned views against what a turned camera sees, and what turning costs."""
    levels = ZoomLevels.uniform(4, ZOOM)
    geometry = levels.resolve(size, size)
    scene = PlaneWaves(ZOOM**3, size)
    stack, _ = _for_renderers(scene.levels(geometry), geometry, levels)
    camera = Camera(geometry, 10, 1.0)
    numbers = range(11, 29, 2)
    rows = []
    for degrees in (0.0, 1.0, 10.0, 30.0, 45.0, 90.0):
        renderer = StackRenderer(stack, size, size, ramp=0.0)
        values, spent = [], []
        for number in numbers:
            exact = scene.picture(*view_in_level_0(geometry, camera, number), size, size, roll=degrees).clip(0, 1)
            begin = time.thread_time()
            picture = renderer.frame(camera.zoom(number), 16, degrees) / 65535
            spent.append(1e3 * (time.thread_time() - begin))
            values.append(measure.psnr(picture.mean(-1), exact))
        rows.append(
            {
                "degrees": degrees,
                "PSNR mean": np.mean(values),
                "PSNR worst": min(values),
                "CPU ms a frame": float(np.median(spent)),
            }
        )
    table(f"Turned views of plane waves, levels and output {size} x {size}, ramp 0", rows)


def _in_colour(pictures: np.ndarray) -> np.ndarray:
    """[..., 3]: grey pictures (which have no last axis of 3) in three equal channels."""
    return pictures if pictures.shape[-1] == 3 else np.repeat(pictures[..., None], 3, axis=-1)


def _for_renderers(pictures: np.ndarray, geometry: Geometry, levels: ZoomLevels) -> tuple[ZoomStack, np.ndarray]:
    """Levels as our renderer takes them, and as bytes [N, H, W, 3] for the usual loop."""
    pictures = _in_colour(pictures)
    layers = torch.from_numpy(pictures).float().movedim(-1, 1).contiguous()
    return ZoomStack(layers, geometry, levels), (np.clip(pictures, 0, 1) * 255).round().astype(np.uint8)


def misfits(size: int, every: int) -> None:
    """Neighbours that differ by 16/255 in colour and 2 px in place, as independent upscaling leaves them."""
    levels = ZoomLevels.uniform(LEVELS, ZOOM)
    geometry = levels.resolve(size, size)
    scene = PlaneWaves(ZOOM ** (LEVELS - 1), size)
    angles = np.random.default_rng(3).random(LEVELS) * 2 * np.pi
    shifts = [(0.0, 0.0)] + [(2 * np.cos(a), 2 * np.sin(a)) for a in angles[1:]]
    grey = torch.from_numpy(scene.levels(geometry, shifts)).float()[:, None]
    tint = torch.tensor([8.0, -8.0, 8.0]) / 255 * (-1.0) ** torch.arange(LEVELS)[:, None]
    images = grey + tint[:, :, None, None]
    camera = Camera(geometry, FRAMES_PER_LEVEL, 1.0)
    numbers = [n for n in range(0, len(camera), every)]
    makers = {
        "ZoomStackRender": fuse(images, geometry),
        "ZoomStackRender, blending none": fuse(images, geometry, "none"),
        "feather 0": blend_agreeing(images, geometry, "multi-resolution"),
        "the paper's blend alone": blend(images, geometry),
    }
    bytes_ = (images.clamp(0, 1) * 255).round().byte().movedim(1, -1).contiguous().numpy()
    rows = []
    for name in (*makers, "crop and resize"):
        if name in makers:
            renderer = StackRenderer(ZoomStack(makers[name], geometry, levels), size, size)
            make = renderer.frame
            energy = np.min(_finest_energy(makers[name]) / _finest_energy(images))
        else:
            energy, make = 1.0, lambda z: usual_loop.frame(bytes_, ZOOM, z, size)
        steps, excess = [], []
        for number in numbers:
            zoom = camera.zoom(number)
            view = view_in_level_0(geometry, camera, number)
            exact = scene.picture(*view, size, size)
            picture = make(zoom) / 255.0
            magnified = ZOOM ** (zoom - int(zoom)) / ZOOM
            begin, end = size * (1 - magnified) / 2, size * (1 + magnified) / 2
            steps.append(255 * measure.colour_step(picture - exact[..., None], begin, end))
            excess.append(measure.edge_excess(picture.mean(-1), begin, end))
        rows.append(
            {
                "levels": name,
                "colour step at border, /255, worst": max(steps),
                "border against texture, worst": max(excess),
                "finest band energy kept %": 100 * float(energy),
                "crossing, largest change %": 100 * measure.crossing_change(make, 2, 1 / FRAMES_PER_LEVEL),
            }
        )
    table(f"Misfits: colour steps of 16/255 and shifts of 2 px, {LEVELS} levels of {size} x {size}", rows)


def _finest_energy(images: torch.Tensor) -> np.ndarray:
    """[N]: energy of detail that half the size cannot show, each level by itself."""
    spectrum = torch.fft.rfft2(images - images.mean((-2, -1), keepdim=True))
    rows = torch.fft.fftfreq(images.shape[-2])[:, None].abs()
    columns = torch.fft.rfftfreq(images.shape[-1])[None].abs()
    fine = torch.maximum(rows, columns) >= 0.25
    return (spectrum.abs() ** 2 * fine).sum((1, 2, 3)).numpy()


def encode(frames_: Iterator[np.ndarray], path: str, width: int, height: int) -> int:
    """Writes h264 with core SaveVideo's defaults, as our VIDEO does up to 1.3 megapixels; the number of frames."""
    import av

    count = 0
    with av.open(path, mode="w") as output:
        stream = output.add_stream("h264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pixels in frames_:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            output.mux(stream.encode(frame))
            count += 1
        output.mux(stream.encode(None))
    return count


def timed(work: Callable[[], object], count: int) -> tuple[float, float]:
    """(frames a second by the clock, CPU milliseconds a frame over all threads)."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return count / (time.perf_counter() - clock), (time.process_time() - cpu) / count * 1e3


def speed(size: int, count: int) -> None:
    """Frames a second, rendering alone and with h264."""
    levels = ZoomLevels.uniform(LEVELS, ZOOM)
    geometry = levels.resolve(size, size)
    pictures = PlaneWaves(ZOOM ** (LEVELS - 1), size).levels(geometry)
    stack, bytes_ = _for_renderers(pictures, geometry, levels)
    zooms = [1 + i / FRAMES_PER_LEVEL for i in range(count)]
    ready = [usual_loop.frame(bytes_, ZOOM, z, size) for z in zooms]
    sources: dict[str, Callable[[], Iterator[np.ndarray]]] = {
        "Zoom Stack": lambda: stream_frames(stack, zooms, size, size),
        "crop and resize": lambda: (usual_loop.frame(bytes_, ZOOM, z, size) for z in zooms),
        "encoding alone": lambda: iter(ready),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            alone, alone_cpu = timed(lambda: deque(source(), maxlen=0), count)
            both, both_cpu = timed(lambda: encode(source(), os.path.join(folder, "video.mp4"), size, size), count)
            rendered = name != "encoding alone"
            rows.append(
                {
                    "renderer": name,
                    "frames a second": alone if rendered else "",
                    "CPU ms a frame": alone_cpu if rendered else "",
                    "frames a second with h264": both,
                    "CPU ms a frame with h264": both_cpu,
                }
            )
    table(
        f"Speed: {size} x {size} from {size} x {size}, {count} frames, {available_cores()} cores,"
        f" {torch.get_num_threads()} torch threads",
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["quality", "border", "roll", "misfits", "speed"])
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--full", action="store_true", help="measure every frame, not every third or fourth")
    arguments = parser.parse_args()
    if arguments.memory:
        table("Peak memory, MiB above the stack itself, encoding included", memory.rows())
        return
    every = 1 if arguments.full else 3
    if arguments.only in (None, "quality"):
        quality("plane waves", PlaneWaves(ZOOM ** (LEVELS - 1), 512), 512, every)
        quality("procedural world", WorldScene(LEVELS, ZOOM, 512, seed=3, start=6.0), 512, 1 if arguments.full else 4)
    if arguments.only in (None, "border"):
        border(256)
    if arguments.only in (None, "roll"):
        roll(512)
    if arguments.only in (None, "misfits"):
        misfits(512, 4 * every)
    if arguments.only in (None, "speed"):
        speed(1024, 120)


if __name__ == "__main__":
    main()
