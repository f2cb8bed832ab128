#!/usr/bin/env python3
"""Checks that the C++ sources have the form that .clang-format gives them, or gives it to them.

usage: check_format.py <project directory> [--fix]      names each file that differs; exit status 1 if there is one
The form is that of clang-format 14: others differ in places.
"""
import re
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "14"
FOLDERS = ("include", "src", "examples", "tests")


def formatter():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        if path := shutil.which(name):
            said = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
            if re.search(rf"version {VERSION}\.", said):
                return path
    sys.exit(f"check_format: needs clang-format {VERSION} (Debian 12: apt install clang-format); "
             "without it leave this test out: ctest --exclude-regex layers/format")


def main(arguments):
    if len(arguments) not in (1, 2) or arguments[1:] not in ([], ["--fix"]):
        sys.exit(__doc__)
    files = sorted(str(p) for folder in FOLDERS for p in (Path(arguments[0]) / folder).rglob("*.[chi]pp")
                   if "node_modules" not in p.parts)
    if not files:
        sys.exit(f"check_format: {arguments[0]} has no sources")
    action = ["-i"] if arguments[1:] else ["--dry-run", "--Werror"]
    run = subprocess.run([formatter(), *action, *files], capture_output=True, text=True)
    differ = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "-Wclang-format-violations" in line})
    for file in differ:
        print(f"{file}: not as .clang-format has it; tests/layers/check_format.py . --fix")
    if run.returncode != 0 and not differ:
        print(run.stderr)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
