"""What the Python clients share: the script on standard input, and the line they print."""
import json
import sys

url = sys.argv[1]
steps = [line.split(" ", 1) + [""] for line in sys.stdin.read().splitlines() if line]
steps = [(step[0], step[1]) for step in steps]
asked = dict(reversed(steps))  # the first of each verb
protocols = asked["offer"].split(",") if "offer" in asked else []
headers = {"Authorization": "Bearer " + asked["bearer"]} if "bearer" in asked else {}
seen = {"protocol": "", "code": 0, "reason": "", "status": 0, "messages": []}


class Closed(Exception):
    """The connection ended; `seen` has how."""


async def play(send, receive, close):
    """`receive` returns the next message, or raises Closed. `close` waits for the end."""
    try:
        for verb, text in steps:
            if verb == "send":
                await send(text)
            elif verb == "await":
                while not any(text in message for message in seen["messages"]):
                    seen["messages"].append(await receive())
            elif verb == "closed":
                while True:
                    seen["messages"].append(await receive())
            elif verb == "close":
                code, _, reason = text.partition(" ")
                await close(int(code) if code else None, reason)
    except Closed:
        pass


def tell():
    print(json.dumps(seen))
