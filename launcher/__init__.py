"""Everything behind `python run.py`: setting ComfyUI up, starting it, talking to it.

Standard library only, because it runs before anything is installed.
"""
