// Outbox: what one connection still has to write. The queue is the core's; the transport holds one batch at most.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/loop/block.hpp"
#include "muster/span.hpp"
#include "muster/transport.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

inline constexpr std::size_t cache_line = 64;

/// Asks the processor for memory that is touched soon; any address will do.
inline void prefetch_line(const void* address) noexcept {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(address, 1);
#else
  (void)address;
#endif
}

/// What one hand-over came to: calls of Transport::write, and the bytes that it took at once.
struct Handed {
  std::size_t writes = 0;
  std::size_t bytes = 0;
};

/// Small while nothing is wrong: what control frames and a pipe that is full need is apart.
class Outbox {
  struct Control {
    TimePoint since;
    std::string frames;
    std::string pongs;
  };
  struct Flight {
    TimePoint since;
    std::size_t bytes = 0;
    std::size_t unsent = 0;          ///< what counts of it
    std::size_t unsent_before = 0;   ///< when it was last looked at for progress
    std::size_t unsent_at_ping = 0;  ///< and by the heartbeat
    bool looked_at = false;
    std::unique_ptr<Control> control;
    std::vector<Piece> pieces;
  };

 public:
  /// What writing borrows from the executor. Once a pipe has taken a batch it is too late to find no memory for it.
  struct Lent {
    std::vector<Span> spans;
    std::unique_ptr<Flight> flight;

    void prepare(std::size_t pieces) {
      if (flight && flight->pieces.capacity() >= pieces) return;
      if (!flight) flight = std::make_unique<Flight>();
      flight->pieces.reserve(pieces);
    }
  };

  /// Queues frames behind what is queued.
  void append(const BlockPtr& block, std::size_t begin, std::size_t end, TimePoint now) {
    if (!queue_.empty() && queue_.back().block.get() == block.get() && queue_.back().end == begin) {
      queue_.back().end = static_cast<std::uint32_t>(end);
    } else {
      queue_.push_back({block, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), now});
    }
    unsent_ += end - begin;
  }

  /// Frames that overtake queued data at the next frame boundary: ping, reauth.
  void append_control(std::string frame, TimePoint now) {
    control(now).frames += frame;
    unsent_ += frame.size();
  }
  /// Likewise. Behind what is in flight only the newest waits (RFC 6455, 5.5.3): who takes none shall not pile them up.
  void append_pong(const std::string& frame, TimePoint now) {
    std::string& pongs = control(now).pongs;
    if (in_flight_) unsent_ -= std::exchange(pongs, {}).size();
    unsent_ += frame.size();
    pongs += frame;
  }

  /// Hands over what is queued, control first. Call only when not `in_flight`.
  [[nodiscard]] WriteResult write(Transport& transport, Lent& lent, Handed& handed) {
    while (has_queued()) {
      std::size_t size = 0;
      const std::size_t pieces = next_batch(lent.spans, size);
      const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(pieces);
      lent.prepare(pieces);
      const WriteResult result = transport.write(lent.spans.data(), lent.spans.size());
      ++handed.writes;
      if (result == WriteResult::done) {
        handed.bytes += size;
        unsent_ -= size;
        control_.reset();
        queue_.erase(queue_.begin(), end);
        continue;
      }
      lent.flight->since = queued_since();
      lent.flight->control = std::move(control_);
      lent.flight->pieces.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
      keep(result, transport, lent, size);
      return result;
    }
    return WriteResult::done;
  }

  /// Hands over one block; only when nothing is before it. A fan-out's case, which leaves the queue's memory alone.
  [[nodiscard]] WriteResult write_at_once(Transport& transport, const BlockPtr& block, TimePoint now, Lent& lent) {
    const std::size_t size = block->bytes.size();
    const Span span{block->bytes.data(), size};
    if (!lent.flight) lent.prepare(1);
    const WriteResult result = transport.write(&span, 1);
    if (result == WriteResult::done) return result;
    unsent_ = size;
    lent.flight->since = now;
    lent.flight->pieces.push_back({block, 0, static_cast<std::uint32_t>(size), now});
    keep(result, transport, lent, size);
    return result;
  }

  /// What is in flight is through. Returns its bytes.
  std::size_t flight_done() {
    const std::size_t size = flight_ ? flight_->bytes : 0;
    if (flight_) unsent_ -= flight_->unsent;
    flight_.reset();
    in_flight_ = false;
    return size;
  }

  /// Asks the pipe again what of what is in flight the peer has not got.
  void recount(const Transport& transport) {
    if (!in_flight_) return;
    const std::size_t now_unsent = transport.unsent().value_or(flight_->bytes);
    unsent_ += now_unsent - flight_->unsent;
    flight_->unsent = now_unsent;
  }
  /// Whether nobody has asked this yet of what is in flight.
  [[nodiscard]] bool first_look() noexcept { return flight_ && !std::exchange(flight_->looked_at, true); }
  /// Whether the peer took anything of what is in flight since this was last asked.
  [[nodiscard]] bool progressed(const Transport& transport) { return progressed(transport, &Flight::unsent_before); }
  /// The same for whoever waits for an answer behind it.
  [[nodiscard]] bool progressed_for_ping(const Transport& transport) {
    return progressed(transport, &Flight::unsent_at_ping);
  }

  /// Drops what is queued; what is in flight stays valid until the socket is gone.
  void discard() {
    queue_.clear();
    queue_.shrink_to_fit();
    control_.reset();
    unsent_ = flight_ ? flight_->unsent : 0;
  }

  [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] bool has_queued() const noexcept { return !queue_.empty() || control_; }
  [[nodiscard]] bool idle() const noexcept { return !in_flight_ && !has_queued(); }
  /// Bytes queued or in flight; while something is in flight, what the system holds as well, if the pipe tells.
  [[nodiscard]] std::size_t unsent() const noexcept { return unsent_; }
  [[nodiscard]] std::size_t control_bytes() const noexcept { return control_ ? control_->frames.size() : 0; }
  /// Since when the oldest unsent byte waits; only when there is one.
  [[nodiscard]] TimePoint waiting_since() const noexcept { return flight_ ? flight_->since : queued_since(); }

  /// Asks for the memory of the queue early, if something is in it.
  void prefetch() const noexcept {
    if (!queue_.empty()) prefetch_line(queue_.data());
  }

 private:
  /// One write's worth: whole pieces up to this, at least one.
  static constexpr std::size_t batch_limit = 256 * 1024;

  /// What the pipe did not take at once: it is in flight, or broke with it.
  void keep(WriteResult result, const Transport& transport, Lent& lent, std::size_t size) {
    in_flight_ = result == WriteResult::pending;
    flight_ = std::move(lent.flight);
    flight_->bytes = flight_->unsent = size;
    flight_->unsent_before = flight_->unsent_at_ping = size;
    flight_->looked_at = false;
    recount(transport);
    flight_->unsent_before = flight_->unsent_at_ping = flight_->unsent;
  }
  [[nodiscard]] bool progressed(const Transport& transport, std::size_t Flight::*before) {
    recount(transport);
    return in_flight_ && flight_->unsent < std::exchange((*flight_).*before, flight_->unsent);
  }
  [[nodiscard]] Control& control(TimePoint now) {
    if (!control_) control_ = std::make_unique<Control>(Control{now, {}, {}});
    return *control_;
  }
  [[nodiscard]] TimePoint queued_since() const noexcept {
    if (queue_.empty()) return control_->since;
    return control_ ? std::min(control_->since, queue_.front().since) : queue_.front().since;
  }
  /// Fills `spans`; returns how many pieces of the queue are among them.
  std::size_t next_batch(std::vector<Span>& spans, std::size_t& size) const {
    spans.clear();
    if (control_) {
      for (const std::string* frames : {&control_->frames, &control_->pongs}) {
        if (!frames->empty()) spans.push_back({frames->data(), frames->size()});
        size += frames->size();
      }
    }
    std::size_t taken = 0;
    while (taken < queue_.size() && (size == 0 || size < batch_limit)) {
      const Piece& piece = queue_[taken++];
      spans.push_back({piece.block->bytes.data() + piece.begin, std::size_t{piece.end} - piece.begin});
      size += piece.end - piece.begin;
    }
    return taken;
  }

  std::vector<Piece> queue_;
  std::size_t unsent_ = 0;
  bool in_flight_ = false;
  /// None while there is nothing to overtake with.
  std::unique_ptr<Control> control_;
  /// None but while the pipe holds one, or broke with it.
  std::unique_ptr<Flight> flight_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
