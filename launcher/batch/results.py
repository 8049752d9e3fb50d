"""The folder of a batch: results that are whole or not there, and the report about them."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ..cache import read_json
from .jobs import Job
from .worker import Outcome

NOTE = "result.json"  # written last: a folder with it is finished
_PICTURES, _FILMS = {".png", ".jpg", ".jpeg", ".webp", ".gif"}, {".mp4", ".webm", ".mov", ".mkv"}
_DAY = 24 * 3600
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; background: #16181d; color: #e6e6e6 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .6rem; background: #23262e; border-radius: .5rem; overflow-wrap: anywhere }
img, video { width: 100%; border-radius: .3rem; display: block; margin-bottom: .4rem }
.failed { outline: 2px solid #d9534f } small { color: #9aa0ab } pre { white-space: pre-wrap; font-size: 12px }
a { color: #8ab4f8 }
"""


def clear_up(output: Path) -> None:
    """Remove what a killed run left half-written; what is younger than a day may be another run's."""
    for partial in output.glob(".part-*"):
        if partial.stat().st_mtime < time.time() - _DAY:
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def folders(output: Path) -> dict[str, list[str]]:
    """The folders of finished results by what was asked for: digest -> names."""
    found: dict[str, list[str]] = {}
    for name in sorted(entry.name for entry in os.scandir(output)):
        found.setdefault(name.rpartition("-")[2], []).append(name)
    return found


def finished(output: Path, job: Job, known: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """The note about a job's finished results; empty when there are none. `known`: what `folders` gave."""
    # Found by what was asked, so that a job that was renamed is not made again.
    for name in (folders(output) if known is None else known).get(job.digest, []):
        if note := _whole(output / name, job.digest):
            return {**note, "folder": name}
    return {}


def _whole(folder: Path, digest: str) -> dict[str, Any]:
    """The note in a folder of results that is complete, or empty."""
    note = read_json(folder / NOTE)
    whole = note.get("digest") == digest and all((folder / name).is_file() for name in note.get("files", []))
    return note if whole else {}


def publish(output: Path, job: Job, outcome: Outcome) -> dict[str, Any]:
    """Put a job's files into a folder of its own, all at once; the note about them.

    Where another run has published the same job in the meantime, its results stay.
    """
    note = {
        "id": job.id,
        "digest": job.digest,
        "seconds": round(outcome.seconds, 3),
        "server": outcome.server,
        "files": sorted(outcome.files),
    }
    partial = Path(tempfile.mkdtemp(prefix=".part-", dir=output))
    try:
        for name, content in outcome.files.items():
            (partial / Path(name).name).write_bytes(content)
        (partial / "job.json").write_text(json.dumps(job.graph, indent=1), "utf-8")
        (partial / NOTE).write_text(json.dumps(note, indent=1), "utf-8")
        partial.chmod(0o755)
        _put_in_place(partial, output / job.name, job.digest)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {**note, **_whole(output / job.name, job.digest), "folder": job.name}


def _put_in_place(partial: Path, target: Path, digest: str) -> None:
    try:
        partial.rename(target)
    except OSError:
        # Something of that name is there: another run's results, or what somebody has left of earlier ones.
        if _whole(target, digest):
            return
        aside = target.with_name(f".part-{target.name}")
        target.rename(aside)
        partial.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def write_report(output: Path, rows: list[dict[str, Any]]) -> None:
    """report.csv and report.html about all jobs; `rows` as `publish` gives them, with `status` and `error`."""
    names = ("id", "status", "seconds", "server", "digest", "folder", "files", "error")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = {**row, "files": " ".join(row.get("files", []))}
        writer.writerow([values.get(name, "") for name in names])
    _write_whole(output / "report.csv", table.getvalue())
    counts = Counter(row["status"] for row in rows)
    title = f"{len(rows)} jobs: " + ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    figures = "\n".join(map(_figure, rows))
    _write_whole(
        output / "report.html",
        f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>\n'
        f'<h1>{title}</h1><p><a href="report.csv">report.csv</a></p>\n<main>\n{figures}\n</main>\n',
    )


def _figure(row: dict[str, Any]) -> str:
    paths = [f"{row.get('folder', '')}/{name}" for name in row.get("files", [])]
    links = " ".join(f'<a href="{html.escape(path)}">{html.escape(path.rpartition("/")[2])}</a>' for path in paths)
    films = [path for path in paths if Path(path).suffix.lower() in _FILMS]
    pictures = [path for path in paths if Path(path).suffix.lower() in _PICTURES]
    show = ""
    if films:
        show = f'<video src="{html.escape(films[0])}" controls loop muted preload="metadata"></video>'
    elif pictures:
        show = f'<img src="{html.escape(pictures[0])}" loading="lazy" alt="">'
    error = f"<pre>{html.escape(row['error'])}</pre>" if row.get("error") else ""
    kind = ' class="failed"' if row["status"] == "failed" else ""
    about = f"{row['status']}, {row.get('seconds', 0)} s"
    return (
        f"<figure{kind}>{show}<figcaption><b>{html.escape(row['id'])}</b> <small>{about}</small><br>{links}{error}"
        "</figcaption></figure>"
    )


def _write_whole(path: Path, text: str) -> None:
    partial = Path(tempfile.mkstemp(prefix=".part-", dir=path.parent)[1])
    partial.write_text(text, "utf-8")
    partial.chmod(0o644)
    partial.replace(path)
