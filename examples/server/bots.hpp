// Bots: users inside the process that move about a canvas, so that a demo has company.
#pragma once

#include <cstddef>
#include <memory>
#include <muster/connection_manager.hpp>
#include <muster/executor.hpp>
#include <muster/observer.hpp>
#include <string>

namespace muster_server {

/// Connects `count` bots to the manager, as an adapter does for its peers but without a socket, and lets each send its
/// pointer's place to `room` about 15 times a second, in the format of examples/canvas/README.md.
///
/// They go as everyone else does: closed by the manager, at the latest by its shutdown; the executor must run until
/// then, and may stop after it. Any thread; everything else happens on the executor.
void start_bots(const std::shared_ptr<muster::IConnectionManager>& manager,
                const std::shared_ptr<muster::Executor>& executor, const std::shared_ptr<muster::Observer>& log,
                const std::string& room, std::size_t count);

}  // namespace muster_server
