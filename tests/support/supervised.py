"""A supervisor over two tiny services: `python -m tests.support.supervised HOME PORT SECOND`.

The first service serves HTTP and starts a process of its own; the second does as SECOND says.
"""

import sys
from pathlib import Path

from infra.errors import LabError
from infra.home import Home
from infra.service import Service, answers_http
from infra.supervisor import Supervisor

SERVER = """
import subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]])
HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""


def main() -> int:
    home, port, second = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    serve = (sys.executable, "-c", SERVER)
    then = {
        "serves": (*serve, str(port + 1), str(home)),
        "fails": (sys.executable, "-c", "raise SystemExit('no database')"),
        "hangs": (sys.executable, "-c", "import time; time.sleep(600)"),
    }[second]
    services = (
        Service("first", (*serve, str(port), str(home)), port, answers_http),
        Service("second", then, port + 1, answers_http),
    )
    supervisor = Supervisor(
        Home(home), services, say=lambda text: print(text, flush=True), ready_seconds=5
    )
    try:
        supervisor.run()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
