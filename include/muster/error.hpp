// Errors of commands and calls: a code, a sentence that says what was wrong and what to do, and when to try again.
#pragma once

#include <chrono>
#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "muster/config.hpp"
#include "muster/message.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// The error codes; `to_string` gives the name each has on the wire.
enum class errc {
  auth_required = 1,
  auth_failed,
  permission_denied,
  invalid_message,
  unknown_message,
  invalid_room,
  not_in_room,
  not_found,
  room_full,
  too_many_rooms,
  too_many,
  too_large,
  rate_limited,
  not_owner,
  resume_failed,
  not_supported,
  unavailable,
  internal
};

[[nodiscard]] constexpr std::string_view to_string(errc code) noexcept {
  constexpr std::string_view names[] = {"",
                                        "auth_required",
                                        "auth_failed",
                                        "permission_denied",
                                        "invalid_message",
                                        "unknown_message",
                                        "invalid_room",
                                        "not_in_room",
                                        "not_found",
                                        "room_full",
                                        "too_many_rooms",
                                        "too_many",
                                        "too_large",
                                        "rate_limited",
                                        "not_owner",
                                        "resume_failed",
                                        "not_supported",
                                        "unavailable",
                                        "internal"};
  return names[static_cast<int>(code)];
}

/// What callers test for instead of single codes: `if (error.code == condition::limit) ...`.
enum class condition {
  refused = 1,     ///< auth_required, auth_failed, permission_denied, not_owner: who you are does not allow it
  invalid,         ///< invalid_message, unknown_message, invalid_room, not_in_room, not_found: the request is wrong
  limit,           ///< room_full, too_many_rooms, too_many, too_large, rate_limited: a bound was reached
  try_again_later  ///< rate_limited, unavailable, internal: the same request may succeed later
};

namespace detail {
class ErrorCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "muster"; }
  [[nodiscard]] std::string message(int value) const override {
    return std::string(to_string(static_cast<errc>(value)));
  }
  [[nodiscard]] bool equivalent(int value, const std::error_condition& wanted) const noexcept override;
};
class ConditionCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "muster.condition"; }
  [[nodiscard]] std::string message(int value) const override {
    constexpr const char* names[] = {"", "refused", "invalid", "limit", "try again later"};
    return names[value];
  }
};
}  // namespace detail

[[nodiscard]] inline const std::error_category& error_category() noexcept {
  static const detail::ErrorCategory category;
  return category;
}
[[nodiscard]] inline const std::error_category& condition_category() noexcept {
  static const detail::ConditionCategory category;
  return category;
}
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}
[[nodiscard]] inline std::error_condition make_error_condition(condition value) noexcept {
  return {static_cast<int>(value), condition_category()};
}

inline bool detail::ErrorCategory::equivalent(int value, const std::error_condition& wanted) const noexcept {
  if (wanted.category() != condition_category()) return default_error_condition(value) == wanted;
  const auto is = [code = static_cast<errc>(value)](auto... codes) { return ((code == codes) || ...); };
  switch (static_cast<condition>(wanted.value())) {
    case condition::refused:
      return is(errc::auth_required, errc::auth_failed, errc::permission_denied, errc::not_owner);
    case condition::invalid:
      return is(errc::invalid_message, errc::unknown_message, errc::invalid_room, errc::not_in_room, errc::not_found);
    case condition::limit:
      return is(errc::room_full, errc::too_many_rooms, errc::too_many, errc::too_large, errc::rate_limited);
    case condition::try_again_later:
      return is(errc::rate_limited, errc::unavailable, errc::internal);
  }
  return false;
}

/// One error, as a client or caller gets it.
struct Error {
  errc code = errc::internal;
  /// What was wrong, with which member, and what to do; for people.
  std::string message;
  /// When a new try makes sense; 0: unknown.
  std::chrono::milliseconds retry_after{0};
  /// The program's own code, which clients get in place of that of `code`; empty: none.
  std::string name = {};
  /// What else a program has to say to its clients; empty: nothing.
  Payload details = {};

  [[nodiscard]] std::error_code error_code() const noexcept { return make_error_code(code); }
};

namespace detail {
[[noreturn]] inline void throw_not_held() { throw std::logic_error("A Result was asked for what it does not hold"); }
/// What nobody has.
class Nothing {
  Nothing();
};
}  // namespace detail

/// A value, or the error that stands in its place. Can be copied if the value can.
template <class T>
class [[nodiscard]] Result {
  // A std::variant says the same in a few lines, for which a compiler writes a hundred and fifty functions for each T.
  using Copied = std::conditional_t<std::is_copy_constructible_v<T>, Result, detail::Nothing>;
  static constexpr bool moves_safely = std::is_nothrow_move_constructible_v<T>;

 public:
  Result(T value) { hold(std::move(value)); }
  Result(Error error) noexcept { hold(std::move(error)); }
  Result(Result&& other) noexcept(moves_safely) { take(other); }
  Result(const Copied& other) {
    if (other.holds_ == Holds::value) hold(T(other.value_));
    if (other.holds_ == Holds::error) hold(Error(other.error_));
  }
  Result& operator=(Result&& other) noexcept(moves_safely) {
    if (this == &other) return *this;
    let_go();
    take(other);
    return *this;
  }
  Result& operator=(const Copied& other) { return *this = Result(other); }
  ~Result() { let_go(); }

  [[nodiscard]] explicit operator bool() const noexcept { return holds_ == Holds::value; }
  /// Only when it holds a value.
  [[nodiscard]] const T& value() const {
    if (holds_ != Holds::value) detail::throw_not_held();
    return value_;
  }
  [[nodiscard]] T& value() {
    if (holds_ != Holds::value) detail::throw_not_held();
    return value_;
  }
  /// Only when it holds an error.
  [[nodiscard]] const Error& error() const {
    if (holds_ != Holds::error) detail::throw_not_held();
    return error_;
  }

 private:
  /// Nothing: a move of a value that threw left it so.
  enum class Holds : std::uint8_t { nothing, value, error };

  void hold(T&& value) noexcept(moves_safely) {
    ::new (static_cast<void*>(&value_)) T(std::move(value));
    holds_ = Holds::value;
  }
  void hold(Error&& error) noexcept {
    ::new (static_cast<void*>(&error_)) Error(std::move(error));
    holds_ = Holds::error;
  }
  void take(Result& other) noexcept(moves_safely) {
    if (other.holds_ == Holds::value) hold(std::move(other.value_));
    if (other.holds_ == Holds::error) hold(std::move(other.error_));
  }
  void let_go() noexcept {
    if (holds_ == Holds::value) value_.~T();
    if (holds_ == Holds::error) error_.~Error();
    holds_ = Holds::nothing;
  }

  union {
    T value_;
    Error error_;
  };
  Holds holds_ = Holds::nothing;
};

/// Done, or the error that stands in its place: of what has no value to answer.
template <>
class [[nodiscard]] Result<void> {
 public:
  /// Done.
  Result() noexcept = default;
  Result(Error error) : error_(std::move(error)) {}
  [[nodiscard]] explicit operator bool() const noexcept { return !error_; }
  /// Only when it holds an error.
  [[nodiscard]] const Error& error() const { return error_.value(); }

 private:
  std::optional<Error> error_;
};

}  // namespace MUSTER_ABI
}  // namespace muster

template <>
struct std::is_error_code_enum<muster::errc> : std::true_type {};
template <>
struct std::is_error_condition_enum<muster::condition> : std::true_type {};
