# SPDX-License-Identifier: Apache-2.0
"""Runs the proxy of a source tree and records the Python calls of its main thread: started by `bench.way`.

`python traced.py CONTROL_PORT`, in the folder of the tree, with the settings in the environment. The control port takes
the words `start` and `stop`, a line each; `stop` answers with what was recorded since, as a line of JSON: for each call
the file and the name of what was called, and the file of its caller. A coroutine or generator that goes on is a call
like any other. This module imports nothing of the bench, so that the tree's own modules are the only ones.
"""

import json
import os
import runpy
import socket
import sys
import threading
from types import FrameType
from typing import Any

Call = tuple[str, str, str]

TICKING = {
    "Server.serve": "uvicorn",
    "Server._serve": "uvicorn",
    "Server.main_loop": "uvicorn",
    "Deadlines._tick": "deadlines",
}
"""What runs many times a second, whether there are requests or not, by name and a part of the file's. It is left out
with all that it calls."""


class Recorder:
    """A profile function that records while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.calls: list[Call] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """What the interpreter reports."""
        if not self.on or event != "call":
            return
        if _ticks(frame):
            return
        code, caller = frame.f_code, frame.f_back
        self.calls.append((code.co_filename, code.co_qualname, caller.f_code.co_filename if caller else ""))

    def obey(self, control: socket.socket) -> None:
        """Answers one connection."""
        connection, _ = control.accept()
        with connection, connection.makefile("rw") as lines:
            for word in lines:
                self.on = word.strip() == "start"
                calls, self.calls = self.calls, []
                lines.write(json.dumps([] if self.on else calls) + "\n")
                lines.flush()


def _ticks(frame: FrameType | None) -> bool:
    while frame is not None:
        if TICKING.get(frame.f_code.co_qualname, "\n") in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def main() -> None:
    """Serves as the command line does."""
    recorder = Recorder()
    control = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    threading.Thread(target=recorder.obey, args=(control,), daemon=True).start()
    sys.path[0] = os.getcwd()
    sys.argv = ["shape-proxy", "serve"]
    sys.setprofile(recorder)
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
