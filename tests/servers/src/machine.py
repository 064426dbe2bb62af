"""What the first process of a machine is to Patroni: takes in those that lost their parent, and takes all along when it
goes (SIGTERM): without a word to anybody, as a machine does that loses its power."""

import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def end(*_):
    try:
        while True:
            with open(f"/proc/self/task/{os.getpid()}/children") as children:
                for child in children.read().split():
                    os.kill(int(child), signal.SIGKILL)
            # Whoever ends leaves its own to us before that is told.
            os.wait()
    except ChildProcessError:
        os._exit(0)


ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
signal.signal(signal.SIGTERM, end)
first = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
while os.wait()[0] != first:
    pass
end()
