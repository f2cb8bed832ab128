"""websockets, of Python."""
import asyncio

import websockets

from scene import Closed, headers, play, protocols, seen, tell, url


async def main():
    try:
        socket = await websockets.connect(url, subprotocols=protocols or None, extra_headers=headers)
    except websockets.InvalidStatusCode as refused:
        seen["status"] = refused.status_code
        return
    seen["protocol"] = socket.subprotocol or ""

    async def receive():
        try:
            return await socket.recv()
        except websockets.ConnectionClosed as closed:
            raise Closed from closed

    async def close(code, reason):
        await (socket.close(code, reason) if code else socket.close())

    await play(socket.send, receive, close)
    await socket.wait_closed()
    seen["code"], seen["reason"] = socket.close_code, socket.close_reason


asyncio.run(main())
tell()
