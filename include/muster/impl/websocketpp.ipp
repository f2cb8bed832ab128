// The bodies of the websocketpp transport.
#pragma once

#include "muster/transports/websocketpp.hpp"

#include "muster/impl/websocketpp/executor.ipp"

#include "muster/impl/websocketpp/request.ipp"

#include "muster/impl/websocketpp/server.ipp"
