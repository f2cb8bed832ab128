// Reply: how an asynchronous seam answers, once, from any thread.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "muster/function.hpp"
#include "muster/thread_safety.hpp"

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
      const CheckedLock lock(state_->mutex);
      receiver = std::exchange(state_->receiver, nullptr);
    }
    if (receiver) receiver(std::move(answer));
  }

 private:
  struct State {
    CheckedMutex mutex;
    Receiver receiver MUSTER_GUARDED_BY(mutex);
  };
  std::shared_ptr<State> state_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
