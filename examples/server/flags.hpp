// What the command line says, whole and checked, or what is to be printed instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <muster/auth/jwt_authenticator.hpp>
#include <muster/observer.hpp>
#include <muster/options.hpp>
#include <muster/transports/websocketpp.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster_server {

/// One --jwt-key: where the key is, and what it is for.
struct JwtKeyFile {
  muster::JwtAlgorithm algorithm = muster::JwtAlgorithm::ES256;
  std::filesystem::path file;
  std::string id;
};

struct Settings {
  muster::Options options;
  /// Without its `http`.
  muster::websocketpp::ServerOptions server;
  /// Of --auth tokens; else empty.
  std::filesystem::path tokens_file;
  /// Of --auth jwt, where there is at least one; else empty.
  std::vector<JwtKeyFile> jwt_keys;
  /// Without its `keys`.
  muster::JwtOptions jwt;
  /// Empty: whoever is let in may do everything.
  std::filesystem::path roles_file;
  /// Empty: no files are served.
  std::filesystem::path static_directory;
  /// What is logged: this level and above.
  muster::LogLevel log_level = muster::LogLevel::info;
  /// Where health and metrics are, in plain HTTP; none: on the server's own port.
  std::optional<std::uint16_t> health_port;
  bool behind_proxy = false;
  bool has_public_name = false;
  bool has_client_cert_flag = false;
  std::size_t bots = 0;
  std::string bot_room = "canvas:lobby";

  [[nodiscard]] bool anonymous() const { return tokens_file.empty() && jwt_keys.empty(); }
};

/// The process ends here: `text` goes to standard output when the code is 0 (--help, --version), else to standard
/// error, each problem a line.
struct Stop {
  int code = 0;
  std::string text;
};

/// The exit code for a wrong flag, value or file.
inline constexpr int exit_usage = 2;

/// Reads the arguments, the program's name left out. Opens no file.
[[nodiscard]] std::variant<Settings, Stop> read_flags(std::vector<std::string> arguments);

}  // namespace muster_server
