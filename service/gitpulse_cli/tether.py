"""Becomes another program, which ends when its parent does, whatever ended that: `tether.py PARENT PROGRAM ARG…`.

It is run as a file, by a Python that loads nothing else, in the place of `preexec_fn`, which threads make unsafe. Only
Linux knows such a tie; elsewhere the program outlives a parent that was killed.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, *argv = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it has ended before
            sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606 - as given
