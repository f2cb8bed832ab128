#!/usr/bin/env python3
"""Proves that check_promises.py finds what is not shown, and nothing where every promise is."""
import tempfile
import unittest
from pathlib import Path

from check_promises import check

HEADER = '''// It must not be read: no comment of the interface.
/// A door. It never opens by itself; several at once may stand side by side.
///
/// - Must be painted (once
///   a year).
class Door {
  int width;  ///< never 0
  /// Closes it. close_all closes the others once.
  void close();
};
'''
TESTS = '''TEST_CASE("a door stays shut", "[door]") {
  SECTION("and dry, "
          "with \\"paint\\"") {}
}
TEST_CASE_METHOD(House, "a door has a width") {}
'''
LISTING = '''# Doors.
door.hpp
  It never opens by itself; several at once may stand side by side.
    = a door stays shut
  Must be painted (once a year).
    = and dry, with "paint"
    - beside that, advice
  never 0
    = a door has a width
  close_all closes the others once.
    - no promise of ours
'''


class Promises(unittest.TestCase):
    def problems(self, header=HEADER, tests=TESTS, listing=LISTING):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {"muster/door.hpp": header, "muster/core/door.hpp": "/// Never public.\n",
                               "tests/unit/door_test.cpp": tests}.items():
                file = Path(root) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return check(root, Path(root) / "tests", listing)

    def expect(self, reason, **changed):
        found = self.problems(**changed)
        self.assertEqual(len(found), 1, found)
        self.assertIn(reason, found[0])

    def test_nothing_is_wrong_where_each_promise_is_shown(self):
        self.assertEqual(self.problems(), [])

    def test_a_promise_nobody_shows_is_found(self):
        for word in ("must", "once", "never", "until", "Never"):
            self.expect("no test shows: It creaks", header=HEADER + f"/// It creaks {word} it is oiled.\n")
        self.assertEqual(self.problems(header=HEADER + "/// All open at once, a musty smell.\n"), [])

    def test_a_reworded_promise_is_found_twice(self):
        found = self.problems(header=HEADER.replace("by itself", "by\n/// magic"))
        self.assertIn("no test shows: It never opens by magic;", found[0])
        self.assertIn("no longer says: It never opens by itself;", found[1])

    def test_a_line_break_changes_nothing(self):
        self.assertEqual(self.problems(header=HEADER.replace("by itself", "by\n///   itself")), [])

    def test_a_test_that_is_gone_is_found(self):
        self.expect("there is no test 'a door has a width'", tests=TESTS.replace("has a width", "has a height"))

    def test_any_sentence_may_be_listed(self):
        self.assertEqual(self.problems(listing=LISTING + "  Closes it.\n    = a door stays shut\n"), [])
        self.expect("no longer says: Opens it.", listing=LISTING + "  Opens it.\n    = a door stays shut\n")

    def test_a_listing_that_shows_nothing_is_found(self):
        self.expect("nothing shows: never 0", listing=LISTING.replace("    = a door has a width\n", ""))
        self.expect("listed twice", listing=LISTING + "  never 0\n    - so\n")
        self.expect("promises.txt:12: neither", listing=LISTING + "      = a door stays shut\n")

    def test_an_empty_tree_is_an_error(self):
        with tempfile.TemporaryDirectory() as root:
            self.assertTrue(check(root, root, ""))


if __name__ == "__main__":
    unittest.main()
