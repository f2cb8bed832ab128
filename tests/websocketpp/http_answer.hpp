// Whole answers of HTTP, as a client that keeps its socket reads them.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "websocketpp/fixture.hpp"

namespace muster::test {

struct HttpAnswer {
  int status = 0;  ///< 0: the socket was closed instead
  std::string head;
  std::string body;

  [[nodiscard]] std::string header(std::string_view name) const {
    const std::string line = "\r\n" + std::string(name) + ": ";
    const std::size_t at = head.find(line);
    return at == std::string::npos ? std::string()
                                   : head.substr(at + line.size(), head.find("\r\n", at + 2) - at - line.size());
  }
};

/// The body of chunks, taken from the front of `in`; none: it is not whole yet.
inline std::optional<std::string> take_chunks(std::string& in) {
  std::string body;
  for (std::size_t at = 0;;) {
    const std::size_t end = in.find("\r\n", at);
    if (end == std::string::npos) return std::nullopt;
    const std::size_t size = std::strtoul(in.c_str() + at, nullptr, 16);
    if (in.size() < end + 2 + size + 2) return std::nullopt;
    body.append(in, end + 2, size);
    at = end + 2 + size + 2;
    if (size != 0) continue;
    in.erase(0, at);
    return body;
  }
}

/// The next whole answer, taken from the front of `in`; none: it is not there yet. `to_head`: to a HEAD.
inline std::optional<HttpAnswer> take_answer(std::string& in, bool to_head = false) {
  const std::size_t end = in.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  HttpAnswer answer;
  answer.head = in.substr(0, end + 4);
  answer.status = std::stoi(answer.head.substr(9, 3));
  const std::string length = answer.header("Content-Length");
  const std::size_t size = to_head || length.empty() ? 0 : std::stoul(length);
  if (!to_head && !answer.header("Transfer-Encoding").empty()) {
    std::string rest = in.substr(end + 4);
    auto body = take_chunks(rest);
    if (!body) return std::nullopt;
    answer.body = std::move(*body);
    in = std::move(rest);
    return answer;
  }
  if (in.size() < end + 4 + size) return std::nullopt;
  answer.body = in.substr(end + 4, size);
  in.erase(0, end + 4 + size);
  return answer;
}

inline HttpAnswer next_answer(Fixture& f, RawClient& client, bool to_head = false) {
  std::optional<HttpAnswer> answer;
  REQUIRE(f.until([&] { return (answer = take_answer(client.in, to_head)) || client.ended(); }));
  if (!answer) answer = take_answer(client.in, to_head);
  return answer.value_or(HttpAnswer());
}

/// One request, whose socket may be kept.
inline std::string http_request(std::string_view method, std::string_view target, std::string_view headers = {},
                                std::string_view body = {}) {
  std::string request(method);
  request.append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\n").append(headers);
  return request.append("\r\n").append(body);
}

/// The same with a body of known length.
inline std::string http_post(std::string_view target, std::string_view body) {
  return http_request("POST", target, "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
}

}  // namespace muster::test
