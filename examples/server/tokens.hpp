// The tokens file: a JSON object from token to whom it lets in.
#pragma once

#include <filesystem>
#include <muster/auth/static_token_authenticator.hpp>
#include <string_view>
#include <variant>

#include "json_file.hpp"

namespace muster_server {

using Tokens = muster::StaticTokenAuthenticator::Tokens;

/// Reads `{"TOKEN": {"user": ..., "tenant"?: ..., "roles"?: [...], "expires_at"?: milliseconds since the epoch}, ...}`.
/// Unknown members, tokens and members given twice, empty tokens and users, and times in seconds are refused: each is a
/// mistake that would otherwise let the wrong one in, or nobody. A problem never names the token.
[[nodiscard]] std::variant<Tokens, FileProblem> parse_tokens(std::string_view json);

/// The same from a file; problems begin with its name.
[[nodiscard]] std::variant<Tokens, FileProblem> read_tokens_file(const std::filesystem::path& file);

}  // namespace muster_server
