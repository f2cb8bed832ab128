// Sessions: what outlives a connection, in the store and as seats that are kept, and for how long.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "muster/core/base/sha256.hpp"
#include "muster/core/flows/joining.hpp"
#include "muster/core/registry/admission.hpp"
#include "muster/core/registry/session_table.hpp"
#include "muster/session_store.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

[[nodiscard]] inline std::string token_hash(std::string_view token) { return to_hex(sha256(token)); }

/// On the loop of the connection, or that is given, but for what says otherwise.
class Sessions {
 public:
  Sessions(const Options& options, SessionStore& store, SessionTable& table, UserTable& users, Entropy& entropy,
           const Loops& loops, const Life& life, Failures& failures, const Admission& admission, Rooms& rooms,
           StateFlush& state_flush, UserEdges& edges, Joining& joining)
      : options_(options),
        store_(store),
        table_(table),
        users_(users),
        entropy_(entropy),
        loops_(loops),
        life_(life),
        failures_(failures),
        admission_(admission),
        rooms_(rooms),
        state_flush_(state_flush),
        edges_(edges),
        joining_(joining) {}

  /// Whether its session could be resumed.
  [[nodiscard]] bool may_have(const ConnectionState& connection) const;
  /// Gives a new connection a session; the token, or nothing where sessions do not resume.
  [[nodiscard]] std::string open(ConnectionState& connection);
  void save(ConnectionState& connection, std::string token_hash, std::vector<std::string> rooms, TimePoint expires,
            std::shared_ptr<std::atomic<bool>> refused = nullptr);
  /// Any thread, as the next two.
  void forget(std::string token_hash);
  /// Puts a session back whose token was spent in vain: the client may try again with it.
  void give_back(const std::string& token_hash, Session session);
  /// Sessions without a connection: those in their grace, and those that are stored.
  void revoke(const Revocation& which);

  /// Keeps the seats of a connection that ends for its session, or changes nothing. False: it does not wait.
  [[nodiscard]] bool keep(ConnectionState& connection, CloseReason reason, bool socket_gone) noexcept;
  /// Before a connection that ends is taken out of the tables: whether what the program keeps with it is kept for its
  /// session. Then `part_with_data` follows, which is when the session can be taken up.
  [[nodiscard]] bool keeps_data(ConnectionState& connection, CloseReason reason) noexcept;
  void part_with_data(ConnectionState& connection) noexcept;
  /// Somebody has them again: nothing has to see to their end any more.
  static void claimed(const SessionTable::Parked& parked, ConnectionId member);
  /// What is stored of the session of a connection that ends. `names`: of all its rooms.
  void part_from(ConnectionState& connection, CloseReason reason, std::vector<std::string> names) noexcept;
  void run_graces(Loop& loop, TimePoint now) noexcept;
  void run_due_graces(Loop& loop);

  /// What the store could not do.
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }

 private:
  [[nodiscard]] bool waits(const ConnectionState& connection, CloseReason reason, bool socket_gone) noexcept;
  Graces::iterator end_grace(Loop& loop, Graces::iterator at);

  const Options& options_;
  SessionStore& store_;
  SessionTable& table_;
  UserTable& users_;
  Entropy& entropy_;
  const Loops& loops_;
  const Life& life_;
  Failures& failures_;
  const Admission& admission_;
  Rooms& rooms_;
  StateFlush& state_flush_;
  UserEdges& edges_;
  Joining& joining_;
  std::atomic<std::uint64_t> failed_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
