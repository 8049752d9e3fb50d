"""Prompts from a language model, in a real server with core's own text generation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher import workflow as workflows

GENERATOR = Path(__file__).resolve().parent / "fixtures" / "tiny_language_model"


@pytest.fixture(scope="module")
def server(_launch, tmp_path_factory):
    """A server that also has the tests' random language model."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "tiny_language_model").symlink_to(GENERATOR, target_is_directory=True)
    paths = folder / "paths.yaml"
    paths.write_text(json.dumps({"tests": {"custom_nodes": str(folder)}}), "utf-8")
    harness = _launch("--extra-model-paths-config", str(paths))
    yield harness
    harness.server.stop()


def workflow() -> dict:
    """The bundled workflow, with the random model in the place of Load CLIP's, and short answers."""
    graph = workflows.twin(workflows.read(workflows.find("look-and-go-on")))
    (loader,) = (key for key, node in graph.items() if node["class_type"] == "CLIPLoader")
    graph[loader] = {"class_type": "TinyLanguageModel", "inputs": {"seed": 1}}
    for node in graph.values():
        if node["class_type"] == "TextGenerate":
            node["inputs"]["max_length"] = 8
        if node["class_type"] in ("KSampler", "MultiScaleJointKSampler"):
            node["inputs"]["steps"] = 2
        if node["class_type"] == "ZoomVideoFrames":
            node["inputs"] |= {"seconds_per_level": 0.1, "width": 64, "height": 64}
    return graph


def test_pictures_go_to_the_model_and_its_answers_become_the_prompts(server):
    graph = workflow()
    answers = [key for key, node in graph.items() if node["class_type"] == "TextGenerate"]
    for answer in answers:
        graph[f"shown {answer}"] = {"class_type": "PreviewAny", "inputs": {"source": [answer, 0]}}
    result = server.run(graph)
    texts = [result.outputs[f"shown {answer}"]["text"][0] for answer in answers]
    assert len(texts) == 2 and all(text.strip() for text in texts)
    films = [path for path in result.files() if path.suffix == ".mp4"]
    assert films and films[0].stat().st_size > 1000


def test_an_answer_of_the_wrong_length_is_quoted_by_the_node(server):
    graph = {
        "1": {"class_type": "ZoomDemoModelLoader", "inputs": {}},
        "2": {"class_type": "TinyLanguageModel", "inputs": {"seed": 1}},
        "3": {
            "class_type": "ZoomPromptWriter",
            "inputs": {"theme": "from a galaxy to a cell", "levels": 9, "zoom": 4.0, "style": ""},
        },
        "4": {
            "class_type": "TextGenerate",
            "inputs": {"clip": ["2", 0], "prompt": ["3", 0], "max_length": 6, "sampling_mode": "off"},
        },
        "5": {
            "class_type": "ZoomPromptList",
            "inputs": {
                "clip": ["1", 1],
                "prompts": ["4", 0],
                "negative": "",
                "zoom": 4.0,
                "prefix": "",
                "suffix": "",
                "count": 9,
            },
        },
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["5", 2]}},
    }
    message = server.execution_error(graph).message
    assert "expected 9. It begins: '" in message or "nothing that can be used as a prompt: '" in message
