"""The name and version of the C++ compiler that torch.compile would use, such as "g++ 12.2.0"; imports no torch.

Inductor uses the environment variable CXX, else clang++ on macOS and g++ elsewhere (`torch/_inductor/config.py`,
cpp.cxx; `cpp_builder.py`, cpp_compiler_search).
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
    """Return the compiler's name and version; None if it is missing, does not run, or Python's headers are missing."""
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return None  # compiled code is loaded as a Python module
    return described(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


@cache
def described(command: str) -> str | None:
    """Ask `command` for its version, once per process; None if it does not run."""
    try:
        answer = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - what torch would run
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    line = next(iter(answer.stdout.splitlines()), "")
    # "g++ (Debian 12.2.0-14) 12.2.0" and "Apple clang version 15.0.0 (clang-1500.3.9.4)": the packager is in brackets
    number = re.search(r"\d+(\.\d+)+", re.sub(r"\([^)]*\)", "", line))
    return f"{Path(command).name} {number[0]}" if number else f"{Path(command).name} of unknown version"
