"""A server of files on this machine that does what servers of files do."""

import http.server
import threading


class Server:
    """Serve files on this machine, each answer as the next entry of ``behaviour`` says.

    ``cut`` closes the connection after so many bytes; ``hang up`` closes it before any; ``ignore``
    sends all whatever was asked for; ``shifted`` sends another piece than asked for; ``packed``
    says that gzip is the coding of the way; a number is a status; bytes are sent instead.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.behaviour: list = []
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/data/"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request) -> None:
        name = request.path.rsplit("/", 1)[1]
        wanted = request.headers.get("Range")
        self.asked.append((name.removesuffix(".gz"), wanted))
        how = self.behaviour.pop(0) if self.behaviour else "whole"
        kind, *most = how if isinstance(how, tuple) else (how,)
        request.close_connection = True
        if kind == "hang up":
            return
        if isinstance(kind, int):
            request.send_response(kind)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        content = kind if isinstance(kind, bytes) else self.files[name]
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and kind != "ignore" else 0
        if wanted and start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = start // 2 if kind == "shifted" else start
        request.send_response(206 if wanted and kind != "ignore" else 200)
        if wanted and kind != "ignore":
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if kind == "packed":
            request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        body = content[start:]
        request.wfile.write(body[: most[0]] if kind == "cut" else body)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
