#include "access.hpp"

#include <muster/auth/allow_all.hpp>
#include <muster/auth/allow_anonymous.hpp>
#include <muster/auth/jwt_authenticator.hpp>
#include <muster/auth/role_authorizer.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "roles.hpp"
#include "tokens.hpp"

namespace muster_server {
namespace {

#if defined(MUSTER_SERVER_JWT)
std::vector<muster::JwtKey> read_keys(const Settings& settings) {
  std::vector<muster::JwtKey> keys;
  for (const JwtKeyFile& named : settings.jwt_keys) {
    auto key = muster::read_jwt_key(named.algorithm, named.file, named.id);
    if (!key) throw std::runtime_error("--jwt-key: " + key.error().message);
    keys.push_back(std::move(key.value()));
  }
  return keys;
}

std::shared_ptr<muster::Authenticator> make_jwt_authenticator(const Settings& settings) {
  muster::JwtOptions options = settings.jwt;
  options.keys = read_keys(settings);
  try {
    return std::make_shared<muster::JwtAuthenticator>(std::move(options));
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(std::string("--auth jwt: ") + error.what());
  }
}
#else
std::shared_ptr<muster::Authenticator> make_jwt_authenticator(const Settings&) {
  throw std::runtime_error(
      "--auth jwt: this muster_server was built without the component jwt; install "
      "libjwt (Debian: apt install libjwt-dev) and build it again");
}
#endif

std::shared_ptr<muster::Authenticator> make_authenticator(const Settings& settings) {
  if (settings.anonymous()) return std::make_shared<muster::AllowAnonymous>();
  if (!settings.jwt_keys.empty()) return make_jwt_authenticator(settings);
  auto tokens = read_tokens_file(settings.tokens_file);
  if (const auto* problem = std::get_if<FileProblem>(&tokens)) throw std::runtime_error("--auth: " + problem->sentence);
  return std::make_shared<muster::StaticTokenAuthenticator>(std::get<Tokens>(std::move(tokens)));
}

std::shared_ptr<muster::Authorizer> make_authorizer(const Settings& settings) {
  if (settings.roles_file.empty()) return std::make_shared<muster::AllowAll>();
  const auto rules = read_roles_file(settings.roles_file);
  if (const auto* problem = std::get_if<FileProblem>(&rules)) throw std::runtime_error("--roles: " + problem->sentence);
  return std::make_shared<muster::RoleAuthorizer>(std::get<Rules>(rules));
}

}  // namespace

Access read_access(const Settings& settings) { return {make_authenticator(settings), make_authorizer(settings)}; }

}  // namespace muster_server
