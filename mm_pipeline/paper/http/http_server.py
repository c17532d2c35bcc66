"""HTTP/1.1 on a socket: keep-alive, one write per answer, and the bad ways of sending that faults ask for."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mm_pipeline.paper.http.wire import Answer

Respond = Callable[[str, str, dict[str, str], bytes], Answer]
"""(method, target, headers in lower case, body) -> the answer to send."""

_logger = logging.getLogger(__name__)
_POLL_S = 0.02
_ABORT_ON_CLOSE = struct.pack("ii", 1, 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # headers and body leave in one segment: no wait for a delayed acknowledgement
    disable_nagle_algorithm = True
    server: HttpServer

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.respond(self.command, self.path, headers, body))

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that BaseHTTPRequestHandler calls

    def _send(self, answer: Answer) -> None:
        if answer.delay_s and self.server.is_stopping.wait(answer.delay_s):
            answer = Answer(hang_up=True)
        if answer.hang_up:
            self._hang_up(is_reset=answer.is_reset)
            return
        body = answer.body()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if answer.drip is None:
            self.wfile.write(body)
            return
        for start in range(0, len(body), answer.drip.chunk_bytes):
            self.wfile.write(body[start : start + answer.drip.chunk_bytes])
            self.wfile.flush()
            if self.server.is_stopping.wait(answer.drip.pause_s):
                self._hang_up(is_reset=False)
                return

    def _hang_up(self, *, is_reset: bool) -> None:
        self.close_connection = True
        if is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_ON_CLOSE)
            self.server.forget(self.connection)
            socket.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        _logger.debug(format, *args)


class HttpServer(ThreadingHTTPServer):
    """Serves ``respond`` from a thread. :meth:`stop` also ends the kept-alive connections, as a dead host does."""

    daemon_threads = True

    def __init__(self, host: str, port: int, respond: Respond) -> None:
        self.respond = respond
        self.is_stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="paper-exchange", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, end every connection and free the port."""
        self.is_stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def forget(self, connection: socket.socket) -> None:
        """No longer end this connection on :meth:`stop`."""
        with self._lock:
            self._connections.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.forget(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the server; anything else is logged with its trace."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            _logger.exception("paper exchange failed to answer %s", client_address)
