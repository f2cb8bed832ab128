// The way of a seat that the program gives or takes.
#pragma once

#include <optional>
#include <utility>

#include "muster/core/flows/seating.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

struct Seating::Asked final : Joining::Program {
  Asked(Seating& seating, SeatChange wanted, std::shared_ptr<Loop> loop, SeatDone done)
      : of(seating), change(std::move(wanted)), outcome(std::move(loop), std::move(done)) {
    moves = change.from.has_value();
    decides = !change.authorized;
  }
  void gone() noexcept override { outcome.gone(); }
  void told(ConnectionState& connection, Result<void> result) override {
    if (result && moves && change.from != change.to) of.leave(connection, *change.from);
    outcome.tell(std::move(result));
  }

  Seating& of;
  const SeatChange change;
  Outcome<void> outcome;
};

MUSTER_INLINE void Seating::change(ConnectionId id, SeatChange change, SeatDone done) {
  const ConnectionPtr connection = directory_.known(id);
  if (!connection) {
    if (done) done(Error{errc::not_found, "There is no connection of this id", {}});
    return;
  }
  post(connection, std::move(change), std::move(done));
}

MUSTER_INLINE void Seating::change(const UserKey& user, SeatChange change, SeatsDone done) {
  struct Refusal {
    Mutex mutex;
    std::optional<Error> error MUSTER_GUARDED_BY(mutex);
  };
  const std::shared_ptr<Refusal> refusal(new Refusal());
  const std::shared_ptr<Latch> all(new Latch([refusal, done = std::move(done)](std::size_t well) mutable {
    Result<std::size_t> sum = well;
    {
      Lock lock(refusal->mutex);
      if (well == 0 && refusal->error) sum = std::move(*refusal->error);
    }
    if (done) done(std::move(sum));
  }));
  change.only_if_there = true;
  for (const ConnectionPtr& connection : users_.of(user)) {
    post(connection, change, [all, refusal](const Result<void>& result) {
      if (result) return all->count();
      if (result.error().code == errc::not_found) return;  // it has gone: it is no connection of the user's any more
      Lock lock(refusal->mutex);
      refusal->error = result.error();
    });
  }
}

MUSTER_INLINE void Seating::post(const ConnectionPtr& connection, SeatChange change, SeatDone done) {
  const std::shared_ptr<Asked> asked(new Asked(*this, std::move(change), connection->loop, std::move(done)));
  (void)connection->loop->post([connection, asked] {
    if (!connection->live()) return;
    guard(asked->of.later_, *connection, "A seat", [&] {
      connection->seldom().acts.push_back([asked](ConnectionState& same) { asked->of.begin(same, asked); });
      asked->of.later_.go_on(*connection);
    });
  });
}

MUSTER_INLINE void Seating::change(ConnectionState& connection, SeatChange change, SeatDone done) {
  const std::shared_ptr<Asked> asked(new Asked(*this, std::move(change), connection.loop, std::move(done)));
  connection.seldom().acts.push_back([asked](ConnectionState& same) { asked->of.begin(same, asked); });
  (void)connection.loop->post([later = &later_, keep = connection.shared_from_this()] {
    guard(*later, *keep, "A seat", [&] { later->go_on(*keep); });
  });
}

MUSTER_INLINE void Seating::run(ConnectionState& connection) {
  while (connection.has_acts() && connection.live() && !connection.ends_soon) {
    auto act = std::move(connection.rare->acts.front());
    connection.rare->acts.pop_front();
    act(connection);
  }
}

MUSTER_INLINE void Seating::then(ConnectionState& connection, Function<void(ConnectionState&)> act) {
  if (!connection.has_acts()) return act(connection);
  connection.rare->acts.push_back(std::move(act));
  run(connection);
}

MUSTER_INLINE void Seating::begin(ConnectionState& connection, const std::shared_ptr<Asked>& asked) {
  const SeatChange& change = asked->change;
  connection.seldom().act = asked;
  if (change.from && connection.membership(*change.from) == nullptr) {
    if (!change.to || change.only_if_there) return asked->outcome.tell({});
    return asked->outcome.tell(Error{errc::not_in_room, "The connection is not in the room it is to leave", {}});
  }
  if (!change.to) {
    leave(connection, *change.from);
    return asked->outcome.tell({});
  }
  const auto enter = [this, asked](ConnectionState& allowed) {
    joining_.enter(allowed, {{}, asked}, {allowed.identity_->tenant, *asked->change.to});
  };
  if (!change.authorized) return enter(connection);
  if (auto error = joining_.refuse_early(connection, *change.to, asked->moves))
    return asked->outcome.tell(std::move(*error));
  authorizing_.ask(connection, connection.identity_, Action::join, *change.to,
                   [asked, enter](ConnectionState& allowed, const Permission& answer) {
                     if (answer) return enter(allowed);
                     const errc code = answer.unavailable() ? errc::unavailable : errc::permission_denied;
                     asked->outcome.tell(Error{code, answer.message(), {}});
                   });
}

MUSTER_INLINE void Seating::leave(ConnectionState& connection, const std::string& room) {
  joining_.leave(connection, room);
  event::RoomLeft left;
  left.room = room;
  left.by_server = true;
  if (connection.live()) writer_.tell(connection, left);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
