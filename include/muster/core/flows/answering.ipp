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
  UnderWay(Answering& answering, ConnectionState& connection, const Correlation& correlation)
      : of_(answering), loop_(connection.loop), asker_(connection.weak_from_this()), correlation_(correlation) {}

  // The handler's end.

  void answer(Result<Payload> answer) override {
    {
      Lock lock(mutex_);
      if (std::exchange(answered_, true)) return;
    }
    give(std::move(answer));
  }
  void progress(Payload payload) override {
    {
      Lock lock(mutex_);
      if (answered_ || !correlation_.reply) return;
      said_.push_back(std::move(payload));
    }
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

  /// In order: the answer goes to a question.
  void reply_to(Reply<Result<Payload>> reply) { reply_.emplace(std::move(reply)); }
  /// The handler has returned, and may have refused.
  void returned(std::optional<Error> refused) {
    {
      Lock lock(mutex_);
      inside_ = false;
      if (answered_ || (!refused && !dropped_)) return;
      answered_ = true;
    }
    give(refused ? std::move(*refused) : no_answer());
  }
  void tell(ConnectionState& asker, Result<Payload> answer) {
    if (told_) return;
    tell_progress(asker);
    told_ = true;
    if (!reply_) --asker.rare->answering;
    if (!answer) {
      of_.writer_.tell_error(asker, &correlation_, answer.error());
    } else if (correlation_.reply || !answer.value().empty()) {
      event::Ack ack;
      if (!answer.value().empty()) ack.payload = &answer.value();
      of_.writer_.tell_asked(asker, ack, &correlation_);
    }
  }
  /// Not in order: the deadline has passed.
  void expire() {
    {
      Lock lock(mutex_);
      if (std::exchange(answered_, true)) return;
    }
    if (const ConnectionPtr asker = asker_.lock()) tell(*asker, too_late());
  }

  [[nodiscard]] static Error too_late() { return {errc::unavailable, "The handler did not answer in time", {}}; }

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
    if (reply_) return (*reply_)(std::move(answer));
    (void)loop_->post([self = shared_from_this(), answer = std::move(answer)]() mutable {
      if (const ConnectionPtr asker = self->asker_.lock()) self->tell(*asker, std::move(answer));
    });
  }

  Answering& of_;
  const std::shared_ptr<Loop> loop_;
  const std::weak_ptr<ConnectionState> asker_;
  const Correlation correlation_;
  std::optional<Reply<Result<Payload>>> reply_;
  bool told_ = false;  ///< on the connection's executor
  Mutex mutex_;
  bool inside_ MUSTER_GUARDED_BY(mutex_) = true;
  bool answered_ MUSTER_GUARDED_BY(mutex_) = false;
  bool dropped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::vector<Payload> said_ MUSTER_GUARDED_BY(mutex_);  ///< progress that was not told yet
};

MUSTER_INLINE void Answering::serve(ConnectionState& connection, const Correlation& correlation, const Handler& handler,
                                    const Payload& payload) {
  const auto under_way = std::make_shared<UnderWay>(*this, connection, correlation);
  bool well = true;
  const auto call = [&] {
    std::optional<Error> refused;
    well = hooks_.handle(
        connection, [&] { handler.later(connection, payload, Responder(under_way)); }, refused);
    under_way->returned(std::move(refused));
  };
  if (handler.options.in_order) {
    questions_.ask<Result<Payload>>(
        connection,
        [&](Reply<Result<Payload>> reply) {
          under_way->reply_to(std::move(reply));
          call();
        },
        [under_way](ConnectionState& same, Result<Payload> answer) { under_way->tell(same, std::move(answer)); },
        UnderWay::too_late(), nullptr, handler.options.timeout);
  } else if (connection.seldom().answering >= std::max<std::size_t>(1, options_.waiting_commands)) {
    writer_.tell_error(connection, &correlation,
                       {errc::too_many, "Too many commands of this connection are under way", {}});
  } else {
    Loop& loop = *connection.loop;
    const auto timeout = handler.options.timeout.count() != 0 ? handler.options.timeout : options_.answer_timeout;
    (void)loop.executor->schedule(loop.executor->now() + timeout,
                                  [weak = std::weak_ptr<UnderWay>(under_way), on = connection.loop] {
                                    on->run([&] {
                                      if (const auto late = weak.lock()) late->expire();
                                    });
                                  });
    ++connection.rare->answering;
    call();
  }
  if (!well) ending_.end(connection, CloseReason::internal_error, {});
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
