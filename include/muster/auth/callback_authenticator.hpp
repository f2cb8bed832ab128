// CallbackAuthenticator and CallbackAuthorizer: a program's own functions as seams.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/config.hpp"
#include "muster/reply.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Asks a callable, `void(const Credentials&, Reply<Authentication>)`. It may keep the reply and call it later, from
/// any thread. It is called on several executors at once when there are several, so what it shares it must guard.
/// What it throws before it has answered is a refusal with `internal`, as of any Authenticator: counted, and logged.
template <class Callback>
class CallbackAuthenticator final : public Authenticator {
  static_assert(std::is_invocable_v<Callback&, const Credentials&, Reply<Authentication>>,
                "the callable takes (const Credentials&, Reply<Authentication>)");

 public:
  explicit CallbackAuthenticator(Callback callback) : callback_(std::move(callback)) {}

  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    callback_(credentials, std::move(done));
  }

 private:
  Callback callback_;
};

/// Asks a callable, `void(const Access&, Reply<Permission>)`; otherwise as CallbackAuthenticator. What it throws allows
/// nothing, as of any Authorizer.
template <class Callback>
class CallbackAuthorizer final : public Authorizer {
  static_assert(std::is_invocable_v<Callback&, const Access&, Reply<Permission>>,
                "the callable takes (const Access&, Reply<Permission>)");

 public:
  explicit CallbackAuthorizer(Callback callback) : callback_(std::move(callback)) {}

  void authorize(const Access& access, Reply<Permission> done) override { callback_(access, std::move(done)); }

 private:
  Callback callback_;
};

template <class Callback>
[[nodiscard]] std::shared_ptr<Authenticator> callback_authenticator(Callback&& callback) {
  return std::make_shared<CallbackAuthenticator<std::decay_t<Callback>>>(std::forward<Callback>(callback));
}
template <class Callback>
[[nodiscard]] std::shared_ptr<Authorizer> callback_authorizer(Callback&& callback) {
  return std::make_shared<CallbackAuthorizer<std::decay_t<Callback>>>(std::forward<Callback>(callback));
}

}  // namespace MUSTER_ABI
}  // namespace muster
