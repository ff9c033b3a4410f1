"""The C++ compiler that torch.compile would use here, as "g++ 12.2.0"; no torch.

torch's inductor takes the environment variable CXX, or clang++ on macOS and g++ elsewhere, and asks it for its version
(`torch/_inductor/config.py`, cpp.cxx; `cpp_builder.py`, cpp_compiler_search). It can also be told to install one; that
is never done here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path


def compiler() -> str | None:
    """The name and version of that compiler, or None if there is none, it does not run, or Python's headers lack."""
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return None  # what is compiled is loaded as a module of Python
    return described(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


@cache
def described(command: str) -> str | None:
    """What the compiler `command` calls itself, asked once per process; None if it does not run."""
    try:
        answer = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - what torch would run
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    line = next(iter(answer.stdout.splitlines()), "")
    # "g++ (Debian 12.2.0-14) 12.2.0" and "Apple clang version 15.0.0 (clang-1500.3.9.4)": the packager is in brackets
    number = re.search(r"\d+(\.\d+)+", re.sub(r"\([^)]*\)", "", line))
    return f"{Path(command).name} {number[0]}" if number else f"{Path(command).name} of unknown version"
