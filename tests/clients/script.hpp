// What the clients in C++ share: the script on standard input, and the line they print.
#pragma once

#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

struct Seen {
  std::string protocol;
  std::string reason;
  int code = 0;
  int status = 0;
  std::vector<std::string> messages;

  [[nodiscard]] bool has(const std::string& part) const {
    for (const std::string& message : messages) {
      if (message.find(part) != std::string::npos) return true;
    }
    return false;
  }
};

using Steps = std::vector<std::pair<std::string, std::string>>;

inline Steps read_steps() {
  Steps steps;
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t space = line.find(' ');
    if (!line.empty()) steps.emplace_back(line.substr(0, space), space == line.npos ? "" : line.substr(space + 1));
  }
  return steps;
}

/// The argument of the first such step, or nothing.
inline std::string asked(const Steps& steps, const std::string& verb) {
  for (const auto& [name, text] : steps) {
    if (name == verb) return text;
  }
  return {};
}

inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

inline void tell(const Seen& seen) {
  std::string line = R"({"protocol":)" + quoted(seen.protocol) + R"(,"code":)" + std::to_string(seen.code) +
                     R"(,"reason":)" + quoted(seen.reason) + R"(,"status":)" + std::to_string(seen.status) +
                     R"(,"messages":[)";
  for (const std::string& message : seen.messages) line += (line.back() == '[' ? "" : ",") + quoted(message);
  std::puts((line + "]}").c_str());
}
