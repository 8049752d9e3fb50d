"""Every node has a help page that names all its inputs and outputs and shows pictures that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

PACK = Path(__file__).resolve().parent.parent
DOCS = PACK / "web" / "docs"
LANGUAGES = ["fr", "zh"]
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
NAMED = re.compile(r"\*\*(\w+)\*\*")
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)


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
            for name in NAMED.findall(line.partition("–")[0])
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


def listed(text: str) -> list[tuple[str, list[str]]]:
    """What a page's list items begin with: the line up to its dash, and the inputs or outputs that it names."""
    heads = [line.partition(" – ")[0] for line in text.splitlines() if line.startswith("- **") and " – " in line]
    return [(head, NAMED.findall(head)) for head in heads]


def shape(text: str) -> list[str]:
    """The kinds of a page's lines in their order, the words left out."""
    kinds = (
        line.split(" ")[0] if line[:1] in ("#", "-", "|", "!", "`") else "text" for line in text.splitlines() if line
    )
    return [re.sub(r"^(!|\|).*", r"\1", kind) for kind in kinds]


@pytest.mark.parametrize("language", LANGUAGES)
def test_translated_pages_hold_what_the_english_ones_hold(language, schemas):
    words = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text("utf-8"))
    assert {path.parent.name for path in DOCS.glob(f"*/{language}.md")} == set(schemas)
    for node_id in schemas:
        english = (DOCS / f"{node_id}.md").read_text("utf-8")
        text = (DOCS / node_id / f"{language}.md").read_text("utf-8")
        assert text.startswith(f"# {words[node_id]['display_name']}\n"), node_id
        assert shape(text) == shape(english), node_id
        assert [names for _, names in listed(text)] == [names for _, names in listed(english)], node_id
        # Code and pictures are the same ones; their captions are translated, as every sentence is.
        assert sorted(CODE.findall(text)) == sorted(CODE.findall(english)), node_id
        assert [target for _, target in PICTURE.findall(text)] == [target for _, target in PICTURE.findall(english)]
        same = set(CODE.sub("", text).splitlines()) & set(CODE.sub("", english).splitlines())
        assert [line for line in same if re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", line)] == [], node_id


@pytest.mark.parametrize("language", LANGUAGES)
def test_translated_pages_give_the_names_that_the_node_shows(language, schemas):
    """Where the translated node calls an input or output by another name, its page gives that one too."""
    words = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text("utf-8"))
    for node_id, schema in schemas.items():
        shown: dict[str, set[str]] = {}
        for item in schema.inputs:
            shown.setdefault(item.id, set()).add(words[node_id]["inputs"][item.id]["name"])
        for i, item in enumerate(schema.outputs):
            shown.setdefault(item.id, set()).add(words[node_id]["outputs"][str(i)]["name"])
        text = (DOCS / node_id / f"{language}.md").read_text("utf-8")
        heads: dict[str, str] = {}
        for head, names in listed(text):
            for name in names:
                heads[name] = heads.get(name, "") + head
        for name, translations in shown.items():
            for translation in translations:
                assert translation.lower() == name or translation in heads[name], (node_id, name)
