"""A mail server on this machine: real SMTP, for tests of what is sent and of what goes wrong."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message


class MailServer(socketserver.ThreadingTCPServer):
    """Keeps what it was sent; ``answer`` may say otherwise to a command, or hang up (``None``)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.received: list[tuple[str, Message]] = []
        self.answer: Callable[[str, str], str | None] = lambda command, usual: usual

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        recipient = ""
        if not self.say("", "220 here"):
            return
        while line := self.rfile.readline():
            command = line.decode().strip()
            verb = command[:4].upper()
            if verb == "RCPT":
                recipient = command.partition("<")[2].partition(">")[0]
            usual = {"DATA": "354 go on", "QUIT": "221 bye"}.get(verb, "250 ok")
            if not self.say(command, usual) or verb == "QUIT":
                return
            if verb == "DATA":
                self.receive(recipient)
                if not self.say(".", "250 taken"):
                    return

    def receive(self, recipient: str) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self.server.received.append((recipient, message_from_bytes(b"".join(lines))))

    def say(self, command: str, usual: str) -> bool:
        """Answer ``command``; return whether the conversation goes on."""
        text = self.server.answer(command, usual)
        if text is None:
            return False
        self.wfile.write(f"{text}\r\n".encode())
        return True


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run a mail server while the block runs."""
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
