// What a server says on one connection, read by a plain second reader: HTTP, then frames (RFC 6455, 7692).
#pragma once

#include <algorithm>
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
    while (status_ != 101 && read_answer()) {
    }
    if (status_ != 101) return;
    std::size_t at = 0;
    while (read_frame(at)) {
    }
    in_.erase(0, at);
    if (in_.capacity() > 256 * 1024) in_.shrink_to_fit();
  }

  /// Nothing more will come; the last of it may be cut off.
  void end() {}

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] const std::string& resume_token() const { return resume_token_; }
  [[nodiscard]] std::size_t held() const { return in_.capacity(); }

 private:
  /// A head, or what there is of a body. Whether there was any of it, and there may be more.
  bool read_answer() {
    if (in_.empty()) return false;
    switch (part_) {
      case Part::head:
        must(!last_, "nothing follows an answer that closes");
        return read_head();
      case Part::maybe:
        // No body of the server's begins as an answer does: this one was to a HEAD.
        part_ = in_[0] == 'H' ? Part::head : size_ == Size::chunks ? Part::size : Part::body;
        return true;
      case Part::size: {
        const std::size_t end = in_.find("\r\n");
        must(end <= 16 || end == std::string::npos, "a chunk's size is short");
        if (end == std::string::npos) return false;
        left_ = std::stoul(in_.substr(0, end), nullptr, 16);
        in_.erase(0, end + 2);
        ends_ = left_ == 0;
        part_ = ends_ ? Part::line_end : Part::body;
        return true;
      }
      case Part::line_end:
        if (in_.size() < 2) return false;
        must(in_[0] == '\r' && in_[1] == '\n', "a chunk is as long as it was said");
        in_.erase(0, 2);
        part_ = ends_ ? Part::head : Part::size;
        return true;
      case Part::body: {
        const std::size_t size = size_ == Size::to_the_end ? in_.size() : std::min(left_, in_.size());
        in_.erase(0, size);
        left_ -= size_ == Size::to_the_end ? 0 : size;
        if (left_ == 0 && size_ != Size::to_the_end) part_ = size_ == Size::chunks ? Part::line_end : Part::head;
        return true;
      }
    }
    return false;
  }

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
    must(status_ >= 100 && status_ < 600, "a status is one");
    deflate_ = head.find("Sec-WebSocket-Extensions: permessage-deflate") != std::string::npos;
    if (status_ < 200) return status_ != 101;
    last_ = head.find("\r\nConnection: close") != std::string::npos;
    const std::size_t length = head.find("\r\nContent-Length: ");
    const bool chunked = head.find("\r\nTransfer-Encoding: chunked\r\n") != std::string::npos;
    const bool bodiless = status_ == 204 || status_ == 304;
    must(!chunked || length == std::string::npos, "a body has one end");
    must(length != std::string::npos || chunked || bodiless || last_, "and says so");
    left_ = length != std::string::npos ? std::stoul(head.substr(length + 18)) : 0;
    size_ = chunked ? Size::chunks : length != std::string::npos ? Size::known : Size::to_the_end;
    part_ = bodiless || (size_ == Size::known && left_ == 0) ? Part::head : Part::maybe;
    return true;
  }

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

  enum class Part : std::uint8_t { head, maybe, size, line_end, body };
  enum class Size : std::uint8_t { known, chunks, to_the_end };

  std::string in_;
  int status_ = 0;
  bool deflate_ = false;
  bool closed_ = false;
  Part part_ = Part::head;  // of an answer
  Size size_ = Size::known;
  std::size_t left_ = 0;
  bool ends_ = false;  // the chunk is the last
  bool last_ = false;  // the answer is
  std::string resume_token_;
};

}  // namespace muster::fuzz
