// The roles file: a JSON array of rules, who may do what where.
#pragma once

#include <filesystem>
#include <muster/auth/role_authorizer.hpp>
#include <string_view>
#include <variant>
#include <vector>

#include "json_file.hpp"

namespace muster_server {

using Rules = std::vector<muster::RoleRule>;

/// Reads `[{"role": "editor", "actions": ["join", "publish"], "pattern": "canvas:*"}, ...]`. All three members are
/// needed; "*" among the actions is every action. What RoleAuthorizer would refuse is refused here, with its line.
[[nodiscard]] std::variant<Rules, FileProblem> parse_roles(std::string_view json);

/// The same from a file; problems begin with its name.
[[nodiscard]] std::variant<Rules, FileProblem> read_roles_file(const std::filesystem::path& file);

}  // namespace muster_server
