"""Workflow files: reading them, changing seed and prompts, and turning a graph into what the server queues.

ComfyUI saves a workflow as a *graph* (nodes with positions, links, a bare list of widget values), but its
`/prompt` takes *API format* (node id -> class and named inputs). The browser converts one into the other;
`to_api` does the same here, with the names and the order of the widgets from the server's /object_info.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Node = dict[str, Any]
Workflow = dict[str, Any]
Graph = dict[str, dict[str, Any]]
ObjectInfo = dict[str, dict[str, Any]]
Slots = dict[str, "int | str"]  # input name -> where its value is in widgets_values

PROMPT_NODE, PROMPT_INPUT = "ZoomPromptList", "prompts"
_NEVER, _BYPASS = 2, 4  # the frontend's LGraphEventMode
_NOTES = {"Note", "MarkdownNote"}
_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "CURVE", "BOUNDING_BOX", "COMFY_DYNAMICCOMBO_V3"}
_BROWSER_ONLY = {"LOAD_3D", "WEBCAM", "AUDIO_RECORD"}
_SEEDS = {"seed", "noise_seed"}
_AFTER_GENERATE = {"fixed", "increment", "decrement", "randomize", "increment-wrap"}


class WorkflowError(ValueError):
    """A workflow file that cannot be used; the message says where and why."""


def read(path: Path) -> Workflow:
    """Read a workflow file of either format."""
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise WorkflowError(f"cannot read the workflow {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{path.name} is not a text file in UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise WorkflowError(
            f"{path.name} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    if not (is_api(data) or is_graph(data)):
        raise WorkflowError(f"{path.name} is JSON, but not a ComfyUI workflow (neither graph nor API format)")
    return data


def is_api(data: Any) -> bool:
    """Whether this is an API-format graph."""
    return (
        isinstance(data, dict) and bool(data) and all(isinstance(n, dict) and "class_type" in n for n in data.values())
    )


def is_graph(data: Any) -> bool:
    """Whether this is a graph-format workflow."""
    return isinstance(data, dict) and isinstance(data.get("nodes"), list) and isinstance(data.get("links", []), list)


def to_api(workflow: Workflow, object_info: ObjectInfo) -> Graph:
    """The API-format graph of a workflow (which may already be one).

    Muted and bypassed nodes, reroutes, primitives and notes are resolved as the browser does it. The one
    thing left alone is the browser's {a|b} wildcard in texts: the text is queued as it stands.
    """
    if is_api(workflow):
        return copy.deepcopy(workflow)
    return _Converter(workflow, object_info).convert()


def with_seed(workflow: Workflow, object_info: ObjectInfo, seed: int) -> Workflow:
    """A copy of the workflow in which every seed is `seed` and stays so."""
    result = copy.deepcopy(workflow)
    if is_api(result):
        for node in result.values():
            inputs = node.get("inputs", {})
            for name in _seed_inputs(object_info.get(node["class_type"], {}), inputs):
                if not isinstance(inputs[name], list):
                    inputs[name] = seed
        return result
    for node in result["nodes"]:
        values = node.get("widgets_values")
        if node.get("type") == "PrimitiveNode" and values and _primitive_input(node) in _SEEDS:
            node["widgets_values"] = [seed, "fixed", *values[2:]]
        slots = widget_slots(node, object_info.get(node.get("type"), {}))
        for name in _seed_inputs(object_info.get(node.get("type"), {}), slots):
            slot = slots[name]
            values[slot] = seed
            if isinstance(slot, int) and values[slot + 1 : slot + 2] and values[slot + 1] in _AFTER_GENERATE:
                values[slot + 1] = "fixed"
    return result


def with_prompts(workflow: Workflow, object_info: ObjectInfo, text: str) -> Workflow:
    """A copy of the workflow whose zoom prompt lists hold `text`; WorkflowError when it has none to change."""
    result = copy.deepcopy(workflow)
    changed = 0
    if is_api(result):
        for node in result.values():
            if node["class_type"] == PROMPT_NODE and not isinstance(node["inputs"].get(PROMPT_INPUT), list):
                node["inputs"][PROMPT_INPUT] = text
                changed += 1
    else:
        for node in result["nodes"]:
            if node.get("type") != PROMPT_NODE or _linked(node, PROMPT_INPUT):
                continue
            slot = widget_slots(node, object_info.get(PROMPT_NODE, {})).get(PROMPT_INPUT)
            if slot is not None:
                node["widgets_values"][slot] = text
                changed += 1
    if not changed:
        raise WorkflowError(f"the workflow has no {PROMPT_NODE} node with a text of its own to put the prompts into")
    return result


def widget_slots(node: Node, info: dict[str, Any]) -> Slots:
    """Where in a graph node's `widgets_values` the value of each named widget is."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return {name: name for name in values}
    slots: Slots = {}
    _take_slots(info.get("input", {}), values or [], "", slots, [0])
    return slots


def _take_slots(inputs: dict[str, Any], values: list[Any], prefix: str, slots: Slots, position: list[int]) -> None:
    for name, kind, options in _specs(inputs):
        if not _is_widget(kind, options):
            continue
        index = position[0]
        if index >= len(values):
            return
        slots[prefix + name] = index
        position[0] += 1
        if kind == "COMFY_DYNAMICCOMBO_V3":
            for choice in options.get("options", []):
                if choice["key"] == values[index]:
                    _take_slots(choice["inputs"], values, f"{prefix}{name}.", slots, position)
        elif _has_control(name, kind, options) and position[0] < len(values) and values[position[0]] in _AFTER_GENERATE:
            # The browser puts a widget of its own behind it, and behind a list's one for filtering.
            position[0] += 1 if kind in ("INT", "FLOAT") else 2


def _specs(inputs: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for section in ("required", "optional"):
        for name, spec in (inputs.get(section) or {}).items():
            options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
            if isinstance(spec[0], str):
                yield name, spec[0], options
            else:
                # Older nodes give the list of choices in place of a type.
                yield name, "COMBO", {"options": spec[0], **options}


def _is_widget(kind: str, options: dict[str, Any]) -> bool:
    return not options.get("forceInput") and (kind in _WIDGETS or options.get("widgetType") in _WIDGETS)


def _has_control(name: str, kind: str, options: dict[str, Any]) -> bool:
    default = kind == "INT" and name in _SEEDS
    return bool(options.get("control_after_generate", default))


def _seed_inputs(info: dict[str, Any], present: Any) -> list[str]:
    """The names of the seeds among the inputs of a node that are `present`."""
    kinds = {name: (kind, options) for name, kind, options in _specs(info.get("input", {}))}
    return [name for name in present if kinds.get(name, ("", {}))[0] == "INT" and _has_control(name, *kinds[name])]


def _linked(node: Node, name: str) -> bool:
    return any(item.get("name") == name and item.get("link") is not None for item in node.get("inputs") or [])


def _primitive_input(node: Node) -> str:
    outputs = node.get("outputs") or [{}]
    return (outputs[0].get("widget") or {}).get("name", "")


class _Converter:
    """One conversion: the nodes and links of a workflow, and the way through the nodes that do not execute."""

    def __init__(self, workflow: Workflow, object_info: ObjectInfo) -> None:
        self._info = object_info
        self._nodes = {str(node["id"]): node for node in workflow["nodes"]}
        self._links = {link[0]: (str(link[1]), link[2]) for link in map(_link_tuple, workflow.get("links") or [])}
        self._refuse_subgraphs(workflow)

    def convert(self) -> Graph:
        """Every node that executes, in API format."""
        active = [node for node in self._nodes.values() if self._executes(node)]
        missing = sorted({node["type"] for node in active if node["type"] not in self._info})
        if missing:
            raise WorkflowError(f"this ComfyUI has no node of the type {', '.join(missing)}: is a custom node missing?")
        graph = {str(node["id"]): self._convert(node) for node in active}
        for node in graph.values():
            # A link that ends at a muted node is no link; the server then says which input is missing.
            inputs = node["inputs"]
            node["inputs"] = {k: v for k, v in inputs.items() if not isinstance(v, list) or v[0] in graph}
        return graph

    def _executes(self, node: Node) -> bool:
        return node.get("mode", 0) not in (_NEVER, _BYPASS) and not _is_virtual(node)

    def _convert(self, node: Node) -> dict[str, Any]:
        info = self._info[node["type"]]
        values = node.get("widgets_values") or []
        if any(kind in _BROWSER_ONLY for _, kind, _ in _specs(info.get("input", {}))):
            raise WorkflowError(
                f"the node {node['type']} takes its input in the browser only; it cannot be queued from here"
            )
        inputs = {name: values[slot] for name, slot in widget_slots(node, info).items()}
        _add_defaults(info.get("input", {}), "", inputs)
        # A bare list would be read as a link.
        inputs = {name: {"__value__": value} if isinstance(value, list) else value for name, value in inputs.items()}
        for slot in node.get("inputs") or []:
            source = self._source(slot.get("link"), slot.get("type", "*"), set())
            if source is not None:
                inputs[slot["name"]] = source
        title = node.get("title") or info.get("display_name") or node["type"]
        return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}

    def _source(self, link_id: Any, kind: Any, seen: set[Any]) -> Any:
        """What a link brings: [node id, output] of the node that executes, a primitive's value, or None."""
        if link_id is None or link_id not in self._links:
            return None
        if link_id in seen:
            raise WorkflowError("the workflow's reroutes or bypassed nodes form a circle")
        seen.add(link_id)
        node_id, output = self._links[link_id]
        node = self._nodes.get(node_id)
        if node is None or node.get("mode", 0) == _NEVER:
            return None
        if node.get("mode", 0) == _BYPASS:
            slot = _bypass_input(node, output, kind)
            return None if slot is None else self._source(slot.get("link"), kind, seen)
        if node["type"] == "PrimitiveNode":
            return (node.get("widgets_values") or [None])[0]
        if node["type"] == "Reroute" and node["type"] not in self._info:
            return self._source((node.get("inputs") or [{}])[0].get("link"), kind, seen)
        return [node_id, output]

    def _refuse_subgraphs(self, workflow: Workflow) -> None:
        definitions = (workflow.get("definitions") or {}).get("subgraphs") or []
        names = {item["id"]: item.get("name", item["id"]) for item in definitions}
        used = sorted({names[node["type"]] for node in self._nodes.values() if node.get("type") in names})
        if used:
            raise WorkflowError(
                f"the workflow uses the subgraph {', '.join(used)}; only the browser can queue those. "
                "Unpack it there (right click, Unpack Subgraph), or export the workflow in API format."
            )


def _is_virtual(node: Node) -> bool:
    return node["type"] in _NOTES or node["type"] in ("PrimitiveNode", "Reroute")


def _link_tuple(link: Any) -> tuple[Any, Any, int]:
    """A link as (id, source node, source output), from either of the two ways they are saved."""
    if isinstance(link, dict):
        return link["id"], link["origin_id"], link["origin_slot"]
    return link[0], link[1], link[2]


def _add_defaults(specs: dict[str, Any], prefix: str, inputs: dict[str, Any]) -> None:
    """Give the widgets that the file has no value for (it may be older than the node) the node's defaults."""
    for name, kind, options in _specs(specs):
        if not _is_widget(kind, options):
            continue
        dynamic = kind == "COMFY_DYNAMICCOMBO_V3"
        choices = options.get("options") or []
        first = choices[0] if choices else None
        default = options.get("default", first["key"] if dynamic and first else first)
        if inputs.get(prefix + name) is None and default is not None:
            inputs[prefix + name] = default
        for choice in choices if dynamic else []:
            if choice["key"] == inputs.get(prefix + name):
                _add_defaults(choice["inputs"], f"{prefix}{name}.", inputs)


def _bypass_input(node: Node, output: int, kind: Any) -> Node | None:
    """The input that a bypassed node hands on as its `output`: the browser's own rule."""
    inputs, outputs = node.get("inputs") or [], node.get("outputs") or []
    offered = outputs[output].get("type", "*") if output < len(outputs) else "*"
    if kind in ("*", ""):
        return inputs[output] if output < len(inputs) else (inputs or [None])[0]
    fits = [i for i in inputs if _connects(i.get("type"), offered) and _connects(i.get("type"), kind)]
    if output < len(inputs) and inputs[output] in fits:
        return inputs[output]
    exact = [i for i in inputs if i.get("type") == kind]
    return (exact or fits or [None])[0]


def _connects(left: Any, right: Any) -> bool:
    first, second = ({part.strip().lower() for part in str(kind).split(",")} for kind in (left, right))
    return bool({"*", "", "0"} & (first | second)) or bool(first & second)
