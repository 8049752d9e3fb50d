"""Which mistakes the tests notice: `python run.py bench mutation`.

Every change of `mutations.py` is made by itself in a copy of this folder, and the tests of the modules concerned are
run there. A change that no test fails for has survived; one whose old text is no longer in its file says so. Tests that
need a server or a browser are left out. Takes about half an hour on two cores.

Options: --only TEXT ... (changes whose file or text has one of these), --jobs N (how many at a time), --keep FILE
(JSON lines: what it holds is not run again), --list.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutations import CHANGES, Change

PACK = Path(__file__).resolve().parent.parent
PYTEST = ["-x", "-q", "-rfE", "-m", "not server and not browser", "-p", "no:xdist", "--no-header"]
# Imported once, before every run of tests is forked off: they take longer than most runs.
PRELOADED = ["torch", "torch._dynamo", "comfy_kitchen", "torchsde", "torchaudio", "kornia.filters", "kornia.geometry"]
PRELOADED += ["cv2", "av", "scipy.stats", "einops", "transformers", "alembic", "aiohttp", "pytest"]
# Longer than any of these tests takes on a busy machine: a change that makes one hang is noticed too.
PATIENCE = 900.0
NOTICED, SURVIVED, GONE = "noticed", "survived", "no longer applies"


def run_tests(tree: str, tests: tuple[str, ...], log: str) -> None:
    """In a process of its own: run tests of a copy, everything printed going to a log; exits as pytest does."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    here = str(Path(__file__).parent)
    sys.path[:] = [path for path in sys.path if path not in (here, "")]
    # A file changed twice within a second would be taken for the one compiled before.
    sys.dont_write_bytecode = True
    import pytest

    files = [str(Path(tree, "tests", f"{name}.py")) for name in tests]
    base = tempfile.mkdtemp(dir=tree)
    code = pytest.main(["-c", str(Path(tree, "tests", "pytest.ini")), f"--basetemp={base}/pytest", *PYTEST, *files])
    sys.stdout.flush()
    os._exit(int(code))


class Copy:
    """A copy of the pack to make changes in."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "zoom-stack"
        ignore = shutil.ignore_patterns(".git", "__pycache__", "output")
        shutil.copytree(PACK, self.tree, ignore=ignore, symlinks=True)
        self.log = folder / "log.txt"

    def test(self, tests: tuple[str, ...]) -> int | None:
        """pytest's exit code; None where it does not come to an end."""
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=run_tests, args=(str(self.tree), tests, str(self.log)))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
            return None
        return process.exitcode

    def first_failure(self) -> str:
        """The test that noticed, as pytest names it."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        named = [line.split(" ")[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
        return named[0].rpartition("/")[2] if named else ""

    def try_out(self, change: Change) -> tuple[str, str]:
        """(verdict, who noticed)."""
        file = self.tree / change.file
        text = file.read_text("utf-8") if file.exists() else ""
        if text.count(change.old) != 1:
            return GONE, ""
        file.write_text(text.replace(change.old, change.new), "utf-8")
        try:
            code = self.test(change.tests)
        finally:
            file.write_text(text, "utf-8")
        if code == 0:
            return SURVIVED, ""
        test = "does not end" if code is None else self.first_failure()
        if not test:
            # Neither passed nor failed: stopped by a person, or nothing to run.
            raise RuntimeError(f"{change.name}: pytest ended with {code}.\n{self.log.read_text('utf-8')[-1000:]}")
        return NOTICED, test


def check_unchanged(copy: Copy, changes: list[Change]) -> None:
    """Tests that fail without a change would notice everything."""
    tests = tuple(sorted({name for change in changes for name in change.tests}))
    code = copy.test(tests)
    if code:
        print(copy.log.read_text("utf-8", "replace")[-3000:])
        sys.exit(f"Without any change {copy.first_failure() or 'pytest'} fails: nothing can be measured.")


def report(changes: list[Change], results: dict[str, tuple[str, str]]) -> None:
    """The table, and what survived or no longer applies."""
    print("\n| file | changes | noticed |\n|---|---|---|")
    for file in dict.fromkeys(change.file for change in changes):
        verdicts = Counter(results[change.name][0] for change in changes if change.file == file)
        print(f"| {file} | {verdicts[NOTICED] + verdicts[SURVIVED]} | {verdicts[NOTICED]} |")
    total = Counter(verdict for verdict, _ in results.values())
    tried = total[NOTICED] + total[SURVIVED]
    share = 100 * total[NOTICED] / max(tried, 1)
    print(f"| all | {tried} | {total[NOTICED]} ({share:.1f} %) |")
    for verdict in (SURVIVED, GONE):
        for name in (change.name for change in changes if results[change.name][0] == verdict):
            print(f"{verdict}: {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--jobs", type=int, default=max((os.cpu_count() or 2) // 2, 1))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    changes = [change for change in CHANGES if any(text in change.name for text in args.only)]
    if args.list:
        print("\n".join(change.name for change in changes))
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    known = args.keep.read_text("utf-8").splitlines() if args.keep and args.keep.exists() else []
    results = {name: (verdict, test) for name, verdict, test in map(json.loads, known)}
    waiting = [change for change in changes if change.name not in results]
    with tempfile.TemporaryDirectory(prefix="zoom-stack-mutation-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(args.jobs):
            (Path(folder) / str(number)).mkdir()
            copies.put(Copy(Path(folder) / str(number)))

        def try_out(change: Change) -> None:
            copy, begun = copies.get(), time.monotonic()
            try:
                verdict, test = results[change.name] = copy.try_out(change)
            finally:
                copies.put(copy)
            print(f"{verdict:9} {time.monotonic() - begun:5.0f} s  {change.name}  {test}", flush=True)
            if args.keep:
                with args.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([change.name, verdict, test]) + "\n")

        if waiting and not known:
            copy = copies.get()
            check_unchanged(copy, changes)
            copies.put(copy)
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(try_out, waiting))
    report(changes, {change.name: results[change.name] for change in changes})


if __name__ == "__main__":
    main()
