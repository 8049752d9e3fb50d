"""Zoom Stack: Powers-of-Ten zooms for ComfyUI."""

from comfyui_version import __version__ as comfyui_version

from .comfyui_support import complaint

if complaint(comfyui_version):
    # Before the imports below, which an older ComfyUI answers with a riddle.
    raise ImportError(complaint(comfyui_version))

from comfy_api.v0_0_2 import ComfyExtension, io

from .nodes import NODES
from .nodes.check_route import add_check_route
from .nodes.notes import running_server
from .nodes.prompts_route import add_prompts_route

WEB_DIRECTORY = "./web"


class ZoomStackExtension(ComfyExtension):
    async def on_load(self) -> None:
        server = running_server()
        if server is not None:
            add_check_route(server)
            add_prompts_route(server)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> ZoomStackExtension:
    return ZoomStackExtension()
