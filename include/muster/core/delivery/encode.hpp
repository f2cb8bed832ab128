// Events and entries, as bytes of a format. On the loop.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "muster/core/loop/loop.hpp"
#include "muster/core/room/history.hpp"
#include "muster/protocol.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Appends the event's frame, if the protocol tells it.
void encode_event(Loop& loop, const Format& format, const Event& event, const Correlation* correlation,
                  std::string& bytes);
/// Appends the frames of a room's message or notice.
void encode_entry(Loop& loop, const Format& format, std::string_view room, std::uint64_t epoch, const Entry& entry,
                  std::string& bytes);

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
