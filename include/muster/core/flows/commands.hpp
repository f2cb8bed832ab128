// Commands: what each command of a client does.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "muster/core/flows/answering.hpp"
#include "muster/core/flows/publishing.hpp"
#include "muster/core/flows/resuming.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor. A command that asks a seam holds back those behind it until it is answered.
class Commands {
 public:
  Commands(const Options& options, const UserTable& users, const Loops& loops, AwarenessStore& awareness,
           ByteBudget& bytes, Hooks& hooks, Questions& questions, Writer& writer, Queues& queues,
           Replicating& replicating, Rooms& rooms, Publishing& publishing, StateFlush& state_flush, Joining& joining,
           Profiles& profiles, Ending& ending, Authorizing& authorizing, Authenticating& authenticating,
           Resuming& resuming, Answering& answering)
      : options_(options),
        users_(users),
        loops_(loops),
        awareness_(awareness),
        bytes_(bytes),
        hooks_(hooks),
        questions_(questions),
        writer_(writer),
        queues_(queues),
        replicating_(replicating),
        rooms_(rooms),
        publishing_(publishing),
        state_flush_(state_flush),
        joining_(joining),
        profiles_(profiles),
        ending_(ending),
        authorizing_(authorizing),
        authenticating_(authenticating),
        resuming_(resuming),
        answering_(answering) {}

  void run(ConnectionState& connection, Command& command) {
    std::visit([&](auto& body) { on(connection, command.correlation, body); }, command.body);
  }

 private:
  // commands.ipp
  void on(ConnectionState&, Correlation&, command::Invalid&);
  void on(ConnectionState&, Correlation&, command::Authenticate&);
  void on(ConnectionState&, Correlation&, command::Resume&);
  void on(ConnectionState&, Correlation&, command::Join&);
  void on(ConnectionState&, Correlation&, command::Leave&);
  void on(ConnectionState&, Correlation&, command::Publish&);
  void on(ConnectionState&, Correlation&, command::Send&);
  void on(ConnectionState&, Correlation&, command::AcknowledgeQueue&);
  void on(ConnectionState&, Correlation&, command::Answer&);
  void on(ConnectionState&, Correlation&, command::Ping&);
  void on(ConnectionState&, Correlation&, command::Custom&);
  // state_commands.ipp
  void on(ConnectionState&, Correlation&, command::ListSubscriptions&);
  void on(ConnectionState&, Correlation&, command::SessionInfo&);
  void on(ConnectionState&, Correlation&, command::AwarenessSet&);
  void on(ConnectionState&, Correlation&, command::AwarenessQuery&);
  void on(ConnectionState&, Correlation&, command::HistoryQuery&);
  void on(ConnectionState&, Correlation&, command::PresenceQuery&);
  void on(ConnectionState&, Correlation&, command::ProfileSet&);
  /// Shows what is about to be published to the interceptor, which may put another in place of `data`. False: the client
  /// has been answered, or ends.
  [[nodiscard]] bool passes(ConnectionState& connection, const Correlation& correlation, const Publication& publication,
                            Payload& data);
  [[nodiscard]] bool refuse_large(ConnectionState& connection, const Correlation& correlation,
                                  const command::AwarenessSet& setting);
  void refuse_awareness(ConnectionState& connection, const Correlation& correlation);
  void tell_stale(ConnectionState& connection, const Correlation& correlation, const RoomKey& room,
                  const std::string& client, bool its_own, std::uint64_t clock);
  void query_room(ConnectionState& connection, const Correlation& correlation, std::string name,
                  Function<void(ConnectionState&, const Correlation&, RoomPtr)> answer);
  struct UsersAsked;
  void query_next_user(ConnectionState& connection, const std::shared_ptr<UsersAsked>& asked);
  void tell_presence(ConnectionState& connection, const Correlation& correlation, const std::string& room,
                     std::vector<event::UserPresence> users);

  const Options& options_;
  const UserTable& users_;
  const Loops& loops_;
  AwarenessStore& awareness_;
  ByteBudget& bytes_;
  Hooks& hooks_;
  Questions& questions_;
  Writer& writer_;
  Queues& queues_;
  Replicating& replicating_;
  Rooms& rooms_;
  Publishing& publishing_;
  StateFlush& state_flush_;
  Joining& joining_;
  Profiles& profiles_;
  Ending& ending_;
  Authorizing& authorizing_;
  Authenticating& authenticating_;
  Resuming& resuming_;
  Answering& answering_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
