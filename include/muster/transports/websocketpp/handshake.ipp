// What is checked before the core is asked, and what the core is told: who asks, from where, with which token.
#pragma once

#include <algorithm>
#include <array>
#include <asio/ip/address.hpp>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "muster/options.hpp"
#include "muster/transport_sink.hpp"
#include "muster/transports/websocketpp/request.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

[[nodiscard]] inline RemoteAddress remote_address(asio::ip::address address) {
  RemoteAddress remote;
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  if (address.is_v4()) {
    const auto bytes = address.to_v4().to_bytes();
    return RemoteAddress::v4(bytes[0], bytes[1], bytes[2], bytes[3]);
  }
  const auto bytes = address.to_v6().to_bytes();
  std::copy(bytes.begin(), bytes.end(), remote.bytes.begin());
  remote.text = address.to_string();
  return remote;
}

/// The proxies that are believed: addresses, or networks as "10.0.0.0/8".
class TrustedProxies {
 public:
  explicit TrustedProxies(const std::vector<std::string>& entries) {
    for (const std::string& entry : entries) {
      const std::size_t slash = entry.find('/');
      asio::error_code error;
      const auto address = asio::ip::make_address(entry.substr(0, slash), error);
      unsigned long bits = address.is_v4() ? 32 : 128;
      if (!error && slash != std::string::npos) {
        const std::string digits = entry.substr(slash + 1);
        const bool number =
            !digits.empty() && digits.size() <= 3 && digits.find_first_not_of("0123456789") == std::string::npos;
        if (!number || std::stoul(digits) > bits)
          error = asio::error::invalid_argument;
        else
          bits = std::stoul(digits);
      }
      if (error) throw std::invalid_argument("trusted_proxies: \"" + entry + "\" is neither an address nor a network");
      networks_.push_back({remote_address(address).bytes, address.is_v4() ? bits + 96 : bits});
    }
  }

  [[nodiscard]] bool contain(const RemoteAddress& address) const {
    for (const Network& network : networks_) {
      const std::size_t whole = network.bits / 8;
      if (std::memcmp(network.bytes.data(), address.bytes.data(), whole) != 0) continue;
      const unsigned rest = network.bits % 8;
      if (rest == 0 || ((network.bytes[whole] ^ address.bytes[whole]) & (0xff00U >> rest) & 0xffU) == 0) return true;
    }
    return false;
  }

  /// Who is behind the peer: X-Forwarded-For is walked from the right, and the first address not trusted wins.
  [[nodiscard]] RemoteAddress resolve(RemoteAddress peer, const HttpRequest& request) const {
    if (!contain(peer)) return peer;
    std::vector<std::string_view> hops;
    (void)any_header_element(request, "X-Forwarded-For", ',', [&](std::string_view hop) {
      hops.push_back(hop);
      return false;
    });
    for (auto hop = hops.rbegin(); hop != hops.rend() && contain(peer); ++hop) {
      std::string text(*hop);
      if (text.front() == '[') {
        text = text.substr(1, text.find(']') - 1);
      } else if (std::count(text.begin(), text.end(), ':') == 1) {
        text.resize(text.find(':'));
      }
      asio::error_code error;
      const auto address = asio::ip::make_address(text, error);
      if (error) break;
      peer = remote_address(address);
    }
    return peer;
  }

 private:
  struct Network {
    std::array<std::uint8_t, 16> bytes;
    unsigned long bits;
  };
  std::vector<Network> networks_;
};

[[nodiscard]] inline bool is_loopback_name(std::string_view host) {
  if (equal_ignoring_case(host, "localhost") || host == "[::1]") return true;
  asio::error_code error;
  const auto address = asio::ip::make_address_v4(std::string(host), error);
  return !error && address.is_loopback();
}

/// An entry of an allow list names a host, with any port, or a host and its port. One that begins with "*." names every
/// host below that domain, not the domain itself.
[[nodiscard]] inline bool names_authority(std::string_view entry, std::string_view authority) noexcept {
  const bool below = entry.substr(0, 2) == "*.";
  if (below) entry.remove_prefix(1);
  const auto named = [&](std::string_view whole) {
    if (!below) return equal_ignoring_case(entry, whole);
    return whole.size() > entry.size() && whole.front() != '.' &&
           equal_ignoring_case(entry, whole.substr(whole.size() - entry.size()));
  };
  return named(authority) || named(host_of(authority));
}

[[nodiscard]] inline std::optional<Refusal> check_host(const HttpRequest& request, bool http_1_1,
                                                       const Options& options, bool loopback) {
  const std::size_t count = count_headers(request, "Host");
  const std::string_view host = request.header("Host");
  if (count == 0 && !http_1_1) return std::nullopt;
  if (count != 1 || host.empty()) return Refusal{400, "Exactly one Host header is needed"};
  if (!is_authority(host)) return Refusal{400, "The Host header is neither a host nor a host and its port"};
  const auto& allowed = options.allowed_hosts;
  for (const std::string& entry : allowed) {
    if (entry == "*" || names_authority(entry, host)) return std::nullopt;
  }
  if (loopback ? is_loopback_name(host_of(host)) : allowed.empty()) return std::nullopt;
  return Refusal{403,
                 "The Host " + quoted(host) +
                     " is not in allowed_hosts (muster_server: --allowed-host NAME, or behind a proxy "
                     "--behind-proxy ADDRESS --public-name NAME)",
                 errc::permission_denied,
                 {},
                 RefusedFor::host};
}

[[nodiscard]] inline std::optional<Refusal> check_origin(const HttpRequest& request, const Options& options) {
  if (count_headers(request, "Origin") > 1) return Refusal{400, "There is more than one Origin header"};
  const std::string_view origin = request.header("Origin");
  if (origin.empty()) return std::nullopt;
  const std::size_t scheme = origin.find("://");
  std::string_view authority = scheme == std::string_view::npos ? std::string_view() : origin.substr(scheme + 3);
  if (!authority.empty() && authority.back() == '/') authority.remove_suffix(1);  // as some libraries write it
  if (!is_authority(authority)) authority = {};
  if (!authority.empty() && equal_ignoring_case(host_of(authority), host_of(request.header("Host"))))
    return std::nullopt;
  for (std::string_view entry : options.allowed_origins) {
    if (entry == "*") return std::nullopt;
    if (!entry.empty() && entry.back() == '/') entry.remove_suffix(1);
    if (authority.empty() || entry.empty()) continue;
    if (equal_ignoring_case(entry, origin) || names_authority(entry, authority)) return std::nullopt;
  }
  return Refusal{403,
                 "The Origin " + quoted(origin) + " is neither of the Host " + quoted(request.header("Host")) +
                     " nor in allowed_origins (muster_server: --allowed-origin NAME)",
                 errc::permission_denied,
                 {},
                 RefusedFor::origin};
}

[[nodiscard]] inline bool asks_for_upgrade(const HttpRequest& request) {
  return any_header_element(request, "Upgrade", ',',
                            [](std::string_view protocol) { return equal_ignoring_case(protocol, "websocket"); });
}

/// A request that would be an upgrade if it had the header, which is one hop's (RFC 9110, 7.6.1): a proxy passes it on
/// when it is told to.
[[nodiscard]] inline bool has_lost_upgrade(const HttpRequest& request) {
  return count_headers(request, "Sec-WebSocket-Key") != 0 || count_headers(request, "Sec-WebSocket-Version") != 0;
}

/// RFC 6455, 4.2.1, and what no browser sends.
[[nodiscard]] inline std::optional<Refusal> check_upgrade(const HttpRequest& request, bool http_1_1) {
  if (request.method != "GET" || !http_1_1) return Refusal{400, "An upgrade is a GET of HTTP/1.1"};
  for (const std::string_view name : {"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Authorization"}) {
    if (count_headers(request, name) > 1)
      return Refusal{400, "There is more than one " + std::string(name) + " header"};
  }
  if (request.header("Sec-WebSocket-Version") != "13") return Refusal{426, "Sec-WebSocket-Version must be 13"};
  const bool upgrades = any_header_element(
      request, "Connection", ',', [](std::string_view option) { return equal_ignoring_case(option, "upgrade"); });
  if (!upgrades) return Refusal{400, "Connection does not name Upgrade; a proxy may have removed it"};
  const std::string_view key = request.header("Sec-WebSocket-Key");
  bool base64 = key.size() == 24 && key.substr(22) == "==";
  for (const char c : key.substr(0, 22)) base64 = base64 && (is_letter_or_digit(c) || c == '+' || c == '/');
  if (!base64) return Refusal{400, "Sec-WebSocket-Key must be 16 bytes in base64"};
  const std::string_view length = request.header("Content-Length");
  if ((!length.empty() && length != "0") || count_headers(request, "Transfer-Encoding") != 0) {
    return Refusal{400, "An upgrade has no body"};
  }
  return std::nullopt;
}

[[nodiscard]] inline std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

/// The first cookie of this name; empty when there is none.
[[nodiscard]] inline std::string_view cookie_of(const HttpRequest& request, std::string_view name) {
  std::string_view cookie;
  (void)any_header_element(request, "Cookie", ';', [&](std::string_view pair) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || trim(pair.substr(0, equals)) != name) return false;
    cookie = trim(pair.substr(equals + 1));
    if (cookie.size() >= 2 && cookie.front() == '"' && cookie.back() == '"')
      cookie = cookie.substr(1, cookie.size() - 2);
    return true;
  });
  return cookie;
}

/// Fills what the request says, and finds the token in the order of the sources. The token is left in none of the
/// other members, so that they may be logged.
[[nodiscard]] inline std::optional<Refusal> read_upgrade(const HttpRequest& request, const Options& options,
                                                         OpenRequest& open) {
  open.path = request.path;
  open.origin = request.header("Origin");
  const auto found = [&open](TokenSource source, std::string token) {
    if (open.token_source != TokenSource::none || token.empty()) return;
    open.token_source = source;
    open.token = std::move(token);
  };

  const std::string_view authorization = request.header("Authorization");
  constexpr std::string_view bearer = "Bearer ";
  if (authorization.size() > bearer.size() && equal_ignoring_case(authorization.substr(0, bearer.size()), bearer)) {
    found(TokenSource::authorization_header, std::string(trim(authorization.substr(bearer.size()))));
  }

  bool token_follows = false;
  (void)any_header_element(request, "Sec-WebSocket-Protocol", ',', [&](std::string_view name) {
    if (std::exchange(token_follows, name == "bearer" && !token_follows)) {
      found(TokenSource::subprotocol, std::string(name));
    } else {
      open.subprotocols.emplace_back(name);
    }
    return false;
  });
  for (const std::string& name : open.subprotocols) {
    if (!is_token(name)) return Refusal{400, "Sec-WebSocket-Protocol is malformed"};
  }

  (void)any_element(request.query, '&', [&](std::string_view parameter) {
    if (parameter.substr(0, 6) == "token=") {
      if (options.auth_query) found(TokenSource::query, percent_decoded(parameter.substr(6)));
    } else if (parameter.substr(0, 7) == "resume=") {
      open.resumes = parse_connection_id(parameter.substr(7));
    } else {
      open.query.append(open.query.empty() ? "" : "&").append(parameter);
    }
    return false;
  });
  for (const std::string& name : options.credential_headers) {
    std::string& value = open.headers.emplace_back();
    for (const auto& [known, one] : request.headers) {
      if (equal_ignoring_case(known, name)) value.append(value.empty() ? "" : ", ").append(one);
    }
  }
  for (const std::string& name : options.credential_cookies) {
    open.cookies.emplace_back(open.origin.empty() ? std::string_view() : cookie_of(request, name));
  }

  // A browser sends a cookie whether its page means it or not: it is proof where nothing else was brought, and only with
  // an Origin, without which nobody can tell that another site's page did not make the browser send it.
  if (options.auth_cookie.empty() || options.auth_mode == AuthMode::message_only) return std::nullopt;
  if (open.token_source != TokenSource::none) return std::nullopt;
  const std::string_view cookie = cookie_of(request, options.auth_cookie);
  if (!cookie.empty() && open.origin.empty()) {
    return Refusal{
        403, "A cookie is taken as proof only with an Origin", errc::permission_denied, {}, RefusedFor::origin};
  }
  found(TokenSource::cookie, std::string(cookie));
  return std::nullopt;
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
