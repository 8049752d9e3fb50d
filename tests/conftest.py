"""Fixtures for all tests; what they give is written down in server_harness.py."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: processes that share the cores do not each start threads for all of them.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

PACK_ROOT = Path(__file__).resolve().parent.parent
COMFYUI = Path(os.environ["COMFYUI_PATH"]).resolve() if os.environ.get("COMFYUI_PATH") else None
NO_COMFYUI = "needs ComfyUI: run `python run.py test`, or set COMFYUI_PATH to an installed one"


class _PackFinder(importlib.abc.MetaPathFinder):
    """Finds `zoom_stack_pack`: this folder as one package, as ComfyUI loads it.

    Its zoom_core is the plain `zoom_core`, so that a test never meets two copies of a class.
    """

    package = "zoom_stack_pack"
    core = "zoom_stack_pack.zoom_core"

    def find_spec(self, name, path=None, target=None):
        if name == self.package:
            return importlib.util.spec_from_file_location(
                name, PACK_ROOT / "__init__.py", submodule_search_locations=[str(PACK_ROOT)]
            )
        if name == self.core or name.startswith(self.core + "."):
            return importlib.machinery.ModuleSpec(name, _CoreAlias())
        return None


class _CoreAlias(importlib.abc.Loader):
    """Loads `zoom_stack_pack.zoom_core.x` by handing out `zoom_core.x`."""

    def create_module(self, spec) -> ModuleType:
        module = importlib.import_module(spec.name.removeprefix("zoom_stack_pack."))
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just stamped the alias' spec on the shared module.
        module.__spec__ = self._own_spec


sys.meta_path.insert(0, _PackFinder())


def pytest_configure(config: pytest.Config) -> None:
    """Make ComfyUI importable in this process: on the CPU, writing to a temporary folder only."""
    if COMFYUI is None:
        return
    if not (COMFYUI / "comfy" / "cli_args.py").is_file():
        raise pytest.UsageError(f"COMFYUI_PATH: expected a ComfyUI folder (with comfy/cli_args.py), got {COMFYUI}")
    # Before the pack's root, whose `nodes` would hide ComfyUI's nodes.py.
    sys.path.insert(0, str(COMFYUI))
    from comfy.cli_args import args

    base = tempfile.mkdtemp(prefix="zoom-stack-tests-")
    config.add_cleanup(lambda: shutil.rmtree(base, ignore_errors=True))
    args.cpu = True
    args.base_directory = base
    # As ComfyUI's main.py: a bare `utils` imported later could be another one's.
    importlib.import_module("utils.install_util")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a server, or a browser, so that `-m "not server"` leaves the quick tests."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "_launch" in fixtures:
            item.add_marker("server")
        if "chromium" in fixtures:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def comfy_path() -> Path:
    """The ComfyUI tree that the tests run against."""
    if COMFYUI is None:
        pytest.skip(NO_COMFYUI)
    return COMFYUI


@pytest.fixture(scope="session")
def zoom_stack_pack(comfy_path: Path) -> ModuleType:
    """This pack, imported as a package."""
    return importlib.import_module("zoom_stack_pack")


@pytest.fixture(scope="session")
def model_folder(zoom_stack_pack: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tiny checkpoints are written before the core loads them."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def toy(zoom_stack_pack: ModuleType):
    """A tiny random UNet as MODEL."""
    import tiny_models

    return tiny_models.toy("eps", middle=True)


@pytest.fixture
def prompts(zoom_stack_pack: ModuleType) -> tuple[list, list]:
    """Positive and negative conditioning of `joint_runs.TOY_LEVELS` levels for the toy."""
    import tiny_models
    from joint_runs import TOY_LEVELS

    return tiny_models.conditioning("toy", TOY_LEVELS)


@pytest.fixture(scope="session")
def _launch(comfy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    from server_harness import ComfyHarness, ThreadedClient

    from launcher.server import ComfyServer

    def launch(*arguments: str) -> ComfyHarness:
        base = tmp_path_factory.mktemp("comfyui")
        server = ComfyServer(comfy_path, base, arguments=["--cpu", *arguments])
        server.client = ThreadedClient(server.url)
        server.start()
        return ComfyHarness(server)

    return launch


@pytest.fixture(scope="session")
def comfy(_launch: Callable) -> Iterator:
    """The test session's ComfyUI server."""
    harness = _launch()
    yield harness
    harness.server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A running Chromium, by Playwright; ended with the module, because its event loop would stop others."""
    api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright (requirements-test.txt)")
    from launcher.browser import find_browser

    executable = find_browser()
    if executable is None:
        pytest.skip("browser tests need Chromium on the PATH (Debian: apt install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def comfy_page(chromium, comfy) -> Iterator:
    """The test session's ComfyUI in a browser page, ready to use."""
    from viewer_pages import wait_until_ready

    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(comfy.url)
    wait_until_ready(page, timeout=120_000)
    yield page
    page.close()


@pytest.fixture
def start_comfy(_launch: Callable) -> Iterator[Callable]:
    """Starts more servers, with arguments of one's choice, for the length of a test."""
    started = []

    def start(*arguments: str):
        harness = _launch(*arguments)
        started.append(harness)
        return harness

    yield start
    for harness in started:
        harness.server.stop()
