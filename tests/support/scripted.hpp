// Seams that answer as told: at once, late, never, or not at all well.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/broker.hpp"
#include "muster/memory/memory_awareness_store.hpp"
#include "muster/memory/memory_session_store.hpp"
#include "muster/session_store.hpp"
#include "support/schedule.hpp"

namespace muster::test {

/// How a seam answers.
struct Answer {
  enum class Kind : std::uint8_t { now, later, never, unavailable, raise };
  Kind kind = Kind::now;
  std::chrono::milliseconds after{0};

  static Answer now() { return {}; }
  static Answer later(std::chrono::milliseconds after) { return {Kind::later, after}; }
  static Answer never() { return {Kind::never, {}}; }
  /// The seam answers that it cannot.
  static Answer unavailable() { return {Kind::unavailable, {}}; }
  /// The seam throws, which it must not.
  static Answer raise() { return {Kind::raise, {}}; }
};

/// Keeps the answers that never came, so that a test can let them come too late.
class Withheld {
 public:
  void keep(Function<void()> answer) { answers_.push_back(std::move(answer)); }
  [[nodiscard]] std::size_t count() const { return answers_.size(); }
  void release() {
    auto answers = std::move(answers_);
    answers_.clear();
    for (auto& answer : answers) answer();
  }

 private:
  std::vector<Function<void()>> answers_;
};

/// Answers `done` with `value` as `how` says; `refusal` is the answer of a seam that cannot.
template <class T>
void give(Schedule& schedule, Withheld& withheld, Answer how, Reply<T> done, T value, T refusal) {
  switch (how.kind) {
    case Answer::Kind::now:
      return done(std::move(value));
    case Answer::Kind::unavailable:
      return done(std::move(refusal));
    case Answer::Kind::raise:
      throw std::runtime_error("this seam was told to throw");
    case Answer::Kind::never:
      return withheld.keep([done, value]() mutable { done(value); });
    case Answer::Kind::later:
      (void)schedule.elsewhere->schedule(schedule.now() + how.after, [done, value]() mutable { done(value); });
  }
}

/// A token is "user" or "user@tenant"; one that begins with "bad" is refused.
class ScriptedAuthenticator final : public Authenticator {
 public:
  explicit ScriptedAuthenticator(Schedule& schedule) : schedule_(schedule) {}

  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    schedule_.seam("the authenticator");
    ++asked;
    last = credentials;
    const Answer how = script ? script(credentials) : answer;
    give<Authentication>(schedule_, withheld, how, std::move(done),
                         decide ? decide(credentials) : judge(credentials.token),
                         Error{errc::unavailable, "The users' table cannot be reached", {}});
  }

  static Authentication judge(const std::string& token) {
    if (token.rfind("bad", 0) == 0) return reject();
    const auto at = token.find('@');
    return at == std::string::npos ? accept(token) : accept(token.substr(0, at), token.substr(at + 1));
  }

  Answer answer;
  std::function<Answer(const Credentials&)> script;
  /// Who it is; none: as the token says.
  std::function<Authentication(const Credentials&)> decide;
  Withheld withheld;
  std::size_t asked = 0;
  Credentials last;

 private:
  Schedule& schedule_;
};

class ScriptedAuthorizer final : public Authorizer {
 public:
  explicit ScriptedAuthorizer(Schedule& schedule) : schedule_(schedule) {}

  void authorize(const Access& access, Reply<Permission> done) override {
    schedule_.seam("the authorizer");
    ++asked;
    last = access;
    const Answer how = script ? script(access) : answer;
    give<Permission>(schedule_, withheld, how, std::move(done), decide ? decide(access) : Permission::allow(),
                     Permission::late("The rules cannot be read"));
  }

  Answer answer;
  std::function<Answer(const Access&)> script;
  /// What is allowed; none: everything.
  std::function<Permission(const Access&)> decide;
  Withheld withheld;
  std::size_t asked = 0;
  Access last;

 private:
  Schedule& schedule_;
};

/// In front of a broker: its publishes and subscriptions are late, refused or lost as told.
class ScriptedBroker final : public Broker {
 public:
  ScriptedBroker(Schedule& schedule, std::shared_ptr<Broker> behind)
      : schedule_(schedule), behind_(std::move(behind)) {}

  [[nodiscard]] NodeId attach(std::weak_ptr<Sink> sink) override { return behind_->attach(std::move(sink)); }
  void detach(NodeId node) override {
    if (notices_after == std::chrono::milliseconds(0)) return behind_->detach(node);
    (void)schedule_.elsewhere->schedule(schedule_.now() + notices_after,
                                        [behind = behind_, node] { behind->detach(node); });
  }
  void publish(BrokerMessage message, Reply<Result<Position>> done) override {
    pass(std::move(done), [this, message](Reply<Result<Position>> answered) mutable {
      behind_->publish(std::move(message), std::move(answered));
    });
  }
  void subscribe(NodeId node, RoomKey room, std::optional<Position> known, Reply<Result<Position>> done) override {
    pass(std::move(done), [this, node, room, known](Reply<Result<Position>> answered) mutable {
      behind_->subscribe(node, std::move(room), known, std::move(answered));
    });
  }
  void unsubscribe(NodeId node, const RoomKey& room) override {
    check();
    ++unsubscribed;
    if (before_unsubscribe) before_unsubscribe();
    behind_->unsubscribe(node, room);
  }
  void replicate(NodeId node, BrokerState state) override {
    check();
    behind_->replicate(node, std::move(state));
  }

  Answer answer;
  /// How long it takes a node's end for a silence.
  std::chrono::milliseconds notices_after{0};
  std::size_t unsubscribed = 0;
  std::function<void()> before_unsubscribe;

 private:
  void check() { schedule_.seam("the broker"); }
  void pass(Reply<Result<Position>> done, Function<void(Reply<Result<Position>>)> forward) {
    check();
    switch (answer.kind) {
      case Answer::Kind::now:
        return forward(std::move(done));
      case Answer::Kind::later:
        (void)schedule_.elsewhere->schedule(schedule_.now() + answer.after,
                                            [done, forward = std::move(forward)]() mutable { forward(done); });
        return;
      case Answer::Kind::never:
        return;
      case Answer::Kind::raise:
      case Answer::Kind::unavailable:
        return done(Error{errc::unavailable, "The broker cannot be reached", {}});
    }
  }

  Schedule& schedule_;
  std::shared_ptr<Broker> behind_;
};

/// In front of an awareness store.
class ScriptedAwarenessStore final : public AwarenessStore {
 public:
  explicit ScriptedAwarenessStore(Schedule& schedule) : schedule_(schedule) {}

  [[nodiscard]] AwarenessUpdate set(const RoomKey& room, AwarenessEntry entry, AwarenessLimits limits) override {
    return seam().set(room, std::move(entry), limits);
  }
  [[nodiscard]] AwarenessUpdate judge(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                      std::uint64_t clock) const override {
    return seam().judge(room, client, owner, clock);
  }
  [[nodiscard]] AwarenessUpdate remove(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                       std::uint64_t clock) override {
    return seam().remove(room, client, owner, clock);
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner,
                                                                        const RoomKey& room) override {
    return seam().remove_all_for_connection(owner, room);
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner) override {
    return seam().remove_all_for_connection(owner);
  }
  bool forget(const RoomKey& room, std::string_view client) override { return seam().forget(room, client); }
  [[nodiscard]] bool get(const RoomKey& room, std::string_view client, AwarenessEntry& found) const override {
    return seam().get(room, client, found);
  }
  [[nodiscard]] std::vector<AwarenessEntry> get_all(const RoomKey& room) const override { return seam().get_all(room); }
  [[nodiscard]] std::vector<AwarenessRemoval> expire(TimePoint refreshed_before) override {
    return seam().expire(refreshed_before);
  }
  [[nodiscard]] std::size_t size() const override { return behind_->size(); }

 private:
  [[nodiscard]] AwarenessStore& seam() const {
    schedule_.seam("the awareness store");
    return *behind_;
  }
  Schedule& schedule_;
  const std::shared_ptr<AwarenessStore> behind_ = std::make_shared<MemoryAwarenessStore>();
};

/// In front of a session store.
class ScriptedSessionStore final : public SessionStore {
 public:
  explicit ScriptedSessionStore(Schedule& schedule) : schedule_(schedule) {}

  void save(std::string token_hash, Session session, TimePoint now, TimePoint expires,
            Reply<Result<void>> done) override {
    pass(std::move(done), [this, token_hash, session, now, expires](auto answered) mutable {
      behind.save(token_hash, session, now, expires, answered);
    });
  }
  void take(std::string token_hash, UserKey user, ConnectionId connection, TimePoint now,
            Reply<Result<Session>> done) override {
    pass(std::move(done), [this, token_hash, user, connection, now](auto answered) mutable {
      behind.take(token_hash, user, connection, now, answered);
    });
  }
  void forget(std::string token_hash, Reply<Result<void>> done) override {
    pass(std::move(done), [this, token_hash](auto answered) mutable { behind.forget(token_hash, answered); });
  }
  void revoke(Revocation which, Reply<Result<std::size_t>> done) override {
    pass(std::move(done), [this, which](auto answered) mutable { behind.revoke(which, answered); });
  }
  void enqueue(UserKey user, QueuedMessage message, QueueLimits limits, TimePoint now,
               Reply<Result<Queued>> done) override {
    pass(std::move(done), [this, user, message, limits, now](auto answered) mutable {
      behind.enqueue(user, message, limits, now, answered);
    });
  }
  void pending(QueueReader reader, std::uint64_t after, TimePoint now,
               Reply<Result<std::vector<QueuedMessage>>> done) override {
    pass(std::move(done),
         [this, reader, after, now](auto answered) mutable { behind.pending(reader, after, now, answered); });
  }
  void acknowledge(QueueReader reader, std::uint64_t queue_id, Reply<Result<void>> done) override {
    pass(std::move(done),
         [this, reader, queue_id](auto answered) mutable { behind.acknowledge(reader, queue_id, answered); });
  }

  Answer answer;
  Withheld withheld;
  MemorySessionStore behind;

 private:
  template <class T, class Forward>
  void pass(Reply<Result<T>> done, Forward forward) {
    schedule_.seam("the session store");
    switch (answer.kind) {
      case Answer::Kind::now:
        return forward(std::move(done));
      case Answer::Kind::later:
        (void)schedule_.elsewhere->schedule(schedule_.now() + answer.after,
                                            [done, forward]() mutable { forward(done); });
        return;
      case Answer::Kind::never:
        return withheld.keep([done, forward]() mutable { forward(done); });
      case Answer::Kind::raise:
        throw std::runtime_error("this seam was told to throw");
      case Answer::Kind::unavailable:
        return done(Error{errc::unavailable, "The sessions cannot be reached", {}});
    }
  }

  Schedule& schedule_;
};

}  // namespace muster::test
