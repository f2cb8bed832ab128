// RecordingManager: plays the core behind an adapter: it writes down what it is told, answers as the test says, and finds
// fault with what an adapter must not do.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/wire_format.hpp"
#include "support/idle_manager.hpp"

namespace muster::test {

/// What the adapter owes the core is checked in every call: on the executor, not inside a call of the transport's, about
/// a connection that is open. `faults` lists what was not so.
///
/// Threads: many loops may call it; what it keeps is read under its lock, by the methods below. A connection is named by
/// its place in the order of openings.
class RecordingManager final : public IdleManager, public std::enable_shared_from_this<RecordingManager> {
 public:
  struct Message {
    FrameKind kind;
    std::string bytes;
    friend bool operator==(const Message& a, const Message& b) { return a.kind == b.kind && a.bytes == b.bytes; }
  };
  /// One connection, from its opening on.
  struct Seen {
    OpenRequest request;
    std::shared_ptr<Transport> transport;  ///< until it has closed
    std::shared_ptr<Executor> executor;
    std::shared_ptr<Connection> connection;  ///< while it is open
    std::weak_ptr<const Connection> watched;
    std::vector<Message> messages;
    std::vector<CloseReason> failures;
    std::vector<CloseReason> closings;
    std::size_t writables = 0;
    std::size_t fragments = 0;
    std::size_t arrived = 0;  ///< bytes on the wire, as told
    bool open = false;
    OpenDone done;
    std::uint64_t opening = 0;
    std::string batch;
    std::atomic<int> inside{0};  ///< calls of the transport that are under way
  };

  explicit RecordingManager(Options options = {}) : IdleManager(std::move(options)) {}

  /// What a test decides of. Set before the first connection.
  std::function<Decision(const OpenRequest&)> decide;  ///< none: accepted
  std::atomic<bool> hold{false};                       ///< answers wait for `answer`
  bool echo = false;                                   ///< each text or binary message is written back
  std::size_t places = 1000;
  Error full{errc::unavailable, "The server is full", std::chrono::seconds(7)};
  /// Whether the calling thread runs a task of the connection's executor.
  std::function<bool()> on_executor = [] { return true; };
  /// Called on the executor, after the call was written down; `on_open` in a task after the answer.
  std::function<void(Transport&)> on_open;
  std::function<void(Connection&, FrameKind, std::string_view)> on_received;
  std::function<void()> on_writable;

  // What was told.

  template <class Read>
  auto with(Read read) {
    const Lock lock(mutex_);
    return read(seen_);
  }
  [[nodiscard]] std::size_t count() {
    return with([](auto& seen) { return seen.size(); });
  }
  [[nodiscard]] std::size_t messages(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->messages.size() : 0; });
  }
  [[nodiscard]] std::string message(std::size_t which, std::size_t i = 0) {
    return with([&](auto& seen) { return seen.at(i)->messages.at(which).bytes; });
  }
  [[nodiscard]] std::vector<Message> all_messages(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->messages : std::vector<Message>{}; });
  }
  [[nodiscard]] std::vector<CloseReason> closings(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->closings : std::vector<CloseReason>{}; });
  }
  [[nodiscard]] std::vector<CloseReason> failures(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->failures : std::vector<CloseReason>{}; });
  }
  [[nodiscard]] std::size_t writables(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->writables : 0; });
  }
  [[nodiscard]] std::shared_ptr<Executor> executor(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->executor : nullptr; });
  }
  [[nodiscard]] std::weak_ptr<const Connection> connection(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->watched : std::weak_ptr<const Connection>{}; });
  }
  /// Places reserved and not given back.
  [[nodiscard]] std::size_t reserved() const { return *reserved_; }
  [[nodiscard]] std::size_t cancelled() const { return cancelled_; }
  /// The addresses that places were asked for.
  [[nodiscard]] std::vector<std::string> asked_for() {
    const Lock lock(mutex_);
    return asked_for_;
  }
  struct TurnedAway {
    RefusedFor reason;
    std::string address;
    std::string what;
  };
  [[nodiscard]] std::vector<TurnedAway> refusals() {
    const Lock lock(mutex_);
    return refusals_;
  }
  [[nodiscard]] std::vector<std::string> faults() {
    const Lock lock(mutex_);
    return faults_;
  }

  // What the core does. On the executor.

  /// Answers a held opening.
  void answer(std::size_t i, Decision decision) {
    const auto seen = at(i);
    if (OpenDone done = std::exchange(seen->done, nullptr)) finish(*seen, std::move(done), std::move(decision));
  }
  [[nodiscard]] static Decision accepted() {
    Decision decision;
    decision.accepted = true;
    return decision;
  }
  [[nodiscard]] static Decision refused(CloseReason reason, Error error) {
    Decision decision;
    decision.reason = reason;
    decision.error = std::move(error);
    return decision;
  }
  /// Calls the transport as the core does; what comes back inside the call is a fault. False: it is gone.
  template <class Call>
  bool call_transport(Call&& call, std::size_t i = 0) {
    const auto seen = at(i);
    const auto transport = seen->transport;
    if (!transport) return false;
    ++seen->inside;
    call(*transport);
    --seen->inside;
    return true;
  }
  /// Writes one batch whose bytes stay valid until they are through.
  WriteResult write(std::size_t i, std::string bytes, std::size_t spans = 1) {
    const auto seen = at(i);
    seen->batch = std::move(bytes);
    std::vector<Span> parts;
    const std::size_t each = seen->batch.size() / spans;
    for (std::size_t from = 0, n = 0; n < spans; ++n, from += each) {
      parts.push_back({seen->batch.data() + from, n + 1 == spans ? seen->batch.size() - from : each});
    }
    return seen->transport->write(parts.data(), parts.size());
  }

  // IConnectionManager, as adapters call it.

  [[nodiscard]] Reservation reserve(const RemoteAddress& address, TimePoint) override {
    const Lock lock(mutex_);
    asked_for_.push_back(address.text);
    if (*reserved_ >= places) return {CloseReason::over_capacity, full};
    ++*reserved_;
    return Reservation(Function<void()>([reserved = reserved_] { --*reserved; }));
  }
  void refused(RefusedFor reason, const RemoteAddress& address, std::string_view what, TimePoint) override {
    const Lock lock(mutex_);
    refusals_.push_back({reason, address.text, std::string(what)});
  }
  std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport, std::shared_ptr<Executor> executor,
                     OpenDone done) override {
    const auto seen = std::make_shared<Seen>();
    check("open", *seen);
    seen->request = std::move(request);
    seen->transport = std::move(transport);
    seen->executor = std::move(executor);
    const bool waits = hold;
    if (waits) seen->done = std::move(done);
    {
      const Lock lock(mutex_);
      seen_.push_back(seen);
      seen->opening = seen_.size();
    }
    if (waits) return seen->opening;
    finish(*seen, std::move(done), decide ? decide(seen->request) : accepted());
    return 0;
  }
  void cancel_open(const std::shared_ptr<Executor>&, std::uint64_t opening) override {
    const auto seen = at(opening - 1);
    check("cancel_open", *seen);
    if (!seen->done) fault("cancel_open of an opening that is not waiting");
    ++cancelled_;
    seen->done = nullptr;
    seen->transport.reset();
    seen->request.reservation.release();
  }
  void arrived(Connection& connection, std::size_t bytes) override {
    const auto seen = checked("arrived", connection);
    with([&](auto&) { seen->arrived += bytes; });
  }
  void received(Connection& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes) override {
    const auto seen = checked("received", connection);
    with([&](auto&) { seen->arrived += wire_bytes; });
    if (kind == FrameKind::continuation) {
      with([&](auto&) { ++seen->fragments; });
      return;
    }
    with([&](auto&) { seen->messages.push_back({kind, std::string(bytes)}); });
    if (on_received) on_received(connection, kind, bytes);
    if (echo && (kind == FrameKind::text || kind == FrameKind::binary)) {
      std::string frame;
      WebSocketFormat{}.append(kind, bytes, frame);
      (void)write(seen->opening - 1, std::move(frame));
    }
  }
  void writable(Connection& connection) override {
    const auto seen = checked("writable", connection);
    with([&](auto&) { ++seen->writables; });
    if (on_writable) on_writable();
  }
  void closed(Connection& connection, CloseReason cause) override {
    const auto seen = checked("closed", connection);
    with([&](auto&) {
      seen->closings.push_back(cause);
      seen->open = false;
    });
    seen->transport.reset();
    seen->connection.reset();
    seen->request.reservation.release();
    ended();
  }
  void fail(Connection& connection, CloseReason reason, std::string_view words) override {
    const auto seen = checked("fail", connection);
    with([&](auto&) { seen->failures.push_back(reason); });
    (void)call_transport([&](Transport& transport) { transport.close(describe(reason).code, words); },
                         seen->opening - 1);
  }
  void shutdown(Function<void()> done) override {
    std::vector<std::shared_ptr<Seen>> all;
    {
      const Lock lock(mutex_);
      ready_ = false;
      shut_down_ = std::move(done);
      all = seen_;
    }
    for (const auto& seen : all) {
      if (!seen->executor) continue;
      (void)seen->executor->post([seen] {
        if (seen->transport && seen->connection) seen->transport->close(1001, "Server is going away");
      });
    }
    ended();
  }
  [[nodiscard]] bool is_ready() const override { return ready_; }

 private:
  using Lock = std::lock_guard<std::mutex>;

  [[nodiscard]] std::shared_ptr<Seen> at(std::size_t i) {
    return with([i](auto& seen) { return seen.at(i); });
  }
  void fault(std::string what) {
    const Lock lock(mutex_);
    faults_.push_back(std::move(what));
  }
  void check(const std::string& call, const Seen& seen) {
    if (!on_executor()) {
      fault(call + " was not called on the executor");
    } else if (seen.inside != 0) {
      fault(call + " was called inside a call of Transport");
    }
  }
  [[nodiscard]] std::shared_ptr<Seen> checked(const std::string& call, const Connection& connection) {
    const auto seen = at(static_cast<std::size_t>(connection.id().value() - 1));
    check(call, *seen);
    if (seen->connection.get() != &connection) fault(call + " was called for a connection that is not open");
    return seen;
  }
  void finish(Seen& seen, OpenDone done, Decision decision) {
    if (!decision.accepted) {
      seen.transport.reset();
      decision.reservation = std::move(seen.request.reservation);
      return done(std::move(decision));
    }
    seen.connection = std::make_shared<BareConnection>(*this, ConnectionId(seen.opening), seen.request.remote_address);
    decision.connection = seen.connection;
    with([&](auto&) {
      seen.watched = seen.connection;
      seen.open = true;
    });
    done(std::move(decision));
    if (on_open) {
      (void)seen.executor->post([self = shared_from_this(), transport = seen.transport] { self->on_open(*transport); });
    }
  }
  void ended() {
    Function<void()> done;
    {
      const Lock lock(mutex_);
      const bool open = std::any_of(seen_.begin(), seen_.end(), [](const auto& seen) { return seen->open; });
      if (!shut_down_ || open) return;
      done = std::exchange(shut_down_, nullptr);
    }
    done();
  }

  const std::shared_ptr<std::atomic<std::size_t>> reserved_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::atomic<std::size_t> cancelled_{0};
  std::atomic<bool> ready_{true};
  std::mutex mutex_;
  std::vector<std::shared_ptr<Seen>> seen_;
  std::vector<std::string> asked_for_;
  std::vector<TurnedAway> refusals_;
  std::vector<std::string> faults_;
  Function<void()> shut_down_;
};

}  // namespace muster::test
