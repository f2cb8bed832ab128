// MemoryRoomLog: rooms' logs kept in this process, and gone with it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "muster/config.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/room_log.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What a MemoryRoomLog may hold (0 = no limit), each update being charged 64 bytes more than its data. At a room's bound
/// it answers `too_large`, at that of all rooms `unavailable`.
struct MemoryLogLimits {
  std::size_t bytes_per_room = std::size_t{16} * 1024 * 1024;
  std::size_t bytes = std::size_t{512} * 1024 * 1024;
};

/// A RoomLog in memory. It answers inside the call, after its lock was released.
///
/// Offsets come from one counter of all rooms, so that they grow even over an `erase`, of which nothing is kept.
class MemoryRoomLog final : public RoomLog {
 public:
  explicit MemoryRoomLog(MemoryLogLimits limits = {}) : limits_(limits) {}

  void append(RoomKey room, Payload update, Reply<Result<LogSize>> done) override {
    done(append_now(room, std::move(update)));
  }
  void read(RoomKey room, std::uint64_t after, std::size_t bytes, Reply<Result<LogPart>> done) override {
    done(read_now(room, after, bytes));
  }
  void replace(RoomKey room, std::uint64_t through, Payload sum, Reply<Result<LogSize>> done) override {
    done(replace_now(room, through, std::move(sum)));
  }
  void erase(RoomKey room, Reply<Result<void>> done) override {
    erase_now(room);
    done(Result<void>());
  }

  /// Rooms that have a log.
  [[nodiscard]] std::size_t size() const {
    const core::Lock lock(mutex_);
    return rooms_.size();
  }
  /// What is charged for all of them.
  [[nodiscard]] std::size_t bytes() const {
    const core::Lock lock(mutex_);
    return bytes_;
  }

 private:
  using Updates = std::deque<LogUpdate>;
  struct Log {
    Updates updates;
    std::size_t bytes = 0;  ///< of their data
  };
  static constexpr std::size_t surroundings = 64;

  static LogSize size_of(const Log& log) {
    return {log.updates.empty() ? 0 : log.updates.back().offset, log.updates.size(), log.bytes};
  }
  static std::size_t charge(const Log& log) { return log.bytes + log.updates.size() * surroundings; }
  static std::size_t charge(const Payload& data) { return data.view().size() + surroundings; }
  static bool beyond(std::size_t held, std::size_t more, std::size_t limit) {
    return limit != 0 && (more > limit || held > limit - more);
  }
  static Updates::const_iterator behind(const Updates& updates, std::uint64_t offset) {
    return std::upper_bound(updates.begin(), updates.end(), offset,
                            [](std::uint64_t at, const LogUpdate& update) { return at < update.offset; });
  }

  [[nodiscard]] Result<LogSize> append_now(const RoomKey& room, Payload update) {
    const std::size_t more = charge(update);
    const core::Lock lock(mutex_);
    const auto known = rooms_.find(room);
    if (beyond(known == rooms_.end() ? 0 : charge(known->second), more, limits_.bytes_per_room)) {
      return Error{
          errc::too_large, "The room's log is full; it takes more once its updates are replaced by their sum", {}};
    }
    if (beyond(bytes_, more, limits_.bytes)) return full();
    const auto at = known == rooms_.end() ? rooms_.try_emplace(room).first : known;
    Log& log = at->second;
    const std::size_t size = update.view().size();
    try {
      log.updates.push_back({last_offset_ + 1, std::move(update)});
    } catch (...) {
      if (log.updates.empty()) rooms_.erase(at);
      throw;
    }
    ++last_offset_;
    log.bytes += size;
    bytes_ += more;
    return size_of(log);
  }

  [[nodiscard]] Result<LogPart> read_now(const RoomKey& room, std::uint64_t after, std::size_t bytes) const {
    LogPart part;
    const core::Lock lock(mutex_);
    const auto known = rooms_.find(room);
    if (known == rooms_.end()) return part;
    const Updates& updates = known->second.updates;
    std::size_t taken = 0;
    for (auto at = behind(updates, after); at != updates.end(); ++at) {
      const std::size_t size = at->data.view().size();
      if (!part.updates.empty() && (taken > bytes || size > bytes - taken)) {
        part.more = true;
        break;
      }
      taken += size;
      part.updates.push_back(*at);
    }
    return part;
  }

  [[nodiscard]] Result<LogSize> replace_now(const RoomKey& room, std::uint64_t through, Payload sum) {
    Updates replaced;  // destroyed after the section
    const core::Lock lock(mutex_);
    const auto known = rooms_.find(room);
    if (known == rooms_.end()) return not_there();
    Log& log = known->second;
    const auto end = behind(log.updates, through);
    if (end == log.updates.begin() || std::prev(end)->offset != through) return not_there();
    const auto count = static_cast<std::size_t>(end - log.updates.begin());
    std::size_t before = 0;
    for (std::size_t i = 0; i < count; ++i) before += log.updates[i].data.view().size();
    const std::size_t size = sum.view().size();
    const std::size_t held = charge(log) - before - count * surroundings;
    if (beyond(held, charge(sum), limits_.bytes_per_room)) {
      return Error{errc::too_large, "The sum is larger than a room's log may be", {}};
    }
    if (beyond(bytes_ - before - count * surroundings, charge(sum), limits_.bytes)) return full();
    replaced.resize(count - 1);
    for (std::size_t i = 0; i + 1 < count; ++i) replaced[i] = std::move(log.updates[i]);
    log.updates[count - 1].data = std::move(sum);
    log.updates.erase(log.updates.begin(), log.updates.begin() + static_cast<std::ptrdiff_t>(count - 1));
    log.bytes = log.bytes - before + size;
    bytes_ = bytes_ - before - count * surroundings + size + surroundings;
    return size_of(log);
  }

  void erase_now(const RoomKey& room) {
    Log erased;  // destroyed after the section
    const core::Lock lock(mutex_);
    const auto known = rooms_.find(room);
    if (known == rooms_.end()) return;
    std::swap(erased, known->second);
    bytes_ -= charge(erased);
    rooms_.erase(known);
  }

  static Error full() { return {errc::unavailable, "No room for more updates in the logs of all rooms", {}}; }
  static Error not_there() { return {errc::not_found, "There is no update at this offset of the room's log", {}}; }

  const MemoryLogLimits limits_;
  mutable core::Mutex mutex_;
  std::unordered_map<RoomKey, Log> rooms_ MUSTER_GUARDED_BY(mutex_);
  std::size_t bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_offset_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace MUSTER_ABI
}  // namespace muster
