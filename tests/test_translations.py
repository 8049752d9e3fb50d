"""Translations name every node, input and output of the pack, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

# ComfyUI's interface languages, English aside.
ALL = ["ar", "es", "fa", "fr", "he", "ja", "ko", "pt-BR", "ru", "tr", "zh", "zh-TW"]
PACK = Path(__file__).resolve().parent.parent
WORDS = PACK / "web" / "words"
GAP = re.compile(r"\{(\w+)\}")
LANGUAGES = sorted(path.name for path in (PACK / "locales").iterdir())


def test_every_language_of_the_interface_is_there():
    assert LANGUAGES == ALL
    assert sorted(path.stem for path in WORDS.glob("*.mjs") if path.stem != "languages") == sorted([*ALL, "en"])


@pytest.mark.parametrize("language", ALL)
def test_the_words_of_the_viewer_and_the_editor_are_translated(language, chromium, comfy):
    """Every word but the errors, which are the server's, with the same gaps."""
    page = chromium.new_page()
    page.goto(f"{comfy.url}/system_stats")
    english, given = page.evaluate(
        """async (language) => {
            const root = "/extensions/zoom-stack"
            const {words} = await import(`${root}/words/languages.mjs`)
            return [await words("en"), await words(language)]
        }""",
        language,
    )
    page.close()
    server = {key for key in english["editor"] if key.startswith("error.") and key != "error.server"}
    for part, skipped in (("editor", server), ("viewer", set())):
        assert set(given[part]) == set(english[part]) - skipped, part
        for key, words in given[part].items():
            assert words.strip() and set(GAP.findall(words)) == set(GAP.findall(english[part][key])), key


@pytest.mark.parametrize("language", ALL)
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
