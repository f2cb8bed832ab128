// From a handler that returns to the answer of its command.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/flows/answering.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A command under way. The handler's end of it may be on any thread, and outlive the connection and the manager.
class Answering::UnderWay final : public Responder::Receiver, public std::enable_shared_from_this<UnderWay> {
 public:
  UnderWay(Answering& answering, ConnectionState& connection, const Correlation& correlation, bool in_order)
      : of_(answering),
        loop_(connection.loop),
        asker_(connection.weak_from_this()),
        correlation_(correlation),
        in_order_(in_order) {}

  // The handler's end.

  void answer(Result<Payload> answer) override {
    {
      Lock lock(mutex_);
      if (std::exchange(answered_, true)) return;
      if (inside_) return inside_answer_.emplace(std::move(answer)), void();
    }
    give(std::move(answer));
  }
  void progress(Payload payload) override {
    {
      Lock lock(mutex_);
      if (answered_ || !correlation_.reply) return;
      said_.push_back(std::move(payload));
    }
    if (loop_->life.expired()) return;
    (void)loop_->post([self = shared_from_this()] {
      if (const ConnectionPtr asker = self->asker_.lock()) self->tell_progress(*asker);
    });
  }
  /// While the handler runs it may be about to throw its answer.
  void dropped() noexcept override {
    {
      Lock lock(mutex_);
      dropped_ = true;
      if (inside_ || std::exchange(answered_, true)) return;
    }
    try {
      give(no_answer());
    } catch (...) {  // no memory to tell it with: the deadline will
    }
  }

  // The connection's.

  /// The handler has returned, and may have refused. Whether it is answered by now.
  [[nodiscard]] bool returned(ConnectionState& asker, std::optional<Error> refused) {
    std::optional<Result<Payload>> answer;
    {
      Lock lock(mutex_);
      inside_ = false;
      answer.swap(inside_answer_);
      if (!answered_ && refused) answer.emplace(std::move(*refused));
      if (!answered_ && !refused && dropped_) answer.emplace(no_answer());
      answered_ = answered_ || answer;
    }
    if (answer) tell(asker, std::move(*answer));
    return told_;
  }
  void tell(ConnectionState& asker, Result<Payload> answer) {
    if (told_) return;
    tell_progress(asker);
    told_ = true;
    if (!asker.rare || asker.ended()) return;
    if (in_order_) {
      asker.rare->serving.reset();
    } else {
      --asker.rare->answering;
    }
    if (!answer) {
      of_.writer_.tell_error(asker, &correlation_, answer.error());
    } else if (correlation_.reply || !answer.value().empty()) {
      event::Ack ack;
      if (!answer.value().empty()) ack.payload = &answer.value();
      of_.writer_.tell_asked(asker, ack, &correlation_);
    }
    if (in_order_) of_.later_.go_on(asker);
  }
  /// The deadline has passed.
  void expire(ConnectionState& asker) {
    {
      Lock lock(mutex_);
      if (std::exchange(answered_, true)) return;
    }
    tell(asker, Error{errc::unavailable, "The handler did not answer in time", {}});
  }
  void expire() {
    if (const ConnectionPtr asker = asker_.lock()) expire(*asker);
  }

 private:
  [[nodiscard]] static Error no_answer() { return {errc::internal, "The handler gave no answer", {}}; }
  void tell_progress(ConnectionState& asker) {
    if (told_) return;  // by its deadline
    std::vector<Payload> said;
    {
      Lock lock(mutex_);
      said.swap(said_);
    }
    for (const Payload& payload : said) {
      event::Progress progress;
      progress.payload = &payload;
      of_.writer_.tell_asked(asker, progress, &correlation_);
    }
  }
  void give(Result<Payload> answer) {
    if (loop_->life.expired()) return;  // nobody is there who could be told
    (void)loop_->post([self = shared_from_this(), answer = std::move(answer)]() mutable {
      const ConnectionPtr asker = self->asker_.lock();
      if (!asker) return;
      guard(self->of_.later_, *asker, "An answer", [&] { self->tell(*asker, std::move(answer)); });
    });
  }

  Answering& of_;
  const std::shared_ptr<Loop> loop_;
  const std::weak_ptr<ConnectionState> asker_;
  const Correlation correlation_;
  const bool in_order_;
  bool told_ = false;  ///< on the connection's executor
  Mutex mutex_;
  bool inside_ MUSTER_GUARDED_BY(mutex_) = true;
  bool answered_ MUSTER_GUARDED_BY(mutex_) = false;
  bool dropped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::optional<Result<Payload>> inside_answer_
      MUSTER_GUARDED_BY(mutex_);                         ///< that was given before the handler returned
  std::vector<Payload> said_ MUSTER_GUARDED_BY(mutex_);  ///< progress that was not told yet
};

MUSTER_INLINE void Answering::serve(ConnectionState& connection, const Correlation& correlation, const Handler& handler,
                                    const Payload& payload) {
  const bool in_order = handler.options.in_order;
  Rare& rare = connection.seldom();
  if (!in_order && rare.answering >= std::max<std::size_t>(1, options_.waiting_commands)) {
    writer_.tell_error(connection, &correlation,
                       {errc::too_many, "Too many commands of this connection are under way", {}});
    return;
  }
  const auto under_way = std::make_shared<UnderWay>(*this, connection, correlation, in_order);
  if (in_order) {
    rare.serving.reset(new Serving(&connection, late_));
    rare.serving->command = under_way;
  } else {
    ++rare.answering;
  }
  std::optional<Error> refused;
  const bool well = hooks_.handle(
      connection, [&] { handler.later(connection, payload, Responder(under_way)); }, refused);
  const bool answered = under_way->returned(connection, std::move(refused));
  if (!well) return ending_.end(connection, CloseReason::internal_error, {});
  if (answered || connection.ended()) return;
  Loop& loop = *connection.loop;
  const TimePoint deadline =
      loop.executor->now() + (handler.options.timeout.count() != 0 ? handler.options.timeout : options_.answer_timeout);
  if (in_order) return loop.arm(rare.serving->deadline, deadline);
  (void)loop.executor->schedule(deadline, [weak = std::weak_ptr<UnderWay>(under_way), on = connection.loop] {
    on->run([&] {
      if (const auto late = weak.lock()) late->expire();
    });
  });
}

MUSTER_INLINE void Answering::expire(ConnectionState& connection) {
  if (!connection.rare || !connection.rare->serving) return;
  const auto late = std::static_pointer_cast<UnderWay>(connection.rare->serving->command);
  late->expire(connection);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
