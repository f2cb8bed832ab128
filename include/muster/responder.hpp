// Responder: how a handler answers its command later, from any thread.
#pragma once

#include <memory>
#include <utility>

#include "muster/error.hpp"
#include "muster/message.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Answers one command, once. A handler that takes one may return before it has answered, and keep it: until then the
/// client waits, at most as long as HandlerOptions::timeout says. Only the first answer counts; after the deadline, or when
/// the connection is gone, an answer does nothing. One that is destroyed without an answer answers `internal`.
///
/// Ownership: the handler's; it can be moved, and not copied. Threads: one at a time, any; also after the manager is gone.
class Responder {
 public:
  /// The other end, which is the core's.
  class Receiver {
   public:
    virtual ~Receiver() = default;
    virtual void answer(Result<Payload> answer) = 0;
    virtual void progress(Payload payload) = 0;
    virtual void dropped() noexcept = 0;

   protected:
    Receiver() = default;
    Receiver(const Receiver&) = default;
    Receiver& operator=(const Receiver&) = default;
  };

  explicit Responder(std::shared_ptr<Receiver> receiver) : receiver_(std::move(receiver)) {}
  Responder(Responder&& other) noexcept = default;
  Responder& operator=(Responder&& other) noexcept {
    if (this != &other) {
      drop();
      receiver_ = std::move(other.receiver_);
    }
    return *this;
  }
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;
  ~Responder() { drop(); }

  /// With a payload, or with an Error, whose name and details are the program's own.
  void operator()(Result<Payload> answer) {
    if (const auto receiver = std::move(receiver_)) receiver->answer(std::move(answer));
  }
  /// Tells the client how far it is (`progress`), any number of times before the answer. Clients that did not ask for an
  /// answer are told nothing.
  void progress(Payload payload) {
    if (receiver_) receiver_->progress(std::move(payload));
  }

 private:
  void drop() noexcept {
    if (const auto receiver = std::move(receiver_)) receiver->dropped();
  }

  std::shared_ptr<Receiver> receiver_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
