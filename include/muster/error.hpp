// Errors of commands and calls: a code, a sentence that says what was wrong and what to do, and when to try again.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "muster/config.hpp"

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

  [[nodiscard]] std::error_code error_code() const noexcept { return make_error_code(code); }
};

/// A value, or the error that stands in its place.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}
  [[nodiscard]] explicit operator bool() const noexcept { return held_.index() == 0; }
  /// Only when it holds a value.
  [[nodiscard]] const T& value() const { return std::get<0>(held_); }
  [[nodiscard]] T& value() { return std::get<0>(held_); }
  /// Only when it holds an error.
  [[nodiscard]] const Error& error() const { return std::get<1>(held_); }

 private:
  std::variant<T, Error> held_;
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
