// muster: connections, users, rooms, awareness, sessions and delivery for any C++ server.
//
//   your program ── IConnectionManager, Room, AwarenessStore ──┐
//                                                              │
//   adapters     transports/  protocols/  auth/                │   each includes the seams and one library
//   core         connections, rooms, fan-out, awareness        │   no sockets, no threads, no clock of its own
//   seams        Transport WireFormat Executor Protocol Authenticator Authorizer Broker SessionStore RoomLog Observer
//   vocabulary   types error close_reason options message
//
//   auto manager = muster::make_connection_manager(
//       options, std::make_shared<muster::AllowAnonymous>(), std::make_shared<muster::AllowAll>(),
//       {{std::make_shared<muster::JsonProtocol>()}});
//   manager->on("move", [](muster::Connection& player, const muster::Payload& move) {
//     player.publish("game:7", move);  // everyone in the room but the player
//   });
//   muster::websocketpp::Server server(manager, {});
//   server.run();
//
// An adapter is included by its own header: muster/protocols/json_protocol.hpp, muster/transports/websocketpp.hpp, ...
#pragma once

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/awareness_store.hpp"
#include "muster/broker.hpp"
#include "muster/close_reason.hpp"
#include "muster/config.hpp"
#include "muster/connection.hpp"
#include "muster/connection_manager.hpp"
#include "muster/error.hpp"
#include "muster/executor.hpp"
#include "muster/function.hpp"
#include "muster/message.hpp"
#include "muster/observer.hpp"
#include "muster/options.hpp"
#include "muster/protocol.hpp"
#include "muster/reply.hpp"
#include "muster/room.hpp"
#include "muster/room_log.hpp"
#include "muster/session_store.hpp"
#include "muster/span.hpp"
#include "muster/transport.hpp"
#include "muster/transport_sink.hpp"
#include "muster/types.hpp"
#include "muster/wire_format.hpp"
