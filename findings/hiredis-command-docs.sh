#!/usr/bin/env bash
# Debian's client library of Redis cannot read what Debian's Redis answers to COMMAND DOCS.
#
# Software:  libhiredis0.14 0.14.1-3 with redis-tools 5:7.0.15-1~deb12u10, both of Debian 12.
# Behaviour: hiredis 0.14 reads arrays nested eight deep and no deeper, although its message says
#            7. COMMAND DOCS (new in Redis 7) nests up to twelve deep for commands that have
#            subcommands whose arguments are alternatives, such as CLIENT; flat ones, such as
#            GET, are fine. The error is final: nothing on that connection is answered any
#            more, so asking a server what it can do costs the connection.
# Seen:      "No support for nested multi bulk replies with depth > 7" for COMMAND DOCS client
#            and for COMMAND DOCS, and no answer to the PING that follows on that connection.
set -euo pipefail
dir=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq libhiredis0.14=0.14.1-3 redis-tools=5:7.0.15-1~deb12u10 \
  liblzf1=3.6-3 libjemalloc2=5.3.0-1
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(echo "$dir"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
ln -s redis-check-rdb usr/bin/redis-server
usr/bin/redis-server --port 0 --unixsocket "$dir/socket" --save '' --logfile log &
server=$!
for _ in $(seq 200); do
  usr/bin/redis-cli -s socket ping >/dev/null 2>&1 && break
  sleep 0.05
done

cat >check.py <<'PY'
import ctypes

class Context(ctypes.Structure):  # how redisContext begins
    _fields_ = [('err', ctypes.c_int), ('errstr', ctypes.c_char * 128)]

hiredis = ctypes.CDLL('libhiredis.so.0.14')
hiredis.redisConnectUnix.restype = ctypes.POINTER(Context)
hiredis.redisCommand.restype = ctypes.c_void_p
hiredis.redisCommand.argtypes = [ctypes.POINTER(Context), ctypes.c_char_p]

for command in b'COMMAND DOCS get', b'COMMAND DOCS client', b'COMMAND DOCS':
    connection = hiredis.redisConnectUnix(b'socket')
    answered = hiredis.redisCommand(connection, command)
    print(command.decode() + ':', 'answered' if answered else connection.contents.errstr.decode())
    print('  then PING:', 'answered' if hiredis.redisCommand(connection, b'PING') else 'no answer')
PY
/usr/bin/python3 check.py | tee seen
diff - seen <<'WANT' && echo "as described"
COMMAND DOCS get: answered
  then PING: answered
COMMAND DOCS client: No support for nested multi bulk replies with depth > 7
  then PING: no answer
COMMAND DOCS: No support for nested multi bulk replies with depth > 7
  then PING: no answer
WANT
