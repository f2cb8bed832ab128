// What every Protocol promises, as checks that any implementation can be run through.
//
// A test file says:
//
//   TEST_CASE("MyProtocol is a protocol", "[contract][protocol]") {
//     muster::test::protocol_contract({std::make_shared<MyProtocol>(), {"a message", "another"}, is_one_message});
//   }
//
// Each promise is a section. Nothing here needs more than muster/protocol.hpp and Catch2.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "contract/protocol_samples.hpp"
#include "muster/protocol.hpp"
#include "support/catch.hpp"

namespace muster::test {

struct ProtocolSubject {
  std::shared_ptr<const Protocol> protocol;
  /// Messages of clients, each of them good and a command; together they use every command the protocol has. Where it has
  /// conversations they are one, in this order.
  std::vector<std::string> messages;
  /// Whether these bytes are one whole message, as a client would understand it.
  std::function<bool(std::string_view)> is_message;
  /// The frames in which `messages` come.
  FrameKind kind = FrameKind::text;
  /// What stands where the protocol's path has names: of each its name and value.
  std::vector<std::pair<std::string, std::string>> names = {};
};

/// The names in a path, in its order; nothing: it is malformed.
[[nodiscard]] inline std::optional<std::vector<std::string>> names_in(std::string_view path) {
  std::vector<std::string> names;
  if (path.substr(0, 1) != "/") return std::nullopt;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    if (segment.find_first_of("{}?# ") == std::string_view::npos) continue;
    if (segment.size() < 3 || segment.front() != '{' || segment.back() != '}') return std::nullopt;
    const std::string name(segment.substr(1, segment.size() - 2));
    if (name.find_first_of("{}") != std::string::npos) return std::nullopt;
    if (std::find(names.begin(), names.end(), name) != names.end()) return std::nullopt;
    names.push_back(name);
  }
  return names;
}

/// One connection's messages, decoded as the core does it: by its conversation, or by the protocol.
class Decoding {
 public:
  explicit Decoding(const ProtocolSubject& subject, std::string_view query = {})
      : protocol_(*subject.protocol),
        kind_(subject.kind),
        conversation_(protocol_.converse({subject.protocol->path(), query, subject.names})) {}

  [[nodiscard]] bool is_conversation() const { return conversation_ != nullptr; }
  [[nodiscard]] std::optional<CloseReason> decode(FrameKind kind, std::string_view message,
                                                  std::vector<Command>& commands) {
    return conversation_ ? conversation_->decode(kind, message, DecodeLimits{}, commands)
                         : protocol_.decode(kind, message, DecodeLimits{}, commands);
  }
  [[nodiscard]] std::optional<CloseReason> decode(std::string_view message, std::vector<Command>& commands) {
    return decode(kind_, message, commands);
  }
  /// What a message decodes to, in words.
  [[nodiscard]] std::string words(std::string_view message) {
    std::vector<Command> commands;
    const std::optional<CloseReason> closed = decode(message, commands);
    std::string text = closed ? "close " + std::string(to_string(*closed)) : std::string("open");
    for (const Command& command : commands) text += "\n" + describe(command);
    return text;
  }

 private:
  const Protocol& protocol_;
  const FrameKind kind_;
  const std::unique_ptr<Conversation> conversation_;
};

/// What is told of an event: nothing, or a message behind `before`.
[[nodiscard]] inline std::pair<std::optional<FrameKind>, std::string> encoded(const Protocol& protocol,
                                                                              const Event& event,
                                                                              const Correlation* correlation,
                                                                              std::string before = {}) {
  const auto kind = protocol.encode(event, correlation, WallTime(std::chrono::milliseconds(1700000000000)), before);
  return {kind, std::move(before)};
}

inline void protocol_contract(const ProtocolSubject& subject) {
  REQUIRE(subject.protocol);
  REQUIRE_FALSE(subject.messages.empty());
  const Protocol& protocol = *subject.protocol;

  SECTION("it can be chosen: a subprotocol token (RFC 9110, 5.6.2), a path") {
    CHECK_FALSE(protocol.name().empty());
    for (const char c : protocol.name()) {
      const bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
      CHECK(token);
    }
    const auto names = names_in(protocol.path());
    REQUIRE(names);
    std::vector<std::string> given;
    for (const auto& [name, value] : subject.names) given.push_back(name);
    CHECK(given == *names);  // else this cannot come to it
  }

  SECTION("a heartbeat that is a message is told, and another is none") {
    CHECK(encoded(protocol, event::Heartbeat{}, nullptr).first.has_value() ==
          (protocol.heartbeat() == HeartbeatStyle::message));
  }

  SECTION("whatever stands in its path, a connection can be opened") {
    std::string every_byte;
    for (int byte = 0; byte < 256; ++byte) every_byte.push_back(static_cast<char>(byte));
    const bool converses = Decoding(subject).is_conversation();
    for (const std::string& value : {every_byte, std::string(100'000, 'a'), std::string("/"), std::string("..")}) {
      ProtocolSubject elsewhere = subject;
      for (auto& [name, there] : elsewhere.names) there = value;
      std::unique_ptr<Decoding> connection;
      CHECK_NOTHROW(connection = std::make_unique<Decoding>(elsewhere, value));
      CHECK(connection->is_conversation() == converses);
      CHECK_NOTHROW((void)connection->words(subject.messages.front()));
    }
  }

  SECTION("good messages are understood") {
    Decoding connection(subject);
    for (const std::string& message : subject.messages) {
      INFO(message);
      std::vector<Command> commands;
      CHECK_FALSE(connection.decode(message, commands).has_value());
      CHECK_FALSE(commands.empty());
      for (const Command& command : commands) {
        CHECK_FALSE(std::holds_alternative<command::Invalid>(command.body));
      }
    }
  }

  SECTION("decoding appends, and leaves what is there") {
    Decoding connection(subject);
    for (const std::string& message : subject.messages) {
      std::vector<Command> commands(1);
      commands.front().correlation.id = "kept";
      CHECK_FALSE(connection.decode(message, commands).has_value());
      REQUIRE(commands.size() >= 2);
      CHECK(commands.front().correlation.id == "kept");
    }
  }

  SECTION("the same bytes are the same commands, whatever was decoded between") {
    std::vector<std::string> first;
    Decoding connection(subject);
    for (const std::string& message : subject.messages) first.push_back(connection.words(message));
    if (connection.is_conversation()) return;
    for (std::size_t i = subject.messages.size(); i-- > 0;) {
      CHECK(connection.words(subject.messages[i]) == first[i]);
    }
  }

  SECTION("what one connection says changes nothing of what another's means") {
    std::vector<std::string> alone;
    Decoding first(subject);
    for (const std::string& message : subject.messages) alone.push_back(first.words(message));
    Decoding one(subject);
    Decoding other(subject);
    for (std::size_t i = 0; i < subject.messages.size(); ++i) {
      CHECK(one.words(subject.messages[i]) == alone[i]);
      if (i > 0) CHECK(other.words(subject.messages[i - 1]) == alone[i - 1]);
    }
  }

  SECTION("commands own what they carry: the message's bytes may go") {
    Decoding connection(subject);
    Decoding same(subject);
    for (const std::string& message : subject.messages) {
      const auto bytes = std::make_unique<std::string>(message);
      std::vector<Command> commands;
      CHECK_FALSE(connection.decode(*bytes, commands).has_value());
      std::fill(bytes->begin(), bytes->end(), '\xee');
      std::string now = "open";
      for (const Command& command : commands) now += "\n" + describe(command);
      CHECK(now == same.words(message));
    }
  }

  SECTION("no bytes make it throw: beginnings of messages, changed ones, random ones, of every kind of frame") {
    std::mt19937 random(20261120);
    const auto below = [&random](std::size_t bound) { return random() % bound; };
    const auto survives = [&](std::string_view bytes) {
      for (const FrameKind any : {FrameKind::text, FrameKind::binary}) {
        Decoding connection(subject);
        if (connection.is_conversation()) {  // wherever it has come to
          for (std::size_t i = below(subject.messages.size() + 1); i > 0; --i) {
            (void)connection.words(subject.messages[subject.messages.size() - i]);
          }
        }
        std::vector<Command> commands;
        const auto closed = connection.decode(any, bytes, commands);
        // Nothing is dropped in silence: a message is a command, several, or the end; or the answer to a heartbeat.
        const bool may_be_life = protocol.heartbeat() != HeartbeatStyle::ping;
        if (!closed && commands.empty() && !may_be_life) FAIL("neither a command nor a reason to close");
      }
    };
    for (const std::string& message : subject.messages) {
      for (std::size_t size = 0; size <= message.size(); ++size) {
        survives(std::string(message, 0, size));  // a copy, so that a sanitizer sees its end
      }
    }
    for (int i = 0; i < 5000; ++i) {
      std::string message = subject.messages[below(subject.messages.size())];
      for (std::size_t change = 1 + below(4); change > 0 && !message.empty(); --change) {
        message[below(message.size())] = static_cast<char>(below(256));
      }
      survives(message);
      std::string noise(below(64), '\0');
      for (char& byte : noise) byte = static_cast<char>(below(256));
      survives(noise);
    }
  }

  SECTION("neither size nor depth makes it throw or run out of stack") {
    for (const char* pattern : {"[", "{", "\"", "{\"a\":", "[[[]],", "0", "-", "\\", "\xff", "\xf0\x9f", " ", "\x01"}) {
      std::string message;
      while (message.size() < 1024 * 1024) message += pattern;
      INFO(pattern);
      CHECK_NOTHROW((void)Decoding(subject).words(message));
    }
    const std::string nul(1024 * 1024, '\0');
    CHECK_NOTHROW((void)Decoding(subject).words(nul));
    CHECK_NOTHROW((void)Decoding(subject).words(std::string_view()));
  }

  SECTION(
      "every event is one message, as text or binary, or nothing, asked for or not, whatever bytes its names are made "
      "of") {
    std::string every_byte;
    for (int byte = 0; byte < 256; ++byte) every_byte.push_back(static_cast<char>(byte));
    std::vector<Command> commands;
    Decoding connection(subject);
    for (const std::string& message : subject.messages) {
      CHECK_FALSE(connection.decode(message, commands).has_value());
    }
    std::vector<const Correlation*> correlations{nullptr};
    for (const Command& command : commands) correlations.push_back(&command.correlation);
    for (const std::string& name : {std::string(), std::string("ann"), every_byte, std::string(5000, '"')}) {
      const EventSamples samples(name);
      for (const Event& event : samples.events()) {
        for (const Correlation* correlation : correlations) {
          const auto [told_as, bytes] = encoded(protocol, event, correlation);
          const bool data = told_as == FrameKind::text || told_as == FrameKind::binary;
          const bool well = told_as ? data && subject.is_message(bytes) : bytes.empty();
          if (!well) FAIL("event " << event.index() << ": " << bytes);
        }
      }
    }
  }

  SECTION("encoding appends, and does not look at what is there") {
    const EventSamples samples("ann");
    for (const Event& event : samples.events()) {
      const std::string before(1000, '{');
      const auto [told_as, bytes] = encoded(protocol, event, nullptr);
      CHECK(encoded(protocol, event, nullptr, before) == std::pair(told_as, before + bytes));
    }
  }

  SECTION("every close reason has a code that may travel (RFC 6455, 7.4)") {
    for (const CloseReasonEntry& entry : close_reasons) {
      if (entry.reason == CloseReason::lost) continue;  // No close frame can reach a peer that vanished.
      INFO(entry.name);
      const std::uint16_t code = protocol.close_code(entry.reason);
      CHECK((code >= 1000 && code <= 4999));
      CHECK_FALSE((code == 1004 || code == 1005 || code == 1006 || code == 1015));
      CHECK_FALSE((code > 1014 && code < 3000));
    }
  }

  SECTION("several threads at once get what one gets") {
    const EventSamples samples("ann");
    const auto everything = [&] {
      std::string all;
      Decoding connection(subject);
      for (const std::string& message : subject.messages) all += connection.words(message);
      for (const Event& event : samples.events()) all += encoded(protocol, event, nullptr).second;
      return all;
    };
    const std::string expected = everything();
    std::atomic<int> equal{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 50; ++round) equal += everything() == expected ? 1 : 0;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(equal == 4 * 50);
  }
}

}  // namespace muster::test
