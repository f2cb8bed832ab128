#!/usr/bin/env bash
# RapidJSON asked for numbers as strings still refuses those a double cannot hold.
#
# Software:  rapidjson-dev 1.1.0+dfsg2-7.1 (Debian 12).
# Behaviour: kParseNumbersAsStringsFlag hands on the digits as written, and is what one takes to
#            carry numbers of any size through unharmed. The value is computed all the same, and
#            one beyond a double is kParseErrorNumberTooBig (13) at the number's start, as without
#            the flag, whether spelled with an exponent or in 310 digits; both are valid JSON.
#            The other end passes: 1e-400, which a double cannot hold either, is kept as written.
# Seen:      1e308 and 1e-400 kept; 1e309, -1e309 and 1 with 309 zeros refused.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq rapidjson-dev=1.1.0+dfsg2-7.1
dpkg-deb -x rapidjson-dev_*.deb .

cat >check.cpp <<'CPP'
#include <rapidjson/document.h>

#include <iostream>
#include <string>

int main()
{
    using namespace rapidjson;
    for (const std::string text :
         {std::string("1e308"), std::string("1e-400"), std::string("1e309"), std::string("-1e309"),
          '1' + std::string(309, '0')}) {
        Document document;
        document.Parse<kParseNumbersAsStringsFlag>(text.c_str());
        std::cout << text.substr(0, 6) << (text.size() > 6 ? "... " : " ");
        if (document.HasParseError())
            std::cout << "error " << document.GetParseError() << " at "
                      << document.GetErrorOffset() << '\n';
        else
            std::cout << (document.GetString() == text ? "kept\n" : "changed\n");
    }
}
CPP
g++ -std=c++17 -isystem usr/include check.cpp -o check
./check | tee seen
diff - seen <<'WANT' && echo "as described"
1e308 kept
1e-400 kept
1e309 error 13 at 0
-1e309 error 13 at 0
100000... error 13 at 0
WANT
