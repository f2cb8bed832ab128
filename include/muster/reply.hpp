// Reply: how an asynchronous seam answers, once, from any thread.
#pragma once

#include <memory>
#include <utility>

#include "muster/function.hpp"
#include "muster/thread_safety.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

/// What all copies of a reply share.
class ReplyState {
 public:
  explicit ReplyState(Function<void(void*)> receiver) : receiver_(std::move(receiver)) {}
  void answer(void* answer) {
    Function<void(void*)> receiver;
    {
      const CheckedLock lock(mutex_);
      receiver = std::move(receiver_);
    }
    if (receiver) receiver(answer);
  }

 private:
  CheckedMutex mutex_;
  Function<void(void*)> receiver_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace detail

/// Called with the answer: from any thread, before or after the call that handed it out has returned. Only the first
/// call counts. Copies answer the same question. A reply that nobody calls is answered by the asker's deadline.
template <class T>
class Reply {
 public:
  /// `receiver`, a callable `void(T)`, is called in the thread that answers.
  template <class Receiver>
  explicit Reply(Receiver receiver)
      : state_(std::make_shared<detail::ReplyState>([receiver = std::move(receiver)](void* answer) mutable {
          receiver(static_cast<T&&>(*static_cast<T*>(answer)));
        })) {}

  void operator()(T answer) const { state_->answer(&answer); }

 private:
  std::shared_ptr<detail::ReplyState> state_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
