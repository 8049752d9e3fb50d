"""The browser's modules are what their JSDoc says, by TypeScript's checker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parent.parent / "web"
# ComfyUI's frontend serves these two; its own types are not installed here.
FRONTEND = {"api": "export const api: any;", "app": "export const app: any;"}
OPTIONS = [
    "--noEmit", "--allowJs", "--checkJs", "--target", "es2022", "--module", "es2022",
    "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable", "--strict", "false",
]  # fmt: skip


def errors(folder: Path, changed: tuple[str, str, str] | None = None) -> list[str]:
    """What the checker finds in a copy of web/ that lies as the server serves it; changed: (file, old, new)."""
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("needs TypeScript's checker: npm install --global typescript")
    served = folder / "extensions" / "zoom-stack"
    shutil.copytree(WEB, served, ignore=shutil.ignore_patterns("docs"))
    (folder / "scripts").mkdir()
    for name, text in FRONTEND.items():
        (folder / "scripts" / f"{name}.d.ts").write_text(text)
    if changed:
        file, old, new = changed
        text = (served / file).read_text("utf-8")
        assert old in text
        (served / file).write_text(text.replace(old, new), "utf-8")
    files = sorted(str(path) for kind in ("*.js", "*.mjs") for path in served.rglob(kind))
    done = subprocess.run([tsc, *OPTIONS, *files], capture_output=True, text=True, cwd=folder)
    return [line for line in done.stdout.splitlines() if "error TS" in line]


def test_the_modules_are_what_their_types_say(tmp_path):
    assert errors(tmp_path) == []


def test_the_checker_sees_a_wrong_call(tmp_path):
    found = errors(tmp_path, ("viewer/surface.mjs", "upload(picture, going)", "upload(5, going)"))
    assert len(found) == 1 and "surface.mjs" in found[0]
