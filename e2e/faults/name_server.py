"""A name server for tests with one name, whose addresses can be changed at any time."""

from __future__ import annotations

import socket
import struct
import threading

# RFC 1035, 4.1.1 and 3.2.2.
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3
A = 1
# Below the interval in which the gateway looks names up.
TIME_TO_LIVE_SECONDS = 1


class NameServer:
    """Answers on UDP port 53 of an address of the loopback; a context."""

    def __init__(self, host: str, name: str):
        self.host = host
        self._name = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
        # The IPv4 addresses it has, an empty list where it has none.
        self.addresses: list[str] = []
        self.code = NO_ERROR
        # It receives and does not answer.
        self.silent = False
        self.queries = 0

    def __enter__(self) -> NameServer:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 53))
        # So that it notices the end.
        self._socket.settimeout(0.1)
        self._ending = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ending = True
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while not self._ending:
            try:
                question, client = self._socket.recvfrom(4096)
            except (TimeoutError, socket.timeout):
                continue
            self.queries += 1
            if not self.silent:
                self._socket.sendto(self._answer(question), client)

    def _answer(self, message: bytes) -> bytes:
        identity, flags = struct.unpack("!HH", message[:4])
        end = message.index(b"\0", 12) + 1
        name, (kind, _) = message[12:end], struct.unpack("!HH", message[end : end + 4])
        known = name.lower() == self._name
        code = self.code if known else NO_SUCH_NAME
        addresses = self.addresses if known and code == NO_ERROR and kind == A else []
        head = struct.pack("!HHHHHH", identity, 0x8480 | (flags & 0x0100) | code, 1, len(addresses), 0, 0)
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, A, 1, TIME_TO_LIVE_SECONDS, 4) + socket.inet_aton(address)
            for address in addresses
        )
        return head + message[12 : end + 4] + records
