// What the raw server and the load client need of sockets and files; what fails here ends the program.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace muster::bench {

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "bench: %s: %s\n", what, std::strerror(errno));
  std::exit(EXIT_FAILURE);
}

/// 127.0.0.1, or one of the addresses after it.
inline sockaddr_in loopback(std::uint16_t port, std::uint32_t after = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + after);
  return address;
}

inline void set_option(int descriptor, int level, int name, int value) {
  if (::setsockopt(descriptor, level, name, &value, sizeof value) != 0) fail("setsockopt");
}

/// Closing it tells the peer at once that the connection is gone, and leaves nothing of it with the system.
inline void reset_on_close(int descriptor) {
  const linger at_once{1, 0};
  if (::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0) fail("setsockopt");
}

/// As many descriptors as the process may have.
inline void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
}

}  // namespace muster::bench
