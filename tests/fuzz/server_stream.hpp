// What a server says on one connection, read by a plain second reader: HTTP, then frames (RFC 6455, 7692).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/fuzz.hpp"
#include "support/json_check.hpp"
#include "websocketpp/deflating.hpp"

namespace muster::fuzz {

class ServerStream {
 public:
  void read(std::string_view bytes) {
    must(!closed_ || bytes.empty(), "nothing follows a close frame");
    in_.append(bytes);
    if (status_ == 0 && !read_head()) return;
    if (status_ != 101) return check_body();
    std::size_t at = 0;
    while (read_frame(at)) {
    }
    in_.erase(0, at);
    if (in_.capacity() > 256 * 1024) in_.shrink_to_fit();
  }

  /// Nothing more will come; the last of it may be cut off.
  void end() {
    if (status_ == 101 || status_ == 0) return;
    must(in_.size() <= length_, "a body is as long as it was said");
  }

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] const std::string& resume_token() const { return resume_token_; }
  [[nodiscard]] std::size_t held() const { return in_.capacity(); }

 private:
  bool read_head() {
    const std::size_t end = in_.find("\r\n\r\n");
    if (end == std::string::npos) {
      must(in_.size() < 16 * 1024, "a head ends");
      return false;
    }
    const std::string head = in_.substr(0, end + 2);
    in_.erase(0, end + 4);
    must(head.rfind("HTTP/1.1 ", 0) == 0 && head.size() > 12, "an answer is HTTP");
    status_ = std::stoi(head.substr(9, 3));
    must(status_ >= 101 && status_ < 600, "a status is one");
    deflate_ = head.find("Sec-WebSocket-Extensions: permessage-deflate") != std::string::npos;
    const std::size_t length = head.find("\r\nContent-Length: ");
    if (length != std::string::npos) length_ = std::stoul(head.substr(length + 18));
    return true;
  }

  void check_body() const { must(in_.size() <= length_, "a body is not longer than it was said"); }

  bool read_frame(std::size_t& at) {
    const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(in_[i]); };
    if (in_.size() - at < 2) return false;
    const unsigned first = byte(at);
    std::uint64_t size = byte(at + 1);
    must((size & 0x80U) == 0, "a server masks nothing");
    std::size_t header = 2;
    if (size >= 126) {
      const std::size_t digits = size == 126 ? 2 : 8;
      if (in_.size() - at < 2 + digits) return false;
      size = 0;
      for (std::size_t i = 0; i < digits; ++i) size = size << 8U | byte(at + 2 + i);
      must(size >= (digits == 2 ? 126 : 65536), "a length takes the least bytes");
      header += digits;
    }
    must(size < 64 * 1024 * 1024, "a length is one");
    if (in_.size() - at - header < size) return false;
    must(!closed_, "nothing follows a close frame");
    check_frame(first, std::string_view(in_).substr(at + header, size));
    at += header + size;
    return true;
  }

  void check_frame(unsigned first, std::string_view payload) {
    const unsigned opcode = first & 0x0fU;
    must((first & 0x80U) != 0 && (first & 0x30U) == 0, "a server's frames are whole");
    must((first & 0x40U) == 0 || (deflate_ && opcode == 1), "what is compressed was agreed to be");
    if (opcode == 1) {
      check_message((first & 0x40U) != 0 ? test::inflated(std::string(payload)) : std::string(payload));
    } else if (opcode == 8) {
      check_close(payload);
    } else {
      must((opcode == 9 || opcode == 10) && payload.size() <= 125, "a control frame is small");
    }
  }

  void check_message(const std::string& message) {
    must(test::is_json_object(message), "every message is a JSON object");
    constexpr std::string_view key = "\"resume_token\":\"";
    const std::size_t at = message.find(key);
    if (at == std::string::npos) return;
    const std::size_t from = at + key.size();
    resume_token_ = message.substr(from, message.find('"', from) - from);
  }

  void check_close(std::string_view payload) {
    closed_ = true;
    must(payload.size() >= 2 && payload.size() <= 125, "a close frame says why");
    const unsigned code = static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
    must(code >= 1000 && code < 5000 && code != 1004 && code != 1005 && code != 1006 && code != 1015,
         "with a code of the wire");
    std::string text(payload.substr(2));
    for (char& c : text) {
      if (c == '"' || c == '\\' || (c >= 0 && c < ' ')) c = ' ';
    }
    must(test::is_json("\"" + text + "\""), "and a reason in UTF-8");
  }

  std::string in_;
  int status_ = 0;
  bool deflate_ = false;
  bool closed_ = false;
  std::size_t length_ = 0;
  std::string resume_token_;
};

}  // namespace muster::fuzz
