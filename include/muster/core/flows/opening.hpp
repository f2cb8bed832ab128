// Opening: from a peer's request to a connection: which protocol, whether there is a place, whether it is let in.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/flows/authenticating.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Makes what knows whom it belongs to.
class ConnectionFactory {
 public:
  virtual ~ConnectionFactory() = default;
  /// The executor's, which is made where there is none yet.
  [[nodiscard]] virtual LoopPtr loop_for(const std::shared_ptr<Executor>& executor) = 0;
  [[nodiscard]] virtual ConnectionPtr make_connection(const LoopPtr& loop, ConnectionId id,
                                                      std::shared_ptr<Transport> transport) = 0;

 protected:
  ConnectionFactory() = default;
  ConnectionFactory(const ConnectionFactory&) = default;
  ConnectionFactory& operator=(const ConnectionFactory&) = default;
};

/// On the executor that is given.
class Opening {
 public:
  Opening(const Options& options, const std::vector<std::shared_ptr<const Protocol>>& protocols,
          const Authenticator& authenticator, ConnectionTable& connections, const Directory& directory,
          Entropy& entropy, Admission& admission, Hooks& hooks, Ending& ending, Authenticating& authenticating,
          ConnectionFactory& factory, Later& later)
      : options_(options),
        protocols_(protocols),
        authenticator_(authenticator),
        connections_(connections),
        directory_(directory),
        entropy_(entropy),
        admission_(admission),
        hooks_(hooks),
        ending_(ending),
        authenticating_(authenticating),
        factory_(factory),
        later_(later) {}

  std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport, std::shared_ptr<Executor> executor,
                     OpenDone done);
  void cancel(const std::shared_ptr<Executor>& executor, std::uint64_t opening);

 private:
  void begin(ConnectionState& connection, OpenRequest request, bool offered_token, bool ask_now);
  void answer(ConnectionState& connection, Authentication who);
  void accept(ConnectionState& connection);

  const Options& options_;
  const std::vector<std::shared_ptr<const Protocol>>& protocols_;
  const Authenticator& authenticator_;
  ConnectionTable& connections_;
  const Directory& directory_;
  Entropy& entropy_;
  Admission& admission_;
  Hooks& hooks_;
  Ending& ending_;
  Authenticating& authenticating_;
  ConnectionFactory& factory_;
  Later& later_;
  const std::shared_ptr<const WireFormat> plain_format_{new WebSocketFormat()};
  std::atomic<std::uint64_t> next_order_{1};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
