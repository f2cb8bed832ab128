"""QWebSocket of Qt 5, which takes subprotocols as a header only and shows neither the one chosen nor an HTTP status."""
from PyQt5.QtCore import QCoreApplication, QUrl
from PyQt5.QtNetwork import QNetworkRequest
from PyQt5.QtWebSockets import QWebSocket

from scene import headers, protocols, seen, steps, tell, url

application = QCoreApplication([])
socket = QWebSocket()
at = 0
opened = False


def go():
    global at
    while at < len(steps):
        verb, text = steps[at]
        if verb == "send":
            socket.sendTextMessage(text)
        elif verb == "await" and not any(text in message for message in seen["messages"]):
            return
        elif verb == "closed":
            return
        elif verb == "close":
            code, _, reason = text.partition(" ")
            socket.close(int(code), reason) if code else socket.close()
        at += 1


def connected():
    global opened
    opened = True
    go()


def received(message):
    seen["messages"].append(message)
    go()


def disconnected():
    if opened:
        seen["code"], seen["reason"] = socket.closeCode(), socket.closeReason()
    application.quit()


socket.connected.connect(connected)
socket.textMessageReceived.connect(received)
socket.disconnected.connect(disconnected)
request = QNetworkRequest(QUrl(url))
for name, value in headers.items():
    request.setRawHeader(name.encode(), value.encode())
if protocols:
    request.setRawHeader(b"Sec-WebSocket-Protocol", ", ".join(protocols).encode())
socket.open(request)
application.exec()
tell()
