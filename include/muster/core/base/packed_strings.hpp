// PackedStrings: a few strings in one block, for what each connection keeps and nobody reads often.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Of no strings it is a null pointer. The block: its length, then each string's length and bytes.
class PackedStrings {
 public:
  PackedStrings() = default;
  /// `get(i)` is the i-th of `count`.
  template <class Get>
  PackedStrings(std::size_t count, Get get) {
    if (count == 0) return;
    std::size_t bytes = sizeof(Length) * (1 + count);
    for (std::size_t i = 0; i < count; ++i) bytes += std::string_view(get(i)).size();
    block_.reset(new char[bytes]);
    char* at = put(block_.get(), bytes);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string_view one = get(i);
      at = put(at, one.size());
      at += one.copy(at, one.size());
    }
  }
  PackedStrings(const PackedStrings& other) {
    if (!other.block_) return;
    const std::size_t bytes = length(other.block_.get());
    block_.reset(new char[bytes]);
    std::memcpy(block_.get(), other.block_.get(), bytes);
  }
  PackedStrings(PackedStrings&&) noexcept = default;
  PackedStrings& operator=(PackedStrings other) noexcept {
    block_.swap(other.block_);
    return *this;
  }
  ~PackedStrings() = default;

  void swap(PackedStrings& other) noexcept { block_.swap(other.block_); }
  [[nodiscard]] bool empty() const noexcept { return !block_; }
  /// Empty where there is none.
  [[nodiscard]] std::string_view front() const noexcept {
    if (!block_) return {};
    const char* const first = block_.get() + sizeof(Length);
    return {first + sizeof(Length), length(first)};
  }
  [[nodiscard]] std::vector<std::string> unpack() const {
    std::vector<std::string> strings;
    if (!block_) return strings;
    const char* const end = block_.get() + length(block_.get());
    for (const char* at = block_.get() + sizeof(Length); at != end;) {
      const std::size_t size = length(at);
      at += sizeof(Length);
      strings.emplace_back(at, size);
      at += size;
    }
    return strings;
  }

 private:
  using Length = std::uint32_t;
  static char* put(char* at, std::size_t number) noexcept {
    const auto stored = static_cast<Length>(number);
    std::memcpy(at, &stored, sizeof stored);
    return at + sizeof stored;
  }
  [[nodiscard]] static std::size_t length(const char* at) noexcept {
    Length stored = 0;
    std::memcpy(&stored, at, sizeof stored);
    return stored;
  }
  std::unique_ptr<char[]> block_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
