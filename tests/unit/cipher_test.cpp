// Ids that nobody can count on from one of them.
#include "muster/detail/cipher.hpp"

#include <set>

#include "support/catch.hpp"

namespace muster::test {
namespace {

TEST_CASE("the cipher is XTEA, as published", "[cipher]") {
  const detail::Cipher cipher({0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f});
  CHECK(cipher(0x4142434445464748) == 0x497df3d072612cb5);
  CHECK(detail::Cipher({0, 0, 0, 0})(0) == 0xdee9d4d8f7131ed9);
}

TEST_CASE("another key makes other numbers, and none comes twice", "[cipher]") {
  const detail::Cipher one({1, 2, 3, 4});
  const detail::Cipher other({1, 2, 3, 5});
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    CHECK(one(i) != other(i));
    seen.insert(one(i));
  }
  CHECK(seen.size() == 10'000);
}

}  // namespace
}  // namespace muster::test
