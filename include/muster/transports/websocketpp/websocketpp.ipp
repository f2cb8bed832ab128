// The bodies of the websocketpp transport.
#pragma once

#include "muster/transports/websocketpp.hpp"
#include "muster/transports/websocketpp/executor.ipp"
#include "muster/transports/websocketpp/http.ipp"
#include "muster/transports/websocketpp/request.ipp"
#include "muster/transports/websocketpp/server.ipp"
