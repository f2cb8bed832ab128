// Paths with names in them: what matches, what stands there, and which patterns are none.
#include "muster/path_pattern.hpp"

#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace muster::test {
namespace {

using Catch::Matchers::Contains;
using muster::detail::match_path;
using muster::detail::PathNames;
using muster::detail::problem_of_path;

/// What stands at the one name; "-": it does not match.
std::string at_name(std::string_view pattern, std::string_view path) {
  const auto names = match_path(pattern, path);
  if (!names) return "-";
  REQUIRE(names->size() == 1);
  return names->front().second;
}

TEST_CASE("a path without names is compared whole", "[paths]") {
  CHECK(match_path("/ws", "/ws") == PathNames());
  CHECK(match_path("/a/b", "/a/b") == PathNames());
  CHECK(match_path("/", "/") == PathNames());
  for (const char* other : {"/ws/", "/w", "/wss", "ws", "/", "", "//ws", "/WS", "/%77s", "/ws/x"}) {
    INFO(other);
    CHECK_FALSE(match_path("/ws", other));
  }
}

TEST_CASE("a name stands for one segment that is not empty, and for nothing more", "[paths]") {
  CHECK(at_name("/doc/{room}", "/doc/plan") == "plan");
  CHECK(at_name("/{room}", "/plan") == "plan");
  CHECK(at_name("/doc/{room}/edit", "/doc/plan/edit") == "plan");
  CHECK(at_name("/doc/{room}/", "/doc/plan/") == "plan");
  CHECK(match_path("/{tenant}/doc/{room}", "/a/doc/b") == PathNames{{"tenant", "a"}, {"room", "b"}});
  for (const char* other : {"/doc/", "/doc", "/doc//", "/doc/plan/", "/doc/plan/x", "//plan", "/doc/a/b", "/Doc/plan",
                            "doc/plan", "/x/doc/plan", ""}) {
    INFO(other);
    CHECK(at_name("/doc/{room}", other) == "-");
  }
  CHECK(at_name("/doc/{room}/edit", "/doc/plan/edits") == "-");
  CHECK(at_name("/doc/{room}/edit", "/doc/plan/") == "-");
  CHECK(at_name("/doc/{room}/", "/doc/plan/x") == "-");
}

TEST_CASE("who comes to the pattern itself has its braces as the name's value", "[paths]") {
  CHECK(at_name("/doc/{room}", "/doc/{room}") == "{room}");
}

TEST_CASE("what stands at a name is percent-decoded once, and a fault in it is no match", "[paths]") {
  CHECK(at_name("/doc/{room}", "/doc/caf%C3%a9") == "caf\xc3\xa9");
  CHECK(at_name("/doc/{room}", "/doc/a%2Fb") == "a/b");  // a slash that divides nothing
  CHECK(at_name("/doc/{room}", "/doc/%2e%2E") == "..");
  CHECK(at_name("/doc/{room}", "/doc/%00") == std::string(1, '\0'));
  CHECK(at_name("/doc/{room}", "/doc/%ff") == "\xff");
  CHECK(at_name("/doc/{room}", "/doc/%2541") == "%41");
  CHECK(at_name("/doc/{room}", "/doc/a+b") == "a+b");  // a plus is a space in a query only
  for (const char* fault : {"%", "a%", "%4", "a%4", "%4g", "%g4", "%%41", "% 41", "%+4", "%-1", "%0x"}) {
    INFO(fault);
    CHECK(at_name("/doc/{room}", std::string("/doc/") + fault) == "-");
  }
}

TEST_CASE("of two patterns it is known whether the first takes all that comes to the second", "[paths]") {
  CHECK(match_path("/doc/{room}", "/doc/{id}"));
  CHECK(match_path("/doc/{room}", "/doc/list"));
  CHECK_FALSE(match_path("/doc/list", "/doc/{room}"));
  CHECK_FALSE(match_path("/doc/{room}", "/doc/{room}/edit"));
  CHECK_FALSE(match_path("/doc/{room}", "/text/{room}"));
}

TEST_CASE("no path is read beyond its end, whatever it is made of", "[paths]") {
  std::mt19937 random(20261129);
  const std::string_view letters = "/{}%a4";
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 12, '\0');  // of its size, so that a sanitizer sees its end
    for (char& letter : text) letter = letters[random() % letters.size()];
    const std::string pattern = "/" + text.substr(0, text.size() / 2);
    if (problem_of_path(pattern).empty()) (void)match_path(pattern, text);
    for (const char* known : {"/{a}", "/a/{b}", "/{a}/{b}/", "/a"}) {
      const auto names = match_path(known, text);
      if (!names) continue;
      CHECK(std::count(text.begin(), text.end(), '/') == std::count(known, known + std::string(known).size(), '/'));
      for (const auto& name : *names) CHECK_FALSE(name.second.empty());
    }
  }
}

TEST_CASE("a pattern that could never match as it is meant is named, and what is wrong with it", "[paths]") {
  for (const char* good : {"/", "/ws", "/doc/{room}", "/{a}/{b}", "/{a}/x/", "/caf%C3%A9"}) {
    INFO(good);
    CHECK(problem_of_path(good).empty());
  }
  CHECK(problem_of_path("") == "the path \"\" must begin with /");
  CHECK(problem_of_path("doc/{room}") == "the path \"doc/{room}\" must begin with /");
  for (const char* braces : {"/doc/{}", "/doc/{room", "/doc/room}", "/doc/a{room}", "/doc/{room}.txt", "/doc/{a}{b}",
                             "/{{a}}", "/}{", "/doc/{a/b}"}) {
    INFO(braces);
    CHECK_THAT(problem_of_path(braces), Contains("braces must be around a name that is a segment of its own"));
    CHECK_THAT(problem_of_path(braces), Contains(braces));
  }
  CHECK(problem_of_path("/{a}/{b}/{a}") == "the path \"/{a}/{b}/{a}\" has the name a twice");
  for (const char* strange : {"/doc?room={room}", "/doc#x", "/a b", "/caf\xc3\xa9", "/a\tb", "/a\x7f"}) {
    INFO(strange);
    CHECK_THAT(problem_of_path(strange), Contains("is none that a request can have"));
  }
}

}  // namespace
}  // namespace muster::test
