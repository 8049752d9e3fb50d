"""The moving thumbnails of the bundled workflows: each one's own film, run here, small and short.

    python run.py bench thumbnails [NAME ...]

ComfyUI lists a pack's workflows with the picture `NAME.jpg`. A browser goes by what a picture's bytes say it is, not by
its name: an animated WebP of that name moves there, which a JPEG cannot.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from launcher import workflow as workflows  # noqa: E402
from launcher.client import ComfyClient, Graph  # noqa: E402
from launcher.console import Problem  # noqa: E402
from launcher.server import ComfyServer  # noqa: E402
from zoom_core import ZoomLevel, ZoomLevels, ZoomStack, parse_prompts, render_view  # noqa: E402

SIDE, FRAMES, PAUSE, STEP = 256, 40, 900, 110  # pixels, frames, ms at the end of a film that ends, ms a frame
QUALITY, BUDGET = 60, 200_000  # of WebP, and bytes
ANSWERS = ("a green continent in a blue sea", "a golden beach by a turquoise sea")


def film(client: ComfyClient, path: Path) -> list[Image.Image]:
    """The frames of the film that a bundled workflow makes, at the size of a thumbnail."""
    graph = workflows.twin(workflows.read(path))
    answers = iter(ANSWERS)
    for key, node in graph.items():
        if node["class_type"] == "TextGenerate":
            # No language model comes with the pack; these lines were written by hand.
            graph[key] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": next(answers)}}
    (frames,) = (key for key, node in graph.items() if node["class_type"] == "ZoomVideoFrames")
    graph[frames]["inputs"] |= {"width": SIDE, "height": SIDE, "fps": 30.0, "frames": "all frames"}
    graph[frames]["inputs"] |= {"hold_start": 0.0, "hold_end": 0.0, "seconds_per_level": 0.5}
    graph["film"] = {"class_type": "PreviewImage", "inputs": {"images": [frames, 1]}}
    entries = client.run(workflows.upstream(graph, "film")).entries("film")
    # The last frame of an endless film comes one step before the first one again.
    end = len(entries) if endless(graph) else len(entries) - 1
    chosen = np.linspace(0, end, FRAMES, endpoint=not endless(graph)).round().astype(int)
    return [Image.open(io.BytesIO(client.view(entries[i]))).convert("RGB") for i in chosen]


def endless(graph: Graph) -> bool:
    """Whether a workflow's zoom goes round."""
    return any(node["inputs"].get("loop") is True for node in graph.values())


def drawn(path: Path) -> list[Image.Image]:
    """A flight through cards that show a workflow's own prompts, for one that needs a checkpoint which is not here."""
    graph = workflows.twin(workflows.read(path))
    (node,) = (node["inputs"] for node in graph.values() if node["class_type"] == "ZoomPromptList")
    levels = ZoomLevels([ZoomLevel(level.prompt, zoom=node["zoom"]) for level in parse_prompts(node["prompts"])])
    size = 2 * SIDE
    cards = [_card(i, level.prompt, len(levels), size) for i, level in enumerate(levels)]
    geometry = levels.resolve(size, size)
    stack = ZoomStack(torch.stack(cards), geometry, levels)
    places = np.linspace(0, len(levels) - 1, FRAMES)
    views = [render_view(stack, float(place), SIDE, SIDE).clamp(0, 1).movedim(0, -1) for place in places]
    return [Image.fromarray((view.numpy() * 255).round().astype(np.uint8)) for view in views]


def _card(number: int, prompt: str, count: int, size: int) -> torch.Tensor:
    """[3, size, size]: a coloured card with a prompt above the middle, which the next card takes."""
    hue = int(200 - 150 * number / count)
    card = Image.new("HSV", (size, size), (hue, 150, 90)).convert("RGB")
    pen = ImageDraw.Draw(card)
    edge = Image.new("HSV", (1, 1), (hue, 90, 220)).convert("RGB").getpixel((0, 0))
    pen.rectangle((0, 0, size - 1, size - 1), outline=edge, width=size // 64)
    font = ImageFont.load_default(size // 19)
    lines, line = [], ""
    for word in f"{number + 1}. {prompt}".split():
        if line and pen.textlength(f"{line} {word}", font) > 0.88 * size:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    pen.multiline_text((size * 0.06, size * 0.045), "\n".join([*lines, line]), "white", font, spacing=size // 64)
    if number == count - 1:
        pen.text(
            (size / 2, size * 0.6), "your\ncheckpoint", "white", ImageFont.load_default(size // 8), "mm", align="center"
        )
    return torch.from_numpy(np.asarray(card, np.float32) / 255).movedim(-1, 0)


def thumbnail(frames: list[Image.Image], repeats: bool) -> bytes:
    """An animated WebP that repeats for ever, within the budget of bytes."""
    pauses = [STEP] * len(frames)
    if not repeats:
        pauses[-1] = PAUSE
    for quality in range(QUALITY, 0, -5):
        file = io.BytesIO()
        frames[0].save(
            file, "WEBP", save_all=True, append_images=frames[1:], duration=pauses, loop=0, quality=quality, method=6
        )
        if file.tell() <= BUDGET:
            return file.getvalue()
    raise ValueError(f"expected a thumbnail of at most {BUDGET} bytes, got {file.tell()} at the lowest quality")


def make(client: ComfyClient, paths: list[Path]) -> None:
    """Write the thumbnails of these workflows beside them."""
    for path in paths:
        graph = workflows.twin(workflows.read(path))
        foreign = any(node["class_type"] == "CheckpointLoaderSimple" for node in graph.values())
        frames = drawn(path) if foreign else film(client, path)
        data = thumbnail(frames, endless(graph))
        path.with_suffix(".jpg").write_bytes(data)
        print(f"{path.stem}: {len(frames)} frames, {len(data)} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these workflows only")
    try:
        paths = [workflows.find(name) for name in parser.parse_args().names] or workflows.bundled()
    except Problem as problem:
        parser.error(str(problem))
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer(Path(os.environ["COMFYUI_PATH"]), Path(folder), arguments=["--cpu"])
        shutil.copytree(workflows.FOLDER / "input", server.base / "input")
        server.start()
        try:
            make(server.client, paths)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
