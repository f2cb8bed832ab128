#!/usr/bin/env python3
"""Runs the scenario under callgrind and compares what it costs with budgets.json.

Instructions are counted in each phase of scenario.cpp, and nowhere else. Atomic operations are the executed
instructions that objdump shows with a lock prefix, and exchanges with memory, which lock by themselves. What one
recipient costs is the difference between rooms of 1,000 and 2,000; what one publish costs is the rest.
"""

import argparse
import functools
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

BUDGETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budgets.json")
HOW_TO_UPDATE = "cmake --build --preset dev --target update_budgets"
PHASES = 11
ROOM = 1000  # by which the larger room is larger, and what the smaller one has


@functools.lru_cache(maxsize=None)
def atomic_addresses(binary):
    """Addresses of the instructions of a binary that lock the bus or a cache line."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", binary], check=True, capture_output=True, text=True)
    found = set()
    for line in listing.stdout.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+(lock\b|xchg\s.*\(.*\))", line)
        if match:
            found.add(int(match.group(1), 16))
    return found


def read_phase(path):
    """The phase's name, the instructions it executed, and how many of them were atomic."""
    name, instructions, atomics, binary = None, 0, 0, ""
    inclusive = False  # the next line counts what a call led to, which is counted where it happened
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("0x"):
                if inclusive:
                    inclusive = False
                    continue
                address, _, cost = line.partition(" ")
                cost = int(cost.split()[-1])
                instructions += cost
                if os.path.isfile(binary) and int(address, 16) in atomic_addresses(binary):
                    atomics += cost
            elif line.startswith("ob="):
                binary = line[3:].strip()
            elif line.startswith("calls="):
                inclusive = True
            elif line.startswith("desc: Trigger:"):
                match = re.search(r"Client Request: (\w+)", line)
                name = match.group(1) if match else None
    return name, instructions, atomics


def measure(valgrind, scenario):
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "callgrind")
        run = subprocess.run(
            [valgrind, "--tool=callgrind", "--quiet", f"--callgrind-out-file={out}", "--instr-atstart=no",
             "--dump-instr=yes", "--dump-line=no", "--compress-strings=no", "--compress-pos=no", scenario],
            capture_output=True, text=True, env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"})
        if run.returncode != 0:
            sys.exit(f"check_budgets: the scenario failed:\n{run.stdout}{run.stderr}")
        counted = json.loads(run.stdout)
        instructions, atomics = {}, {}
        for path in glob.glob(out + ".*"):
            name, executed, locked = read_phase(path)
            if name:
                instructions[name], atomics[name] = executed, locked

    turns, batch, newcomers, decodes = (counted.pop(key) for key in ("turns", "batch", "newcomers", "decodes"))
    if len(instructions) != PHASES or not all(instructions.values()):
        sys.exit(f"check_budgets: phases are missing or empty: {instructions}")

    def recipients(costs, phase, count):
        return (costs[phase + "_2000"] - costs[phase + "_1000"]) / (ROOM * count)

    figures = dict(counted)
    recipient = recipients(instructions, "publish", turns)
    figures["instructions_per_recipient"] = recipient
    figures["instructions_per_publish"] = instructions["publish_1000"] / turns - recipient * (ROOM - 1)
    figures["instructions_per_delivery_in_batch"] = recipients(instructions, "batch", turns * batch)
    figures["instructions_per_publish_decode"] = instructions["decode"] / decodes
    for phase in ("connect", "join", "leave", "disconnect", "awareness_update"):
        figures[f"instructions_per_{phase}"] = instructions[phase] / newcomers
    figures["instructions_per_arrival_in_a_storm_of_2000"] = instructions["storm_2000"] / (2 * ROOM)
    figures["atomics_per_recipient"] = recipients(atomics, "publish", turns)
    figures["atomics_per_publish"] = atomics["publish_1000"] / turns - figures["atomics_per_recipient"] * (ROOM - 1)
    figures["atomics_per_join"] = atomics["join"] / newcomers
    return {name: round(value) if name.startswith("instructions") else round(value, 3) + 0.0
            for name, value in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valgrind", default="valgrind")
    parser.add_argument("--scenario", required=True, help="the executable of scenario.cpp")
    parser.add_argument("--update", action="store_true", help="write what was measured as the new budgets")
    arguments = parser.parse_args()

    measured = measure(arguments.valgrind, arguments.scenario)
    with open(BUDGETS, encoding="utf-8") as file:
        budgets = json.load(file)
    if arguments.update:
        budgets["figures"] = measured
        with open(BUDGETS, "w", encoding="utf-8") as file:
            json.dump(budgets, file, indent=2)
            file.write("\n")
        print(f"wrote {len(measured)} budgets")
        return 0

    over = 0
    for name, budget in budgets["figures"].items():
        value = measured.pop(name, None)
        if value is None:
            print(f"FAILED  {name}: has a budget, and was not measured")
            over += 1
        elif value > budget * (1 + budgets["tolerance"]):
            print(f"FAILED  {name}: {value}, the budget is {budget} + {budgets['tolerance']:.0%}")
            over += 1
        elif value < budget * (1 - budgets["tighten_below"]):
            print(f"ok      {name}: {value}, far below the budget of {budget}: tighten it")
        else:
            print(f"ok      {name}: {value} (budget {budget})")
    for name, value in measured.items():
        print(f"FAILED  {name}: {value}, and has no budget")
        over += 1
    if over:
        print(f"{over} beyond their budget. Find out why; if it is worth it: {HOW_TO_UPDATE}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
