// The bodies of the core, one mechanism a file.
#pragma once

#include "muster/detail/manager.hpp"
#include "muster/impl/awareness.ipp"
#include "muster/impl/cluster.ipp"
#include "muster/impl/commands.ipp"
#include "muster/impl/connection.ipp"
#include "muster/impl/connection_manager.ipp"
#include "muster/impl/disconnect.ipp"
#include "muster/impl/fan_out.ipp"
#include "muster/impl/inbound.ipp"
#include "muster/impl/loops.ipp"
#include "muster/impl/opening.ipp"
#include "muster/impl/rooms.ipp"
