// Blocks: immutable encoded frames that many connections of one executor write from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

/// Bytes of whole frames. Belongs to one executor, so its reference count is not atomic.
struct Block {
  std::string bytes;
  std::uint32_t references = 0;
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
};

/// Blocks are cut here, so that a connection never waits with a larger one in hand.
inline constexpr std::size_t block_bytes = 64 * 1024;

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
