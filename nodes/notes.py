"""What a node says on itself in the browser: reports, and warnings, which the terminal gets too."""

from __future__ import annotations

import logging

from comfy_api.v0_0_2 import io
from server import PromptServer

SAMPLERS = ("MultiScaleJointKSampler", "ZoomJointGuider")


def running_server() -> PromptServer | None:
    """The server that this runs in; None in a script."""
    return getattr(PromptServer, "instance", None)


def say(node: type[io.ComfyNode], text: str) -> None:
    """Show a text on the node that is running; its schema has io.Hidden.unique_id among its hidden inputs.

    The frontend shows `ui.text` for its own text node only.
    """
    server = running_server()
    if server and node.hidden and node.hidden.unique_id:
        server.send_progress_text(text, node.hidden.unique_id)


def warn(node: type[io.ComfyNode], text: str) -> None:
    """Say something that a person should mend, also in the terminal."""
    logging.warning("%s: %s", node.define_schema().display_name, text)
    say(node, text)


def levels_left_out(prompt: dict, node_id: str, resolved: bool) -> str:
    """What is wrong with where a stack's levels come from, for pictures that were sampled together; "" for nothing.

    prompt: the whole graph in API form. node_id: the node that makes a stack of `images` and perhaps `levels`.
    resolved: whether its levels have been sampled, and so know where they lie.
    """
    inputs = prompt[node_id]["inputs"]
    sampler = _upstream(prompt, inputs.get("images"))
    if sampler is None:
        return ""
    name = prompt[sampler].get("_meta", {}).get("title") or prompt[sampler]["class_type"]
    if not _is_link(inputs.get("levels")):
        return (
            "levels is not connected, but the pictures were sampled as levels: they are taken as centred and "
            f"{_times(inputs)} closer each. Connect levels of {name}."
        )
    if not resolved and inputs["levels"] != prompt[sampler]["inputs"].get("levels"):
        return f"levels are not those that the pictures were sampled with. Connect levels of {name}."
    return ""


def _times(inputs: dict) -> str:
    zoom = inputs.get("zoom")
    return f"{zoom:g} times" if isinstance(zoom, (int, float)) else "as many times as zoom says"


def _is_link(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _upstream(prompt: dict, link) -> str | None:
    """The nearest node before a link that samples levels together."""
    ahead, seen = [link], set()
    while ahead:
        link = ahead.pop(0)
        if not _is_link(link) or link[0] in seen or link[0] not in prompt:
            continue
        seen.add(link[0])
        if prompt[link[0]]["class_type"] in SAMPLERS:
            return link[0]
        ahead += prompt[link[0]]["inputs"].values()
    return None
