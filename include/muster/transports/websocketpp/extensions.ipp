// Extensions of a connection: which offer of permessage-deflate is taken (RFC 7692, 7.1), and the bit it stands for.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "muster/transports/websocketpp/request.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// What was agreed; nothing, as long as there is no answer.
struct Deflate {
  /// How far back our messages may refer, as a power of two.
  int window_bits = 15;
  /// How far back the client's may refer to those before; 0: not at all.
  int client_window_bits = 0;
  /// Sec-WebSocket-Extensions of the answer.
  std::string answer;
};

/// The value of window bits; nothing for what RFC 7692, 7.1.2 does not allow.
[[nodiscard]] inline std::optional<int> window_bits(std::string_view value) noexcept {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  if (value.size() == 1 && (value[0] == '8' || value[0] == '9')) return value[0] - '0';
  if (value.size() == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5') return 10 + value[1] - '0';
  return std::nullopt;
}

/// One offer, with its parameters. No answer: it is declined, as is every offer with a parameter that is unknown, given
/// twice, or of a value it cannot have. `client_window_bits`: as ListenerOptions'.
[[nodiscard]] inline Deflate accept_offer(std::string_view offer, int client_window_bits) {
  const std::size_t name_end = std::min(offer.find(';'), offer.size());
  if (!equal_ignoring_case(trim(offer.substr(0, name_end)), "permessage-deflate")) return {};
  constexpr std::array<std::string_view, 4> names{"server_no_context_takeover", "client_no_context_takeover",
                                                  "server_max_window_bits", "client_max_window_bits"};
  std::array<bool, names.size()> seen{};
  Deflate deflate;
  int offered_bits = 15;
  const auto refuses = [&](std::string_view parameter) {
    const std::size_t equals = parameter.find('=');
    const bool valued = equals != std::string_view::npos;
    const auto name = std::find(names.begin(), names.end(), trim(parameter.substr(0, equals)));
    if (name == names.end()) return true;
    const auto which = static_cast<std::size_t>(name - names.begin());
    if (std::exchange(seen[which], true)) return true;
    if (which < 2) return valued;
    if (!valued) return which == 2;  // only the client's may come without one
    const auto bits = window_bits(trim(parameter.substr(equals + 1)));
    if (!bits) return true;
    (which == 2 ? deflate.window_bits : offered_bits) = *bits;
    return which == 2 && *bits < 9;  // zlib has no raw window of 256 bytes
  };
  if (any_element(offer.substr(name_end), ';', refuses)) return {};
  deflate.answer = "permessage-deflate; server_no_context_takeover";
  if (client_window_bits == 0 || seen[1]) {
    deflate.answer += "; client_no_context_takeover";  // its window, within a message, is its own affair
  } else {
    const bool limits = client_window_bits < offered_bits;
    if (limits && !seen[3]) return {};  // it need not know how to keep to less
    if (limits) deflate.answer += "; client_max_window_bits=" + std::to_string(client_window_bits);
    deflate.client_window_bits = std::min(client_window_bits, std::max(offered_bits, 9));  // zlib takes 8 for 9
  }
  if (seen[2]) deflate.answer += "; server_max_window_bits=" + std::to_string(deflate.window_bits);
  return deflate;
}

/// The first offer that can be taken, in the order of the client's preference (RFC 7692, 5.1).
[[nodiscard]] inline Deflate negotiate_deflate(const HttpRequest& request, int client_window_bits) {
  Deflate taken;
  (void)any_header_element(request, "Sec-WebSocket-Extensions", ',', [&](std::string_view offer) {
    taken = accept_offer(offer, client_window_bits);
    return !taken.answer.empty();
  });
  return taken;
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
