#!/usr/bin/env bash
# libjwt refuses an access token that says what it is, as RFC 9068 has it say.
#
# Software:  libjwt0 1.10.2-1+deb12u1 (Debian 12), with tokens signed by npm jose 6.2.18.
# Behaviour: jwt_decode accepts a token whose header has no "typ", or "JWT" in any case, and
#            returns EINVAL, as for a bad signature, for every other one. RFC 9068 (2.1) requires
#            "at+jwt" of access tokens, and RFC 7519 (5.1) leaves "typ" to the application, so
#            tokens of an identity provider that follows the profile cannot be read at all: there
#            is no option for it, and nothing tells this apart from a forged token.
# Seen:      0 without typ and for JWT and jwt; 22 (EINVAL) for at+jwt, secevent+jwt and
#            application/jwt; each token with the same key and claims.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent jose@6.2.18
cd "$dir"
apt-get download -qq libjwt0=1.10.2-1+deb12u1 libjansson4=2.14-2
for package in *.deb; do dpkg-deb -x "$package" .; done

cat >sign.mjs <<'JS'
import { SignJWT } from 'jose'

const key = new TextEncoder().encode('0123456789abcdef0123456789abcdef')
for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'secevent+jwt', 'application/jwt']) {
  const header = typ ? { alg: 'HS256', typ } : { alg: 'HS256' }
  console.log(typ ?? '-', await new SignJWT({ sub: 'a' }).setProtectedHeader(header).sign(key))
}
JS
cat >check.py <<'PY'
import ctypes, sys

decode = ctypes.CDLL('libjwt.so.0').jwt_decode
key = b'0123456789abcdef0123456789abcdef'
for typ, token in map(str.split, sys.stdin):
    jwt = ctypes.c_void_p()
    print(typ, decode(ctypes.byref(jwt), token.encode(), key, len(key)))
PY
LD_LIBRARY_PATH=$(echo "$dir"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
node sign.mjs | /usr/bin/python3 check.py | tee seen
diff - seen <<'WANT' && echo "as described"
- 0
JWT 0
jwt 0
at+jwt 22
secevent+jwt 22
application/jwt 22
WANT
