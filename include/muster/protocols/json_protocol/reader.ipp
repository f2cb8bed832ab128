// The one pass over a JSON message: it validates all of it, and notes where the members stand that a command may want.
#pragma once

#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "muster/protocols/json_protocol/input.ipp"
#include "muster/protocols/json_protocol/names.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {
namespace json_protocol {

enum class Kind : std::uint8_t { absent, null, boolean, number, string, object, array };

/// A value as it stands in the message.
struct Field {
  /// Its bytes.
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  /// Of a string: what it says.
  std::string_view text;
  Kind kind = Kind::absent;
  bool truth = false;
  bool repeated = false;
};

/// Equality of two names; most differ in size or in the first byte, which costs no call.
[[nodiscard]] inline bool same(std::string_view name, std::string_view other) noexcept {
  return name.size() == other.size() && !name.empty() && name.front() == other.front() && name == other;
}

/// Receives RapidJSON's events, in the order of the text, and keeps what a command may want, whatever its type: the type
/// may come last. Everything else it only counts the depth of.
class Reader {
 public:
  /// Deeper than any limit people set: from here on nobody reads further, not even for the id.
  static constexpr std::size_t abandoned_nesting = 1024;
  /// The range in which RapidJSON's 32-bit sizes and this class's hold.
  static constexpr std::size_t message_bytes_max = 0x7fffffff;

  struct ErrorFields {
    Field code;
    Field message;
    Field details;
  };
  struct RoomField {
    std::string_view name;
    Field epoch;
    Field seq;
  };

  Reader(std::string_view message, std::size_t nesting) : input_(message), nesting_(nesting) { read(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Why there is no message at all; empty: there is one.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] const Field& type() const noexcept { return type_; }
  [[nodiscard]] const Field& id() const noexcept { return id_; }
  [[nodiscard]] const Field& payload() const noexcept { return payload_; }
  [[nodiscard]] const Field& member(Member member) const noexcept { return members_[static_cast<std::size_t>(member)]; }
  [[nodiscard]] std::string_view raw(const Field& field) const noexcept { return input_.text(field.begin, field.end); }

  /// Of `delivery`.
  [[nodiscard]] const Field& latest() const noexcept { return latest_; }
  /// Of `error`, when it is an object.
  [[nodiscard]] const ErrorFields& error() const noexcept { return error_; }
  /// Of `rooms`, when it is an object; not `well_formed_rooms` when not all of them are.
  [[nodiscard]] const std::vector<RoomField>& rooms() const noexcept { return rooms_; }
  [[nodiscard]] bool well_formed_rooms() const noexcept { return well_formed_rooms_; }
  /// Of `users`, when it is an array; not `well_formed_users` when not all of them are strings.
  [[nodiscard]] const std::vector<std::string_view>& users() const noexcept { return users_; }
  [[nodiscard]] bool well_formed_users() const noexcept { return well_formed_users_; }

  // The handler concept.
  bool Null() { return scalar(Kind::null); }
  bool Bool(bool value) {
    truth_ = value;
    return scalar(Kind::boolean);
  }
  bool Int(int) { return scalar(Kind::number); }
  bool Uint(unsigned) { return scalar(Kind::number); }
  bool Int64(std::int64_t) { return scalar(Kind::number); }
  bool Uint64(std::uint64_t) { return scalar(Kind::number); }
  bool Double(double) { return scalar(Kind::number); }
  bool RawNumber(const char*, rapid::SizeType, bool) { return scalar(Kind::number); }
  bool String(const char* text, rapid::SizeType size, bool) {
    if (!well_formed(text, size)) return false;
    if (input_.wanted) text_ = keep(text, size);
    return scalar(Kind::string);
  }
  bool Key(const char* text, rapid::SizeType size, bool) {
    if (!well_formed(text, size)) return false;
    if (place() != Place::elsewhere) key({text, size});
    return true;
  }
  bool StartObject() { return start(Kind::object); }
  bool EndObject(rapid::SizeType) { return finish(); }
  bool StartArray() { return start(Kind::array); }
  bool EndArray(rapid::SizeType) { return finish(); }

 private:
  /// What the innermost open object or array is.
  enum class Place : std::uint8_t { outside, frame, payload, delivery, error, rooms, room, users, elsewhere };
  /// Frame, payload, rooms, room: everything deeper is elsewhere.
  static constexpr std::size_t known_depth = 4;

  void read();
  [[nodiscard]] Place place() const noexcept { return depth_ <= known_depth ? places_[depth_] : Place::elsewhere; }
  void key(std::string_view name);
  void wants(Field& field, bool its_text) {
    field_ = &field;
    field.repeated = field.kind != Kind::absent;
    input_.wanted = its_text;
  }
  bool scalar(Kind kind);
  bool start(Kind kind);
  bool finish();
  bool well_formed(const char* text, rapid::SizeType size);
  [[nodiscard]] std::string_view keep(const char* text, rapid::SizeType size);
  [[nodiscard]] Place inside(Kind kind);

  Input input_;
  std::size_t nesting_;
  std::size_t depth_ = 0;
  std::array<Place, known_depth + 1> places_{};
  /// Whose value is open at that depth.
  std::array<Field*, known_depth + 1> open_{};
  /// Where the next value belongs; null: nobody wants it.
  Field* field_ = nullptr;
  bool truth_ = false;
  bool too_deep_ = false;
  bool not_an_object_ = false;
  bool well_formed_rooms_ = true;
  bool well_formed_users_ = true;
  std::string_view text_;
  /// Strings with escapes, unescaped; one reservation, so that views of it stay valid.
  std::string unescaped_;
  Field type_;
  Field id_;
  Field payload_;
  Field latest_;
  ErrorFields error_;
  std::array<Field, member_count> members_{};
  std::vector<RoomField> rooms_;
  std::vector<std::string_view> users_;
  /// The other members at the top.
  std::vector<std::string> others_;
  std::string problem_;
};

inline void Reader::read() {
  if (input_.size() > message_bytes_max) {
    problem_ = "The message is too large";
    return;
  }
  // Enough for RapidJSON's stack (8 bytes a level, and the string being read) in every ordinary message.
  alignas(std::max_align_t) char buffer[2048];
  rapid::MemoryPoolAllocator<> memory(buffer, sizeof buffer, 4096);
  rapid::GenericReader<Utf8, Utf8, rapid::MemoryPoolAllocator<>> parser(&memory, 1024);
  constexpr unsigned flags = rapid::kParseIterativeFlag | rapid::kParseValidateEncodingFlag;
  const rapid::ParseResult result = parser.Parse<flags>(input_, *this);

  if (not_an_object_) {
    problem_ = "The message must be a JSON object";
  } else if (too_deep_) {
    problem_ = "The message is nested deeper than " + std::to_string(nesting_) + " levels";
  } else if (result.IsError()) {
    const bool half = result.Code() == rapid::kParseErrorTermination;
    problem_ = "The message is not valid JSON, at byte " + std::to_string(result.Offset()) + ": " +
               (half ? "Half a surrogate pair in a string." : rapid::GetParseError_En(result.Code()));
  } else if (!input_.at_end()) {  // RapidJSON takes a NUL for the end.
    problem_ = "The message is not valid JSON, at byte " + std::to_string(input_.Tell()) + ": Something follows it.";
  } else {
    std::sort(others_.begin(), others_.end());
    const auto twice = std::adjacent_find(others_.begin(), others_.end());
    if (twice != others_.end()) problem_ = "'" + (twice->size() <= 64 ? *twice : "A member") + "' appears twice";
  }
}

inline void Reader::key(std::string_view name) {
  field_ = nullptr;
  input_.wanted = false;
  switch (place()) {
    case Place::frame:
      if (name == "type") {
        wants(type_, true);
      } else if (name == "id") {
        wants(id_, true);
      } else if (name == "payload") {
        wants(payload_, false);
      } else {
        others_.emplace_back(name);
      }
      return;
    case Place::payload:
      for (std::size_t i = 0; i < member_count; ++i) {
        if (same(member_names[i], name)) {
          const auto member = static_cast<Member>(i);
          const bool raw = member == Member::data || member == Member::state || member == Member::profile;
          return wants(members_[i], !raw);
        }
      }
      return;
    case Place::delivery:
      if (name == "latest") wants(latest_, true);
      return;
    case Place::error:
      if (name == "code") wants(error_.code, true);
      if (name == "message") wants(error_.message, true);
      if (name == "details") wants(error_.details, false);
      return;
    case Place::rooms:
      rooms_.push_back({keep(name.data(), static_cast<rapid::SizeType>(name.size())), {}, {}});
      return;
    case Place::room:
      if (name == "epoch") wants(rooms_.back().epoch, true);
      if (name == "seq") wants(rooms_.back().seq, true);
      return;
    default:
      return;
  }
}

inline bool Reader::scalar(Kind kind) {
  switch (place()) {
    case Place::elsewhere:
      return true;
    case Place::outside:
      not_an_object_ = true;
      return false;
    case Place::users:
      if (kind == Kind::string) {
        users_.push_back(text_);
      } else {
        well_formed_users_ = false;
      }
      return true;
    case Place::rooms:
      well_formed_rooms_ = false;
      break;
    default:
      if (field_ == nullptr) break;
      field_->kind = kind;
      field_->begin = static_cast<std::uint32_t>(input_.token());
      field_->end = static_cast<std::uint32_t>(input_.Tell());
      field_->text = kind == Kind::string && input_.wanted ? text_ : std::string_view();
      field_->truth = truth_;
      break;
  }
  input_.wanted = true;  // the next name
  return true;
}

/// Where an object or array leads that begins now.
inline Reader::Place Reader::inside(Kind kind) {
  switch (place()) {
    case Place::outside:
      return Place::frame;
    case Place::frame:
      return kind == Kind::object && field_ == &payload_ ? Place::payload : Place::elsewhere;
    case Place::payload:
      if (kind == Kind::object && field_ == &members_[static_cast<std::size_t>(Member::delivery)])
        return Place::delivery;
      if (kind == Kind::object && field_ == &members_[static_cast<std::size_t>(Member::error)]) return Place::error;
      if (kind == Kind::object && field_ == &members_[static_cast<std::size_t>(Member::rooms)]) return Place::rooms;
      if (kind == Kind::array && field_ == &members_[static_cast<std::size_t>(Member::users)]) return Place::users;
      return Place::elsewhere;
    case Place::rooms:
      if (kind == Kind::object) return Place::room;
      well_formed_rooms_ = false;
      return Place::elsewhere;
    case Place::users:
      well_formed_users_ = false;
      return Place::elsewhere;
    default:
      return Place::elsewhere;
  }
}

inline bool Reader::start(Kind kind) {
  if (depth_ == 0 && kind == Kind::array) {
    not_an_object_ = true;
    return false;
  }
  const Place next = inside(kind);
  ++depth_;
  if (depth_ > nesting_) too_deep_ = true;
  if (depth_ > abandoned_nesting && depth_ > nesting_) return false;
  if (field_ != nullptr) {
    field_->kind = kind;
    field_->begin = static_cast<std::uint32_t>(input_.Tell());
  }
  if (depth_ <= known_depth) {
    places_[depth_] = next;
    open_[depth_] = field_;
  }
  field_ = nullptr;
  input_.wanted = next != Place::elsewhere;
  return true;
}

inline bool Reader::finish() {
  if (depth_ <= known_depth) {
    if (Field* const field = open_[depth_]) field->end = static_cast<std::uint32_t>(input_.Tell() + 1);
  }
  --depth_;
  field_ = nullptr;
  input_.wanted = place() != Place::elsewhere;
  return true;
}

/// Whether no string has half a surrogate pair; false ends the parse.
inline bool Reader::well_formed(const char* text, rapid::SizeType size) {
  // Each escape is longer than what it stands for, so equal lengths mean that there is none.
  if (size == 0 || size + 2 == input_.Tell() - input_.token()) return true;
  return std::memchr(text, Utf8::lone_surrogate, size) == nullptr;
}

/// A string that says `text`: in the message itself, or, if it has escapes, a copy.
inline std::string_view Reader::keep(const char* text, rapid::SizeType size) {
  const std::string_view raw = input_.text(input_.token() + 1, input_.Tell() - 1);
  if (raw.size() == size) return raw;
  if (unescaped_.capacity() < input_.size()) unescaped_.reserve(input_.size());
  unescaped_.append(text, size);
  return std::string_view(unescaped_).substr(unescaped_.size() - size);
}

}  // namespace json_protocol
}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
