#!/usr/bin/env bash
# Somebody whose awareness state was removed and who sends it again is not seen for a while.
#
# Software:  npm y-protocols 1.0.7 with yjs 13.6.33 and lib0 0.2.120.
# Behaviour: a peer that removes another's state (a server whose connection to it broke, say)
#            forgets the state and keeps its clock. A state counts only with a larger clock, so
#            when the owner comes back and sends what it has, as a provider does on reconnecting,
#            that is dropped: its clock has not moved. It is seen again with its next change or
#            renewal, up to 15 seconds later. The removal that is passed on carries that same
#            clock, and is let in everywhere, since null at an equal clock counts.
# Seen:      after the removal (clock 2, state null) the same update that made the state known
#            does nothing; setLocalState with an equal state makes clock 3, and it is back.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent \
  y-protocols@1.0.7 yjs@13.6.33 lib0@0.2.120
cd "$dir"

cat >check.mjs <<'JS'
import * as Y from 'yjs'
import * as A from 'y-protocols/awareness'
import * as decoding from 'lib0/decoding'

const [owner, server, third] = [0, 0, 0].map(() => new A.Awareness(new Y.Doc()))
const id = owner.clientID
const send = (from, to) => A.applyAwarenessUpdate(to, A.encodeAwarenessUpdate(from, [id]), 'peer')
const show = what => {
  const decoder = decoding.createDecoder(A.encodeAwarenessUpdate(server, [id]))
  decoding.readVarUint(decoder)
  decoding.readVarUint(decoder)
  console.log(what + ': clock', decoding.readVarUint(decoder), decoding.readVarString(decoder),
    third.states.has(id) ? 'and the third sees it' : 'and the third does not')
}

owner.setLocalState({ name: 'a' })
owner.setLocalState({ name: 'a', cursor: 1 })
send(owner, server), send(server, third), show('sent')
A.removeAwarenessStates(server, [id], 'connection lost')
send(server, third), show('removed by the server')
send(owner, server), send(server, third), show('sent again')
owner.setLocalState({ name: 'a', cursor: 1 })
send(owner, server), send(server, third), show('set again and sent')
for (const awareness of [owner, server, third]) awareness.destroy()
JS
node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
sent: clock 2 {"name":"a","cursor":1} and the third sees it
removed by the server: clock 2 null and the third does not
sent again: clock 2 null and the third does not
set again and sent: clock 3 {"name":"a","cursor":1} and the third sees it
WANT
