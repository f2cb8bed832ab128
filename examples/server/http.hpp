// What the server answers to plain HTTP: health, readiness, metrics and the files of a page.
#pragma once

#include <memory>
#include <muster/connection_manager.hpp>
#include <muster/transports/websocketpp.hpp>

#include "static_files.hpp"

namespace muster_server {

/// What a port is for.
enum class Serves { all, page, health };

/// GET (and HEAD) of /healthz, /readyz, /metrics (not Serves::page), and of `files` where there are some (not
/// Serves::health); OPTIONS, to which the first two say the same; 426 at /ws; 405 for other methods, 404 for other paths.
/// Any thread.
[[nodiscard]] muster::websocketpp::HttpHandler http_handler(std::shared_ptr<muster::IConnectionManager> manager,
                                                            std::shared_ptr<const StaticFiles> files, Serves serves);

}  // namespace muster_server
