// Ids and tokens that nobody can count on from one of them.
#include "muster/core/base/cipher.hpp"

#include <set>
#include <string>
#include <string_view>

#include "muster/core/base/sha256.hpp"
#include "support/catch.hpp"

namespace muster::test {
namespace {

TEST_CASE("the cipher is XTEA, as published", "[cipher]") {
  const core::Cipher cipher({0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f});
  CHECK(cipher(0x4142434445464748) == 0x497df3d072612cb5);
  CHECK(core::Cipher({0, 0, 0, 0})(0) == 0xdee9d4d8f7131ed9);
}

TEST_CASE("another key makes other numbers, and none comes twice", "[cipher]") {
  const core::Cipher one({1, 2, 3, 4});
  const core::Cipher other({1, 2, 3, 5});
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    CHECK(one(i) != other(i));
    seen.insert(one(i));
  }
  CHECK(seen.size() == 10'000);
}

TEST_CASE("SHA-256 gives what FIPS 180-4's examples give, whatever the length leaves of a block", "[cipher]") {
  const auto hex = [](std::string_view message) { return core::to_hex(core::sha256(message)); };
  CHECK(hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hex(std::string(55, 'a')) == "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  CHECK(hex(std::string(63, 'a')) == "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34");
  CHECK(hex(std::string(64, 'a')) == "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
  CHECK(hex(std::string(119, 'a')) == "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
  CHECK(hex(std::string(120, 'a')) == "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c");
  CHECK(hex(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace muster::test
