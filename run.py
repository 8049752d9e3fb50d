#!/usr/bin/env python3
"""Zoom Stack in one command: `python run.py demo` makes a zoom video, `python run.py test` runs the tests.

Needs nothing but Python 3.10 to 3.13 and the Python package index.
"""

from __future__ import print_function

import os
import subprocess
import sys

SUPPORTED = [(3, 13), (3, 12), (3, 11), (3, 10)]  # what ComfyUI's own requirements allow


def main():
    """Run the command; the exit code."""
    if sys.version_info[:2] not in SUPPORTED:
        return use_another_python()
    # Only now, because it does not even parse on a Python that is too old.
    from launcher.command import main as command

    return command(sys.argv[1:], hand_over)


def use_another_python():
    """Start again with a Python that ComfyUI supports, if there is one on this computer."""
    print("This is Python %d.%d; ComfyUI needs 3.10 to 3.13." % sys.version_info[:2])
    for major, minor in SUPPORTED:
        for command in (["python%d.%d" % (major, minor)], ["py", "-%d.%d" % (major, minor)]):
            if works(command, (major, minor)):
                print("Going on with %s." % " ".join(command))
                sys.stdout.flush()
                return hand_over(command + [os.path.abspath(__file__)] + sys.argv[1:])
    print("None of these was found here. Please install one (from python.org or your package manager) and use that.")
    return 1


def works(command, version):
    """Whether this command starts the Python of that version (a version manager's stand-in may not)."""
    code = "import sys; print(sys.version_info[:2] == (%d, %d))" % version
    try:
        return subprocess.check_output(command + ["-c", code], stderr=subprocess.STDOUT).strip() == b"True"
    except (OSError, subprocess.CalledProcessError):
        return False


def hand_over(command):
    """Let another Python do it, in our place where the system can do that; the exit code."""
    if os.name != "nt":
        os.execvp(command[0], command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The console sends Ctrl-C to the child as well; it cleans up and ends.
            continue


if __name__ == "__main__":
    sys.exit(main())
