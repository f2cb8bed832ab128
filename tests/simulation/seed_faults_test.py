#!/usr/bin/env python3
"""Proves that seed_faults.py puts each fault where it belongs, or says why it cannot and what to do."""
import tempfile
import unittest
from pathlib import Path

from seed_faults import MUTEX, SWITCH, Wrong, copy, parse

HEADERS = {
    MUTEX: "#pragma once\nusing Mutex = std::mutex;\n",
    "muster/room.hpp": "// A room.\n#pragma once\n\ninline int leave(int members) {\n  if (members == 0) return 0;\n"
                       "  return members -\n         1;\n}\ninline int is_retired = 0, retired = 1;\n",
    "muster/types.hpp": "#pragma once\n",
}
ON = "::muster::seeded::on(::muster::seeded::Fault::%s)"


class Seeding(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for path, text in HEADERS.items():
            self.write(path, text)
        self.mutex = self.root / "mutex.hpp"
        self.mutex.write_text("#pragma once\nclass Mutex {};\n")

    def write(self, path, text):
        file = self.root / "include" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def seed(self, faults):
        copy(self.root / "include", parse(faults.splitlines()), self.mutex, self.root / "copy")

    def copied(self, path):
        return (self.root / "copy" / path).read_text()

    def refuses(self, faults, *reasons):
        with self.assertRaises(Wrong) as caught:
            self.seed(faults)
        for reason in reasons:
            self.assertIn(reason, str(caught.exception))

    def test_a_fault_is_seeded_and_can_be_switched_on(self):
        self.seed("no_end: nobody leaves\n  muster/room.hpp\n    - if (members == 0) return 0;\n"
                  "    + if (FAULT) return members;\n    + if (members == 0) return 0;\n")
        self.assertIn(f"  if ({ON % 'no_end'}) return members;\n  if (members == 0) return 0;\n",
                      self.copied("muster/room.hpp"))
        self.assertIn(f'#pragma once\n\n#include "{SWITCH}"\n', self.copied("muster/room.hpp"))
        self.assertIn("no_end,  ///< nobody leaves", self.copied(SWITCH))
        self.assertEqual(self.copied("muster/types.hpp"), HEADERS["muster/types.hpp"])

    def test_the_mutex_is_the_one_that_yields(self):
        self.seed("")
        self.assertEqual(self.copied(MUTEX), self.mutex.read_text())

    def test_a_text_is_found_in_any_layout_and_as_whole_words(self):
        self.seed("more: it grows\n  muster/room.hpp\n    - members - 1\n    + members - (FAULT ? 0 : 1)\n"
                  "    - retired = 1\n    + retired = FAULT ? 2 : 1\n")
        self.assertIn(f"return members - ({ON % 'more'} ? 0 : 1);", self.copied("muster/room.hpp"))
        self.assertIn(f"is_retired = 0, retired = {ON % 'more'} ? 2 : 1;", self.copied("muster/room.hpp"))

    def test_two_faults_at_one_place(self):
        self.seed("one: a\n  muster/room.hpp\n    - members == 0\n    + (FAULT || members == 0)\n"
                  "two: b\n  muster/room.hpp\n    - members == 0\n    + members == (FAULT ? 1 : 0)\n")
        self.assertIn(f"if (({ON % 'one'} || members == ({ON % 'two'} ? 1 : 0))) return 0;",
                      self.copied("muster/room.hpp"))

    def test_a_text_that_is_not_there_is_an_error(self):
        self.refuses("gone: a\n  muster/room.hpp\n    - members == 5\n    + FAULT\n",
                     "fault gone", "not in muster/room.hpp", "copy it anew", "members == 5")

    def test_a_text_that_is_there_twice_is_an_error(self):
        self.refuses("twice: a\n  muster/room.hpp\n    - return\n    + if (!FAULT) return\n",
                     "fault twice", "2 times in muster/room.hpp", "name more of it")

    def test_a_header_that_is_not_there_is_an_error(self):
        self.refuses("lost: a\n  muster/hall.hpp\n    - x\n    + FAULT\n", "fault lost", "no header muster/hall.hpp")

    def test_a_list_that_says_too_little_is_an_error(self):
        self.refuses("  muster/room.hpp\n", "line 1", "belongs to no fault")
        self.refuses("No name\n", "line 1", "a fault begins with")
        self.refuses("one: a\n    - x\n", "line 2", "in which header")
        self.refuses("one: a\n  muster/room.hpp\n    + x\n", "line 3", "which text")
        self.refuses("one: a\n  muster/room.hpp\n    - x\n", "fault one", "what stands there instead")
        self.refuses("one: a\n  muster/room.hpp\n    - x\n    + y\n", "fault one", "always be on")
        self.refuses("one: a\n  muster/room.hpp\n    - x\n    + FAULT\none: b\n", "line 5", "this name already")

    def test_only_what_changed_is_written_anew(self):
        self.seed("")
        types = self.root / "copy" / "muster/types.hpp"
        before = types.stat().st_mtime_ns
        self.write("muster/room.hpp", "#pragma once\nint members;\n")
        self.write("muster/hall.hpp", "#pragma once\n")
        self.seed("")
        self.assertEqual(types.stat().st_mtime_ns, before)
        self.assertIn("int members;", self.copied("muster/room.hpp"))
        (self.root / "include/muster/hall.hpp").unlink()
        self.seed("")
        self.assertFalse((self.root / "copy/muster/hall.hpp").exists())

    def test_who_catches_a_fault(self):
        faults = parse("one: a\n  caught by parts: a test: of two\n  h.hpp\n    - x\n    + FAULT\n"
                       "two: b\n  h.hpp\n    - x\n    + FAULT\n".splitlines())
        self.assertEqual([fault.caught_by for fault in faults], [("parts", "a test: of two"), ("simulation", "")])


if __name__ == "__main__":
    unittest.main()
