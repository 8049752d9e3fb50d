"""`run.py batch`: many jobs on many ComfyUI servers, with Dask distributed as the engine."""
