"""Every node has a help page that names all its inputs and outputs and shows pictures that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

PACK = Path(__file__).resolve().parent.parent
DOCS = PACK / "web" / "docs"
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def schemas(comfy_path) -> dict:
    """Node id -> schema, of all nodes of the pack."""
    from zoom_stack_pack.nodes import NODES

    return {node.define_schema().node_id: node.define_schema() for node in NODES}


def test_there_is_one_page_a_node_and_no_other(schemas):
    assert {path.stem for path in DOCS.glob("*.md")} == set(schemas)


def test_pages_name_every_input_and_output(schemas):
    missing = []
    for node_id, schema in schemas.items():
        text = (DOCS / f"{node_id}.md").read_text("utf-8")
        assert text.startswith(f"# {schema.display_name}\n"), node_id
        assert "## Recipe" in text, node_id
        inputs, _, outputs = text.partition("## Outputs")
        missing += [f"{node_id} input {item.id}" for item in schema.inputs if f"**{item.id}**" not in inputs]
        missing += [
            f"{node_id} output {item.id or item.display_name}"
            for item in schema.outputs
            if f"**{item.id}**" not in outputs
        ]
    assert not missing


def test_pages_describe_no_input_that_is_not_there(schemas):
    for node_id, schema in schemas.items():
        text = (DOCS / f"{node_id}.md").read_text("utf-8")
        named = {
            name
            for line in text.splitlines()
            if line.startswith("- **")
            for name in re.findall(r"\*\*(\w+)\*\*", line.partition("–")[0])
        }
        assert named <= {item.id for item in [*schema.inputs, *schema.outputs]}, node_id


def test_every_page_shows_a_picture_that_exists():
    for page in DOCS.glob("*.md"):
        shown = PICTURE.findall(page.read_text("utf-8"))
        assert shown, page.name
        for words, target in shown:
            assert words and not target.startswith(("/", "http")), page.name
            with Image.open(DOCS / target) as picture:
                assert picture.width >= 300, target
