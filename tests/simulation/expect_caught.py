#!/usr/bin/env python3
"""Runs a test executable that is built on the copy of the headers: it must pass, and fail with a fault in them.

usage: expect_caught.py <fault> <test executable> [<arguments>]      exit status 1 if the fault is not caught
"""
import os
import subprocess
import sys


def run(command, environment):
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    fault, command = arguments[0], arguments[1:]
    environment = {name: value for name, value in os.environ.items() if name != "MUSTER_SEEDED_FAULT"}
    without = run(command, environment)
    if without.returncode != 0:
        sys.exit(f"{without.stdout}\nthis fails without a fault")
    caught = run(command, {**environment, "MUSTER_SEEDED_FAULT": fault})
    print(caught.stdout)
    if caught.returncode == 0:
        sys.exit(f"{fault}: NOT CAUGHT")
    print(f"{fault}: caught")


if __name__ == "__main__":
    main(sys.argv[1:])
