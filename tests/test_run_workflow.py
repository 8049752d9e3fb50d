"""Workflow files: read, changed and converted, by the rules of the browser."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from launcher.workflow import WorkflowError, read, to_api, with_prompts, with_seed

PACK = Path(__file__).resolve().parent.parent
EXAMPLES = 16  # all of them agree, but take minutes

INFO = {
    "Load": {"input": {"required": {"name": [["a", "b"]]}}, "display_name": "Load a model"},
    "Text": {"input": {"required": {"text": ["STRING", {"multiline": True}], "clip": ["CLIP"]}}},
    "Sample": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"default": 0, "control_after_generate": True}],
                "steps": ["INT", {"default": 20}],
                "mode": ["COMBO", {"options": ["plain", "fixed"]}],
            },
            "optional": {
                "strength": ["FLOAT", {"default": 1.0}],
                "mask": ["MASK"],
                "gain": ["FLOAT", {"forceInput": True}],
            },
        }
    },
    "Filter": {"input": {"required": {"model": ["MODEL"], "clip": ["CLIP"], "amount": ["FLOAT", {"default": 0.5}]}}},
    "Save": {
        "input": {
            "required": {
                "latent": ["LATENT"],
                "codec": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "auto", "inputs": {"required": {}}},
                            {"key": "h264", "inputs": {"required": {"crf": ["FLOAT", {"default": 23.0}]}}},
                        ]
                    },
                ],
                "name": ["STRING", {"default": "out"}],
            }
        }
    },
    "ZoomPromptList": {"input": {"required": {"clip": ["CLIP"], "prompts": ["STRING", {}], "zoom": ["FLOAT", {}]}}},
}


class Draft:
    """Builds a graph-format workflow."""

    def __init__(self) -> None:
        self.nodes: list[dict] = []
        self.links: list[list] = []

    def node(self, kind, values=(), inputs=None, outputs=(), mode=0, **more) -> int:
        """Add a node; inputs maps a name to (type, source node, output) or to (type, None, 0)."""
        number = len(self.nodes) + 1
        slots = []
        for name, (type_, source, output) in (inputs or {}).items():
            link = None
            if source is not None:
                link = len(self.links) + 1
                self.links.append([link, source, output, number, len(slots), type_])
            slots.append({"name": name, "type": type_, "link": link})
        outs = [{"name": type_, "type": type_, "links": []} for type_ in outputs]
        values = values if isinstance(values, dict) else list(values)
        self.nodes.append(
            {
                "id": number,
                "type": kind,
                "mode": mode,
                "inputs": slots,
                "outputs": outs,
                "widgets_values": values,
                **more,
            }
        )
        return number

    def api(self) -> dict:
        """The workflow, converted."""
        return to_api(self.workflow(), INFO)

    def workflow(self) -> dict:
        """The workflow as the browser saves it."""
        return {"nodes": self.nodes, "links": self.links, "version": 0.4}


def test_values_are_named_and_the_control_behind_a_seed_is_dropped():
    draft = Draft()
    load = draft.node("Load", ["b"], outputs=["MODEL"])
    draft.node("Sample", [7, "randomize", 12, "fixed", 0.25], {"model": ("MODEL", load, 0)}, title="My sampler")
    api = draft.api()
    assert api["1"] == {"class_type": "Load", "inputs": {"name": "b"}, "_meta": {"title": "Load a model"}}
    assert api["2"]["inputs"] == {"model": ["1", 0], "seed": 7, "steps": 12, "mode": "fixed", "strength": 0.25}
    assert api["2"]["_meta"]["title"] == "My sampler"


def test_a_value_behind_a_seed_without_control_is_kept():
    draft = Draft()
    draft.node("Sample", [7, 12, "fixed"])
    assert draft.api()["1"]["inputs"] == {"seed": 7, "steps": 12, "mode": "fixed", "strength": 1.0}


def test_a_widget_turned_into_an_input_keeps_its_place_among_the_values():
    draft = Draft()
    number = draft.node("PrimitiveNode", [99, "fixed"], outputs=["INT"])
    draft.node("Sample", [7, "fixed", 12, "plain"], {"steps": ("INT", number, 0), "gain": ("FLOAT", None, 0)})
    assert draft.api() == {
        "2": {
            "class_type": "Sample",
            "inputs": {"seed": 7, "steps": 99, "mode": "plain", "strength": 1.0},
            "_meta": {"title": "Sample"},
        }
    }


def test_reroutes_and_bypassed_nodes_are_passed_through_by_type():
    draft = Draft()
    load = draft.node("Load", ["a"], outputs=["MODEL", "CLIP"])
    model, clip = ("MODEL", load, 0), ("CLIP", load, 1)
    filtered = draft.node("Filter", [0.9], {"model": model, "clip": clip}, ["MODEL", "CLIP"], mode=4)
    first = draft.node("Reroute", [], {"": ("*", filtered, 1)}, ["*"])
    second = draft.node("Reroute", [], {"": ("*", first, 0)}, ["*"])
    text = draft.node("Text", ["hello"], {"clip": ("CLIP", second, 0)})
    sample = draft.node("Sample", [1, "fixed", 2, "plain"], {"model": ("MODEL", filtered, 0)})
    api = draft.api()
    assert set(api) == {str(load), str(text), str(sample)}
    assert api[str(text)]["inputs"]["clip"] == [str(load), 1]
    assert api[str(sample)]["inputs"]["model"] == [str(load), 0]


def test_muted_nodes_and_notes_vanish_with_their_links():
    draft = Draft()
    load = draft.node("Load", ["a"], outputs=["MODEL"], mode=2)
    sample = draft.node("Sample", [1, "fixed", 2, "plain"], {"model": ("MODEL", load, 0)})
    draft.node("Note", ["remember the milk"])
    draft.node("MarkdownNote", ["# milk"])
    api = draft.api()
    assert set(api) == {str(sample)}
    assert "model" not in api[str(sample)]["inputs"]


def test_the_inputs_of_the_chosen_kind_follow_the_choice():
    draft = Draft()
    draft.node("Save", ["h264", 18.0, "mine"])
    draft.node("Save", ["auto", "mine"])
    draft.node("Save", ["h264"])
    api = draft.api()
    assert api["1"]["inputs"] == {"codec": "h264", "codec.crf": 18.0, "name": "mine"}
    assert api["2"]["inputs"] == {"codec": "auto", "name": "mine"}
    assert api["3"]["inputs"] == {"codec": "h264", "codec.crf": 23.0, "name": "out"}


def test_links_and_values_saved_as_objects_are_read_too():
    draft = Draft()
    load = draft.node("Load", {"name": "b"}, outputs=["MODEL"])
    draft.node("Sample", {"seed": 3, "steps": 4, "mode": "plain", "strength": 1}, {"model": ("MODEL", load, 0)})
    workflow = draft.workflow()
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    workflow["links"] = [dict(zip(keys, link)) for link in workflow["links"]]
    assert to_api(workflow, INFO) == draft.api()
    assert draft.api()["2"]["inputs"]["model"] == ["1", 0]


def test_lists_are_wrapped_so_that_they_are_not_taken_for_links():
    draft = Draft()
    draft.node("Sample", {"seed": 3, "steps": [1, 2]})
    assert draft.api()["1"]["inputs"]["steps"] == {"__value__": [1, 2]}


def test_what_cannot_be_converted_is_refused_by_name():
    draft = Draft()
    draft.node("Exotic")
    with pytest.raises(WorkflowError, match="Exotic"):
        draft.api()

    workflow = {
        "nodes": [{"id": 1, "type": "uuid-1"}],
        "links": [],
        "definitions": {"subgraphs": [{"id": "uuid-1", "name": "Stage"}]},
    }
    with pytest.raises(WorkflowError, match="subgraph Stage"):
        to_api(workflow, INFO)

    circle = Draft()
    circle.node("Reroute", [], {"": ("*", 2, 0)}, ["*"])
    circle.node("Reroute", [], {"": ("*", 1, 0)}, ["*"])
    circle.node("Text", ["x"], {"clip": ("CLIP", 2, 0)})
    with pytest.raises(WorkflowError, match="circle"):
        circle.api()


def test_the_seed_reaches_every_seed_and_stays():
    draft = Draft()
    number = draft.node("PrimitiveNode", [5, "randomize"], outputs=["INT"])
    draft.nodes[0]["outputs"][0]["widget"] = {"name": "seed"}
    draft.node("Sample", [7, "increment", 12, "plain"])
    draft.node("Sample", [7, "increment", 12, "plain"], {"seed": ("INT", number, 0)})
    workflow = with_seed(draft.workflow(), INFO, 42)
    assert [node["widgets_values"][:3] for node in workflow["nodes"]] == [
        [42, "fixed"],
        [42, "fixed", 12],
        [42, "fixed", 12],
    ]
    api = to_api(workflow, INFO)
    assert [api[key]["inputs"]["seed"] for key in ("2", "3")] == [42, 42]
    assert draft.nodes[1]["widgets_values"][0] == 7, "the original must stay as it was"

    changed = with_seed(draft.api(), INFO, 43)
    assert changed["2"]["inputs"]["seed"] == 43 and changed["2"]["inputs"]["steps"] == 12


def test_prompts_replace_those_of_the_prompt_list():
    draft = Draft()
    draft.node("ZoomPromptList", ["old", 2.0])
    for workflow in (draft.workflow(), draft.api()):
        assert to_api(with_prompts(workflow, INFO, "new\nprompts"), INFO)["1"]["inputs"] == {
            "prompts": "new\nprompts",
            "zoom": 2.0,
        }

    draft = Draft()
    draft.node("Text", ["old"])
    with pytest.raises(WorkflowError, match="no ZoomPromptList"):
        with_prompts(draft.workflow(), INFO, "new")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"nodes": [,]}', "not JSON: .* line 1, column 12"),
        (b'{"a": 1}', "not a ComfyUI workflow"),
        (b"[]", "not a ComfyUI workflow"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
    ],
)
def test_a_file_that_is_no_workflow_is_explained(tmp_path, content, complaint):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(WorkflowError, match=complaint):
        read(path)
    with pytest.raises(WorkflowError, match="missing.json"):
        read(tmp_path / "missing.json")


def test_the_bundled_workflows_convert_and_validate(comfy):
    paths = sorted((PACK / "workflows").glob("*.json"))
    assert paths
    for path in paths:
        graph = comfy.to_api(read(path))
        assert graph, path.name


def test_conversion_agrees_with_the_browser(comfy, comfy_page):
    """Our own workflows, and examples of ComfyUI's own that need neither subgraphs nor missing nodes."""
    paths = sorted((PACK / "workflows").glob("*.json"))
    templates = find_spec("comfyui_workflow_templates_json")
    assert templates, "ComfyUI's requirements bring its example workflows"
    paths += sorted(Path(templates.submodule_search_locations[0]).rglob("*.json"))
    compared = 0
    for path in paths:
        workflow = json.loads(path.read_text("utf-8"))
        if "nodes" not in workflow or any(node["type"] == "Load3D" for node in workflow["nodes"]):
            continue
        if compared >= EXAMPLES:
            break
        try:
            ours = comfy.to_api(workflow)
        except WorkflowError:
            assert path.parent != PACK / "workflows", f"{path.name} cannot be queued"
            continue
        script = "async workflow => { await app.loadGraphData(workflow); return (await app.graphToPrompt()).output }"
        theirs = comfy_page.evaluate(script, workflow)
        assert ours.keys() == theirs.keys(), path.name
        for key, node in ours.items():
            expected = {
                name: value for name, value in theirs[key]["inputs"].items() if not _only_for_display(name, value)
            }
            assert (path.name, key, node["inputs"]) == (path.name, key, expected)
        compared += 1
    assert compared == EXAMPLES


def _only_for_display(name: str, value: object) -> bool:
    """Widgets that the browser makes up to show something; the server does not know them."""
    return name == "compare_view" or (name == "image" and value == "")
