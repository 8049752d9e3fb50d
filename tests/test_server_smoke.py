"""The harness itself, against a real server, with core nodes only."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from launcher.client import ComfyClient, ServerGone


def picture(color: int, **changes) -> dict:
    """A graph that saves one plain picture."""
    inputs = {"width": 24, "height": 16, "batch_size": 1, "color": color, **changes}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    }


def failing() -> dict:
    """A graph that validates and then fails: a batch of three blended with a batch of two."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 3, "color": 0}},
        "3": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 2}},
        "4": {
            "class_type": "ImageBlend",
            "inputs": {"image1": ["2", 0], "image2": ["3", 0], "blend_factor": 0.5, "blend_mode": "normal"},
        },
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "never"}},
    }


def test_a_run_gives_its_pictures_and_events(comfy):
    result = comfy.run(picture(0xFF8000))
    (image,) = result.images("2")
    assert image.shape == (16, 24, 3)
    np.testing.assert_allclose(image[0, 0], [1, 128 / 255, 0])
    assert result.files("2")[0].is_relative_to(comfy.output_dir)
    assert [data["node"] for kind, data in result.events if kind == "executing"] == ["1", "2"]
    assert comfy.client.view(result.entries("2")[0]) == result.files("2")[0].read_bytes()


def test_a_cached_run_still_gives_its_pictures(comfy):
    first = comfy.run(picture(0x010203))
    second = comfy.run(picture(0x010203))
    assert second.prompt_id != first.prompt_id
    assert not [data for kind, data in second.events if kind == "executing"]
    assert second.entries("2") == first.entries("2")


def test_a_refused_graph_names_node_and_input(comfy):
    error = comfy.validate_error(picture(0, width=0))
    assert list(error.node_errors) == ["1"]
    assert any("width" in message for message in error.messages)
    assert "node 1 (EmptyImage)" in str(error)


def test_an_unknown_node_is_refused(comfy):
    graph = picture(0)
    graph["1"]["class_type"] = "NoSuchNode"
    assert "NoSuchNode" in str(comfy.validate_error(graph))


def half_broken(color: int) -> dict:
    """A graph of two outputs, one of which is not valid."""
    graph = picture(color) | {f"1{key}": node for key, node in picture(0, width=0).items()}
    graph["12"]["inputs"]["images"] = ["11", 0]
    return graph


def test_a_graph_with_one_broken_output_is_refused_as_a_whole(comfy):
    history = comfy.client.get("/history")
    for color in range(0x030201, 0x030205):
        assert list(comfy.validate_error(half_broken(color)).node_errors) == ["11"]
    assert comfy.client.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert comfy.client.get("/history") == history, "the valid half has run"


def test_a_failing_node_is_reported_and_the_next_job_runs(comfy):
    error = comfy.execution_error(failing())
    assert (error.node_id, error.node_type) == ("4", "ImageBlend")
    assert error.exception_type and error.message and "Traceback" not in error.message
    assert comfy.run(picture(0x0000FF)).images("2")[0].shape == (16, 24, 3)


def test_a_signal_in_the_middle_of_a_run_is_told_once(comfy, caplog):
    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(ComfyClient(comfy.url).run, picture(3, batch_size=2), interrupt)
        assert isinstance(run.exception(), KeyboardInterrupt)
        del run
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_expectations_that_do_not_hold_fail_the_test(comfy):
    with pytest.raises(AssertionError, match="it ran"):
        comfy.validate_error(picture(0x00FF00))
    with pytest.raises(AssertionError, match="ran without an error"):
        comfy.execution_error(picture(0x00FF00))
    with pytest.raises(AssertionError, match="server log"):
        comfy.run(picture(0, width=0))


def test_input_files_reach_the_server(comfy):
    gradient = np.linspace(0, 1, 8 * 6 * 3, dtype=np.float32).reshape(6, 8, 3)
    name = comfy.put_input("gradient.png", gradient)
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }
    np.testing.assert_allclose(comfy.run(graph).images("2")[0], gradient, atol=0.5 / 255 + 1e-6)


def test_the_pack_is_loaded_by_the_server(comfy):
    modules = {info["python_module"] for info in comfy.object_info.values()}
    assert "custom_nodes.zoom-stack" in modules, comfy.log()


def test_zoom_core_is_the_same_module_in_the_pack(zoom_stack_pack):
    import importlib

    plain = importlib.import_module("zoom_core.levels")
    packed = importlib.import_module("zoom_stack_pack.zoom_core.levels")
    assert packed is plain
    assert plain.__spec__.name == "zoom_core.levels"


def test_comfyui_modules_are_comfyuis_own(comfy_path):
    import folder_paths

    import nodes

    assert nodes.__file__ == str(comfy_path / "nodes.py")
    assert not folder_paths.get_output_directory().startswith(str(comfy_path))


def test_a_stopped_server_leaves_no_process_and_says_so(start_comfy):
    other = start_comfy("--disable-all-custom-nodes")
    # A server without the pack queues the valid half before it says so; it is stopped before the refusal is told.
    assert list(other.validate_error(half_broken(0x030205)).node_errors) == ["11"]
    assert other.client.get("/queue") == {"queue_running": [], "queue_pending": []}
    pid = other.server.pid
    other.server.stop()
    assert other.server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ServerGone):
        other.client.run(picture(0))
