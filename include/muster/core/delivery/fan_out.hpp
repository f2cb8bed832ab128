// FanOut, the hot path: one encoding per executor and format, spans by cursor, one write per connection and turn.
#pragma once

#include <cstdint>
#include <vector>

#include "muster/core/delivery/catch_up.hpp"
#include "muster/core/delivery/writer.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/registry/session_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class FanOut {
 public:
  FanOut(const Options& options, const ByteBudget& bytes, const ConnectionTable& connections,
         const SessionTable& sessions, Pressure& pressure, Writer& writer, CatchUp& catch_up)
      : options_(options),
        bytes_(bytes),
        connections_(connections),
        sessions_(sessions),
        pressure_(pressure),
        writer_(writer),
        catch_up_(catch_up) {}

  /// What was appended to these parts goes out at the end of their turns. Any thread.
  void post_flushes(const RoomPtr& room, const std::vector<RoomPartPtr>& parts) noexcept;
  /// Begins the part's next batch, if there is something to tell. On its executor, as all below.
  void flush_part(const RoomPtr& room, RoomPart& part);

 private:
  void run_slice(const RoomPtr& room, RoomPart& part);
  bool serve_slice(const RoomState& room, RoomPart& part, TimePoint now) noexcept;
  void deliver(RoomPart& part, MemberSlot& slot, const RoomState& room, TimePoint now);
  [[nodiscard]] EncodedBatch& encoded(RoomPart& part, const RoomState& room, std::uint8_t format);

  const Options& options_;
  const ByteBudget& bytes_;
  const ConnectionTable& connections_;
  const SessionTable& sessions_;
  Pressure& pressure_;
  Writer& writer_;
  CatchUp& catch_up_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
