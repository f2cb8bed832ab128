#!/usr/bin/env python3
"""Compiles each public header alone: whoever includes it needs to include nothing before it, and gets no warning.

usage: check_headers.py <include directory> [--private] [--without <path prefix>]... -- <compiler> <flags>
--private: the core's headers and every body instead, so that whoever opens one file need not know what comes before it.
"""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PRIVATE = ("core/",)


def main(arguments):
    if "--" not in arguments[1:]:
        sys.exit(__doc__)
    ours, command = arguments[:arguments.index("--")], arguments[arguments.index("--") + 1:]
    include = Path(ours[0])
    without = tuple(ours[i + 1] for i, argument in enumerate(ours) if argument == "--without")

    root = include / "muster"
    headers = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.[hi]pp"))
    is_private = "--private" in ours
    headers = [h for h in headers
               if (h.startswith(PRIVATE) or h.endswith(".ipp")) == is_private and not h.startswith(without)]
    if not headers:
        sys.exit(f"{root}: no headers here")

    def compile_alone(header):
        line = f'#include "muster/{header}"\n'
        return subprocess.run([*command, "-I", str(include), "-fsyntax-only", "-x", "c++", "-"], input=line, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compile_alone, headers))
    failed = 0
    for header, result in zip(headers, results):
        if result.returncode != 0:
            failed += 1
            print(f"muster/{header} does not compile alone:\n{result.stdout}")
    print(f"{len(headers)} files, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
