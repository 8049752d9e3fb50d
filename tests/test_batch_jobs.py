"""Jobs files: what they ask for, and what is said about those that ask for nothing that could be done."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from launcher.batch.jobs import read_jobs
from launcher.console import Problem

ROOT = Path(__file__).resolve().parent.parent
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "color": 0}, "_meta": {"title": "Plain"}},
    "2": {"class_type": "EmptyImage", "inputs": {"width": 9, "height": 8}, "_meta": {"title": "Other"}},
    "3": {"class_type": "Sampler", "inputs": {"image": ["1", 0], "seed": 5, "cfg": 1.5, "on": False, "name": "a"}},
    "4": {"class_type": "ZoomPromptList", "inputs": {"prompts": "old"}},
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the workflow plain.json in it."""
    (tmp_path / "plain.json").write_text(json.dumps(GRAPH))
    return tmp_path


def written(folder, name: str, text: str):
    (folder / name).write_text(text, "utf-8")
    return folder / name


@pytest.mark.parametrize("heading, name", [("As CSV:", "jobs.csv"), ("As JSON lines:", "jobs.jsonl")])
def test_the_documentation_s_lists_are_right(tmp_path, heading, name):
    """Read from docs/batch.md, they set what they say in the first sampler of the bundled workflow, and no more."""
    text = (ROOT / "docs" / "batch.md").read_text("utf-8").partition(heading)[2]
    for prompts in ("coast", "forest"):
        written(tmp_path, f"{prompts}.txt", "a blue planet\na coast")
    jobs = read_jobs(written(tmp_path, name, textwrap.dedent(text.strip("\n").partition("\n\n")[0])))
    assert len(jobs) == 2
    samplers = [
        node["inputs"]
        for node in jobs[1].graph.values()
        if node["_meta"].get("title") in ("Multi-Scale Joint KSampler", "Finish at 256 x 256")
    ]
    found = [(inputs["steps"], inputs["cfg"], inputs["seed"]) for inputs in samplers]
    assert found == ([(20, 3, 7), (8, 1, 7)] if name == "jobs.csv" else [(24, 4.5, 8), (8, 1, 8)])


def test_a_folder_of_prompts_is_a_job_a_file(folder):
    for name in ("b", "a"):
        written(folder, f"{name}.txt", f"far {name}\nnear {name}")
    jobs = read_jobs(folder, "plain.json", seed=9)
    assert [job.id for job in jobs] == ["a", "b"]
    assert jobs[1].graph["4"]["inputs"]["prompts"] == "far b\nnear b"
    assert jobs[1].graph["3"]["inputs"]["seed"] == 9


def test_a_table_sets_inputs_by_name(folder):
    text = 'id,workflow,seed,prompts,color,Plain.width,2.width,cfg,on,name\nx,plain.json,7,"a\nb",3,16,17,2.5,true,01\n'
    (job,) = read_jobs(written(folder, "jobs.csv", text))
    assert job.graph["1"]["inputs"] == {"width": 16, "height": 8, "color": 3}
    assert job.graph["2"]["inputs"]["width"] == 17
    assert job.graph["3"]["inputs"] == {"image": ["1", 0], "seed": 7, "cfg": 2.5, "on": True, "name": "01"}
    assert job.graph["4"]["inputs"]["prompts"] == "a\nb"


def test_lines_of_json_and_prompt_files(folder):
    written(folder, "far.txt", "far\nnear")
    rows = [
        {"id": "a", "prompts": ["one", "two"], "color": 4, "priority": 2},
        {"id": "b", "prompts": [{"prompt": "one", "zoom": 3}]},
        {"id": "c", "prompts_file": "far.txt"},
    ]
    jobs = read_jobs(written(folder, "jobs.jsonl", "\n\n".join(map(json.dumps, rows))), "plain.json")
    prompts = [job.graph["4"]["inputs"]["prompts"] for job in jobs]
    assert prompts == ["one\ntwo", '[{"prompt": "one", "zoom": 3}]', "far\nnear"]
    assert [job.priority for job in jobs] == [2, 0, 0]


def test_the_digest_is_of_what_is_asked_and_of_nothing_else(folder):
    (folder / "input").mkdir()
    text = "id,workflow,name\na,plain.json,picture.png\n"
    written(folder, "input/picture.png", "1")
    (first,) = read_jobs(written(folder, "jobs.csv", text))
    (renamed,) = read_jobs(written(folder, "jobs.csv", text.replace("a,", "b,", 1)))
    assert first.digest == renamed.digest and first.name != renamed.name
    assert [path.name for path in first.used_inputs()] == ["picture.png"]
    (other,) = read_jobs(written(folder, "jobs.csv", text.replace("picture", "nothing")))
    assert other.digest != first.digest and other.used_inputs() == []
    # Another picture of the same name, in another folder.
    (folder / "more" / "input").mkdir(parents=True)
    written(folder, "more/input/picture.png", "2")
    written(folder, "more/plain.json", json.dumps(GRAPH))
    (changed,) = read_jobs(written(folder, "more/jobs.csv", text))
    assert changed.digest != first.digest


def test_ten_thousand_rows_are_as_many_jobs(folder):
    rows = "".join(f"{i},plain.json,{i}\n" for i in range(10_000))
    jobs = read_jobs(written(folder, "jobs.csv", "id,workflow,color\n" + rows))
    assert len({job.digest for job in jobs}) == 10_000
    assert jobs[-1].graph["1"]["inputs"]["color"] == 9999


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("jobs.csv", "id,colour\na,3\n", 'line 2: no node has an input "colour".*color'),
        ("jobs.csv", "id,width\na,3\n", 'several nodes .* "width": name one of "Plain.width", "Other.width"'),
        ("jobs.csv", "id,image\na,3\n", "linked to another node"),
        ("jobs.csv", "id,color\na,red\n", "\"color\": expected a number, got 'red'"),
        ("jobs.csv", "id,on\na,maybe\n", "expected true or false"),
        ("jobs.csv", "id,color\na,1\nb,2\na,3\n", 'line 4: the id "a" is there twice'),
        ("jobs.csv", "id,color\na\n", "expected 2 values"),
        ("jobs.csv", "id,color\na,1,2\n", "expected 2 values"),
        ("jobs.csv", "id,id\na,1\n", "a name of its own"),
        ("jobs.csv", 'id,color\na,"1\n', "not CSV"),
        ("jobs.csv", "id,color\n", "no job in"),
        ("jobs.csv", "", "no job in"),
        ("jobs.csv", "id,prompts_file\na,nowhere.txt\n", "prompts_file: there is no file"),
        ("jobs.csv", "id,workflow\na,nowhere.json\n", "no file nowhere.json"),
        ("jobs.csv", "id,seed\na,-1\n", "seed: expected a whole number from 0"),
        ("jobs.csv", "id,seed\na,1e3\n", "seed: expected a whole number"),
        ("jobs.jsonl", '{"id": "a"}\n[1]\n', "line 2: expected a JSON object"),
        ("jobs.jsonl", "{", "line 1: expected a JSON object a line"),
        ("jobs.jsonl", "[" * 100_000, "line 1: expected a JSON object a line"),
        ("jobs.jsonl", '{"prompts": 3}', "prompts: expected a text"),
        ("jobs.jsonl", '{"prompts": "a", "prompts_file": "b"}', "got both"),
        ("jobs.xlsx", "", "expected a folder of .txt files, a .csv or a .jsonl file"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_row(folder, name, text, complaint):
    with pytest.raises(Problem, match=complaint):
        read_jobs(written(folder, name, text), str(folder / "plain.json"))


def test_files_that_cannot_be_read_are_named(folder):
    with pytest.raises(Problem, match="no job in"):
        read_jobs(folder)
    (folder / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(Problem, match="a.txt as UTF-8"):
        read_jobs(folder)
    with pytest.raises(Problem, match="cannot read .*missing.csv"):
        read_jobs(folder / "missing.csv")
    drawn = written(folder, "drawn.json", json.dumps({"nodes": [{"id": 1, "type": "X"}], "links": []}))
    with pytest.raises(Problem, match=r"Export \(API\)"):
        read_jobs(written(folder, "jobs.csv", f"id,workflow\na,{drawn.name}\n"))
