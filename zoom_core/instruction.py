"""What to ask a language model for, so that its answer can be used as the prompts of a zoom."""

from __future__ import annotations

from .levels import MAX_LEVELS, MAX_ZOOM, MIN_ZOOM
from .wording import magnification

TASKS = ("all levels", "next level from a picture")


def write_instruction(theme: str, levels: int = 8, zoom: float = 2.0, style: str = "", task: str = TASKS[0]) -> str:
    """The instruction to a language model for prompts of a zoom, as plain text.

    theme: what the zoom is about, from where to where. levels: how many prompts, 2 to 64. zoom:
    how much closer each is than the one before it. style: a look that all prompts are to share.
    task: "all levels" asks for one line a level, "next level from a picture" for the one line that
    says what a picture, given to the model with this text, shows `zoom` times closer.
    Raises ValueError naming the value.
    """
    theme, style = " ".join(theme.split()), " ".join(style.split())
    if not theme:
        raise ValueError("theme is empty: say what the zoom is about, for example 'from a galaxy to a cell'.")
    if not 2 <= levels <= MAX_LEVELS:
        raise ValueError(f"levels must be from 2 to {MAX_LEVELS}, got {levels}.")
    if not MIN_ZOOM <= zoom <= MAX_ZOOM:
        raise ValueError(f"zoom must be from {MIN_ZOOM:g} to {MAX_ZOOM:g}, got {zoom:g}.")
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}.")
    if task == TASKS[1]:
        return _next_level(theme, zoom, style)
    whole = zoom ** (levels - 1)
    return "\n".join(
        [
            f"Write {levels} prompts for an image generator. Together they are one continuous zoom: {theme}.",
            f"The camera looks at one fixed point all the way and never turns. Each picture shows the middle of the "
            f"one before it {zoom:g} times closer, so that the last is {magnification(whole)} times closer "
            "than the first.",
            "Rules:",
            "- Start with the widest view and end with the closest.",
            "- Keep one viewpoint for all of them, for example always from straight above.",
            "- Say in every prompt what lies in the middle of the picture: the next picture shows only that.",
            f"- Choose things whose sizes fit: from line to line only {zoom:g} times closer.",
            "- Neighbouring lines share colours, light and materials.",
            "- Describe what can be seen in 8 to 20 words; no story, no camera words, no names of levels.",
            *([f"- Every prompt ends with: {style}"] if style else []),
            f"Answer with exactly {levels} plain lines, one prompt a line, no numbers, no headings, nothing else.",
        ]
    )


def _next_level(theme: str, zoom: float, style: str) -> str:
    return "\n".join(
        [
            f"The picture is one level of a continuous zoom: {theme}.",
            f"Imagine the camera moves {zoom:g} times closer to the middle of the picture without turning. "
            "What fills the new picture, and what lies in its middle?",
            "Describe what can be seen in 8 to 20 words, with the colours and the light of the picture given.",
            *([f"End with: {style}"] if style else []),
            "Answer with one plain line that can be used as a prompt for an image generator, nothing else.",
        ]
    )
