// HTTP/1.1 as far as a WebSocket server needs it: the head of a request, and whole answers. Bodies are in body.ipp.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "muster/error.hpp"
#include "muster/observer.hpp"
#include "muster/transports/websocketpp_http.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

[[nodiscard]] inline char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

[[nodiscard]] inline bool is_letter_or_digit(char c) noexcept {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
}

[[nodiscard]] inline bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

[[nodiscard]] inline std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Calls `use` with every trimmed, non-empty element of a list until it returns true; whether it did.
template <class Use>
bool any_element(std::string_view list, char separator, Use use) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(separator), list.size());
    const std::string_view element = trim(list.substr(0, end));
    if (!element.empty() && use(element)) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

/// Why a request is not served: what its answer says.
struct Refusal {
  unsigned status = 400;
  std::string message;
  errc code = errc::invalid_message;
  std::chrono::milliseconds retry_after{0};
  RefusedFor reason = RefusedFor::request;
};

/// A peer's words within a sentence for people and logs.
[[nodiscard]] inline std::string quoted(std::string_view words) {
  std::string text = "\"";
  for (const char c : words.substr(0, 100)) text.push_back(c < ' ' || c > '~' || c == '"' ? '?' : c);
  return text.append(words.size() > 100 ? "...\"" : "\"");
}

/// RFC 9110, 5.6.2.
[[nodiscard]] inline bool is_token(std::string_view text) noexcept {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  for (const char c : text) {
    if (!is_letter_or_digit(c) && marks.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

[[nodiscard]] inline std::size_t count_headers(const HttpRequest& request, std::string_view name) {
  std::size_t count = 0;
  for (const auto& [key, value] : request.headers) count += equal_ignoring_case(key, name) ? 1 : 0;
  return count;
}

/// The host of "host", "host:port", "[address]:port" or "[address]".
[[nodiscard]] inline std::string_view host_of(std::string_view authority) noexcept {
  if (!authority.empty() && authority.front() == '[')
    return authority.substr(0, std::min(authority.find(']'), authority.size()) + 1);
  return authority.substr(0, authority.find(':'));
}

/// Whether it is one of these and nothing more: no user-info above all (RFC 9110, 4.2.4), behind which a name stands that
/// is no host ("http://localhost:x@evil.example").
[[nodiscard]] inline bool is_authority(std::string_view text) noexcept {
  std::string_view host = host_of(text);
  std::string_view port = text.substr(host.size());
  const auto digits = [](std::string_view of) { return of.find_first_not_of("0123456789") == std::string_view::npos; };
  if (!port.empty() && (port.front() != ':' || port.size() > 6 || !digits(port.substr(1)))) return false;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    return host.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
  }
  return !host.empty() && host.find_first_of("@/\\?#[], \t\"<>") == std::string_view::npos;
}

/// What a request's body is, is said once (RFC 9112, 6.3).
[[nodiscard]] inline bool has_clear_length(const HttpRequest& request, bool http_1_1) {
  const std::size_t lengths = count_headers(request, "Content-Length");
  if (count_headers(request, "Transfer-Encoding") != 0) return lengths == 0 && http_1_1;
  const std::string_view length = request.header("Content-Length");
  return lengths == 0 ||
         (lengths == 1 && !length.empty() && length.find_first_not_of("0123456789") == std::string_view::npos);
}

/// Takes a request's target apart (RFC 9112, 3.2). `authority`: that of an absolute one, which must then be the Host's.
/// Whether it is one.
[[nodiscard]] inline bool read_target(std::string_view target, HttpRequest& request, std::string_view& authority) {
  if (target.empty() || target.find('#') != std::string_view::npos) return false;
  if (target.front() != '/') {
    if (target == "*") {
      request.path = target;
      return request.method == "OPTIONS";
    }
    const std::size_t scheme = target.find("://");
    if (scheme == std::string_view::npos || !(equal_ignoring_case(target.substr(0, scheme), "http") ||
                                              equal_ignoring_case(target.substr(0, scheme), "https"))) {
      return false;
    }
    target.remove_prefix(scheme + 3);
    authority = target.substr(0, target.find_first_of("/?"));
    target.remove_prefix(authority.size());
    if (!is_authority(authority)) return false;
  }
  const std::size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (request.path.empty()) request.path = "/";
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  return true;
}

/// Reads a request's head, which ends with the empty line. Strict where leniency lets two readers see two requests: line
/// ends are CRLF, names are tokens right before their colon, and no line continues another (RFC 9112, 2.2, 5.1, 5.2).
[[nodiscard]] inline std::optional<Refusal> parse_head(std::string_view head, HttpRequest& request, bool& http_1_1) {
  while (head.substr(0, 2) == "\r\n") head.remove_prefix(2);
  const auto next_line = [&head] {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    return line;
  };
  const auto clean = [](std::string_view line) {
    for (const char c : line) {
      if ((static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return true;
  };

  const std::string_view start = next_line();
  const std::size_t first = start.find(' ');
  const std::size_t second = first == std::string_view::npos ? first : start.find(' ', first + 1);
  if (second == std::string_view::npos || !clean(start) || !is_token(start.substr(0, first))) {
    return Refusal{400, "The request line is not HTTP"};
  }
  const std::string_view version = start.substr(second + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return Refusal{505, "Only HTTP/1.1 is spoken here"};
  http_1_1 = version == "HTTP/1.1";
  request.method = start.substr(0, first);
  std::string_view authority;
  if (!read_target(start.substr(first + 1, second - first - 1), request, authority)) {
    return Refusal{400, "The request's target is neither a path nor an address of this server"};
  }

  request.headers.reserve(static_cast<std::size_t>(std::count(head.begin(), head.end(), '\n')));
  for (std::string_view line = next_line(); !line.empty(); line = next_line()) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) || !clean(line)) {
      return Refusal{400, "A header line is malformed"};
    }
    request.headers.emplace_back(line.substr(0, colon), trim(line.substr(colon + 1)));
  }
  if (!has_clear_length(request, http_1_1)) return Refusal{400, "The length of the request's body is not clear"};
  if (!authority.empty() && !equal_ignoring_case(authority, request.header("Host"))) {
    return Refusal{400, "The request's target is of another host than its Host header"};
  }
  return std::nullopt;
}

/// Whether an element of a list header, which may be spread over several lines, satisfies `use`.
template <class Use>
bool any_header_element(const HttpRequest& request, std::string_view name, char separator, Use use) {
  for (const auto& [key, value] : request.headers) {
    if (equal_ignoring_case(key, name) && any_element(value, separator, use)) return true;
  }
  return false;
}

[[nodiscard]] inline std::string_view reason_phrase(unsigned status) noexcept {
  constexpr std::pair<unsigned, std::string_view> phrases[] = {{200, "OK"},
                                                               {201, "Created"},
                                                               {202, "Accepted"},
                                                               {204, "No Content"},
                                                               {206, "Partial Content"},
                                                               {301, "Moved Permanently"},
                                                               {302, "Found"},
                                                               {303, "See Other"},
                                                               {304, "Not Modified"},
                                                               {307, "Temporary Redirect"},
                                                               {308, "Permanent Redirect"},
                                                               {400, "Bad Request"},
                                                               {401, "Unauthorized"},
                                                               {403, "Forbidden"},
                                                               {404, "Not Found"},
                                                               {405, "Method Not Allowed"},
                                                               {406, "Not Acceptable"},
                                                               {408, "Request Timeout"},
                                                               {409, "Conflict"},
                                                               {410, "Gone"},
                                                               {412, "Precondition Failed"},
                                                               {413, "Content Too Large"},
                                                               {415, "Unsupported Media Type"},
                                                               {416, "Range Not Satisfiable"},
                                                               {417, "Expectation Failed"},
                                                               {421, "Misdirected Request"},
                                                               {422, "Unprocessable Content"},
                                                               {426, "Upgrade Required"},
                                                               {429, "Too Many Requests"},
                                                               {431, "Request Header Fields Too Large"},
                                                               {500, "Internal Server Error"},
                                                               {501, "Not Implemented"},
                                                               {502, "Bad Gateway"},
                                                               {503, "Service Unavailable"},
                                                               {504, "Gateway Timeout"},
                                                               {505, "HTTP Version Not Supported"}};
  for (const auto& [known, phrase] : phrases) {
    if (known == status) return phrase;
  }
  return "Unknown";
}

/// Whether an answer of this status never has a body (RFC 9110, 15.3.5, 15.4.5).
[[nodiscard]] inline bool is_bodiless(unsigned status) noexcept { return status == 204 || status == 304; }

/// The answer's bytes, but for those of a source. `keeps`: the socket is kept behind it; it is a peer of HTTP/1.1 then.
[[nodiscard]] inline std::string format_response(const HttpResponse& response, bool without_body, bool http_1_1 = false,
                                                 bool keeps = false) {
  std::string out =
      "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(reason_phrase(response.status)) + "\r\n";
  const auto add = [&out](std::string_view name, std::string_view value) {
    if (!is_token(name)) return;
    out.append(name).append(": ");
    for (const char c : value) out.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
    out.append("\r\n");
  };
  for (const auto& [name, value] : response.headers) {
    const bool ours = equal_ignoring_case(name, "Content-Length") || equal_ignoring_case(name, "Connection") ||
                      equal_ignoring_case(name, "Transfer-Encoding");
    if (!ours) add(name, value);
  }
  const bool bodiless = is_bodiless(response.status);
  if (!bodiless) {
    if (!response.content_type.empty()) add("Content-Type", response.content_type);
    if (!response.source || response.source_bytes != HttpResponse::unknown_bytes) {
      add("Content-Length", std::to_string(response.source ? response.source_bytes : response.body.size()));
    } else if (http_1_1) {
      add("Transfer-Encoding", "chunked");
    }
  }
  const bool upgrade = response.status == 426;  // RFC 9110, 15.5.22: the answer names what to upgrade to
  if (upgrade) add("Upgrade", "websocket");
  if (!keeps) add("Connection", upgrade ? "close, Upgrade" : "close");
  out.append("\r\n");
  if (!without_body && !bodiless && !response.source) out.append(response.body);
  return out;
}

/// A refusal as an answer: what was wrong as JSON, and when to come back.
[[nodiscard]] inline HttpResponse describe_refusal(const Refusal& refusal) {
  HttpResponse response;
  response.status = refusal.status;
  response.content_type = "application/json";
  response.body = "{\"error\":\"" + std::string(to_string(refusal.code)) + "\",\"message\":\"";
  for (const char c : refusal.message) {
    if (c == '"' || c == '\\') {
      response.body.push_back('\\');
      response.body.push_back(c);
    } else if (static_cast<unsigned char>(c) < ' ') {
      std::array<char, 8> escaped{};
      std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      response.body.append(escaped.data());
    } else {
      response.body.push_back(c);
    }
  }
  response.body.append("\"}\n");
  if (refusal.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");   // RFC 6750, 3
  if (refusal.status == 426) response.headers.emplace_back("Sec-WebSocket-Version", "13");  // RFC 6455, 4.4
  if (refusal.status == 429 || refusal.status == 503) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(refusal.retry_after).count();
    response.headers.emplace_back("Retry-After", std::to_string(std::max<decltype(seconds)>(seconds, 1)));
  }
  return response;
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
