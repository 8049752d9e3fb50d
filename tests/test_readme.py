"""What the README promises: its example runs, its pictures and files exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_api_example_runs(comfy):
    (example,) = [code for code in PYTHON if "SERVER" in code]
    assert "http://127.0.0.1:8188" in example
    short = example.replace("http://127.0.0.1:8188", comfy.url.rstrip("/")).replace("steps=20", "steps=2")
    out = run(short)
    assert out.startswith("success") and ".mp4" in out


def test_the_library_example_runs():
    (example,) = [code for code in PYTHON if "zoom_core" in code]
    check = """
from zoom_core import downscale
assert pictures.shape == estimates.shape and not torch.equal(pictures, estimates)
for outer, inner in zip(pictures, pictures[1:]):
    assert (downscale(inner, 32, 32) - outer[:, 16:48, 16:48]).abs().max() < 1e-5
"""
    run(example + check)


def test_pictures_and_workflows_exist():
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture
    table = README.partition("| workflow |")[2].partition("\n\n")[0]
    for name in re.findall(r"`([\w-]+)`", table):
        if name != "SamplerCustomAdvanced":
            assert (ROOT / "workflows" / f"{name}.json").is_file(), name
    bundled = {file.stem for file in (ROOT / "workflows").glob("*.json")}
    assert bundled <= set(re.findall(r"`([\w-]+)`", table))


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@@|<<|TODO|FIXME", README)
