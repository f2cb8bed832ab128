// The way of a request, over the connections of its session.
#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/base/mutex.hpp"
#include "muster/core/flows/requesting.hpp"
#include "muster/core/outward/outcome.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Answered on its connection's executor, and late on that or an earlier one's: who is first tells the program.
class Requesting::Request {
 public:
  Request(Wanted what, std::shared_ptr<Loop> loop, RequestDone done)
      : wanted(std::move(what)), outcome_(std::in_place, std::move(loop), std::move(done)) {}

  void tell(Result<Payload> result) noexcept {
    std::optional<Outcome<Payload>> outcome;
    {
      Lock lock(mutex_);
      if (outcome_) outcome.emplace(std::move(*outcome_));
      outcome_.reset();
    }
    if (outcome) outcome->tell(std::move(result));
  }
  void late() noexcept {
    try {
      tell(Error{errc::unavailable, "The client did not answer in time", {}});
    } catch (...) {  // no memory for an Error: it is told at the end of its session
    }
  }
  [[nodiscard]] bool over() const {
    Lock lock(mutex_);
    return !outcome_;
  }

  const Wanted wanted;
  std::uint64_t number = 0;
  TimePoint deadline{};
  std::vector<std::weak_ptr<Loop>> timed_on;  ///< executors that have its deadline

 private:
  mutable Mutex mutex_;
  std::optional<Outcome<Payload>> outcome_ MUSTER_GUARDED_BY(mutex_);
};

/// What a session has not answered; where that is no more, the program is told that it is gone.
struct Requesting::Open {
  std::map<std::uint64_t, std::shared_ptr<Request>> requests;

  void drop_over() {
    for (auto at = requests.begin(); at != requests.end();)
      at = at->second->over() ? requests.erase(at) : std::next(at);
  }
};

[[nodiscard]] inline Error too_many(std::size_t open) {
  return {errc::too_many,
          "The client has not answered " + std::to_string(open) + " requests (the option waiting_commands)",
          {}};
}

MUSTER_INLINE void Requesting::ask(ConnectionId id, Wanted wanted, RequestDone done) {
  const ConnectionPtr connection = directory_.known(id);
  if (!connection) {
    if (done) done(Error{errc::not_found, "There is no connection of this id", {}});
    return;
  }
  const std::shared_ptr<Request> request(new Request(std::move(wanted), connection->loop, std::move(done)));
  (void)connection->loop->post([this, connection, request] {
    if (connection->live()) (void)connection->contain("A request", [&] { begin(*connection, request); });
  });
}

MUSTER_INLINE void Requesting::ask(ConnectionState& connection, Wanted wanted, RequestDone done) {
  begin(connection, std::shared_ptr<Request>(new Request(std::move(wanted), connection.loop, std::move(done))));
}

MUSTER_INLINE void Requesting::begin(ConnectionState& connection, const std::shared_ptr<Request>& request) {
  Open& open = connection.seldom().data.get<Open>();
  open.drop_over();
  if (open.requests.size() >= options_.waiting_commands) {
    return request->tell(too_many(open.requests.size()));
  }
  request->number = ++last_;
  request->deadline = connection.loop->executor->now() + std::min(request->wanted.timeout, detail::forever);
  await(connection, request);
  open.requests.emplace(request->number, request);
  read_answers(connection);
  if (tell(connection, *request) || connection.ended() || connection.ends_soon) return;
  request->tell(Error{errc::not_supported, "The client's protocol carries no requests", {}});
  open.drop_over();
}

/// It may be late on an executor that its session has left since: then the next one has the deadline, too.
MUSTER_INLINE void Requesting::await(ConnectionState& connection, const std::shared_ptr<Request>& request) {
  auto& timed_on = request->timed_on;
  const bool again = std::any_of(timed_on.begin(), timed_on.end(),
                                 [&](const std::weak_ptr<Loop>& loop) { return loop.lock() == connection.loop; });
  if (again) return;
  timed_on.push_back(connection.loop);
  (void)connection.loop->executor->schedule(request->deadline, [waiting = std::weak_ptr<Request>(request)] {
    if (const auto request_there = waiting.lock()) request_there->late();
  });
}

MUSTER_INLINE void Requesting::read_answers(ConnectionState& connection) {
  connection.seldom().asks = true;
  if (connection.reads_for_answers(options_.waiting_commands)) pacing_.pause(connection, Pause::commands, false);
}

MUSTER_INLINE bool Requesting::tell(ConnectionState& connection, const Request& request) {
  event::Request asked;
  asked.request = request.number;
  asked.type = request.wanted.type;
  asked.data = &request.wanted.data;
  asked.timeout = std::chrono::ceil<std::chrono::milliseconds>(request.deadline - connection.loop->executor->now());
  return writer_.tell(connection, asked) != 0;
}

MUSTER_INLINE void Requesting::answered(ConnectionState& connection, std::uint64_t number, Result<Payload> result) {
  if (!connection.rare) return;
  Open* const open = connection.rare->data.find<Open>();
  if (open == nullptr) return;
  const auto found = open->requests.find(number);
  if (found == open->requests.end()) return;
  const std::shared_ptr<Request> request = std::move(found->second);
  open->requests.erase(found);
  if (open->requests.empty()) {
    (void)connection.rare->data.erase<Open>();
    connection.rare->asks = false;
  }
  request->tell(std::move(result));
}

MUSTER_INLINE void Requesting::join(const ConnectionState& connection, Data& data) const {
  Open* const own = connection.rare ? connection.rare->data.find<Open>() : nullptr;
  if (own == nullptr) return;
  Open& all = data.get<Open>();
  all.requests.merge(own->requests);
  all.drop_over();
  while (all.requests.size() > options_.waiting_commands) {
    const auto last = std::prev(all.requests.end());
    last->second->tell(too_many(all.requests.size() - 1));
    all.requests.erase(last);
  }
}

MUSTER_INLINE void Requesting::repeat(ConnectionState& connection) {
  Open* const open = connection.rare ? connection.rare->data.find<Open>() : nullptr;
  if (open == nullptr) return;
  open->drop_over();
  if (!open->requests.empty()) read_answers(connection);
  for (const auto& [number, request] : open->requests) {
    await(connection, request);
    (void)tell(connection, *request);
  }
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
