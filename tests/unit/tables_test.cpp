// What the tables of the core are made of: objects that are chained, a list of mostly one, a room's members.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "muster/core/base/intrusive_table.hpp"
#include "muster/core/base/one_or_more.hpp"
#include "muster/core/base/random.hpp"
#include "muster/core/loop/loop.hpp"
#include "muster/core/room/member_table.hpp"
#include "muster/core/room/room_state.hpp"
#include "support/catch.hpp"

namespace muster::test {
namespace {

struct Object {
  int key = 0;
  bool inside = false;
  Object* next = nullptr;
  Object* next_of_many = nullptr;
  Object** at = nullptr;
};
struct Key {
  static int of(const Object& object) { return object.key; }
  static std::size_t hash(int key) { return static_cast<std::size_t>(key % 7); }  // others of its bucket, always
};

template <class Table>
void agrees(Table& table, std::vector<Object>& objects, std::uint64_t seed) {
  core::Random random(seed);
  std::size_t inside = 0;
  for (int step = 0; step < 4000; ++step) {
    Object& object = objects[static_cast<std::size_t>(random() % objects.size())];
    if (object.inside) {
      table.erase(object);
      --inside;
    } else {
      table.insert(object);
      ++inside;
    }
    object.inside = !object.inside;
    REQUIRE(table.size() == inside);
    const int key = static_cast<int>(random() % 40);
    std::vector<const Object*> found;
    for (const Object* one = table.find(key); one != nullptr; one = table.find_next(*one)) found.push_back(one);
    const auto is_there = [key](const Object& one) { return one.inside && one.key == key; };
    REQUIRE(found.size() == static_cast<std::size_t>(std::count_if(objects.begin(), objects.end(), is_there)));
    for (const Object* one : found) REQUIRE(is_there(*one));
    REQUIRE(std::unique(found.begin(), found.end()) == found.end());
  }
  std::size_t seen = 0;
  table.for_each([&](const Object& one) { seen += one.inside ? 1 : 1000; });
  CHECK(seen == inside);
  table.clear([](Object& one) { one.inside = false; });
  CHECK(table.size() == 0);
  CHECK(std::none_of(objects.begin(), objects.end(), [](const Object& one) { return one.inside; }));
}

std::vector<Object> objects(std::size_t count, int keys) {
  std::vector<Object> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i].key = static_cast<int>(i) % keys;
  return all;
}

TEST_CASE("a table of chained objects has what was put in and not taken out", "[tables]") {
  core::IntrusiveTable<Object, Key, &Object::next> table;
  auto all = objects(40, 40);
  CHECK(table.find(3) == nullptr);
  agrees(table, all, 1);
}

TEST_CASE("a table of chained objects finds all of one key, and takes any of them out", "[tables]") {
  core::IntrusiveTable<Object, Key, &Object::next_of_many, &Object::at> table;
  auto all = objects(200, 40);
  agrees(table, all, 2);
}

TEST_CASE("a list of mostly one keeps the order of many, and has no memory of its own again", "[tables]") {
  core::OneOrMore<std::shared_ptr<int>> list;
  const auto put = [&](std::size_t at, int value) {
    list.make_room();
    list.insert(list.begin() + at, std::make_shared<int>(value));
  };
  const auto values = [&] {
    std::string text;
    for (const auto& one : list) text += std::to_string(*one);
    return text;
  };
  CHECK(list.empty());
  put(0, 2);
  put(1, 4);
  put(1, 3);
  put(0, 1);
  CHECK(values() == "1234");
  list.erase(list.begin() + 1);
  CHECK(values() == "134");
  while (!list.empty()) list.erase(list.begin());
  CHECK(list.size() == 0);
  put(0, 5);
  const std::weak_ptr<int> one = *list.begin();
  list.erase(list.begin());
  CHECK(one.expired());
  put(0, 6);
  CHECK(values() == "6");
}

TEST_CASE("a room's members count by connection and by user, and a user who has gone is known until it is told",
          "[tables]") {
  core::MemberTable members;
  const auto of = [](const char* user) {
    Identity identity;
    identity.user = user;
    return std::make_shared<const Identity>(identity);
  };
  CHECK(members.add(ConnectionId(1), of("ann")));
  CHECK_FALSE(members.add(ConnectionId(2), of("ann")));
  CHECK(members.add(ConnectionId(3), of("ben")));
  CHECK(members.size() == 3);
  CHECK(members.users() == 2);
  const auto counts = [&] {
    std::vector<std::string> found;
    members.for_each_user(
        [&](const std::string& user, std::size_t count) { found.push_back(user + std::to_string(count)); });
    std::sort(found.begin(), found.end());
    return found;
  };
  CHECK(counts() == std::vector<std::string>{"ann2", "ben1"});

  CHECK(members.remove(*members.find(ConnectionId(1)), true)->user == "ann");
  CHECK(members.has_user("ann"));
  CHECK_FALSE(members.forget_user("ann"));
  CHECK(members.remove(*members.find(ConnectionId(2)), true)->user == "ann");
  CHECK_FALSE(members.has_user("ann"));
  CHECK(members.users() == 1);
  CHECK(members.size() == 1);
  CHECK(members.find(ConnectionId(2)) == nullptr);
  CHECK(counts() == std::vector<std::string>{"ben1"});
  std::vector<std::string> gone;
  members.for_each_gone([&](const std::string& user) { gone.push_back(user); });
  CHECK(gone == std::vector<std::string>{"ann"});

  CHECK_FALSE(members.add(ConnectionId(4), of("ann")));  // nobody heard that it had gone
  CHECK(members.users() == 2);
  (void)members.remove(*members.find(ConnectionId(4)), true);
  CHECK(members.forget_user("ann"));
  CHECK_FALSE(members.forget_user("ann"));
  CHECK(members.add(ConnectionId(5), of("ann")));
  (void)members.remove(*members.find(ConnectionId(5)), false);
  CHECK(members.add(ConnectionId(6), of("ann")));
}

}  // namespace
}  // namespace muster::test
