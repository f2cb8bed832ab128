// Sweeping: checks the tables against each other, ends what time has ended, and does what could not be done before.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "muster/core/base/latch.hpp"
#include "muster/core/flows/ending.hpp"
#include "muster/core/flows/turn.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the loop that is given.
class Sweeping {
 public:
  Sweeping(const Options& options, const Loops& loops, Failures& failures, const UserTable& users,
           const Directory& directory, Admission& admission, const RoomTable& table, ByteBudget& bytes,
           AwarenessStore& awareness, FanOut& fan_out, Rooms& rooms, StateFlush& state_flush, UserEdges& edges,
           Turn& turn, Ending& ending)
      : options_(options),
        loops_(loops),
        failures_(failures),
        users_(users),
        directory_(directory),
        admission_(admission),
        table_(table),
        bytes_(bytes),
        awareness_(awareness),
        fan_out_(fan_out),
        rooms_(rooms),
        state_flush_(state_flush),
        edges_(edges),
        turn_(turn),
        ending_(ending) {}

  /// On every loop. Any thread.
  void run_now(Function<void(std::size_t)> done);
  /// The timer's: each loop takes its share of the rooms.
  void run_again(Loop& loop);
  /// What could not be done for want of memory, or because a seam failed.
  void retry(Loop& loop);
  void expire_awareness(Loop& loop);

  /// What was out of its place.
  [[nodiscard]] std::uint64_t findings() const noexcept { return findings_; }

 private:
  struct Round;
  void run(Loop& loop, std::shared_ptr<Latch> findings, RoomTable::Cursor rooms);
  void go_on(Loop& loop, const std::shared_ptr<Round>& round);
  void check(ConnectionState& connection, Latch& findings);
  void catch_up_room(Loop& loop, const RoomPtr& room);

  const Options& options_;
  const Loops& loops_;
  Failures& failures_;
  const UserTable& users_;
  const Directory& directory_;
  Admission& admission_;
  const RoomTable& table_;
  ByteBudget& bytes_;
  AwarenessStore& awareness_;
  FanOut& fan_out_;
  Rooms& rooms_;
  StateFlush& state_flush_;
  UserEdges& edges_;
  Turn& turn_;
  Ending& ending_;
  std::atomic<std::uint64_t> findings_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
