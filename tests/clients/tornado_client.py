"""Tornado, of Python."""
import asyncio

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from scene import Closed, asked, headers, play, protocols, seen, tell, url


async def main():
    try:
        socket = await websocket_connect(HTTPRequest(url, headers=headers), subprotocols=protocols,
                                         compression_options={} if "compress" in asked else None)
    except HTTPClientError as refused:
        seen["status"] = refused.code
        return
    seen["protocol"] = socket.selected_subprotocol or ""

    async def receive():
        message = await socket.read_message()
        if message is None:
            raise Closed
        return message

    async def send(text):
        try:
            await socket.write_message(text)
        except WebSocketClosedError as closed:
            raise Closed from closed

    async def close(code, reason):
        socket.close(code, reason or None)
        while await socket.read_message() is not None:
            pass

    await play(send, receive, close)
    seen["code"], seen["reason"] = socket.close_code or 1005, socket.close_reason or ""


asyncio.run(main())
tell()
