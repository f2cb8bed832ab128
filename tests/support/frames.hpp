// Reads what a client got: WebSocket frames as a server sends them, and the JSON in them.
#pragma once

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "muster/wire_format.hpp"

namespace muster::test {

struct Frame {
  FrameKind kind;
  std::string payload;
};

/// Cuts bytes into frames (RFC 6455, 5.2), however they arrive.
class FrameReader {
 public:
  void feed(std::string_view bytes, std::vector<Frame>& frames) {
    rest_.append(bytes);
    std::size_t at = 0;
    for (;;) {
      const std::string_view left = std::string_view(rest_).substr(at);
      if (left.size() < 2) break;
      std::size_t header = 2;
      std::uint64_t size = static_cast<std::uint8_t>(left[1]) & 0x7fU;
      if (size >= 126) {
        const std::size_t digits = size == 126 ? 2 : 8;
        if (left.size() < 2 + digits) break;
        size = 0;
        for (std::size_t i = 0; i < digits; ++i) size = (size << 8U) | static_cast<std::uint8_t>(left[2 + i]);
        header += digits;
      }
      if (left.size() < header + size) break;
      const auto first = static_cast<std::uint8_t>(left[0]);
      frames.push_back({static_cast<FrameKind>(first & 0x0fU), std::string(left.substr(header, size))});
      at += header + static_cast<std::size_t>(size);
    }
    rest_.erase(0, at);
  }
  /// Bytes of a frame that is not whole yet.
  [[nodiscard]] std::size_t incomplete() const { return rest_.size(); }

 private:
  std::string rest_;
};

/// One JSON value, as text again.
[[nodiscard]] inline std::string compact(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

/// A text as a JSON string.
[[nodiscard]] inline std::string quoted(std::string_view text) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  return {buffer.GetString(), buffer.GetSize()};
}

/// One message from the server. Asking for a member that is not there answers nothing, 0 or "".
class Told {
 public:
  explicit Told(const std::string& json) : parsed_(std::make_shared<Parsed>()) {
    document().Parse(json.data(), json.size());
  }
  [[nodiscard]] bool valid() const { return document().IsObject() && document().HasMember("type"); }
  [[nodiscard]] std::string type() const { return text(document(), "type"); }
  /// The id of the command it answers, as it stands on the wire.
  [[nodiscard]] std::string reply_to() const { return value(document(), "reply_to"); }
  [[nodiscard]] const rapidjson::Value& payload() const {
    static const rapidjson::Value none(rapidjson::kObjectType);
    const rapidjson::Value& frame = document();  // const: C++20 compares two of its iterators in one way only
    const auto found = frame.FindMember("payload");
    return found == frame.MemberEnd() || !found->value.IsObject() ? none : found->value;
  }
  [[nodiscard]] bool has(const char* name) const { return payload().HasMember(name); }
  [[nodiscard]] std::string text(const char* name) const { return text(payload(), name); }
  [[nodiscard]] std::uint64_t number(const char* name) const { return number(payload(), name); }
  /// A member of the payload as compact JSON.
  [[nodiscard]] std::string value(const char* name) const { return value(payload(), name); }
  /// The members of a list in the payload.
  [[nodiscard]] std::vector<const rapidjson::Value*> list(const char* name) const {
    std::vector<const rapidjson::Value*> values;
    const auto found = payload().FindMember(name);
    if (found == payload().MemberEnd() || !found->value.IsArray()) return values;
    for (const auto& entry : found->value.GetArray()) values.push_back(&entry);
    return values;
  }

  /// The same of strings.
  [[nodiscard]] std::vector<std::string> texts(const char* name) const {
    std::vector<std::string> values;
    for (const rapidjson::Value* value : list(name)) values.emplace_back(value->GetString(), value->GetStringLength());
    return values;
  }

  [[nodiscard]] static std::string text(const rapidjson::Value& object, const char* name) {
    const auto found = object.FindMember(name);
    if (found == object.MemberEnd() || !found->value.IsString()) return {};
    return {found->value.GetString(), found->value.GetStringLength()};
  }
  [[nodiscard]] static std::uint64_t number(const rapidjson::Value& object, const char* name) {
    const auto found = object.FindMember(name);
    return found == object.MemberEnd() || !found->value.IsUint64() ? 0 : found->value.GetUint64();
  }
  [[nodiscard]] static std::string value(const rapidjson::Value& object, const char* name) {
    const auto found = object.FindMember(name);
    return found == object.MemberEnd() ? std::string() : compact(found->value);
  }

 private:
  /// A test may keep some ten thousand: in RapidJSON's own chunks of 64 KiB they are more mappings than a process may have
  /// under ThreadSanitizer.
  struct Parsed {
    rapidjson::MemoryPoolAllocator<> memory{1024};
    rapidjson::Document document{&memory};
  };
  [[nodiscard]] rapidjson::Document& document() const { return parsed_->document; }

  std::shared_ptr<Parsed> parsed_;
};

}  // namespace muster::test
