"""Translations name every node, input and output of the pack, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parent.parent
LANGUAGES = sorted(path.name for path in (PACK / "locales").iterdir())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_is_complete(language, comfy_path):
    from zoom_stack_pack.nodes import NODES

    translated = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text("utf-8"))
    schemas = {node.define_schema().node_id: node.define_schema() for node in NODES}
    assert set(translated) == set(schemas)
    for node_id, schema in schemas.items():
        entry = translated[node_id]
        assert entry["display_name"] and entry["description"], node_id
        assert set(entry.get("inputs", {})) == {item.id for item in schema.inputs}, node_id
        assert set(entry.get("outputs", {})) == {str(i) for i in range(len(schema.outputs))}, node_id
        for part in (*entry.get("inputs", {}).values(), *entry.get("outputs", {}).values()):
            assert part["name"].strip() and part["tooltip"].strip(), node_id
        english = [item.tooltip for item in (*schema.inputs, *schema.outputs)]
        assert not set(english) & {
            part["tooltip"] for part in (*entry.get("inputs", {}).values(), *entry.get("outputs", {}).values())
        }


def test_a_server_gives_the_translations_to_the_browser(comfy):
    given = comfy.client.get("/i18n")
    for language in LANGUAGES:
        for name, entry in json.loads((PACK / "locales" / language / "nodeDefs.json").read_text("utf-8")).items():
            assert given[language]["nodeDefs"][name] == entry
