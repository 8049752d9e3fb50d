"""A stack and its viewer as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ENTRY = "page"
# Quality of the levels in a page: 16 of 1024 x 1024 stay below 6 MB, base64 included.
DEFAULT_QUALITY = 80
_IMPORT = re.compile(r"^import \{([^}]*)\} from \"\./(\w+)\.mjs\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const|let) (\w+))", re.MULTILINE)

# What the viewer says, in a module that holds the editor's words too.
_WORDS = re.compile(r"^  viewer: (\{$.*?^  \}),$", re.MULTILINE | re.DOTALL)

_STYLE = """
html, body { margin: 0; height: 100%; background: #08090b; color: #e8e6e1; overflow: hidden; overscroll-behavior: none;
  font: 14px/1.4 Inter, system-ui, "Segoe UI", sans-serif; }
body { display: grid; grid-template-rows: auto minmax(0, 1fr); height: 100dvh; }
header { display: flex; flex-wrap: wrap; gap: 2px 16px; align-items: baseline; padding: 8px 14px; background: #101114; }
h1, header p { margin: 0; overflow-wrap: anywhere; max-height: 4.2em; overflow: hidden; }
h1 { flex: 1 1 auto; font-size: 15px; font-weight: 600; }
header p { font-size: 12px; color: #9a978f; }
#zoom { min-height: 0; min-width: 0; }
noscript { padding: 24px; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="Zoom Stack">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>{heading}</header>
<main id="zoom" class="zs-wide"><noscript>This page needs JavaScript to show its pictures.</noscript></main>
<script type="application/json" id="stack">{stack}</script>
{levels}
<script type="module">{script}</script>
</body>
</html>
"""


def viewer_script(web: Path) -> str:
    """The script of a page: the modules in web/viewer, and what the viewer says in all languages of web/words."""
    modules = {path.stem: path.read_text("utf-8") for path in (web / "viewer").glob("*.mjs")}
    languages = {path.stem: path.read_text("utf-8") for path in sorted((web / "words").glob("*.mjs"))}
    words = {name: found[1] for name, text in languages.items() if (found := _WORDS.search(text))}
    return bundle(modules, words)


def bundle(modules: Mapping[str, str], words: Mapping[str, str] | None = None) -> str:
    """ES modules as one script: each becomes a function that gives its exports, after those that it imports.

    modules: name without its suffix -> source; the one called "page" exports `openPage`, which is called.
    words: language -> an object of JavaScript with what the viewer says; all are given to `openPage`.
    Raises ValueError for an import that is not there, or goes round in a circle.
    """
    written: list[str] = []
    parts: list[str] = []

    def add(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise ValueError(f"modules import each other in a circle: {' -> '.join((*way, name))}.")
        if name in written:
            return
        if name not in modules:
            raise ValueError(f"module {name} is not among {', '.join(sorted(modules))}.")
        for _, needed in _IMPORT.findall(modules[name]):
            add(needed, (*way, name))
        body = _IMPORT.sub(r"const {\1} = \2_module;\n", modules[name])
        exports = [found for _, found in _EXPORT.findall(body)]
        body = _EXPORT.sub(r"\1", body)
        parts.append(f"const {name}_module = (() => {{\n{body}\nreturn {{ {', '.join(exports)} }};\n}})();\n")
        written.append(name)

    add(ENTRY, ())
    tables = ",\n".join(f"{json.dumps(language)}: {table}" for language, table in (words or {}).items())
    return "\n".join([*parts, f"{ENTRY}_module.openPage({{\n{tables}\n}});\n"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def page(
    description: Mapping[str, Any],
    levels: Iterable[bytes],
    script: str,
    title: str = "",
    license_line: str = "",
) -> str:
    """The page's HTML.

    description, levels: what `web_levels.describe` and `level_webp` give. script: what `viewer_script` gives.
    title, license_line: plain text, shown as it is.
    """
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise ValueError("script must not hold what ends a script element.")
    pictures = "\n".join(
        f'<script type="text/plain" id="level-{i}">{base64.b64encode(data).decode("ascii")}</script>'
        for i, data in enumerate(levels)
    )
    # Nothing from outside, and of what is inside only these two texts run.
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(_STYLE)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    shown = title.strip() or "Zoom"
    heading = f'<h1 dir="auto">{_text(shown)}</h1>'
    if license_line.strip():
        heading += f'<p dir="auto">{_text(license_line.strip())}</p>'
    return _PAGE.format(
        policy=policy,
        title=_text(shown),
        style=_STYLE,
        heading=heading,
        # In ASCII, and without the letters that could end the element.
        stack=json.dumps(description).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        levels=pictures,
        script=script,
    )


def _text(text: str) -> str:
    """Text for HTML; halves of surrogate pairs, which UTF-8 cannot hold, become question marks."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))
