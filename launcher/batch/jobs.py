"""Jobs: what a folder of prompt files, a CSV file or a file of JSON lines asks for, as API graphs."""

from __future__ import annotations

import copy
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .. import workflow as workflows
from ..console import Problem
from ..workflow import read_text

OWN = ("id", "workflow", "prompts", "prompts_file", "seed", "priority")  # any other column is an input by name
_PLAIN_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Job:
    """One run of one workflow."""

    id: str
    graph: workflows.Graph
    inputs: tuple[Path, ...] = ()  # the files beside the workflow, for the server's input folder
    priority: int = 0

    @property
    def digest(self) -> str:
        """A name for all that was asked: equal for equal graphs and input files, whatever the job is called."""
        plain = {key: {name: node[name] for name in ("class_type", "inputs")} for key, node in self.graph.items()}
        texts = [json.dumps(plain, sort_keys=True), *(f"{path.name} {_hash(path)}" for path in self.used_inputs())]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The folder of its results."""
        return f"{_PLAIN_NAME.sub('-', self.id)[:60].strip('-.') or 'job'}-{self.digest}"

    def used_inputs(self) -> list[Path]:
        """The input files that the graph names."""
        values = {value for node in self.graph.values() for value in node["inputs"].values() if isinstance(value, str)}
        return [path for path in self.inputs if path.name in values]


def read_jobs(source: Path, workflow: str | None = None, seed: int | None = None) -> list[Job]:
    """All jobs of `source`; Problem names the file, the row and what was expected.

    workflow, seed: for the jobs that name none.
    """
    if source.is_dir():
        rows = _rows_of_folder(source)
    elif source.suffix.lower() == ".csv":
        rows = _rows_of_csv(source)
    elif source.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        rows = _rows_of_json_lines(source)
    else:
        raise Problem(f"jobs: expected a folder of .txt files, a .csv or a .jsonl file, got {source}.")
    jobs: dict[str, Job] = {}
    for where, row in rows:
        try:
            job = _job(row, source if source.is_dir() else source.parent, workflow or workflows.DEFAULT, seed)
        except Problem as problem:
            raise Problem(f"{where}: {problem}") from problem
        if job.id in jobs:
            raise Problem(f'{where}: the id "{job.id}" is there twice; every job needs one of its own.')
        jobs[job.id] = job
    if not jobs:
        raise Problem(f"jobs: there is no job in {source}.")
    return list(jobs.values())


def _rows_of_folder(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*.txt")):
        yield path.name, {"id": path.stem, "prompts": read_text(path)}


def _rows_of_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # strict: a quote that is never closed would otherwise swallow the rest of the file.
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        names = reader.fieldnames or []
        if len(set(names)) != len(names) or not all(names):
            raise Problem(f"{path.name}: every column needs a name of its own, got {', '.join(names) or 'none'}.")
        for row in reader:
            where = f"{path.name}, line {reader.line_num}"
            if None in row or None in row.values():
                raise Problem(f"{where}: expected {len(names)} values as in the first line.")
            yield where, {name: value for name, value in row.items() if value != ""}
    except csv.Error as error:
        raise Problem(f"{path.name}, line {reader.line_num}: not CSV: {error}.") from error


def _rows_of_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Problem(f"{where}: expected a JSON object a line: {error}.") from error
        if not isinstance(row, dict):
            raise Problem(f"{where}: expected a JSON object, got {line.strip()[:60]}.")
        yield where, row


def _job(row: dict[str, Any], folder: Path, workflow: str, seed: int | None) -> Job:
    name = str(row.get("workflow", workflow))
    path = (folder / name).resolve() if (folder / name).is_file() else workflows.find(name)
    graph = copy.deepcopy(_graph(path))
    prompts = row.get("prompts")
    if "prompts_file" in row:
        if prompts is not None:
            raise Problem("expected prompts or prompts_file, got both.")
        file = (folder / str(row["prompts_file"])).resolve()
        if not file.is_file():
            raise Problem(f"prompts_file: there is no file {file}.")
        prompts = read_text(file)
    if prompts is not None:
        workflows.set_prompts(graph, None, _prompt_text(prompts))
    seed = _integer(row["seed"], "seed", 0, 2**64 - 1) if "seed" in row else seed
    if seed is not None:
        workflows.set_seed(graph, None, seed)
    for name in row.keys() - set(OWN):
        _set_input(graph, name, row[name])
    files = _inputs_beside(path)
    name = str(row.get("id", "")).strip()
    job = Job(name, graph, files, _integer(row.get("priority", 0), "priority", -1000, 1000))
    return job if name else Job(job.digest, graph, files, job.priority)


def _prompt_text(prompts: Any) -> str:
    if isinstance(prompts, str):
        return prompts
    if isinstance(prompts, list) and all(isinstance(prompt, str) for prompt in prompts):
        return "\n".join(prompts)
    if isinstance(prompts, list) and all(isinstance(prompt, dict) for prompt in prompts):
        return json.dumps(prompts)
    raise Problem(f"prompts: expected a text, or a list of texts or of objects, got {json.dumps(prompts)[:80]}.")


def _set_input(graph: workflows.Graph, column: str, value: Any) -> None:
    """Give one input its value; `column`: "name", or "title.name" or "id.name" where several nodes have that input."""
    node_name, _, name = column.rpartition(".")
    having = {key: node for key, node in graph.items() if name in node["inputs"]}
    titles = {key: node["_meta"].get("title", node["class_type"]) for key, node in having.items()}
    found = [key for key in having if node_name in ("", key, titles[key])]
    if not found:
        known = sorted({name for node in graph.values() for name in node["inputs"]})
        raise Problem(f'no node has an input "{column}". Columns are {", ".join(OWN)}, or inputs: {", ".join(known)}.')
    if len(found) > 1:
        names = ", ".join(f'"{titles[key]}.{name}"' for key in found)
        raise Problem(f'several nodes have an input "{name}": name one of {names} (or use the node\'s number).')
    old = having[found[0]]["inputs"][name]
    if isinstance(old, list):
        raise Problem(f'the input "{column}" is linked to another node; only values can be set.')
    having[found[0]]["inputs"][name] = _like(old, value, column)


def _like(old: Any, value: Any, column: str) -> Any:
    """A value from a table, as the kind of value that it replaces."""
    if not isinstance(value, str) or isinstance(old, str):
        return value
    try:
        if isinstance(old, bool):
            return {"true": True, "false": False, "1": True, "0": False}[value.strip().lower()]
        return int(value) if isinstance(old, int) and "." not in value else float(value)
    except (KeyError, ValueError) as error:
        kind = {bool: "true or false", int: "a number", float: "a number"}.get(type(old), "a value")
        raise Problem(f'"{column}": expected {kind}, got {value[:60]!r}.') from error


def _integer(value: Any, name: str, low: int, high: int) -> int:
    try:
        number = int(value) if not isinstance(value, float) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not low <= number <= high:
        raise Problem(f"{name}: expected a whole number from {low} to {high}, got {str(value)[:60]!r}.")
    return number


@cache
def _graph(path: Path) -> workflows.Graph:
    content = workflows.read(path)
    graph = content if workflows.is_api(content) else workflows.twin(content)
    if graph is None:
        raise Problem(
            f"{path.name} is saved as the browser shows it; a batch needs it in API format (File, Export (API))."
        )
    return graph


@cache
def _inputs_beside(path: Path) -> tuple[Path, ...]:
    folder = (workflows.FOLDER if path.parent == workflows.TWINS else path.parent) / "input"
    return tuple(sorted(file for file in folder.glob("*") if file.is_file()))


@cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
