#!/usr/bin/env bash
# Boost.Asio and standalone Asio cannot be included in one C++ file, whichever comes first.
#
# Software:  Debian 12's libboost1.74-dev 1.74.0+ds1-21 and libasio-dev 1:1.22.1-1, with g++ 12.
# Behaviour: the one is boost::asio and the other asio, and each can be used in a program that
#            has the other in another file. In one file they meet all the same: both define their
#            customisation points in global namespaces of one name, asio_execution_execute_fn and
#            its sisters, as they were made from one source. So a server on Boost.Beast cannot
#            include a header that includes Asio, and the other way round.
# Seen:      each alone compiles; together, in either order, g++ refuses the second with
#            "redefinition" of what is in asio_execution_execute_fn.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq libboost1.74-dev=1.74.0+ds1-21 libasio-dev=1:1.22.1-1 >/dev/null
for package in ./*.deb; do dpkg -x "$package" .; done

tries() {
  local name=$1 header
  shift
  for header in "$@"; do echo "#include <$header>"; done >"$name.cpp"
  echo 'int main() {}' >>"$name.cpp"
  if g++ -std=c++17 -fsyntax-only -DASIO_STANDALONE -isystem usr/include "$name.cpp" 2>"$name.log"; then
    echo "$name: compiles"
  else
    grep -qE "redefinition of .*asio_execution_execute_fn" "$name.log" && echo "$name: redefinition"
  fi
}
{
  tries Boost.Asio boost/asio/io_context.hpp
  tries Asio asio/io_context.hpp
  tries Boost.Asio-first boost/asio/io_context.hpp asio/io_context.hpp
  tries Asio-first asio/io_context.hpp boost/asio/io_context.hpp
} | tee seen
diff - seen <<'WANT' && echo "as described"
Boost.Asio: compiles
Asio: compiles
Boost.Asio-first: redefinition
Asio-first: redefinition
WANT
