"""An address that says what is wrong with a prompt before anything of it is queued.

The core's `/prompt` queues the valid outputs of a prompt whose other outputs are not valid, and says so afterwards.
"""

from __future__ import annotations

import uuid

from aiohttp import web
from server import PromptServer


def add_check_route(server: PromptServer) -> None:
    """Add POST /zoom-stack/validate to ComfyUI's server: a prompt as for `/prompt`, answered with its `node_errors`."""
    from execution import validate_prompt

    @server.routes.post("/zoom-stack/validate")
    async def validate(request: web.Request) -> web.Response:
        prompt = (await request.json())["prompt"]
        _, error, _, node_errors = await validate_prompt(str(uuid.uuid4()), prompt, None)
        return web.json_response({"error": error, "node_errors": node_errors})
