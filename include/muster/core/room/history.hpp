// Entries: what a room hands to its members; and the bounded history of its messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/awareness_store.hpp"
#include "muster/message.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// State that changed in a room, read when it was flushed: presence and awareness.
struct Notice {
  std::vector<Member> joined;
  std::vector<Member> left;
  std::vector<Member> changed;  ///< their profiles
  std::vector<std::string> online;
  std::vector<std::string> offline;
  /// Members so many that only their count is told.
  bool counts_only = false;
  /// `joined` is the list of all members, and takes the place of what was told before.
  bool whole = false;
  std::size_t member_count = 0;
  /// Without a state: removed at this clock.
  std::vector<AwarenessEntry> awareness;

  [[nodiscard]] bool presence() const {
    return counts_only || whole || !joined.empty() || !left.empty() || !changed.empty();
  }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = sizeof(Notice) + (joined.size() + left.size() + changed.size()) * sizeof(Member) +
                      (online.size() + offline.size()) * sizeof(std::string) +
                      awareness.size() * sizeof(AwarenessEntry);
    for (const AwarenessEntry& entry : awareness) sum += entry.state.view().size();
    for (const auto* members : {&joined, &changed}) {
      for (const Member& member : *members) sum += member.profile.view().size();
    }
    return sum;
  }
};

/// Awareness travels in frames of about so many bytes.
inline constexpr std::size_t chunk_bytes = 16 * 1024;

/// What one awareness entry adds to a frame, about.
[[nodiscard]] inline std::size_t chunk_share(const AwarenessEntry& entry) { return entry.state.view().size() + 64; }

/// How many entries from `begin` on make a frame: at least one.
[[nodiscard]] inline std::size_t chunk_length(const std::vector<AwarenessEntry>& entries, std::size_t begin) {
  std::size_t count = 0;
  for (std::size_t size = 0; begin + count < entries.size() && size < chunk_bytes; ++count) {
    size += chunk_share(entries[begin + count]);
  }
  return count;
}

/// Lists of members travel in frames of about so many.
inline constexpr std::size_t members_per_frame = 256;

/// One thing on its way to the members of a room. Immutable once published, and shared by the room's executors.
struct Entry {
  /// 0: has no place in the order (a `latest` message, a notice).
  std::uint64_t seq = 0;
  /// Counts everything the room hands out: who joined at a later one is not owed this.
  std::uint64_t serial = 0;
  Payload data;
  ConnectionId from;
  std::string from_user;
  ConnectionId exclude;
  bool latest = false;
  std::string latest_key;
  TimePoint at{};
  std::unique_ptr<Notice> notice;

  [[nodiscard]] std::size_t bytes() const {
    return sizeof(Entry) + data.view().size() + from_user.size() + (notice ? notice->bytes() : 0);
  }
};
using EntryPtr = std::shared_ptr<const Entry>;

/// Whether a room of these options has a past that who is behind, or comes later, can be fed with.
[[nodiscard]] inline bool keeps_history(const RoomOptions& options) noexcept {
  return options.history_messages != 0 && options.history_bytes != 0 && options.history_age.count() > 0;
}

/// The last messages of a room: bounded by count, bytes and age. Entries are contiguous in `seq`.
class History {
 public:
  void append(EntryPtr entry, const RoomOptions& options) {
    if (options.history_messages == 0 || options.history_bytes == 0) return;
    if (!empty() && entries_->back()->seq + 1 != entry->seq) clear();
    if (!entries_) entries_.reset(new std::deque<EntryPtr>());
    const std::size_t size = entry->bytes();
    entries_->push_back(std::move(entry));
    bytes_ += size;
    trim(options);
  }
  void trim(const RoomOptions& options) {
    while (size() > options.history_messages || bytes_ > options.history_bytes) pop();
  }
  void expire(TimePoint now, const RoomOptions& options) {
    while (!empty() && oldest() + options.history_age <= now) pop();
    if (empty()) entries_.reset();
  }
  /// The entries from `seq` on, up to about `max_bytes`, at least one. What is missing before the first is a gap.
  void read(std::uint64_t seq, std::size_t max_bytes, std::vector<EntryPtr>& out) const {
    if (empty() || entries_->back()->seq < seq) return;
    const std::uint64_t first = first_seq();
    std::size_t index = seq > first ? static_cast<std::size_t>(seq - first) : 0;
    std::size_t size = 0;
    for (; index < entries_->size() && (size == 0 || size < max_bytes); ++index) {
      size += (*entries_)[index]->bytes();
      out.push_back((*entries_)[index]);
    }
  }
  /// Only when not empty.
  [[nodiscard]] std::uint64_t first_seq() const { return entries_->front()->seq; }
  /// Only when there is one.
  void drop_oldest() { pop(); }
  [[nodiscard]] TimePoint oldest() const { return entries_->front()->at; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return entries_ ? entries_->size() : 0; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  void pop() {
    bytes_ -= entries_->front()->bytes();
    entries_->pop_front();
  }
  void clear() {
    entries_->clear();
    bytes_ = 0;
  }
  std::unique_ptr<std::deque<EntryPtr>> entries_;  ///< an empty deque has a page of its own
  std::size_t bytes_ = 0;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
