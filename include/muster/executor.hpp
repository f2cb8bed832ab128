// The seam to one event loop.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "muster/function.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// One event loop: tasks run one after another, never two at a time. Every connection lives on exactly one.
///
/// Ownership: shared; the manager keeps an executor until it finds that it has stopped: when it has a task for it, at the
/// next sweep, or when a connection comes on a new one. The first one it keeps for its clock.
/// Threads: every method may be called from any thread. None of them runs a task inside the call.
class Executor {
 public:
  using Task = Function<void()>;

  virtual ~Executor() = default;

  /// Runs `task` later, after the tasks posted before it. False: the executor has stopped, `task` was destroyed
  /// unrun, and no task of this executor is running or ever will. A task accepted and never run (the executor
  /// stopped meanwhile) is destroyed. Tasks must not throw.
  [[nodiscard]] virtual bool post(Task task) = 0;

  /// Runs `task` when the turn ends: after what has been posted, and what that posts, and before the executor looks for
  /// what else there is to do (sockets, times that have come). `turns`: when a later turn ends, that many from now. Tasks
  /// of one turn's end keep their order. Who serves sockets ends a turn after some rounds, even if tasks go on posting.
  /// By default it is posted, and as often anew: once, and once more for each turn. False as for `post`.
  [[nodiscard]] virtual bool post_at_turn_end(Task task, std::size_t turns = 0) {
    return post(Postponed{std::make_shared<Postponed::State>(Postponed::State{*this, turns + 1, std::move(task)})});
  }

  /// Runs `task` once, not before `when`; a time in the past means soon. There is no cancelling: the caller ignores
  /// what comes too late. False as for `post`.
  [[nodiscard]] virtual bool schedule(TimePoint when, Task task) = 0;

  /// Monotonic time, the clock that `schedule` follows.
  [[nodiscard]] virtual TimePoint now() const = 0;

  /// Calendar time, for timestamps and the expiry of credentials.
  [[nodiscard]] virtual WallTime wall_now() const = 0;

 protected:
  Executor() = default;
  Executor(const Executor&) = default;
  Executor& operator=(const Executor&) = default;

 private:
  struct Postponed {
    struct State {
      Executor& executor;  // which runs it, so it is there
      std::size_t posts;
      Task task;
    };
    std::shared_ptr<State> state;
    void operator()() const {
      if (state->posts-- == 0) return state->task();
      try {
        (void)state->executor.post(*this);  // refused, it is destroyed, as all that waits
      } catch (...) {                       // no memory to wait with
        state->task();
      }
    }
  };
};

}  // namespace MUSTER_ABI
}  // namespace muster
