// Blocks: immutable encoded frames that many connections of one executor write from.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Bytes of whole frames. Belongs to one executor, so its reference count is not atomic.
struct Block {
  using Sum = std::shared_ptr<std::atomic<std::size_t>>;

  std::string bytes;
  std::uint32_t references = 0;

  Block() = default;
  ~Block() {
    if (sum_) *sum_ -= counted_;
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  /// Adds its bytes, as many as they are by now, to the sum of all blocks, until it ends.
  void count(const Sum& sum) {
    if (!sum_) sum_ = sum;
    *sum_ += bytes.size() - counted_;
    counted_ = bytes.size();
  }

 private:
  Sum sum_;
  std::size_t counted_ = 0;
};

class BlockPtr {
 public:
  BlockPtr() noexcept = default;
  explicit BlockPtr(Block* block) noexcept : block_(block) { retain(); }
  BlockPtr(const BlockPtr& other) noexcept : block_(other.block_) { retain(); }
  BlockPtr(BlockPtr&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockPtr& operator=(BlockPtr other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockPtr() {
    if (block_ != nullptr && --block_->references == 0) delete block_;
  }
  [[nodiscard]] static BlockPtr make() { return BlockPtr(new Block); }
  [[nodiscard]] Block* get() const noexcept { return block_; }
  Block* operator->() const noexcept { return block_; }
  explicit operator bool() const noexcept { return block_ != nullptr; }

 private:
  void retain() noexcept {
    if (block_ != nullptr) ++block_->references;
  }
  Block* block_ = nullptr;
};

/// Some frames of a block: what one connection is to write of it.
struct Piece {
  BlockPtr block;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  /// Since when its first byte waits.
  TimePoint since{};
};

/// Blocks are cut here, so that a connection never waits with a larger one in hand.
inline constexpr std::size_t block_bytes = 64 * 1024;

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
