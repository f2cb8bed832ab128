// What the load client is asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace muster::bench {

/// Each is a flag: load_options.cpp says what it means.
struct LoadOptions {
  std::uint16_t port = 0;
  int server_process = 0;

  // In the path, headers, hello and publish template, %i is the connection's number and %r that of its room; in the last
  // %n is the number of the message, from 1.
  std::string path = "/";
  std::vector<std::string> headers;
  std::string hello;
  std::string publish = "%d";
  std::string ready = "room_joined";
  bool tls = false;
  bool deflate = false;

  std::size_t subscribers = 1000;
  std::size_t publishers = 1;
  std::size_t rooms = 1;
  std::size_t connecting = 16;
  std::size_t stuck = 0;
  double line = 0;
  std::vector<std::size_t> memory_at;

  std::size_t size = 128;
  double seconds = 2;
  std::uint64_t messages = 0;
  std::uint64_t window = 1;
  double rate = 0;
  double burst_seconds = 0;
  bool conflated = false;
  double last_seconds = 0;
  double hold_seconds = 0;
  std::string storm;
  double storm_share = 0.5;
  double watch_seconds = 0;
  bool json = false;
  bool spin = false;
  double deadline_seconds = 10;

  [[nodiscard]] std::size_t connections() const { return subscribers + publishers; }
};

/// Ends the program where the command line asks for help or is wrong.
[[nodiscard]] LoadOptions read_load_options(int argc, char** argv);

}  // namespace muster::bench
