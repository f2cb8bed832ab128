// Requesting: what the program asks clients, and what became of it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "muster/connection_manager.hpp"
#include "muster/core/base/entropy.hpp"
#include "muster/core/delivery/writer.hpp"
#include "muster/core/flows/pacing.hpp"
#include "muster/core/registry/directory.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor, but for what takes a name: any thread.
class Requesting {
 public:
  Requesting(const Options& options, Entropy& entropy, const Directory& directory, Writer& writer, Pacing& pacing)
      : options_(options), directory_(directory), writer_(writer), pacing_(pacing), last_(entropy.epoch() / 2) {}

  struct Wanted {
    std::string type;
    Payload data;
    std::chrono::milliseconds timeout{0};
  };
  void ask(ConnectionId id, Wanted wanted, RequestDone done);
  void ask(ConnectionState& connection, Wanted wanted, RequestDone done);
  static void answered(ConnectionState& connection, std::uint64_t number, Result<Payload> result);
  /// `data` of a session is about to be the connection's: what that one has asked itself goes on.
  void join(const ConnectionState& connection, Data& data) const;
  /// The session has a new connection: what is open is asked again.
  void repeat(ConnectionState& connection);

 private:
  class Request;
  struct Open;
  void begin(ConnectionState& connection, const std::shared_ptr<Request>& request);
  static void await(ConnectionState& connection, const std::shared_ptr<Request>& request);
  [[nodiscard]] bool tell(ConnectionState& connection, const Request& request);
  /// Sees to it that answers are read, also behind commands that wait.
  void read_answers(ConnectionState& connection);

  const Options& options_;
  const Directory& directory_;
  Writer& writer_;
  Pacing& pacing_;
  /// So that two connections that become one session have no number in common; nor two managers', but by chance.
  std::atomic<std::uint64_t> last_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
