// Reply: how an asynchronous seam answers, once, from any thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "muster/function.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Called with the answer: from any thread, before or after the call that handed it out has returned. Only the first
/// call counts. Copies answer the same question. A reply that nobody calls is answered by the asker's deadline.
template <class T>
class Reply {
 public:
  using Receiver = Function<void(T)>;

  /// `receiver` is called in the thread that answers.
  explicit Reply(Receiver receiver) : state_(std::make_shared<State>()) { state_->receiver = std::move(receiver); }

  void operator()(T answer) const {
    Receiver receiver;
    {
      const std::lock_guard<std::mutex> lock(state_->mutex);
      receiver = std::exchange(state_->receiver, nullptr);
    }
    if (receiver) receiver(std::move(answer));
  }

 private:
  struct State {
    std::mutex mutex;
    Receiver receiver;
  };
  std::shared_ptr<State> state_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
