// Backoff: how long a client waits before it tries to connect again.
#pragma once

#include <algorithm>
#include <chrono>

/// Exponential, with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): before the
/// n-th attempt in a row a random time up to base * 2^n, at most `cap`. Drawn from the whole span, so that thousands
/// that lost one server do not come back in waves. One for each connection; it has no clock and starts no timer.
class Backoff {
 public:
  using Time = std::chrono::milliseconds;

  explicit Backoff(Time base = std::chrono::milliseconds(500), Time cap = std::chrono::seconds(30))
      : base_(base), cap_(cap), span_(std::min(base, cap)) {}

  /// The wait before the next attempt. `random`: from 0 to below 1. `not_before`: the time the server asked for
  /// (Retry-After, `draining`, `retry_after_ms`), which the draw is added to, for the same reason.
  [[nodiscard]] Time next(double random, Time not_before = Time(0)) {
    const auto drawn = Time(static_cast<Time::rep>(static_cast<double>(span_.count()) * random));
    span_ = std::min(cap_, span_ * 2);
    return not_before + drawn;
  }
  /// A connection that lasted: the next loss starts from `base` again.
  void reset() { span_ = std::min(base_, cap_); }

 private:
  Time base_;
  Time cap_;
  Time span_;
};
