// Joining, leaving, finding and losing a connection, in rooms of all sizes.
//
// "Warm": what is touched is in the caches, so that a larger room costs more only if the core does more. "Cold": what is
// touched was last seen before a broadcast to everybody, or is one of all in no order; mostly the memory's time.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "report.hpp"
#include "support/crowd.hpp"

namespace muster::bench {
namespace {

/// One letter a command, no answers: what is left is the core's own.
class LetterProtocol final : public Protocol {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "letter"; }
  [[nodiscard]] std::optional<CloseReason> decode(FrameKind, std::string_view message, const DecodeLimits&,
                                                  std::vector<Command>& commands) const override {
    Command command;
    if (message == "j") {
      command.body = command::Join{"hall"};
    } else {
      command.body = command::Leave{"hall"};
    }
    commands.push_back(std::move(command));
    return std::nullopt;
  }
  [[nodiscard]] std::optional<FrameKind> encode(const Event&, const Correlation*, WallTime,
                                                std::string&) const override {
    return std::nullopt;
  }
};

struct Costs {
  Samples join;
  Samples leave;
};

/// Newcomers join a room of so many, and leave again.
Costs join_and_leave(std::size_t members, bool quick, bool cold, std::shared_ptr<const Protocol> protocol,
                     const char* join, const char* leave) {
  constexpr std::size_t newcomers = 200;
  test::SteppedCrowd crowd(test::Crowd::no_limits(), std::move(protocol));
  crowd.add(members, join);
  crowd.add(newcomers);
  const auto all_say = [&](const char* what) {
    if (cold) {
      crowd.manager->send_to_all(json("0"));
      crowd.settle();
    }
    const double time = nanoseconds([&] {
      for (std::size_t i = members; i < crowd.peers.size(); ++i) crowd.say(crowd.peers[i], what);
      crowd.run();
    });
    return time / newcomers;
  };
  const auto room = crowd.manager->room({"", "hall"});
  Costs costs;
  for (int i = 0; i < (quick ? 10 : 30); ++i) {
    costs.join.add(all_say(join));
    require(room->size() == members + newcomers, "everybody was to join");
    costs.leave.add(all_say(leave));
    require(room->size() == members, "everybody was to leave");
  }
  return costs;
}

/// Reports one figure for each size, and how it grows from the smallest.
class Growth {
 public:
  Growth(Run& run, std::string array, std::string what, Target target, bool bounded)
      : run_(run), array_(std::move(array)), what_(std::move(what)), target_(target), bounded_(bounded) {}

  void add(std::size_t members, Samples samples) {
    const double measured = samples.minimum();
    run_.report.row(what_ + ", room of " + std::to_string(members), measured, "ns", target_);
    run_.report.add(array_,
                    {{"members", static_cast<double>(members)}, {"ns", measured}, {"ns_median", samples.median()}});
    if (first_ == 0) {
      first_ = measured;
    } else if (bounded_) {
      run_.report.row("  against the smallest room", measured / first_, "x", at_most(2));
    }
  }

 private:
  Run& run_;
  const std::string array_;
  const std::string what_;
  const Target target_;
  const bool bounded_;
  double first_ = 0;
};

/// All keys once in any order, or always the same thousand.
template <class Key, class Look>
Samples look_up(const std::vector<Key>& keys, bool cold, Look look) {
  Samples samples;
  const std::size_t count = cold ? keys.size() : 1000;
  for (std::size_t i = 0; i < std::max<std::size_t>(5, 200'000 / count); ++i) {
    std::size_t found = 0;
    samples.add(nanoseconds([&] {
                  for (std::size_t k = 0; k < count; ++k) found += look(keys[k]);
                }) /
                static_cast<double>(count));
    require(found == count, "everybody was to be found");
  }
  return samples;
}

void lookups(Run& run, bool cold) {
  const std::string how = cold ? ", cold" : ", warm";
  const std::string array = cold ? "_cold" : "";
  const Target target = cold ? Target{} : at_most(1000);
  Growth contains(run, "contains" + array, "contains, by id" + how, target, !cold);
  Growth find(run, "find" + array, "find, by id" + how, target, !cold);
  Growth online(run, "is_online" + array, "is_online, by user" + how, target, !cold);
  Growth of_user(run, "connections_of" + array, "connections_of, by user" + how, target, !cold);
  for (const std::size_t members : run.sizes()) {
    test::SteppedCrowd crowd;
    crowd.add(members, test::join_hall);
    std::vector<ConnectionId> ids;
    std::vector<UserKey> users;
    for (const test::Peer& peer : crowd.peers) {
      ids.push_back(peer.connection->id());
      users.push_back({"", peer.connection->identity().user});
    }
    shuffle(ids);
    shuffle(users);
    const IConnectionManager& manager = *crowd.manager;
    contains.add(members, look_up(ids, cold, [&](ConnectionId id) { return manager.contains(id) ? 1U : 0U; }));
    find.add(members, look_up(ids, cold, [&](ConnectionId id) { return manager.find(id) ? 1U : 0U; }));
    online.add(members, look_up(users, cold, [&](const UserKey& user) { return manager.is_online(user) ? 1U : 0U; }));
    of_user.add(members,
                look_up(users, cold, [&](const UserKey& user) { return manager.connections_of(user).size(); }));
  }
}

}  // namespace

void membership(Run& run) {
  for (const bool cold : {false, true}) {
    const std::string how = cold ? ", cold" : ", warm";
    const std::string array = cold ? "_cold" : "";
    const Target target = cold ? Target{} : at_most(1000);
    Growth join(run, "join" + array, "join, the core alone" + how, target, !cold);
    Growth leave(run, "leave" + array, "leave, the core alone" + how, target, !cold);
    Growth json_join(run, "join_json" + array, "join, JSON command to written answer" + how, {}, !cold);
    Growth json_leave(run, "leave_json" + array, "leave, JSON command to written answer" + how, {}, !cold);
    for (const std::size_t members : run.sizes()) {
      Costs costs = join_and_leave(members, run.quick, cold, std::make_shared<LetterProtocol>(), "j", "l");
      join.add(members, costs.join);
      leave.add(members, costs.leave);
      costs =
          join_and_leave(members, run.quick, cold, std::make_shared<JsonProtocol>(), test::join_hall, test::leave_hall);
      json_join.add(members, costs.join);
      json_leave.add(members, costs.leave);
    }
    lookups(run, cold);
  }
}

void disconnect(Run& run) {
  constexpr std::size_t leavers = 200;
  std::vector<std::size_t> sizes = {10};
  for (const std::size_t size : run.sizes()) sizes.push_back(size);
  for (const bool cold : {false, true}) {
    Growth growth(run, cold ? "disconnect_cold" : "disconnect", cold ? "disconnect, cold" : "disconnect, warm", {},
                  !cold);
    for (const std::size_t members : sizes) {
      Samples samples;
      test::SteppedCrowd crowd;
      crowd.add(members, test::join_hall);
      for (int i = 0; i < (run.quick ? 5 : 20); ++i) {
        for (std::size_t k = 0; k < leavers; ++k) {
          crowd.peers.push_back(crowd.open(crowd.executor, "leaver-" + std::to_string(k)));
          crowd.say(crowd.peers.back(), test::join_hall);
        }
        crowd.run();
        if (cold) {  // old members leave, who have just been told that newcomers are there
          crowd.settle();
          shuffle(crowd.peers);
        }
        std::vector<test::Peer> leaving(crowd.peers.end() - leavers, crowd.peers.end());
        crowd.peers.resize(crowd.peers.size() - leavers);
        samples.add(nanoseconds([&] {
                      for (test::Peer& peer : leaving) crowd.hang_up(peer);
                      crowd.run();
                    }) /
                    leavers);
        require(crowd.manager->connection_count() == members, "those who left were to be gone");
        crowd.settle();
      }
      growth.add(members, samples);
    }
  }
}

}  // namespace muster::bench
