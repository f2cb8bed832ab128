#!/usr/bin/env python3
"""Copies the headers for simulations: with the faults of a list in them, and with a mutex that yields.

usage: seed_faults.py <include directory> <list of faults> <yielding mutex> <copy>     makes or renews the copy
       seed_faults.py --names <list of faults>      prints of each fault, a line each and between tabs: its name, the
                                                    test executable that catches it, and the test in it, if it is one

All faults are in the copy at once, switched on one at a time while a test runs: see the header that it adds,
seeded_faults.hpp. A file of the copy is written only when it changes. The list, faults.txt, says how it is written.
"""
import re
import sys
from pathlib import Path

MUTEX = "muster/core/base/mutex.hpp"
SWITCH = "seeded_faults.hpp"

NAME = re.compile(r"([a-z][a-z0-9_]*): +(\S.*)")
CAUGHT_BY = "caught by "
TOKEN = re.compile(r"\w+|[^\w\s]")


class Wrong(Exception):
    """What is wrong with the list, and what to do."""


class Change:
    def __init__(self, header):
        self.header = header
        self.text = []
        self.instead = []


class Fault:
    def __init__(self, name, meaning):
        self.name = name
        self.meaning = meaning
        self.caught_by = ("simulation", "")
        self.changes = []


def parse(lines):
    """The faults of a list. Throws Wrong."""
    faults, header, change = [], None, None

    def wrong(reason):
        return Wrong(f"line {number}: {reason}: {line.strip()}")

    for number, line in enumerate(lines, 1):
        line = line.rstrip()
        stripped = line.strip()
        if not stripped or line.startswith("#"):
            continue
        if not line[0].isspace():
            named = NAME.fullmatch(line)
            if not named:
                raise wrong("a fault begins with 'its_name: what it is'")
            if any(fault.name == named[1] for fault in faults):
                raise wrong("there is a fault of this name already")
            faults.append(Fault(named[1], named[2]))
            header = change = None
        elif not faults:
            raise wrong("this belongs to no fault")
        elif stripped.startswith(CAUGHT_BY):
            executable, _, test = stripped[len(CAUGHT_BY):].partition(": ")
            faults[-1].caught_by = (executable, test)
        elif stripped[0] == "-":
            if header is None:
                raise wrong("say first in which header this is")
            if change is None or change.instead:
                change = Change(header)
                faults[-1].changes.append(change)
            change.text.append(stripped[1:])
        elif stripped[0] == "+":
            if change is None:
                raise wrong("say first, in lines with -, which text this stands for")
            change.instead.append(stripped[1:])
        else:
            header, change = stripped, None
    for fault in faults:
        if not fault.changes or not all(change.instead for change in fault.changes):
            raise Wrong(f"fault {fault.name}: it needs a header, a text (-) and what stands there instead (+)")
        if not any("FAULT" in line for change in fault.changes for line in change.instead):
            raise Wrong(f"fault {fault.name}: nothing in it asks for FAULT, so it would always be on")
    return faults


def pattern_of(text):
    """Finds the text however it is broken into lines, as whole words."""
    pattern, word = "", False
    for token in TOKEN.findall(text):
        was_word, word = word, token[0].isalnum() or token[0] == "_"
        if pattern:
            pattern += r"\s+" if was_word and word else r"\s*"
        pattern += rf"\b{token}\b" if word else re.escape(token)
    return re.compile(pattern)


def seed(headers, faults):
    """Puts the faults into `headers`, texts by path. Each is looked for in what those before it have left, so that there
    may be two at one place. Throws Wrong."""
    changed = dict(headers)
    for fault in faults:
        for change in fault.changes:
            if change.header not in changed:
                raise Wrong(f"fault {fault.name}: there is no header {change.header}: name the one its text is in now")
            text = "\n".join(change.text).strip()
            found = list(pattern_of(text).finditer(changed[change.header]))
            if len(found) != 1:
                how_often = f"{len(found)} times" if found else "not"
                remedy = "name more of it" if found else "copy it anew, or seed what the fault was in another text"
                raise Wrong(f"fault {fault.name}: its text is {how_often} in {change.header}, and must be there once: "
                            f"{remedy}\n{text}")
            header, at = changed[change.header], found[0]
            indent = re.match(r"\s*", header[header.rfind("\n", 0, at.start()) + 1:at.start()])[0]
            instead = f"\n{indent}".join(line[1:] if line[:1] == " " else line for line in change.instead)
            instead = re.sub(r"\bFAULT\b", f"::muster::seeded::on(::muster::seeded::Fault::{fault.name})", instead)
            changed[change.header] = header[:at.start()] + instead + header[at.end():]
    for path in changed:
        if changed[path] != headers[path]:
            changed[path] = changed[path].replace("#pragma once\n", f'#pragma once\n\n#include "{SWITCH}"\n', 1)
    return changed


def switch_of(faults):
    """The header by which a fault is switched on."""
    names = "".join(f"  {fault.name},  ///< {fault.meaning}\n" for fault in faults)
    table = "".join(f'    {{"{fault.name}", Fault::{fault.name}}},\n' for fault in faults)
    return f"""// Made by seed_faults.py: the faults in this copy of the headers, and which of them is on.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace muster::seeded {{

enum class Fault {{
  none,
{names}}};

struct Named {{
  std::string_view name;
  Fault fault;
}};
inline constexpr Named all[] = {{
    {{"none", Fault::none}},
{table}}};

/// The fault of this name; the process ends if there is none.
[[nodiscard]] inline Fault named(std::string_view name) {{
  for (const Named& one : all) {{
    if (one.name == name) return one.fault;
  }}
  std::fprintf(stderr, "there is no fault %.*s\\n", static_cast<int>(name.size()), name.data());
  std::_Exit(2);
}}
[[nodiscard]] inline Fault of_environment() {{
  const char* const name = std::getenv("MUSTER_SEEDED_FAULT");
  return name == nullptr ? Fault::none : named(name);
}}

inline Fault active = of_environment();
[[nodiscard]] inline bool on(Fault fault) noexcept {{ return active == fault; }}

}}  // namespace muster::seeded
"""


def copy(include, faults, mutex, to):
    """Makes or renews the copy. Throws Wrong."""
    include, to = Path(include), Path(to)
    headers = {}
    for file in sorted(include.rglob("*.?pp")):
        headers[file.relative_to(include).as_posix()] = file.read_text(encoding="utf-8")
    if MUTEX not in headers:
        raise Wrong(f"{include}: there is no {MUTEX} here, whose place {mutex} takes")
    headers[MUTEX] = Path(mutex).read_text(encoding="utf-8")
    headers = seed(headers, faults)
    headers[SWITCH] = switch_of(faults)
    for file in to.rglob("*.?pp"):
        if file.relative_to(to).as_posix() not in headers:
            file.unlink()
    for path, text in headers.items():
        file = to / path
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def main(arguments):
    names = arguments[:1] == ["--names"]
    if len(arguments) != (2 if names else 4):
        sys.exit(__doc__)
    list_of_faults = arguments[1]
    try:
        faults = parse(Path(list_of_faults).read_text(encoding="utf-8").splitlines())
        if names:
            for fault in faults:
                print(fault.name, *fault.caught_by, sep="\t")
        else:
            include, _, mutex, to = arguments
            copy(include, faults, mutex, to)
    except (Wrong, OSError) as reason:
        sys.exit(f"{list_of_faults}: {reason}")


if __name__ == "__main__":
    main(sys.argv[1:])
