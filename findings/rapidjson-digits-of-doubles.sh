#!/usr/bin/env bash
# RapidJSON reads 0.30000000000000004 and writes 0.30000000000000007.
#
# Software:  rapidjson-dev 1.1.0+dfsg2-7.1 (Debian 12); Node's JSON beside it.
# Behaviour: both texts mean the same double, and nothing is lost: whatever Writer prints reads
#            back as what it was. But its Grisu2 does not look for the nearest of equally short
#            texts, and where seventeen digits are needed the last one nearly always differs from
#            that of JavaScript, Python and printf: for about every fourth double between 0 and 1.
#            The sum 0.1 + 0.2 is such a one. So a document that only passed through differs from
#            what came in, and texts, hashes or signatures of JSON made by RapidJSON and by a
#            browser from equal numbers are not equal.
# Seen:      0.1 + 0.2 and its text both come out as 0.30000000000000007, also when read with
#            kParseFullPrecisionFlag; JSON.parse makes the same double of both texts, and
#            JSON.stringify writes ...04.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq rapidjson-dev=1.1.0+dfsg2-7.1
dpkg-deb -x rapidjson-dev_*.deb .

cat >check.cpp <<'CPP'
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <iostream>

int main()
{
    using namespace rapidjson;
    Document document;
    document.Parse<kParseFullPrecisionFlag>("[0.30000000000000004, 0.1, 1.1, 0.7]");
    document.PushBack(0.1 + 0.2, document.GetAllocator());
    StringBuffer text;
    Writer<StringBuffer> writer(text);
    document.Accept(writer);
    std::cout << text.GetString() << '\n';
}
CPP
g++ -std=c++17 -isystem usr/include check.cpp -o check
{
  ./check
  ./check | node -e 'console.log(JSON.stringify(JSON.parse(require("fs").readFileSync(0))))'
} | tee seen
diff - seen <<'WANT' && echo "as described"
[0.30000000000000007,0.1,1.1,0.7,0.30000000000000007]
[0.30000000000000004,0.1,1.1,0.7,0.30000000000000004]
WANT
