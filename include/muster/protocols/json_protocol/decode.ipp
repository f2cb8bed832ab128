// JSON messages -> commands.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "muster/protocols/json_protocol.hpp"
#include "muster/protocols/json_protocol/names.ipp"
#include "muster/protocols/json_protocol/reader.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {
namespace json_protocol {

[[nodiscard]] inline Type type_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i < type_names.size(); ++i) {
    if (same(type_names[i], name)) return static_cast<Type>(i);
  }
  return Type::custom;
}

[[nodiscard]] constexpr std::uint32_t bit(Type type) noexcept { return 1U << static_cast<unsigned>(type); }

/// Answered even without an id: who asks this waits for the answer.
inline constexpr std::uint32_t always_answered = bit(Type::authenticate) | bit(Type::resume) | bit(Type::join) |
                                                 bit(Type::subscribe) | bit(Type::ping) | bit(Type::awareness_query) |
                                                 bit(Type::history_query) | bit(Type::presence_query) |
                                                 bit(Type::list_subscriptions) | bit(Type::session_info);

/// `Correlation::form`: which words the answer uses.
enum class Form : std::uint8_t { plain, subscribe, unsubscribe };

inline constexpr std::size_t id_bytes_max = 128;
inline constexpr std::size_t client_bytes_max = 128;
inline constexpr std::size_t idempotency_key_bytes_max = 64;
/// Clocks are told to others, and a JSON number is exact up to here in every reader (RFC 8259, 6).
inline constexpr std::uint64_t clock_max = (std::uint64_t{1} << 53U) - 1;

/// Makes one command of what the Reader found. Of several problems the first is told.
class CommandReader {
 public:
  CommandReader(const Reader& reader, std::uint32_t disabled, Command& command)
      : reader_(reader), disabled_(disabled), command_(command) {}

  void read() {
    read_id();
    if (!reader_.problem().empty()) problem_ = reader_.problem();
    check_top();
    if (problem_.empty()) read_body();
    if (!problem_.empty()) {
      command_.body.emplace<command::Invalid>(command::Invalid{Error{errc::invalid_message, std::move(problem_), {}}});
    }
  }

 private:
  // ---- Around the payload.

  void read_id() {
    const Field& id = reader_.id();
    if (id.kind == Kind::absent) return;
    bool good = !id.repeated;
    if (id.kind == Kind::string) {
      good = good && id.text.size() <= id_bytes_max;
    } else {
      good = good && id.kind == Kind::number && is_integer(reader_.raw(id));
    }
    if (good) {
      command_.correlation.id = reader_.raw(id);
      command_.correlation.reply = true;
    } else {
      problem_ = id.repeated ? "'id' appears twice" : "'id' must be an integer or a string of at most 128 bytes";
    }
  }

  static bool is_integer(std::string_view number) {
    return number.size() <= id_bytes_max && number.find_first_of(".eE") == std::string_view::npos;
  }

  void check_top() {
    if (!problem_.empty()) return;
    const Field& type = reader_.type();
    const Field& payload = reader_.payload();
    if (type.repeated) {
      problem_ = "'type' appears twice";
    } else if (payload.repeated) {
      problem_ = "'payload' appears twice";
    } else if (type.kind == Kind::absent) {
      problem_ = "'type' is missing";
    } else if (type.kind != Kind::string) {
      problem_ = "'type' must be a string";
    } else if (payload.kind != Kind::absent && payload.kind != Kind::object) {
      problem_ = "'payload' must be an object";
    }
  }

  // ---- Members of the payload.

  void fault(Member member, std::string_view what) { fault(name_of(member), what); }
  void fault(std::string_view member, std::string_view what) {
    if (!problem_.empty()) return;
    problem_.append(reader_.type().text).append(": '").append(member).append("' ").append(what);
  }
  static std::string_view name_of(Member member) { return member_names[static_cast<std::size_t>(member)]; }

  /// The member, if it is there, once, and of that kind; else null, with the problem noted unless it may be absent.
  const Field* optional(Member member, Kind kind, std::string_view must_be) {
    const Field& field = reader_.member(member);
    if (field.kind == Kind::absent) return nullptr;
    if (field.repeated) return fault(member, "appears twice"), nullptr;
    if (field.kind != kind) return fault(member, must_be), nullptr;
    return &field;
  }
  bool present(Member member) {
    if (reader_.member(member).kind != Kind::absent) return true;
    fault(member, "is missing");
    return false;
  }

  std::string string(Member member) { return present(member) ? optional_string(member) : std::string(); }
  std::string optional_string(Member member, std::size_t bytes_max = std::numeric_limits<std::size_t>::max()) {
    const Field* const field = optional(member, Kind::string, "must be a string");
    if (field == nullptr) return {};
    if (field->text.size() > bytes_max) {
      fault(member, "must be a string of at most " + std::to_string(bytes_max) + " bytes");
      return {};
    }
    return std::string(field->text);
  }
  bool optional_boolean(Member member) {
    const Field* const field = optional(member, Kind::boolean, "must be true or false");
    return field != nullptr && field->truth;
  }
  Payload raw(Member member) {
    if (!present(member)) return {};
    const Field& field = reader_.member(member);
    if (field.repeated) return fault(member, "appears twice"), Payload();
    return muster::json(std::string(reader_.raw(field)));
  }
  Payload payload() const {
    const Field& field = reader_.payload();
    return field.kind == Kind::absent ? Payload() : muster::json(std::string(reader_.raw(field)));
  }
  std::uint64_t number(Member member, std::uint64_t max = std::numeric_limits<std::uint64_t>::max()) {
    if (!present(member)) return 0;
    if (reader_.member(member).repeated) return fault(member, "appears twice"), 0;
    return number(reader_.member(member), name_of(member), max);
  }
  std::uint64_t number(const Field& field, std::string_view name, std::uint64_t max) {
    std::uint64_t value = 0;
    const std::string_view text = field.kind == Kind::number ? reader_.raw(field) : std::string_view();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > max) {
      fault(name, "must be an integer from 0 to " + std::to_string(max));
      return 0;
    }
    return value;
  }

  // ---- Each type.

  void read_body() {
    Type type = type_of(reader_.type().text);
    if (type != Type::custom && (disabled_ & bit(type)) != 0) type = Type::custom;
    if ((always_answered & bit(type)) != 0) command_.correlation.reply = true;
    switch (type) {
      case Type::authenticate:
        command_.body.emplace<command::Authenticate>().token = string(Member::token);
        return;
      case Type::resume:
        return read_resume(command_.body.emplace<command::Resume>());
      case Type::subscribe:
        command_.correlation.form = static_cast<std::uint8_t>(Form::subscribe);
        command_.body.emplace<command::Join>().room = string(Member::topic);
        return;
      case Type::join:
        command_.body.emplace<command::Join>().room = string(Member::room);
        return;
      case Type::unsubscribe:
        command_.correlation.form = static_cast<std::uint8_t>(Form::unsubscribe);
        command_.body.emplace<command::Leave>().room = string(Member::topic);
        return;
      case Type::leave:
        command_.body.emplace<command::Leave>().room = string(Member::room);
        return;
      case Type::list_subscriptions:
        command_.body.emplace<command::ListSubscriptions>();
        return;
      case Type::publish:
        return read_publish(command_.body.emplace<command::Publish>());
      case Type::send:
        return read_send(command_.body.emplace<command::Send>());
      case Type::awareness_update:
        return read_awareness(command_.body.emplace<command::AwarenessSet>());
      case Type::awareness_query:
        command_.body.emplace<command::AwarenessQuery>().room = string(Member::room);
        return;
      case Type::history_query:
        return read_history_query(command_.body.emplace<command::HistoryQuery>());
      case Type::presence_query:
        return read_presence_query(command_.body.emplace<command::PresenceQuery>());
      case Type::profile_update:
        return read_profile(command_.body.emplace<command::ProfileSet>());
      case Type::answer:
        return read_answer(command_.body.emplace<command::Answer>());
      case Type::ack:
        command_.body.emplace<command::AcknowledgeQueue>().queue_id = number(Member::queue_id);
        return;
      case Type::session_info:
        command_.body.emplace<command::SessionInfo>();
        return;
      case Type::ping:
        command_.body.emplace<command::Ping>().payload = payload();
        return;
      case Type::custom: {
        auto& custom = command_.body.emplace<command::Custom>();
        custom.type = reader_.type().text;
        custom.payload = payload();
        return;
      }
    }
  }

  void read_publish(command::Publish& publish) {
    publish.room = string(Member::room);
    publish.data = raw(Member::data);
    publish.echo = optional_boolean(Member::echo);
    publish.idempotency_key = optional_string(Member::idempotency_key, idempotency_key_bytes_max);
    const Field& delivery = reader_.member(Member::delivery);
    const Field& latest = reader_.latest();
    if (delivery.kind == Kind::absent) return;
    if (delivery.repeated) {
      fault(Member::delivery, "appears twice");
    } else if (delivery.kind == Kind::object && latest.kind == Kind::string && !latest.repeated) {
      publish.delivery = Delivery::latest(std::string(latest.text));
    } else if (delivery.kind != Kind::string || delivery.text != "reliable") {
      fault(Member::delivery, "must be \"reliable\" or {\"latest\": string}");
    }
  }

  void read_send(command::Send& send) {
    send.user = string(Member::user);
    send.data = raw(Member::data);
    send.queued = optional_boolean(Member::queued);
  }

  void read_awareness(command::AwarenessSet& set) {
    set.room = string(Member::room);
    Payload state = raw(Member::state);
    const Kind kind = reader_.member(Member::state).kind;
    if (kind == Kind::object) {
      set.state = std::move(state);
    } else if (kind != Kind::null) {
      fault(Member::state, "must be an object or null");
    }
    set.clock = number(Member::clock, clock_max);
    set.client = optional_string(Member::client, client_bytes_max);
  }

  std::uint64_t optional_number(Member member, std::uint64_t max) {
    return reader_.member(member).kind == Kind::absent ? 0 : number(member, max);
  }

  void read_history_query(command::HistoryQuery& query) {
    constexpr std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
    query.room = string(Member::room);
    query.after = {optional_number(Member::epoch, max), optional_number(Member::after, max)};
    query.limit = static_cast<std::size_t>(optional_number(Member::limit, std::numeric_limits<std::size_t>::max()));
  }

  void read_answer(command::Answer& answer) {
    answer.request = number(Member::request);
    const bool refused = reader_.member(Member::error).kind != Kind::absent;
    if (refused == (reader_.member(Member::data).kind != Kind::absent)) {
      fault(Member::data, refused ? "and 'error' exclude each other" : "or 'error' is missing");
      return;
    }
    if (!refused) {
      answer.result = raw(Member::data);
      return;
    }
    if (optional(Member::error, Kind::object, "must be an object") == nullptr) return;
    const auto& [code, message, details] = reader_.error();
    const bool good = code.kind == Kind::string && !code.repeated && !message.repeated && !details.repeated &&
                      (message.kind == Kind::absent || message.kind == Kind::string);
    if (!good)
      return fault(Member::error, "must be of the form {\"code\": string, \"message\"?: string, \"details\"?}");
    Error error{errc::permission_denied, std::string(message.text), {}, std::string(code.text)};
    if (details.kind != Kind::absent) error.details = muster::json(std::string(reader_.raw(details)));
    answer.result = std::move(error);
  }

  void read_profile(command::ProfileSet& set) {
    Payload profile = raw(Member::profile);
    const Kind kind = reader_.member(Member::profile).kind;
    if (kind == Kind::object) {
      set.profile = std::move(profile);
    } else if (kind != Kind::null) {
      fault(Member::profile, "must be an object or null");
    }
  }

  void read_presence_query(command::PresenceQuery& query) {
    const Field* const users = optional(Member::users, Kind::array, must_be_users);
    if (users != nullptr && !reader_.well_formed_users()) fault(Member::users, must_be_users);
    if (users != nullptr) query.users.assign(reader_.users().begin(), reader_.users().end());
    query.room = optional_string(Member::room);
    const bool by_room = reader_.member(Member::room).kind != Kind::absent;
    if (by_room == (reader_.member(Member::users).kind != Kind::absent)) {
      fault(Member::users, by_room ? "and 'room' exclude each other" : "or 'room' is missing");
    } else if (by_room && query.room.empty()) {
      fault(Member::room, "must not be empty");
    }
    query.limit = static_cast<std::size_t>(optional_number(Member::limit, std::numeric_limits<std::size_t>::max()));
    const bool goes_on = reader_.member(Member::after).kind != Kind::absent;
    if (goes_on) query.after = parse_connection_id(optional_string(Member::after));
    if (goes_on && !query.after) fault(Member::after, "must be a connection, as members have it");
    if (goes_on && query.limit == 0) query.limit = std::numeric_limits<std::size_t>::max();
    if (query.limit != 0 && !by_room) fault(goes_on ? Member::after : Member::limit, "goes with 'room'");
  }

  void read_resume(command::Resume& resume) {
    resume.token = string(Member::token);
    resume.auth = optional_string(Member::auth);
    if (!present(Member::rooms) || optional(Member::rooms, Kind::object, must_be_rooms) == nullptr) return;
    if (!reader_.well_formed_rooms()) return fault(Member::rooms, must_be_rooms);
    resume.rooms.reserve(reader_.rooms().size());
    for (const Reader::RoomField& room : reader_.rooms()) {
      if (room.epoch.kind == Kind::absent || room.seq.kind == Kind::absent || room.epoch.repeated ||
          room.seq.repeated) {
        return fault(Member::rooms, must_be_rooms);
      }
      constexpr std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
      resume.rooms.push_back(
          {std::string(room.name), {number(room.epoch, "epoch", max), number(room.seq, "seq", max)}});
    }
    std::vector<std::string_view> names;
    names.reserve(reader_.rooms().size());
    for (const Reader::RoomField& room : reader_.rooms()) names.push_back(room.name);
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end()) fault(Member::rooms, "names a room twice");
  }

  static constexpr std::string_view must_be_users = "must be an array of strings";
  static constexpr std::string_view must_be_rooms = "must be an object of the form {room: {\"epoch\": n, \"seq\": n}}";

  const Reader& reader_;
  std::uint32_t disabled_;
  Command& command_;
  std::string problem_;
};

}  // namespace json_protocol
}  // namespace detail

MUSTER_INLINE bool JsonProtocol::serves(std::string_view type) const noexcept {
  const auto known = detail::json_protocol::type_of(type);
  return known != detail::json_protocol::Type::custom && (disabled_ & detail::json_protocol::bit(known)) == 0;
}

MUSTER_INLINE std::optional<CloseReason> JsonProtocol::decode(FrameKind kind, std::string_view message,
                                                              const DecodeLimits& limits,
                                                              std::vector<Command>& commands) const {
  if (kind != FrameKind::text) return CloseReason::unsupported_data;
  const detail::json_protocol::Reader reader(message, limits.nesting);
  detail::json_protocol::CommandReader(reader, disabled_, commands.emplace_back()).read();
  return std::nullopt;
}

}  // namespace MUSTER_ABI
}  // namespace muster
