// JsonProtocol's bodies: construction here, the two directions in the files beside it.
#pragma once

#include <stdexcept>
#include <utility>

#include "muster/protocols/json_protocol.hpp"
#include "muster/protocols/json_protocol/decode.ipp"
#include "muster/protocols/json_protocol/encode.ipp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE JsonProtocol::JsonProtocol(JsonProtocolOptions options)
    : name_(std::move(options.name)), path_(std::move(options.path)) {
  if (name_.empty()) throw std::invalid_argument("JsonProtocol: name must not be empty");
  if (path_.empty() || path_.front() != '/') throw std::invalid_argument("JsonProtocol: path must begin with '/'");
  for (const std::string& command : options.disabled_commands) {
    const detail::json_protocol::Type type = detail::json_protocol::type_of(command);
    // A typing error here would leave a command on that somebody meant to switch off.
    if (type == detail::json_protocol::Type::custom) {
      throw std::invalid_argument("JsonProtocol: disabled_commands names '" + command + "', which is not built in");
    }
    disabled_ |= detail::json_protocol::bit(type);
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
