// Seams whose answers go through a Gate: they wait there until a test lets them out, in which order and thread it wants.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/broker.hpp"
#include "muster/session_store.hpp"

namespace muster::test {

/// Where answers wait. Threads: any. Nothing is called under its lock.
class Gate {
 public:
  /// From now on answers wait; those that wait already still do after `open`.
  void hold() { set(held_, true); }
  void open() { set(held_, false); }
  /// Questions are answered `unavailable` by the decorator, and the seam behind it is not asked.
  void fail(bool fails) { set(failing_, fails); }
  [[nodiscard]] bool is_failing() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failing_;
  }

  void pass(Function<void()> answer) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (held_) return waiting_.push_back(std::move(answer));
    }
    answer();
  }

  [[nodiscard]] std::size_t waiting() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return waiting_.size();
  }
  /// Lets the first `count` out, in the order they came. Returns how many there were.
  std::size_t release(std::size_t count = std::numeric_limits<std::size_t>::max()) {
    auto answers = take(count);
    for (auto& answer : answers) answer();
    return answers.size();
  }
  /// Lets all out, the last one first.
  std::size_t release_backwards() {
    auto answers = take(std::numeric_limits<std::size_t>::max());
    std::reverse(answers.begin(), answers.end());
    for (auto& answer : answers) answer();
    return answers.size();
  }
  /// Lets all out in another thread, and returns when it has ended.
  std::size_t release_elsewhere() {
    std::size_t count = 0;
    std::thread other([&] { count = release(); });
    other.join();
    return count;
  }
  /// Those that wait never come.
  std::size_t drop() { return take(std::numeric_limits<std::size_t>::max()).size(); }

  /// A reply whose answer goes through this gate on its way to `done`.
  template <class T>
  [[nodiscard]] static Reply<T> through(const std::shared_ptr<Gate>& gate, Reply<T> done) {
    return Reply<T>([gate, done = std::move(done)](T answer) {
      gate->pass([done, answer = std::move(answer)]() mutable { done(std::move(answer)); });
    });
  }

 private:
  void set(bool& flag, bool value) {
    const std::lock_guard<std::mutex> lock(mutex_);
    flag = value;
  }
  std::vector<Function<void()>> take(std::size_t count) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Function<void()>> answers;
    count = std::min(count, waiting_.size());
    for (std::size_t i = 0; i < count; ++i) answers.push_back(std::move(waiting_[i]));
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
    return answers;
  }

  mutable std::mutex mutex_;
  std::vector<Function<void()>> waiting_;
  bool held_ = false;
  bool failing_ = false;
};

[[nodiscard]] inline Error not_reachable() { return {errc::unavailable, "The back end cannot be reached", {}}; }

class DelayedAuthenticator final : public Authenticator {
 public:
  DelayedAuthenticator(std::shared_ptr<Authenticator> behind, std::shared_ptr<Gate> gate)
      : behind_(std::move(behind)), gate_(std::move(gate)) {}
  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->authenticate(credentials, Gate::through(gate_, std::move(done)));
  }
  [[nodiscard]] bool needs_token() const noexcept override { return behind_->needs_token(); }

 private:
  const std::shared_ptr<Authenticator> behind_;
  const std::shared_ptr<Gate> gate_;
};

class DelayedAuthorizer final : public Authorizer {
 public:
  DelayedAuthorizer(std::shared_ptr<Authorizer> behind, std::shared_ptr<Gate> gate)
      : behind_(std::move(behind)), gate_(std::move(gate)) {}
  void authorize(const Access& access, Reply<Permission> done) override {
    if (gate_->is_failing()) return done(Permission::deny("The rules cannot be read"));
    behind_->authorize(access, Gate::through(gate_, std::move(done)));
  }

 private:
  const std::shared_ptr<Authorizer> behind_;
  const std::shared_ptr<Gate> gate_;
};

class DelayedSessionStore final : public SessionStore {
 public:
  DelayedSessionStore(std::shared_ptr<SessionStore> behind, std::shared_ptr<Gate> gate)
      : behind_(std::move(behind)), gate_(std::move(gate)) {}
  void save(std::string token_hash, Session session, TimePoint now, TimePoint expires,
            Reply<Result<void>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->save(std::move(token_hash), std::move(session), now, expires, Gate::through(gate_, std::move(done)));
  }
  void take(std::string token_hash, UserKey user, ConnectionId connection, TimePoint now,
            Reply<Result<Session>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->take(std::move(token_hash), std::move(user), connection, now, Gate::through(gate_, std::move(done)));
  }
  void forget(std::string token_hash, Reply<Result<void>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->forget(std::move(token_hash), Gate::through(gate_, std::move(done)));
  }
  void revoke(Revocation which, Reply<Result<std::size_t>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->revoke(std::move(which), Gate::through(gate_, std::move(done)));
  }
  void enqueue(UserKey user, QueuedMessage message, QueueLimits limits, TimePoint now,
               Reply<Result<Queued>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->enqueue(std::move(user), std::move(message), limits, now, Gate::through(gate_, std::move(done)));
  }
  void pending(QueueReader reader, std::uint64_t after, TimePoint now,
               Reply<Result<std::vector<QueuedMessage>>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->pending(std::move(reader), after, now, Gate::through(gate_, std::move(done)));
  }
  void acknowledge(QueueReader reader, std::uint64_t queue_id, Reply<Result<void>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->acknowledge(std::move(reader), queue_id, Gate::through(gate_, std::move(done)));
  }

 private:
  const std::shared_ptr<SessionStore> behind_;
  const std::shared_ptr<Gate> gate_;
};

/// Delays the answers to publishes; what a broker carries to its sinks passes as it comes.
class DelayedBroker final : public Broker {
 public:
  DelayedBroker(std::shared_ptr<Broker> behind, std::shared_ptr<Gate> gate)
      : behind_(std::move(behind)), gate_(std::move(gate)) {}
  [[nodiscard]] NodeId attach(std::weak_ptr<Sink> sink) override { return behind_->attach(std::move(sink)); }
  void detach(NodeId node) override { behind_->detach(node); }
  void publish(BrokerMessage message, Reply<Result<Position>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->publish(std::move(message), Gate::through(gate_, std::move(done)));
  }
  void subscribe(NodeId node, RoomKey room, std::optional<Position> known, Reply<Result<Position>> done) override {
    if (gate_->is_failing()) return done(not_reachable());
    behind_->subscribe(node, std::move(room), known, std::move(done));  // before all that it brings
  }
  void unsubscribe(NodeId node, const RoomKey& room) override { behind_->unsubscribe(node, room); }
  void replicate(NodeId node, BrokerState state) override { behind_->replicate(node, std::move(state)); }

 private:
  const std::shared_ptr<Broker> behind_;
  const std::shared_ptr<Gate> gate_;
};

}  // namespace muster::test
