#!/usr/bin/env python3
"""Checks the layer rule: a file under include/ includes its own layer or a lower one. And that each mutex says what it
guards, so that clang can check it.

usage: check_layers.py <include directory>      prints each violation; exit status 1 if there is one
"""
import re
import sys
from pathlib import Path

# ---- The table. A public header that is not in it is an error: decide where it belongs, and add it. ----

VOCABULARY = ("config data function types error close_reason options message path_pattern span thread_safety "
              "histogram").split()  # layer 0
SEAMS = ("transport wire_format executor authenticator authorizer protocol broker session_store room_log "
         "awareness_store observer room connection connection_manager continuation reply responder interceptor "
         "transport_sink async coroutine").split()  # layer 1
CORE = ["core/", "memory/", "testing/"]  # layer 2
TESTING = "testing/"
PROGRAMS = "coroutine"  # C++20: for programs, which ask for that
FRONT = "muster"  # the front page: layers 0 and 1 in one include

# Layer 3. An adapter is a header (and a folder of the same name), with what it alone may include by <...>. OpenSSL and
# zlib are the websocketpp adapter's because TLS and compression are parts of a WebSocket's pipe; each has one file.
POSIX = ["sys/", "netinet/", "arpa/", "fcntl.h", "netdb.h", "poll.h", "unistd.h"]
ADAPTERS = {
    "asio": ["asio/"],
    "protocols/json_protocol": ["rapidjson/"],
    "transports/websocketpp": ["websocketpp/", "asio.hpp", "asio/", "openssl/", "zlib.h", *POSIX],
    "auth/allow_all": [],
    "auth/allow_anonymous": [],
    "auth/callback_authenticator": [],
    "auth/jwt_authenticator": ["jwt.h", "openssl/", "rapidjson/"],
    "auth/role_authorizer": [],
    "auth/static_token_authenticator": [],
}

# The floors of the core, from the ground up; a file beside these folders is above them all.
FLOORS = "base loop room connection registry outward delivery flows".split()
# What declares the parts of the core, in the order of their floors.
PARTS = "core/manager.hpp"

# ---- The rule. ----

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)")
HEADER_ONLY = re.compile(r"^(if\s*!\s*defined\s*\(?\s*MUSTER_COMPILED\s*\)?|ifndef\s+MUSTER_COMPILED)\s*$")
STANDARD = re.compile(r"[a-z_]+")
TEST_CODE = re.compile(r"[Cc]atch2|\bTEST_CASE\b|\bCATCH_|include\s*[<\"](tests|support|simulation)/"
                       r"|SIMULATION|[Ss]imulation|[Mm]utant|seeded_fault")


# The one file that names the standard library's, of which clang does not know that they can be held.
MUTEX_WRAPPER = "thread_safety.hpp"
STANDARD_MUTEX = re.compile(r"std::(\w*mutex|lock_guard|unique_lock|scoped_lock|shared_lock|condition_variable)\b")
MUTEX = re.compile(r"^\s*(?:mutable )?(?:core::)?(?:Checked)?Mutex (\w+);", re.MULTILINE)


def stem(path):
    return re.sub(r"\.[hi]pp$", "", path)


def adapter_of(path):
    """The adapter a file belongs to: its header, another that begins with its name, or its folder."""
    for adapter in ADAPTERS:
        if re.match(rf"{re.escape(adapter)}(_[a-z_]+)?(\.[hi]pp$|/)", path):
            return adapter
    return None


def layer_of(path):
    """0 to 3, or None for a file the table does not know. The front page counts as layer 1."""
    if adapter_of(path):
        return 3
    if any(path.startswith(folder) for folder in CORE):
        return 2
    if stem(path) in VOCABULARY:
        return 0
    if stem(path) in SEAMS or stem(path) == FRONT:
        return 1
    return None


def floor_of(path):
    """0 for the ground floor of the core, and so on; None for what is not in the core, or beside its folders."""
    folder = re.match(r"core/(\w+)/", path)
    if folder is None:
        return len(FLOORS) if path.startswith("core/") else None
    return FLOORS.index(folder[1]) if folder[1] in FLOORS else None


def includes_of(text):
    """Yields (line number, '<' or '"', path, whether only a header-only build sees it)."""
    conditions = []
    for number, line in enumerate(text.splitlines(), 1):
        if condition := CONDITION.match(line):
            word, rest = condition[1], condition[2].split("//")[0].strip()
            if word == "endif":
                conditions and conditions.pop()
            elif word in ("else", "elif"):
                conditions and conditions.__setitem__(-1, False)
            else:
                conditions.append(bool(HEADER_ONLY.match(f"{word} {rest}")))
        elif include := INCLUDE.match(line):
            yield number, include[1], include[2], any(conditions)


def why_not(path, bracket, target, header_only):
    """Says why `path` may not include `target`, or returns None. Both are relative to include/muster/."""
    layer, adapter = layer_of(path), adapter_of(path)
    if bracket == "<" and not target.startswith("muster/"):
        if STANDARD.fullmatch(target):
            return None
        if adapter is None:
            return "the core stands on the standard library alone"
        if any(target == allowed or (allowed.endswith("/") and target.startswith(allowed)) for allowed in ADAPTERS[adapter]):
            return None
        return f"adapter {adapter} may use {ADAPTERS[adapter] or 'nothing but the standard library'}"
    if not target.startswith("muster/"):
        return 'muster\'s own headers are included as "muster/..."'

    target = target[len("muster/"):]
    target_layer, target_adapter = layer_of(target), adapter_of(target)
    if target.startswith(TESTING) and not path.startswith(TESTING):
        return "testing/ is for embedders' tests, and nothing else needs it"
    if target_layer is None:
        return "it is not in the table of check_layers.py"
    if stem(target) == PROGRAMS:
        return "it needs C++20, and the rest does not"
    # A header ends with its body when the build is header-only. That is not a dependency.
    if header_only and target.endswith(".ipp") and target_adapter == adapter:
        return None
    floor, target_floor = floor_of(path), floor_of(target)
    if floor is not None and target_floor is not None and target_floor > floor:
        return "a floor of the core includes its own and lower ones"
    if stem(target) == FRONT and layer != 1:
        return "the front page is for programs; include what is needed"
    if adapter is None:
        return f"layer {layer} includes layer {target_layer}" if target_layer > layer else None
    if target_layer == 2:
        return "an adapter knows the seams, never the core behind them"
    if target_layer == 3 and target_adapter != adapter:
        return f"adapter {adapter} includes adapter {target_adapter}"
    return None


def check_mutexes(path, text):
    """Every mutex is one that clang knows, and stands before what it guards."""
    if path == MUTEX_WRAPPER:
        return []
    violations = [f"muster/{path}:{number}: clang cannot check {found[0]}; {MUTEX_WRAPPER} has what it can"
                  for number, line in enumerate(text.splitlines(), 1) if (found := STANDARD_MUTEX.search(line))]
    mutexes = list(MUTEX.finditer(text))
    for mutex, end in zip(mutexes, [following.start() for following in mutexes[1:]] + [len(text)]):
        if f"MUSTER_GUARDED_BY({mutex[1]})" not in text[mutex.end():end]:
            number = text.count("\n", 0, mutex.start(1)) + 1
            violations.append(f"muster/{path}:{number}: nothing below it is MUSTER_GUARDED_BY({mutex[1]})")
    return violations


def cycle_in(graph):
    """A cycle of includes as a list of files, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for following in graph.get(node, ()):
            if found := visit(following):
                return found
        path.pop()
        done.add(node)
        return None

    return next((found for node in sorted(graph) if (found := visit(node))), None)


PART = re.compile(r"^\s*core::(\w+) (\w+_)\b", re.MULTILINE)
NAME = re.compile(r"[A-Za-z_]\w*")


def constructor_of(part, text):
    """What stands between the brackets of the part's constructor; empty if it has none of its own."""
    found = re.search(rf"^\s*(?:explicit )?{part}\(([^;{{]*?)\)(?: noexcept)?\s*(?::|;|\{{)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def check_parts(root):
    """A part of the core is handed parts that are declared before it, on its own floor or a lower one."""
    manager = root / PARTS
    if not manager.is_file():
        return []
    files = {p.relative_to(root).as_posix(): p.read_text(encoding="utf-8") for p in root.glob("core/*/*.hpp")}
    parts = [part for part, _ in PART.findall(manager.read_text(encoding="utf-8"))]
    home = {}
    for part in parts:
        at = [path for path, text in files.items() if re.search(rf"^(?:class|struct) {part}\b[^;]*\{{", text, re.MULTILINE)]
        if len(at) != 1:
            return [f"muster/{PARTS}: part {part} is defined in {at or 'no header'} of the core's floors"]
        home[part] = at[0]
    violations = []
    for index, part in enumerate(parts):
        if index and floor_of(home[part]) < floor_of(home[parts[index - 1]]):
            violations.append(f"muster/{PARTS}: part {part} stands behind {parts[index - 1]}, which is on a higher floor")
        for given in NAME.findall(constructor_of(part, files[home[part]])):
            if given in parts[index:]:
                violations.append(f"muster/{home[part]}: part {part} is handed {given}, which is not below it")
    return violations


def check(include):
    """Returns the violations below `include`, each as one line."""
    root = Path(include) / "muster"
    files = sorted(p for p in root.rglob("*") if p.suffix in (".hpp", ".ipp", ".h"))
    if not files:
        return [f"{root}: no headers here"]
    violations, graph = [], {}
    for file in files:
        path = file.relative_to(root).as_posix()
        text = file.read_text(encoding="utf-8")
        if layer_of(path) is None:
            violations.append(f"muster/{path}: not in the table of check_layers.py: decide its layer and add it")
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if TEST_CODE.search(line):
                violations.append(f"muster/{path}:{number}: the library knows nothing of its tests")
        violations += check_mutexes(path, text)
        for number, bracket, target, header_only in includes_of(text):
            if reason := why_not(path, bracket, target, header_only):
                violations.append(f"muster/{path}:{number}: includes {target}: {reason}")
            if target.startswith("muster/"):
                if not (root.parent / target).is_file():
                    violations.append(f"muster/{path}:{number}: includes {target}: there is no such file")
                if not header_only:
                    graph.setdefault(path, []).append(target[len("muster/"):])
        if path.startswith("core/") and floor_of(path) is None:
            violations.append(f"muster/{path}: not on a floor of check_layers.py: decide which, and add its folder")
    violations += check_parts(root)
    if cycle := cycle_in(graph):
        violations.append("cycle of includes: " + " -> ".join(cycle))
    return violations


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = check(sys.argv[1])
    print("\n".join(found) if found else "the layer rule holds")
    sys.exit(1 if found else 0)
