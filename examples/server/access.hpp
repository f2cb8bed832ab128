// Who is let in and what they may do, made from the settings and the files they name.
#pragma once

#include <memory>
#include <muster/authenticator.hpp>
#include <muster/authorizer.hpp>
#include <optional>
#include <string>

#include "flags.hpp"

namespace muster_server {

/// What --auth says. Throws std::runtime_error with one sentence that names the flag and the file.
[[nodiscard]] std::shared_ptr<muster::Authenticator> make_authenticator(const Settings& settings);

/// What --roles says. Throws as above.
[[nodiscard]] std::shared_ptr<muster::Authorizer> make_authorizer(const Settings& settings);

/// Reads the files of --jwt-key again, for the authenticator that was made from the same settings. Returns what is
/// wrong with one of them; then the keys are as they were.
[[nodiscard]] std::optional<std::string> reload_keys(const Settings& settings, muster::Authenticator& authenticator);

}  // namespace muster_server
