// Outbox: what one connection still has to write. The queue is the core's; the transport holds one batch at most.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "muster/detail/block.hpp"
#include "muster/span.hpp"
#include "muster/transport.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

class Outbox {
 public:
  /// Queues frames behind what is queued.
  void append(const BlockPtr& block, std::size_t begin, std::size_t end, TimePoint now) {
    if (!queue_.empty() && queue_.back().block.get() == block.get() && queue_.back().end == begin) {
      queue_.back().end = static_cast<std::uint32_t>(end);
      unsent_ += end - begin;
      return;
    }
    queue_.push_back({block, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), now});
    unsent_ += end - begin;
  }

  /// Frames that overtake queued data at the next frame boundary: ping, reauth. Pongs only count as the newest.
  void append_control(std::string frame, TimePoint now) {
    if (control_.empty() && pong_.empty()) control_since_ = now;
    unsent_ += frame.size();
    control_ += frame;
  }
  void set_pong(std::string frame, TimePoint now) {
    if (control_.empty() && pong_.empty()) control_since_ = now;
    unsent_ += frame.size() - pong_.size();
    pong_ = std::move(frame);
  }

  /// Hands over what is queued, control first; `scratch` lends its memory. Call only when not `in_flight`.
  [[nodiscard]] WriteResult write(Transport& transport, std::vector<Span>& scratch, std::size_t& written) {
    while (has_queued()) {
      const std::size_t size = next_batch(scratch);
      const WriteResult result = transport.write(scratch.data(), scratch.size());
      if (result == WriteResult::done) {
        written += size;
        batch_.clear();
        batch_control_.clear();
        unsent_ -= size;
      } else {
        batch_bytes_ = size;
        in_flight_ = result == WriteResult::pending;
        return result;
      }
    }
    return WriteResult::done;
  }

  /// The batch in flight is through. Returns its bytes.
  std::size_t batch_done() {
    const std::size_t size = std::exchange(batch_bytes_, 0);
    batch_.clear();
    batch_control_.clear();
    unsent_ -= size;
    in_flight_ = false;
    return size;
  }

  /// Drops what is queued; what is in flight stays valid until the socket is gone.
  void discard() {
    queue_.clear();
    queue_.shrink_to_fit();
    control_.clear();
    pong_.clear();
    unsent_ = batch_bytes_;
  }

  [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] bool has_queued() const noexcept { return !queue_.empty() || !control_.empty() || !pong_.empty(); }
  /// Bytes queued or in flight.
  [[nodiscard]] std::size_t unsent() const noexcept { return unsent_; }
  [[nodiscard]] std::size_t control_bytes() const noexcept { return control_.size(); }
  /// Since when the oldest unsent byte waits; only when there is one.
  [[nodiscard]] TimePoint waiting_since() const noexcept { return in_flight_ ? batch_since_ : queued_since(); }

 private:
  /// One write's worth: whole pieces up to this, at least one.
  static constexpr std::size_t batch_limit = 256 * 1024;

  [[nodiscard]] TimePoint queued_since() const noexcept {
    const bool control = !control_.empty() || !pong_.empty();
    if (queue_.empty()) return control_since_;
    return control ? std::min(control_since_, queue_.front().since) : queue_.front().since;
  }
  std::size_t next_batch(std::vector<Span>& spans) {
    spans.clear();
    batch_.clear();
    batch_since_ = queued_since();
    batch_control_ = std::move(control_);
    control_.clear();
    batch_control_ += pong_;
    pong_.clear();
    std::size_t size = batch_control_.size();
    if (size != 0) spans.push_back({batch_control_.data(), size});
    std::size_t taken = 0;
    while (taken < queue_.size() && (size == 0 || size < batch_limit)) {
      const Piece& piece = queue_[taken++];
      spans.push_back({piece.block->bytes.data() + piece.begin, std::size_t{piece.end} - piece.begin});
      size += piece.end - piece.begin;
    }
    if (taken == queue_.size()) {
      batch_.swap(queue_);
    } else {
      const auto cut = queue_.begin() + static_cast<std::ptrdiff_t>(taken);
      batch_.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(cut));
      queue_.erase(queue_.begin(), cut);
    }
    return size;
  }

  std::vector<Piece> queue_;
  std::vector<Piece> batch_;
  std::size_t unsent_ = 0;
  std::size_t batch_bytes_ = 0;
  bool in_flight_ = false;
  TimePoint control_since_{};
  TimePoint batch_since_{};
  std::string control_;
  std::string pong_;
  std::string batch_control_;
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
