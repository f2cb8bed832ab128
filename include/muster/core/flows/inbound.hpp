// Inbound: what comes in: budgets, then decoding, then one command after another.
#pragma once

#include <cstddef>
#include <string_view>

#include "muster/core/flows/commands.hpp"
#include "muster/core/flows/pacing.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor.
class Inbound {
 public:
  Inbound(const Options& options, Pacing& pacing, Writer& writer, Sessions& sessions, Ending& ending, Seating& seating,
          Commands& commands, Later& later)
      : options_(options),
        pacing_(pacing),
        writer_(writer),
        sessions_(sessions),
        ending_(ending),
        seating_(seating),
        commands_(commands),
        later_(later) {}

  /// Bytes of what is not whole yet.
  void arrived(ConnectionState& connection, std::size_t bytes);
  void received(ConnectionState& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes);
  /// What waits goes on, at the connection's pace: an answer may have cost it much.
  void go_on(ConnectionState& connection);
  /// Its time without reading is over.
  void read_on(ConnectionState& connection);

 private:
  [[nodiscard]] bool charge_bytes(ConnectionState& connection, std::size_t bytes, TimePoint now);
  void take_frame(ConnectionState& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes);
  void take_message(ConnectionState& connection, FrameKind kind, std::string_view bytes, bool many_bytes);
  void handle(ConnectionState& connection, Command& command);
  void run(ConnectionState& connection, Command& command);

  const Options& options_;
  Pacing& pacing_;
  Writer& writer_;
  Sessions& sessions_;
  Ending& ending_;
  Seating& seating_;
  Commands& commands_;
  Later& later_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
