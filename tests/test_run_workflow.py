"""Workflow files: read, checked, changed, and their API twins kept current by the browser's own conversion."""

from __future__ import annotations

import copy
import json

import pytest

from launcher import browser
from launcher import workflow as workflows
from launcher.console import Problem
from launcher.workflow import read, set_prompts, set_seed

GRAPH = {
    "2": {"class_type": "Sample", "inputs": {"seed": 7, "steps": 7, "noise_seed": 3}, "_meta": {"title": "a"}},
    "3": {"class_type": "Sample", "inputs": {"seed": 5, "steps": 12, "noise_seed": ["2", 0]}, "_meta": {"title": "b"}},
    "4": {"class_type": "ZoomPromptList", "inputs": {"prompts": "old", "zoom": 2.0}, "_meta": {"title": "c"}},
}
# Node 1 is a primitive that feeds the seed of node 3, node 5 one that feeds steps.
LAYOUT = {
    "nodes": [
        {
            "id": 1,
            "type": "PrimitiveNode",
            "outputs": [{"widget": {"name": "seed"}}],
            "widgets_values": [5, "randomize"],
        },
        {"id": 2, "type": "Sample", "widgets_values": [7, "increment", 7, 3, "randomize"]},
        {"id": 3, "type": "Sample", "widgets_values": {"seed": 5, "steps": 12}},
        {"id": 4, "type": "ZoomPromptList", "widgets_values": ["old", 2.0]},
        {"id": 5, "type": "PrimitiveNode", "outputs": [{"widget": {"name": "steps"}}], "widgets_values": [5, "fixed"]},
    ],
    "links": [],
}


def test_the_seed_reaches_every_seed_and_stays():
    graph, layout = copy.deepcopy(GRAPH), copy.deepcopy(LAYOUT)
    set_seed(graph, layout, 42)
    assert graph["2"]["inputs"] == {"seed": 42, "steps": 7, "noise_seed": 42}
    assert graph["3"]["inputs"] == {"seed": 42, "steps": 12, "noise_seed": ["2", 0]}
    assert [node["widgets_values"] for node in layout["nodes"]] == [
        [42, "fixed"],
        [42, "fixed", 7, 42, "fixed"],
        {"seed": 42, "steps": 12},
        ["old", 2.0],
        [5, "fixed"],
    ]
    set_seed(graph, None, 43)
    assert graph["3"]["inputs"]["seed"] == 43


def test_the_seed_reaches_the_number_that_feeds_it_and_no_other_number():
    """The core's Int node draws a new number after every run too, whatever that is for."""
    graph = {
        "1": {"class_type": "PrimitiveInt", "inputs": {"value": 7}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": 512}},
        "3": {"class_type": "Sample", "inputs": {"seed": ["1", 0], "width": ["2", 0]}},
        "4": {"class_type": "Sample", "inputs": {"rand_seed": ["1", 0], "seeds": 7}},
    }
    layout = {"nodes": [{"id": i, "type": "PrimitiveInt", "widgets_values": [7, "randomize"]} for i in (1, 2)]}
    set_seed(graph, layout, 42)
    assert [graph[key]["inputs"]["value"] for key in "12"] == [42, 512]
    assert graph["4"]["inputs"] == {"rand_seed": ["1", 0], "seeds": 7}
    assert [node["widgets_values"] for node in layout["nodes"]] == [[42, "fixed"], [7, "randomize"]]


def test_prompts_replace_those_of_the_prompt_list():
    graph, layout = copy.deepcopy(GRAPH), copy.deepcopy(LAYOUT)
    set_prompts(graph, layout, "new\nprompts")
    assert graph["4"]["inputs"] == {"prompts": "new\nprompts", "zoom": 2.0}
    assert layout["nodes"][3]["widgets_values"] == ["new\nprompts", 2.0]
    graph["4"]["inputs"]["prompts"] = ["2", 0]
    with pytest.raises(Problem, match="no ZoomPromptList"):
        set_prompts(graph, layout, "newer")


def api(**changes) -> bytes:
    """An API file of one node with something wrong."""
    return json.dumps({"1": {"class_type": "X", "inputs": {}, **changes}}).encode()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"nodes": [,]}', "not JSON: .* line 1, column 12"),
        (b'{"a": 1}', "not a ComfyUI workflow"),
        (b"[]", "not a ComfyUI workflow"),
        (b"\xff\xfe\x00", "broken.json as UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"1": ' + b"7" * 5000 + b"}", "not a ComfyUI workflow: .*digits"),
        (b'{"nodes": [3]}', "entry 0 of its nodes"),
        (b'{"nodes": [{"id": 1}]}', "entry 0 of its nodes"),
        (b'{"nodes": [{"id": 1, "type": "X", "widgets_values": 3}]}', "widgets_values of node 1"),
        (b'{"nodes": [], "links": 3}', "links"),
        (api(class_type=["X"]), "node 1 has no class_type"),
        (api(inputs=[]), r"node 1 \(X\) has no inputs"),
        (api(inputs={"a": ["2", 0]}), r"input a of node 1 .* got \[\"2\", 0\]"),
        (api(inputs={"a": ["1", -1]}), r"got \[\"1\", -1\]"),
        (api(inputs={"a": [{}, 0]}), "should be a value, or a link"),
        (api(_meta=3), "_meta"),
    ],
)
def test_a_file_that_is_no_workflow_is_explained(tmp_path, content, complaint):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(Problem, match=complaint):
        read(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(Problem, match="missing.json"):
        read(tmp_path / "missing.json")


@pytest.mark.parametrize("path", workflows.bundled(), ids=lambda path: path.stem)
def test_the_twin_belongs_to_its_workflow(path):
    """Made from this very file; test_browser compares its contents with the browser's."""
    workflow = read(path)
    assert workflows.twin(workflow) is not None, workflows.STALE
    workflow["nodes"][0]["pos"] = [-1, -1]
    assert workflows.twin(workflow) is None


def test_every_twin_has_its_workflow():
    assert [path.name for path in sorted(workflows.TWINS.glob("*.json"))] == [path.name for path in workflows.bundled()]


def test_a_twin_is_a_workflow_of_its_own(comfy):
    """A person may give the file itself, and the server takes it as it stands."""
    graph = workflows.twin(read(workflows.find("pictures-to-zoom")))
    for file in (workflows.FOLDER / "input").iterdir():
        comfy.put_input(file.name, file.read_bytes())
    comfy.client.check(graph)


def test_without_a_browser_the_advice_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Problem, match=r"Export \(API\)"):
        with browser.frontend("http://127.0.0.1:9"):
            pass
