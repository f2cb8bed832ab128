// Events -> JSON messages, written straight into the caller's bytes.
#pragma once

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "muster/protocols/json_protocol.hpp"
#include "muster/protocols/json_protocol/decode.ipp"
#include "muster/protocols/json_protocol/text.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {
namespace json_protocol {

[[nodiscard]] inline std::int64_t milliseconds_of(WallTime time) noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

/// Appends JSON. Names and punctuation come as they are to be written; values come through the methods. Small pieces are
/// gathered first: the destination grows a few times for a message, not once for each piece.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  template <std::size_t Size>
  Writer& operator<<(const char (&literal)[Size]) {
    static_assert(Size <= sizeof gathered_);
    if (sizeof gathered_ - size_ < Size) flush();
    std::memcpy(gathered_ + size_, literal, Size - 1);
    size_ += Size - 1;
    return *this;
  }
  Writer& operator<<(std::string_view as_it_is) {
    put(as_it_is.data(), as_it_is.size());
    return *this;
  }
  /// Hands over what was gathered; last.
  void flush() {
    out_.append(gathered_, size_);
    size_ = 0;
  }

  template <class Integer>
  Writer& number(Integer value) {
    constexpr std::size_t digits_max = 24;
    if (sizeof gathered_ - size_ < digits_max) flush();
    const auto result = std::to_chars(gathered_ + size_, gathered_ + size_ + digits_max, value);
    size_ = static_cast<std::size_t>(result.ptr - gathered_);
    return *this;
  }
  Writer& boolean(bool value) { return *this << (value ? "true" : "false"); }
  Writer& connection(ConnectionId id) {
    constexpr char digits[] = "0123456789abcdef";
    char text[18];
    text[0] = text[17] = '"';
    for (unsigned i = 0; i < 16; ++i) text[i + 1] = digits[(id.value() >> (60 - 4 * i)) & 15U];
    return *this << std::string_view(text, sizeof text);
  }

  Writer& string(std::string_view text) {
    *this << "\"";
    const char* p = text.data();
    const char* const end = p + text.size();
    for (;;) {
      const char* const stop = plain_end(p, end);
      put(p, static_cast<std::size_t>(stop - p));
      if (stop == end) break;
      escape(static_cast<unsigned char>(*stop));
      p = stop + 1;
    }
    return *this << "\"";
  }

  Writer& payload(const Payload* payload) {
    if (payload == nullptr) return *this << "null";
    switch (payload->kind()) {
      case PayloadKind::json:
        return *this << (payload->empty() ? std::string_view("null") : payload->view());
      case PayloadKind::text:
        return string(payload->view());
      case PayloadKind::binary:
        return base64(payload->view());
    }
    return *this;
  }

 private:
  void put(const char* bytes, std::size_t size) {
    if (sizeof gathered_ - size_ < size) {
      flush();
      if (size > sizeof gathered_) {
        out_.append(bytes, size);
        return;
      }
    }
    if (size != 0) std::memcpy(gathered_ + size_, bytes, size);
    size_ += size;
  }

  void escape(unsigned char byte) {
    constexpr char digits[] = "0123456789abcdef";
    if (byte == '"') {
      *this << R"(\")";
    } else if (byte == '\\') {
      *this << R"(\\)";
    } else if (byte == '\n') {
      *this << R"(\n)";
    } else if (byte < 0x20) {
      const char text[] = {'\\', 'u', '0', '0', digits[byte >> 4U], digits[byte & 15U]};
      put(text, sizeof text);
    } else {
      // A text frame that is not UTF-8 would cost the client its connection (RFC 6455, 8.1).
      *this << "\xef\xbf\xbd";
    }
  }

  Writer& base64(std::string_view bytes) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    *this << "\"";
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
      const std::size_t count = bytes.size() - i < 3 ? bytes.size() - i : 3;
      std::uint32_t group = 0;
      for (std::size_t k = 0; k < 3; ++k) {
        group = (group << 8U) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
      }
      char text[4];
      for (std::size_t k = 0; k < 4; ++k) text[k] = k <= count ? digits[(group >> (18 - 6 * k)) & 63U] : '=';
      put(text, sizeof text);
    }
    return *this << "\"";
  }

  std::string& out_;
  std::size_t size_ = 0;
  char gathered_[512];
};

/// Writes one event.
class EventWriter {
 public:
  EventWriter(const Correlation* correlation, WallTime now, std::string& out)
      : correlation_(correlation), now_(now), out_(out) {}

  void operator()(const event::ConnectionAck& e) {
    begin("connection_ack");
    (out_ << R"({"connection":)").connection(e.connection);
    (out_ << R"(,"user_id":)").string(e.user);
    (out_ << R"(,"tenant":)").string(e.tenant);
    (out_ << R"(,"heartbeat_ms":)").number(e.heartbeat.count());
    if (!e.resume_token.empty()) {
      (out_ << R"(,"resume_token":)").string(e.resume_token);
      (out_ << R"(,"resume_ttl_ms":)").number(e.resume_ttl.count());
    }
    end();
  }

  void operator()(const event::Resumed& e) {
    constexpr std::string_view states[] = {R"(:"recovered")", R"(:"gap")", R"(:"denied")"};
    begin("resumed");
    (out_ << R"({"connection":)").connection(e.connection);
    out_ << R"(,"rooms":{)";
    for (std::size_t i = 0; e.rooms != nullptr && i < e.rooms->size(); ++i) {
      if (i != 0) out_ << ",";
      out_.string((*e.rooms)[i].room) << states[static_cast<std::size_t>((*e.rooms)[i].state)];
    }
    out_ << "}";
    end();
  }

  void operator()(const event::AuthResult& e) {
    begin("auth_result");
    (out_ << R"({"authenticated":)").boolean(e.identity != nullptr);
    if (e.identity != nullptr) {
      (out_ << R"(,"user_id":)").string(e.identity->user);
      (out_ << R"(,"tenant":)").string(e.identity->tenant);
      if (e.identity->expires_at) (out_ << R"(,"expires_at":)").number(milliseconds_of(*e.identity->expires_at));
    } else {
      (out_ << R"(,"error":)").string(e.error);
    }
    end();
  }

  void operator()(const event::RoomJoined& e) {
    if (form() != Form::plain) return alias(e.room);
    begin("room_joined");
    (out_ << R"({"room":)").string(e.room);
    (out_ << R"(,"seq":)").number(e.position.seq);
    (out_ << R"(,"epoch":)").number(e.position.epoch);
    members(R"(,"members":)", e.members);
    (out_ << R"(,"member_count":)").number(e.member_count);
    (out_ << R"(,"recovered":)").boolean(e.recovered);
    if (e.by_server) out_ << R"(,"by":"server")";
    end();
  }

  void operator()(const event::RoomLeft& e) {
    if (form() != Form::plain) return alias(e.room);
    begin("room_left");
    (out_ << R"({"room":)").string(e.room);
    if (e.by_server) out_ << R"(,"by":"server")";
    end();
  }

  void operator()(const event::Ack& e) {
    if (form() != Form::plain) return alias(e.room);
    begin("ack");
    if (e.payload != nullptr) return result(*e.payload);
    const char* separator = "{";
    const auto next = [&](std::string_view name) -> Writer& {
      out_ << separator << name;
      separator = ",";
      return out_;
    };
    if (e.position) {
      next(R"("seq":)").number(e.position->seq);
      next(R"("epoch":)").number(e.position->epoch);
    }
    if (e.delivered) next(R"("delivered":)").number(*e.delivered);
    if (e.queued) next(R"("queued":)").boolean(*e.queued);
    if (e.clock) next(R"("clock":)").number(*e.clock);
    if (e.stale) next(R"("stale":true)");
    if (*separator == '{') out_ << separator;
    end();
  }

  void operator()(const event::Subscriptions& e) {
    begin("subscriptions");
    strings(R"({"subscriptions":)", e.rooms);
    end();
  }

  void operator()(const event::RoomMessage& e) {
    begin("message");
    (out_ << R"({"room":)").string(e.room);
    if (e.position.seq != 0) {
      (out_ << R"(,"seq":)").number(e.position.seq);
      (out_ << R"(,"epoch":)").number(e.position.epoch);
    }
    sender(e.from, e.from_user);
    (out_ << R"(,"data":)").payload(e.data);
    end();
  }

  void operator()(const event::DirectMessage& e) {
    begin("direct");
    const char* separator = "{";
    if (e.from) {
      (out_ << R"({"from":{"connection":)").connection(e.from);
      (out_ << R"(,"user":)").string(e.from_user) << "}";
      separator = ",";
    }
    (out_ << separator << R"("data":)").payload(e.data);
    if (e.queue_id != 0) (out_ << R"(,"queue_id":)").number(e.queue_id);
    end();
  }

  void operator()(const event::Gap& e) {
    begin("gap");
    (out_ << R"({"room":)").string(e.room);
    (out_ << R"(,"from":)").number(e.from);
    (out_ << R"(,"to":)").number(e.to);
    end();
  }

  void operator()(const event::History& e) {
    begin("history");
    (out_ << R"({"room":)").string(e.room);
    (out_ << R"(,"epoch":)").number(e.epoch);
    each(R"(,"messages":)", e.messages, e.count, [this](const HistoryMessage& message) {
      (out_ << R"({"seq":)").number(message.seq);
      sender(message.from, message.from_user);
      (out_ << R"(,"data":)").payload(&message.data) << "}";
    });
    (out_ << R"(,"complete":)").boolean(e.complete);
    more(e.more);
    end();
  }

  void operator()(const event::Request& e) {
    begin("request");
    (out_ << R"({"request":)").number(e.request);
    (out_ << R"(,"type":)").string(e.type);
    (out_ << R"(,"data":)").payload(e.data);
    (out_ << R"(,"timeout_ms":)").number(e.timeout.count());
    end();
  }

  void operator()(const event::AwarenessState& e) {
    begin("awareness_state");
    (out_ << R"({"room":)").string(e.room);
    each(R"(,"states":)", e.entries, e.count, [this](const AwarenessEntry& entry) {
      (out_ << R"({"client":)").string(entry.client);
      (out_ << R"(,"user":)").string(entry.owner.user);
      (out_ << R"(,"state":)").payload(&entry.state);
      (out_ << R"(,"clock":)").number(entry.clock) << "}";
    });
    more(e.more);
    end();
  }

  void operator()(const event::AwarenessChanged& e) {
    begin("awareness_update");
    (out_ << R"({"room":)").string(e.room);
    each(R"(,"states":)", e.entries, e.count, [this](const AwarenessEntry& entry) {
      (out_ << R"({"client":)").string(entry.client);
      (out_ << R"(,"state":)").payload(entry.state.empty() ? nullptr : &entry.state);
      (out_ << R"(,"clock":)").number(entry.clock) << "}";
    });
    end();
  }

  void operator()(const event::PresenceState& e) {
    begin("presence_state");
    out_ << "{";
    if (!e.room.empty()) (out_ << R"("room":)").string(e.room) << ",";
    members(R"("members":)", e.members);
    if (e.members == nullptr)
      each(R"("users":)", e.users, e.count, [this](const event::UserPresence& user) {
        (out_ << R"({"user":)").string(user.user);
        (out_ << R"(,"online":)").boolean(user.connections != 0 || user.in_grace);
        (out_ << R"(,"connections":)").number(user.connections) << "}";
      });
    more(e.more);
    end();
  }

  void operator()(const event::PresenceChanged& e) {
    begin("presence");
    (out_ << R"({"room":)").string(e.room);
    members(R"(,"joined":)", e.joined);
    members(R"(,"left":)", e.left);
    members(R"(,"changed":)", e.changed);
    if (e.members != nullptr) members(R"(,"members":)", e.members, e.count);
    more(e.more);
    (out_ << R"(,"member_count":)").number(e.member_count);
    end();
  }

  void operator()(const event::UsersOnline& e) { users("users_online", e.users); }
  void operator()(const event::UsersOffline& e) { users("users_offline", e.users); }

  void operator()(const event::ReauthRequired& e) {
    begin("reauth_required");
    (out_ << R"({"expires_at":)").number(milliseconds_of(e.expires_at));
    (out_ << R"(,"grace_ms":)").number(e.grace.count());
    end();
  }

  void operator()(const event::Draining& e) {
    begin("draining");
    (out_ << R"({"reconnect_after_ms":)").number(e.reconnect_after.count());
    end();
  }

  void operator()(const event::Kicked& e) {
    begin("kicked");
    (out_ << R"({"reason":)").string(e.reason);
    (out_ << R"(,"reconnect":)").boolean(e.reconnect);
    end();
  }

  void operator()(const event::SessionState& e) {
    begin("session_info");
    (out_ << R"({"connection":)").connection(e.connection);
    (out_ << R"(,"user":)").string(e.user);
    (out_ << R"(,"tenant":)").string(e.tenant);
    strings(R"(,"rooms":)", e.rooms);
    (out_ << R"(,"connected_at":)").number(milliseconds_of(e.connected_at));
    end();
  }

  void operator()(const event::Pong& e) { whole("pong", e.payload); }
  void operator()(const event::Progress& e) { whole("progress", e.payload); }

  void operator()(const event::Heartbeat&) {}  // its clients are pinged

  void operator()(const event::Failure& e) {
    begin("error");
    (out_ << R"({"code":)").string(code_of(e.error));
    (out_ << R"(,"message":)").string(e.error != nullptr ? std::string_view(e.error->message) : std::string_view());
    if (e.error != nullptr && e.error->retry_after.count() > 0) {
      (out_ << R"(,"retry_after_ms":)").number(e.error->retry_after.count());
    }
    if (e.error != nullptr && !e.error->details.empty()) {
      out_ << R"(,"details":)";
      out_.payload(&e.error->details);
    }
    end();
  }

 private:
  /// Whose payload is what somebody gave.
  void whole(std::string_view type, const Payload* payload) {
    begin(type);
    if (payload == nullptr || payload->empty()) {
      out_ << "{}}";
    } else {
      out_.payload(payload) << "}";
    }
    out_.flush();
  }
  [[nodiscard]] static std::string_view code_of(const Error* error) {
    if (error == nullptr) return to_string(errc::internal);
    return error->name.empty() ? to_string(error->code) : std::string_view(error->name);
  }

  /// Up to where the payload begins.
  void begin(std::string_view type) {
    (out_ << R"({"type":")" << type << R"(","timestamp":)").number(milliseconds_of(now_));
    if (correlation_ != nullptr && !correlation_->id.empty()) out_ << R"(,"reply_to":)" << correlation_->id;
    out_ << R"(,"payload":)";
  }
  /// A payload that is still open, and the message.
  void end() { (out_ << "}}").flush(); }

  [[nodiscard]] Form form() const {
    return correlation_ == nullptr ? Form::plain : static_cast<Form>(correlation_->form);
  }

  void alias(std::string_view room) {
    begin("ack");
    std::string message(form() == Form::subscribe ? "Subscribed to " : "Unsubscribed from ");
    message += room;
    (out_ << R"({"success":true,"message":)").string(message);
    end();
  }

  /// An ack's payload is an object, whatever a handler replies.
  void result(const Payload& payload) {
    const std::string_view view = payload.view();
    const std::size_t first = view.find_first_not_of(" \n\r\t");
    if (payload.kind() == PayloadKind::json && first != std::string_view::npos && view[first] == '{') {
      out_ << view << "}";
    } else {
      (out_ << R"({"result":)").payload(&payload) << "}}";
    }
    out_.flush();
  }

  void sender(ConnectionId from, std::string_view from_user) {
    if (!from) {
      out_ << R"(,"from":null)";
      return;
    }
    (out_ << R"(,"from":{"connection":)").connection(from);
    (out_ << R"(,"user":)").string(from_user) << "}";
  }

  void users(std::string_view type, const std::vector<std::string>* names) {
    begin(type);
    strings(R"({"users":)", names);
    end();
  }
  /// Of a chunk that is not the last.
  void more(bool follows) {
    if (follows) out_ << R"(,"more":true)";
  }

  template <class Item, class Write>
  void each(std::string_view name, const Item* items, std::size_t count, Write&& write) {
    out_ << name << "[";
    for (std::size_t i = 0; i < count; ++i) {
      if (i != 0) out_ << ",";
      write(items[i]);
    }
    out_ << "]";
  }
  template <class Item, class Write>
  void each(std::string_view name, const std::vector<Item>* items, Write&& write) {
    each(name, items != nullptr ? items->data() : nullptr, items != nullptr ? items->size() : 0, write);
  }
  void strings(std::string_view name, const std::vector<std::string>* items) {
    each(name, items, [this](const std::string& item) { out_.string(item); });
  }
  /// Null: the list is not told.
  void members(std::string_view name, const std::vector<muster::Member>* list) {
    if (list != nullptr) members(name, list->data(), list->size());
  }
  void members(std::string_view name, const muster::Member* list, std::size_t count) {
    each(name, list, count, [this](const muster::Member& member) {
      (out_ << R"({"connection":)").connection(member.connection);
      (out_ << R"(,"user":)").string(member.user);
      if (!member.profile.empty()) (out_ << R"(,"profile":)").payload(&member.profile);
      out_ << "}";
    });
  }

  const Correlation* correlation_;
  WallTime now_;
  Writer out_;
};

}  // namespace json_protocol
}  // namespace detail

MUSTER_INLINE std::optional<FrameKind> JsonProtocol::encode(const Event& event, const Correlation* correlation,
                                                            WallTime now, std::string& out) const {
  if (event.get_if<event::Heartbeat>() != nullptr) return std::nullopt;
  detail::json_protocol::EventWriter writer(correlation, now, out);
  event.visit(writer);
  return FrameKind::text;
}

}  // namespace MUSTER_ABI
}  // namespace muster
