"""Workflow files: reading and checking them, and changing their seeds and prompts.

ComfyUI saves a workflow as a *graph* (nodes with positions, links, a bare list of widget values), but its
`/prompt` takes *API format* (node id -> class and named inputs). Only the browser turns one into the other
(browser.py); for the bundled workflows it has done so beforehand: their twins lie in workflows/api/.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from .console import Problem

PACK = Path(__file__).resolve().parent.parent
FOLDER = PACK / "workflows"
TWINS = FOLDER / "api"
DEFAULT = "text-to-zoom"
PROMPT_NODE, PROMPT_INPUT = "ZoomPromptList", "prompts"
STALE = "the API twin is missing or older than its workflow: run `python run.py twins`"

Workflow = dict[str, Any]
Graph = dict[str, dict[str, Any]]

_AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize", "increment-wrap")


def read(path: Path) -> Workflow:
    """Read a workflow file of either format; Problem when it is none."""
    text = read_text(path)
    try:
        data = json.loads(text)
        if is_api(data):
            _check_api(data)
        else:
            _check_graph(data)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(f"{path.name} is not JSON: {error.msg} in {where}") from error
    except (RecursionError, ValueError, Problem) as error:  # ValueError: a number of thousands of digits
        why = "its JSON is nested too deeply" if isinstance(error, RecursionError) else error
        raise Problem(f"{path.name} is not a ComfyUI workflow: {why}") from error
    return data


def read_text(path: Path, option: str = "") -> str:
    """A file that a person wrote; Problem, which begins with what asked for it, where it is no text."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{option}cannot read {path} as UTF-8 text: {error}.") from error


def read_prompts(path: Path) -> str:
    """The text of a file of prompts; Problem when there is none."""
    text = read_text(path, "--prompts: ").strip()
    if not text:
        raise Problem(f"--prompts: {path} is empty; expected one prompt a line, from the widest view to the closest.")
    return text


def is_api(data: Any) -> bool:
    """Whether this looks like an API-format graph."""
    return isinstance(data, dict) and any(isinstance(node, dict) and "class_type" in node for node in data.values())


def _need(found: bool, complaint: str) -> None:
    if not found:
        raise Problem(complaint)


def _check_api(data: Graph) -> None:
    for key, node in data.items():
        _need(isinstance(node, dict) and isinstance(node.get("class_type"), str), f"node {key} has no class_type")
        where = f"node {key} ({node['class_type']})"
        _need(isinstance(node.get("inputs"), dict), f"{where} has no inputs")
        _need(isinstance(node.setdefault("_meta", {}), dict), f"{where} has a _meta that is no object")
        for name, value in node["inputs"].items():
            match value:
                case [str(source), int(output)] if source in data and output >= 0:
                    pass
                case list():
                    expected = "should be a value, or a link [node, output] to a node of this file"
                    raise Problem(f"input {name} of {where} {expected}; got {json.dumps(value)[:100]}")


def _check_graph(data: Any) -> None:
    known = isinstance(data, dict) and isinstance(data.get("nodes"), list)
    _need(known, "its JSON is neither graph nor API format")
    _need(isinstance(data.get("links", []), list), "its links are no list")
    for number, node in enumerate(data["nodes"]):
        named = isinstance(node, dict) and isinstance(node.get("type"), str) and isinstance(node.get("id"), (int, str))
        _need(named, f"entry {number} of its nodes has no id and type")
        listed = isinstance(node.get("widgets_values") or [], (list, dict))
        _need(listed, f"the widgets_values of node {node['id']} ({node['type']}) are no list")


def find(name: str) -> Path:
    """The file of a workflow given as a path, or of the first bundled one whose name begins so."""
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    for known in bundled():
        # "text-to-zoom" is 02-text-to-zoom-with-the-demo-model: numbers and descriptions are for the Templates browser.
        if re.match(rf"(\d+-)?{re.escape(name.removesuffix('.json'))}(-|$)", known.stem):
            return known
    names = ", ".join(known.stem for known in bundled()) or "none"
    raise Problem(f"--workflow: there is no file {name} and no bundled workflow of that name. Bundled: {names}.")


def bundled() -> list[Path]:
    """The files of the bundled workflows, in graph format, as the browser lists them."""
    return sorted(FOLDER.glob("*.json"))


def twin(workflow: Workflow) -> Graph | None:
    """The API format that the browser made of a bundled workflow; None when it is another, or has changed since."""
    digest = _digest(workflow)
    for path in sorted(TWINS.glob("*.json")):
        graph = json.loads(path.read_text("utf-8"))
        if next(iter(graph.values()))["_meta"].pop("made_from", "") == digest:
            return graph
    return None


def upstream(graph: Graph, *ends: str) -> Graph:
    """The nodes `ends` and all that they depend on."""
    waiting, needed = list(ends), {}
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed[key] = graph[key]
            waiting += [value[0] for value in graph[key]["inputs"].values() if isinstance(value, list)]
    return needed


def write_twin(path: Path, graph: Graph) -> None:
    """Keep the API format of the bundled workflow `path`, marked with what it was made from."""
    next(iter(graph.values()))["_meta"]["made_from"] = _digest(read(path))
    TWINS.mkdir(exist_ok=True)
    (TWINS / path.name).write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", "utf-8", newline="\n")


def _digest(workflow: Workflow) -> str:
    return hashlib.sha256(json.dumps(workflow, sort_keys=True).encode()).hexdigest()


def set_seed(graph: Graph, layout: Workflow | None, seed: int) -> None:
    """Give every seed of an API graph this value, and fix it in the layout that is saved with the results."""
    for key, node in graph.items():
        for name, value in node["inputs"].items():
            if _is_seed(name) and not isinstance(value, list):
                _set_input(graph, layout, key, name, seed)
            elif _is_seed(name) and graph[value[0]]["class_type"] == "PrimitiveInt":
                # The core's Int node, which feeds it.
                _set_input(graph, layout, value[0], "value", seed)


def _is_seed(name: str) -> bool:
    """Whether an input is a seed, which is told by its name: seed, noise_seed and the like."""
    return name == "seed" or name.endswith("_seed")


def set_prompts(graph: Graph, layout: Workflow | None, text: str) -> None:
    """Put `text` into the zoom prompt lists of an API graph and its layout; Problem when there is none."""
    lists = {key: node["inputs"].get(PROMPT_INPUT) for key, node in graph.items() if node["class_type"] == PROMPT_NODE}
    own = [key for key, old in lists.items() if not isinstance(old, list)]
    _need(bool(own), f"the workflow has no {PROMPT_NODE} node with a text of its own to put the prompts into")
    for key in own:
        _set_input(graph, layout, key, PROMPT_INPUT, text)


def _set_input(graph: Graph, layout: Workflow | None, key: str, name: str, value: Any) -> None:
    """Give one input of an API graph its value, in the layout too."""
    inputs = graph[key]["inputs"]
    old, inputs[name] = inputs.get(name), value
    for drawn in (layout or {}).get("nodes", []):
        if str(drawn["id"]) == key or _feeds_seeds(drawn):
            _replace(drawn, name, old, value)


def _replace(drawn: dict[str, Any], name: str, old: Any, new: Any) -> None:
    """Replace a widget's value in a node of a layout, which lists values without their names."""
    values = drawn.get("widgets_values") or []
    if isinstance(values, dict):
        values[name] = new
        return
    for i, value in enumerate(values):
        control = values[i + 1] if i + 1 < len(values) else None
        if type(new) is int and type(value) is int and value == old and control in _AFTER_GENERATE:
            values[i : i + 2] = [new, "fixed"]
        elif isinstance(new, str) and value == old:
            values[i] = new


def _feeds_seeds(drawn: dict[str, Any]) -> bool:
    """Whether a node of a layout is a primitive whose number goes to a seed."""
    outputs = drawn.get("outputs") or [{}]
    return drawn["type"] == "PrimitiveNode" and _is_seed((outputs[0].get("widget") or {}).get("name", ""))
