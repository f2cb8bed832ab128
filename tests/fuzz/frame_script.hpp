// A peer's frames as bytes say them: well-formed, lying, large, or whatever; and some to begin with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/fuzz.hpp"
#include "websocketpp/raw_client.hpp"

namespace muster::fuzz {

/// 0 to 15, then in steps of a sixteenth up to half a megabyte.
inline std::size_t size_of(unsigned choice) {
  return choice < 16 ? choice : static_cast<std::size_t>(16 + (choice & 15U)) << ((choice >> 4U) - 1);
}

/// A frame whose header says what `choices` says about its length: the truth, or any number, in any of the three forms.
inline std::string lying_frame(unsigned first, std::string_view payload, Choices& choices) {
  const unsigned how = choices.byte();
  std::string frame{static_cast<char>(first)};
  const int digits = how % 4 == 0 ? 0 : how % 4 == 1 ? 2 : 8;
  const std::uint64_t length = (how & 4U) != 0 ? choices.number(8) : payload.size();
  const unsigned masked = (how & 8U) != 0 ? 0 : 0x80U;
  frame.push_back(static_cast<char>(masked | (digits == 0   ? static_cast<unsigned>(length % 126)
                                              : digits == 2 ? 126U
                                                            : 127U)));
  for (int shift = 8 * (digits - 1); shift >= 0; shift -= 8)
    frame.push_back(static_cast<char>((length >> shift) & 0xffU));
  if (masked != 0) frame.append(4, '\0');
  return frame.append(payload);
}

/// One piece of what a peer sends.
inline std::string next_frame(Choices& choices) {
  const unsigned what = choices.below(8);
  const unsigned first = choices.byte();
  switch (what) {
    case 0:
      return std::string(choices.some());
    case 1:
      return lying_frame(first, choices.some(), choices);
    case 2: {
      const std::size_t size = size_of(choices.below(220));
      return test::masked_frame(static_cast<std::uint8_t>(first), std::string(size, static_cast<char>(choices.byte())));
    }
    case 3: {
      const auto code = static_cast<std::uint16_t>(choices.number(2));
      return test::close_frame(code, choices.some());
    }
    default:
      return test::masked_frame(static_cast<std::uint8_t>(first), choices.some(), 0x01020408U * first);
  }
}

/// All of it.
inline std::string frames_from(Choices& choices) {
  std::string stream;
  while (!choices.done() && stream.size() < 256 * 1024) stream += next_frame(choices);
  return stream;
}

[[nodiscard]] inline std::vector<std::string> frame_seeds() {
  const auto begin = [](unsigned choice) { return std::string{static_cast<char>(choice), '\1', '\7', '\xa0'}; };
  const auto frame = [](unsigned first, std::string_view payload) {
    std::string act{'\4', static_cast<char>(first), static_cast<char>(payload.size())};
    return act.append(payload);
  };
  const auto large = [](unsigned first, unsigned size) {
    return std::string{'\2', static_cast<char>(first), static_cast<char>(size), 'a'};
  };
  const auto lying = [](unsigned first, unsigned how, std::string_view length) {
    std::string act{'\1', static_cast<char>(first), '\3', 'a', 'b', 'c', static_cast<char>(how)};
    return act.append(length);
  };
  const std::string close("\3\x88\3\xe8\3bye", 7);
  std::vector<std::string> seeds;
  for (unsigned choice : {0U, 1U, 2U, 3U, 4U, 5U}) {
    seeds.push_back(begin(choice) + frame(0x81, "{}") + frame(0x01, "a\xc3") + frame(0x89, "p") + frame(0x80, "\xa9") +
                    close);
    seeds.push_back(begin(choice) + large(0x02, 60) + large(0x00, 70) + large(0x80, 90) + frame(0x8a, "") +
                    large(0x81, 0xb0));
    seeds.push_back(begin(choice) + frame(0xc1, "\xaa\x02") + frame(0x41, "\xf2") + frame(0x80, "\x48") +
                    large(0xc2, 0xb1));
    seeds.push_back(begin(choice) + lying(0x81, 1, "") + lying(0x82, 2, ""));
    seeds.push_back(begin(choice) + frame(0x01, "ab") + lying(0x80, 6, std::string_view("\0\0\0\0\0\1\0\0", 8)) +
                    frame(0x80, "cd"));
    // We close after some bytes; the peer goes on, and then closes.
    seeds.push_back(begin(choice | 8U) + std::string("\0\x09", 2) + frame(0x81, "{\"a\":1}") + large(0x82, 120) +
                    frame(0xf3, "?") + close);
  }
  return seeds;
}

}  // namespace muster::fuzz
