// Resuming: how another connection takes a session up again.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "muster/core/flows/authenticating.hpp"
#include "muster/core/flows/profiles.hpp"
#include "muster/core/flows/requesting.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor.
class Resuming {
 public:
  Resuming(const Options& options, SessionStore& store, UserTable& users, SessionTable& kept, Directory& directory,
           const Life& life, Admission& admission, Questions& questions, Writer& writer, CatchUp& catch_up,
           Queues& queues, Replicating& replicating, Rooms& rooms, StateFlush& state_flush, UserEdges& edges,
           Joining& joining, Sessions& sessions, Ending& ending, Authorizing& authorizing, Seating& seating,
           Authenticating& authenticating, Requesting& requesting)
      : options_(options),
        store_(store),
        users_(users),
        kept_sessions_(kept),
        directory_(directory),
        life_(life),
        admission_(admission),
        questions_(questions),
        writer_(writer),
        catch_up_(catch_up),
        queues_(queues),
        replicating_(replicating),
        rooms_(rooms),
        state_flush_(state_flush),
        edges_(edges),
        joining_(joining),
        sessions_(sessions),
        ending_(ending),
        authorizing_(authorizing),
        seating_(seating),
        authenticating_(authenticating),
        requesting_(requesting) {}

  /// Takes up the session of the token, of who is known already or with the credentials that come with it.
  void begin(ConnectionState& connection, const Correlation& correlation, command::Resume resume);

  [[nodiscard]] std::uint64_t resumed() const noexcept { return resumed_; }
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }

 private:
  struct Attempt;
  void take(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt);
  void lay_down_given(ConnectionState& connection, Attempt& attempt);
  void claim(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt);
  void adopt(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt);
  void permit(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt);
  void give_up_rest(ConnectionState& connection);
  void finish(ConnectionState& connection, Attempt& attempt);
  void fail(ConnectionState& connection, const Attempt& attempt, Error error);
  void end_trial(ConnectionState& connection);

  const Options& options_;
  SessionStore& store_;
  UserTable& users_;
  SessionTable& kept_sessions_;
  Directory& directory_;
  const Life& life_;
  Admission& admission_;
  Questions& questions_;
  Writer& writer_;
  CatchUp& catch_up_;
  Queues& queues_;
  Replicating& replicating_;
  Rooms& rooms_;
  StateFlush& state_flush_;
  UserEdges& edges_;
  Joining& joining_;
  Sessions& sessions_;
  Ending& ending_;
  Authorizing& authorizing_;
  Seating& seating_;
  Authenticating& authenticating_;
  Requesting& requesting_;
  std::atomic<std::uint64_t> resumed_{0}, failed_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
