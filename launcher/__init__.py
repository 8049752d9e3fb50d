"""Everything behind `python run.py`, in two stages.

Stage 0 (command, installation, packages, cache, processes, console, workflow, browser, batch.jobs) needs the standard
library only: it checks what was asked for, finds or makes a Python that can run ComfyUI, and starts run.py again
with that. Stage 1 (everything else) runs there, and uses what ComfyUI brings along.
"""
