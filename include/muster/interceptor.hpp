// The interceptor: the program sees what a client is about to publish, and says what becomes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "muster/connection.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

enum class PublicationKind : std::uint8_t { reliable, latest, awareness };

/// What a client is about to publish. What it refers to is there for the call.
struct Publication {
  const RoomKey& room;
  /// Of awareness: the state.
  const Payload& data;
  PublicationKind kind = PublicationKind::reliable;
  /// The key of a `latest` message; of awareness the client id whose state it is.
  std::string_view key = {};
  /// Empty: none. One that is sent again with its key is seen again: who takes it over tells it by that.
  std::string_view idempotency_key = {};
};

/// What becomes of a publication.
class Verdict {
 public:
  /// It is published as it is.
  [[nodiscard]] static Verdict pass() { return {}; }
  /// This is published in its place. A state is held to Options::awareness_state_bytes, and an empty one takes the
  /// client's state away, as an empty one of a client does.
  [[nodiscard]] static Verdict replace(Payload data) {
    Verdict verdict;
    verdict.replacement_ = std::move(data);
    return verdict;
  }
  /// The client is told this error, and nobody anything.
  [[nodiscard]] static Verdict refuse(Error error) {
    Verdict verdict;
    verdict.refusal_ = std::move(error);
    return verdict;
  }
  /// The program does with it what is to be done: the client is answered as if it was published, without a position.
  [[nodiscard]] static Verdict take() {
    Verdict verdict;
    verdict.is_taken_ = true;
    return verdict;
  }

  [[nodiscard]] bool is_taken() const noexcept { return is_taken_; }
  [[nodiscard]] std::optional<Payload>& replacement() noexcept { return replacement_; }
  [[nodiscard]] std::optional<Error>& refusal() noexcept { return refusal_; }

 private:
  bool is_taken_ = false;
  std::optional<Payload> replacement_;
  std::optional<Error> refusal_;
};

/// Called on the connection's executor. It may use the connection as a handler may, but for `reply`, which does nothing.
using PublishInterceptor = std::function<Verdict(Connection&, const Publication&)>;

}  // namespace MUSTER_ABI
}  // namespace muster
