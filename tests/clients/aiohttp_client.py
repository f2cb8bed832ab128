"""aiohttp, of Python. It has no reason of a close to show."""
import asyncio

import aiohttp

from scene import Closed, headers, play, protocols, seen, tell, url


async def main():
    async with aiohttp.ClientSession() as session:
        try:
            socket = await session.ws_connect(url, protocols=protocols, headers=headers, compress=15)
        except aiohttp.WSServerHandshakeError as refused:
            seen["status"] = refused.status
            return
        seen["protocol"] = socket.protocol or ""

        async def receive():
            message = await socket.receive()
            if message.type != aiohttp.WSMsgType.TEXT:
                raise Closed
            return message.data

        async def close(code, reason):
            await (socket.close(code=code, message=reason.encode()) if code else socket.close())

        await play(socket.send_str, receive, close)
        seen["code"] = socket.close_code


asyncio.run(main())
tell()
