// Who is let in and what they may do, made from the settings and the files they name, and again when these change.
#pragma once

#include <memory>
#include <muster/authenticator.hpp>
#include <muster/authorizer.hpp>
#include <mutex>
#include <utility>

#include "flags.hpp"

namespace muster_server {

/// What --auth and --roles say.
struct Access {
  std::shared_ptr<muster::Authenticator> authenticator;
  std::shared_ptr<muster::Authorizer> authorizer;
};

/// Reads the files. Throws std::runtime_error with one sentence that names the flag and the file.
[[nodiscard]] Access read_access(const Settings& settings);

/// A seam that can be exchanged while it is asked. Any thread.
template <class Seam>
class Current {
 public:
  explicit Current(std::shared_ptr<Seam> seam) : seam_(std::move(seam)) {}
  [[nodiscard]] std::shared_ptr<Seam> get() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return seam_;
  }
  void exchange(std::shared_ptr<Seam> seam) {
    const std::lock_guard<std::mutex> lock(mutex_);
    seam_.swap(seam);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Seam> seam_;
};

/// What the files said when they were last read and were all good. Any thread.
class CurrentAccess final : public muster::Authenticator, public muster::Authorizer {
 public:
  explicit CurrentAccess(Access access)
      : authenticator_(std::move(access.authenticator)), authorizer_(std::move(access.authorizer)) {}

  void authenticate(const muster::Credentials& credentials, muster::Reply<muster::Authentication> done) override {
    authenticator_.get()->authenticate(credentials, std::move(done));
  }
  void authorize(const muster::Access& access, muster::Reply<muster::Permission> done) override {
    authorizer_.get()->authorize(access, std::move(done));
  }
  [[nodiscard]] bool needs_token() const noexcept override { return authenticator_.get()->needs_token(); }

  /// For whoever asks from now on: who is connected stays.
  void exchange(Access access) {
    authenticator_.exchange(std::move(access.authenticator));
    authorizer_.exchange(std::move(access.authorizer));
  }

 private:
  Current<muster::Authenticator> authenticator_;
  Current<muster::Authorizer> authorizer_;
};

}  // namespace muster_server
