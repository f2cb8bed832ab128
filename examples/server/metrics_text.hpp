// Metrics as Prometheus reads them.
#pragma once

#include <muster/observer.hpp>
#include <string>

namespace muster_server {

/// The text exposition format, version 0.0.4: HELP and TYPE of each metric, and each field of `metrics` as one of
/// them. `ready` is what IConnectionManager::is_ready says.
[[nodiscard]] std::string metrics_text(const muster::Metrics& metrics, bool ready);

inline constexpr const char* metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace muster_server
