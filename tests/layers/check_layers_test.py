#!/usr/bin/env python3
"""Proves that check_layers.py finds each kind of violation, and nothing in a tree that keeps the rule."""
import tempfile
import unittest
from pathlib import Path

from check_layers import check

GOOD = {
    "config.hpp": "",
    "thread_safety.hpp": "class CheckedMutex {\n  std::mutex mutex_;\n};",
    "types.hpp": '#include <string>\n#include "muster/config.hpp"',
    "message.hpp": '#include "muster/types.hpp"',
    "transport.hpp": '#include "muster/message.hpp"',
    "connection_manager.hpp": '#include "muster/transport.hpp"\n'
                              '#if !defined(MUSTER_COMPILED)\n#include "muster/core/core.ipp"\n#endif',
    "muster.hpp": '#include "muster/connection_manager.hpp"',
    "core/loop/block.hpp": '#include "muster/message.hpp"',
    "core/delivery/writer.hpp": '#include "muster/core/loop/block.hpp"\nclass Writer {\n public:\n  explicit Writer(int) {}\n};',
    "core/flows/ending.hpp": '#include "muster/core/delivery/writer.hpp"\n'
                             'class Ending {\n public:\n  Ending(const Options& options,\n         Writer& writer)\n      : writer_(writer) {}\n};',
    "core/manager.hpp": '#include "muster/core/flows/ending.hpp"\nclass Manager {\n  core::Writer writer_{1};\n'
                        '  core::Ending ending_{options_, writer_};\n};',
    "core/core.ipp": '#include "muster/connection_manager.hpp"\n#include "muster/core/loop/block.hpp"',
    "protocols/json_protocol.hpp": '#include "muster/transport.hpp"\n'
                                   '#ifndef MUSTER_COMPILED\n#include "muster/protocols/json_protocol/json_protocol.ipp"\n#endif',
    "protocols/json_protocol/json_protocol.ipp": '#include "muster/protocols/json_protocol.hpp"\n#include <rapidjson/reader.h>',
    "transports/websocketpp.hpp": '#include "muster/transport.hpp"\n#include <asio.hpp>\n#include <sys/socket.h>',
}


class LayerRule(unittest.TestCase):
    def violations(self, changed=None):
        """What is found when files of the good tree are replaced, or others added."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **(changed or {})}.items():
                file = Path(root) / "muster" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text + "\n")
            return check(root)

    def expect(self, path, text, reason):
        found = self.violations({path: text})
        self.assertTrue(any(path in line and reason in line for line in found), f"expected '{reason}' in {found}")

    def test_a_tree_that_keeps_the_rule_passes(self):
        self.assertEqual(self.violations(), [])

    def test_an_unknown_header_is_an_error(self):
        self.expect("surprise.hpp", "", "not in the table")
        self.expect("transports/surprise.hpp", "", "not in the table")

    def test_an_upward_include_is_found(self):
        self.expect("types.hpp", '#include "muster/transport.hpp"', "layer 0 includes layer 1")
        self.expect("transport.hpp", '#include "muster/core/loop/block.hpp"', "layer 1 includes layer 2")
        self.expect("core/core.ipp", '#include "muster/protocols/json_protocol.hpp"', "layer 2 includes layer 3")

    def test_a_body_is_included_only_by_a_header_only_build(self):
        self.expect("transport.hpp", '#include "muster/core/core.ipp"', "layer 1 includes layer 2")
        self.expect("transport.hpp", '#if defined(MUSTER_COMPILED)\n#include "muster/core/core.ipp"\n#endif', "layer 1")
        self.expect("transport.hpp", '#ifndef MUSTER_COMPILED\n#else\n#include "muster/core/core.ipp"\n#endif', "layer 1")
        self.expect("transport.hpp", '#ifndef MUSTER_COMPILED\n#include "muster/core/loop/block.hpp"\n#endif', "layer 1")

    def test_an_adapter_that_reaches_into_the_core_is_found(self):
        self.expect("protocols/json_protocol.hpp", '#include "muster/core/loop/block.hpp"', "never the core")
        self.expect("protocols/json_protocol.hpp", '#ifndef MUSTER_COMPILED\n#include "muster/core/core.ipp"\n#endif', "never")
        self.expect("protocols/json_protocol/json_protocol.ipp", '#include "muster/core/loop/block.hpp"', "never the core")

    def test_an_include_of_a_higher_floor_is_found(self):
        self.expect("core/loop/block.hpp", '#include "muster/core/flows/ending.hpp"', "its own and lower ones")
        self.expect("core/delivery/writer.hpp", '#include "muster/core/manager.hpp"', "its own and lower ones")

    def test_a_folder_that_is_no_floor_is_found(self):
        self.expect("core/cellar/block.hpp", "", "not on a floor")

    def test_a_part_that_is_handed_a_higher_one_is_found(self):
        self.expect("core/delivery/writer.hpp", "class Writer {\n  Writer(Ending& ending);\n};", "not below it")
        self.expect("core/delivery/writer.hpp", "class Writer {\n  Writer(int i, const Ending& ending) noexcept : e(ending) {}\n};",
                    "not below it")
        self.expect("core/delivery/writer.hpp", "class Writer {\n  explicit Writer(Writer& other) {}\n};", "not below it")

    def test_parts_that_are_not_in_the_order_of_their_floors_are_found(self):
        self.expect("core/manager.hpp", "  core::Ending ending_;\n  core::Writer writer_;", "on a higher floor")
        self.expect("core/manager.hpp", "  core::Cellar cellar_;", "no header")

    def test_what_is_for_tests_is_for_nothing_else(self):
        self.assertEqual(self.violations({"testing/pipe.hpp": '#include "muster/transport.hpp"',
                                          "testing/peer.hpp": '#include "muster/testing/pipe.hpp"'}), [])
        self.expect("core/core.ipp", '#include "muster/testing/pipe.hpp"', "embedders' tests")

    def test_an_adapter_that_includes_another_is_found(self):
        self.expect("transports/websocketpp.hpp", '#include "muster/protocols/json_protocol.hpp"', "includes adapter")

    def test_a_second_header_of_an_adapter_keeps_its_rule(self):
        header = "transports/websocketpp_attach.hpp"
        self.assertEqual(self.violations({header: '#include "muster/transports/websocketpp.hpp"\n#include <asio/post.hpp>'}), [])
        self.expect(header, "#include <rapidjson/reader.h>", "may use")
        self.expect("protocols/json_protocol.hpp", f'#include "muster/{header}"', "includes adapter transports/websocketpp")

    def test_a_third_party_include_in_the_core_is_found(self):
        self.expect("types.hpp", "#include <rapidjson/reader.h>", "standard library alone")
        self.expect("core/loop/block.hpp", "#  include <asio.hpp>", "standard library alone")
        self.expect("core/core.ipp", "#include <sys/socket.h>", "standard library alone")

    def test_a_second_library_in_an_adapter_is_found(self):
        self.expect("protocols/json_protocol.hpp", "#include <asio.hpp>", "may use")
        self.expect("protocols/json_protocol/json_protocol.ipp", "#include <openssl/ssl.h>", "may use")

    def test_a_relative_include_is_found(self):
        self.expect("types.hpp", '#include "config.hpp"', "included as")

    def test_the_front_page_is_for_programs(self):
        self.expect("protocols/json_protocol.hpp", '#include "muster/muster.hpp"', "front page")

    def test_coroutines_are_for_programs(self):
        for path in ("muster.hpp", "transport.hpp", "core/core.ipp", "transports/websocketpp.hpp"):
            found = self.violations({"coroutine.hpp": "", path: '#include "muster/coroutine.hpp"'})
            self.assertTrue(any("C++20" in line for line in found), found)

    def test_an_include_of_a_missing_file_is_found(self):
        self.expect("types.hpp", '#include "muster/span.hpp"', "no such file")

    def test_a_cycle_is_found(self):
        self.expect("config.hpp", '#include "muster/types.hpp"', "cycle")

    def test_test_code_in_the_library_is_found(self):
        self.expect("types.hpp", "#include <catch2/catch.hpp>", "its tests")
        self.expect("types.hpp", "#ifdef CATCH_VERSION_MAJOR", "its tests")
        self.expect("core/loop/block.hpp", "#if defined(MUSTER_SIMULATION)", "its tests")
        self.expect("core/loop/block.hpp", "if (core::mutant(core::Mutant::skip_leave)) return;", "its tests")

    def test_a_mutex_that_clang_does_not_know_is_found(self):
        for raw in ("std::mutex mutex_;", "mutable std::shared_mutex mutex_;", "const std::lock_guard<Mutex> lock(mutex_);",
                    "std::condition_variable changed_;"):
            self.expect("core/loop/block.hpp", raw, "clang cannot check")
            self.expect("transports/websocketpp.hpp", raw, "clang cannot check")
        self.assertEqual(self.violations({"types.hpp": "std::condition_variable_any changed_;"}), [])

    def test_a_mutex_that_guards_nothing_is_found(self):
        guarded = "  Mutex mutex_;\n  int count_ MUSTER_GUARDED_BY(mutex_) = 0;\n"
        self.assertEqual(self.violations({"core/loop/block.hpp": guarded}), [])
        for mutex in ("Mutex mutex_;", "  mutable core::Mutex mutex_;", "CheckedMutex mutex_;"):
            self.expect("core/loop/block.hpp", mutex, "nothing below it")
            self.expect("core/loop/block.hpp", mutex + "\n" + guarded, "block.hpp:1: nothing below it")
            self.expect("core/loop/block.hpp", guarded + mutex, "block.hpp:3: nothing below it")

    def test_an_empty_tree_is_an_error(self):
        with tempfile.TemporaryDirectory() as root:
            self.assertTrue(check(root))


if __name__ == "__main__":
    unittest.main()
