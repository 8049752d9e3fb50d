"""An address that reads a prompts text for the level editor: what is more than lines or a plain JSON array."""

from __future__ import annotations

import json

from aiohttp import web
from server import PromptServer

from ..zoom_core.prompts import MAX_CHARACTERS, parse_prompts, read_rows


def add_prompts_route(server: PromptServer) -> None:
    """Add POST /zoom-stack/prompts to ComfyUI's server: {"text": ...} -> {"rows": [...]} or {"error": "..."}."""

    @server.routes.post("/zoom-stack/prompts")
    async def read(request: web.Request) -> web.Response:
        try:
            text = (await request.json())["text"]
            if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
                raise ValueError(f"prompts must be text of at most {MAX_CHARACTERS:,} characters.")
            rows = read_rows(text)
            try:
                return web.json_response(text=json.dumps({"rows": rows}, allow_nan=False))
            except ValueError:
                # A browser reads neither NaN nor Infinity, and no level takes them: this says which.
                parse_prompts(text)
                raise
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": str(error)})
