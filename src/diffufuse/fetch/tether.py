"""Run a program that ends with the job that started it, however that ends.

A job that gets SIGKILL cannot stop what it started, so whatever it starts has to see to that itself. On Linux the
kernel kills the program with its starter; elsewhere this process stays between them and looks once in a while. Run as
a script: `tether.py PROCESS PROGRAM ARGUMENT...`, where PROCESS is the number of the starter.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h; stays set when the process becomes another program
SECONDS_BETWEEN_LOOKS = 0.5


def main(starter: int, command: list[str]) -> int:
    """Become the program, or stay beside it; it is not started if its starter is gone by then.

    Args:
        starter: process number of the job.
        command: the program and its arguments.

    Returns:
        Exit status, where this process did not become the program.
    """
    bound = sys.platform == "linux" and ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) == 0
    if os.getppid() != starter:
        return 1
    if bound:
        os.execv(command[0], command)
    return _beside(starter, command)


def _beside(starter: int, command: list[str]) -> int:
    program = subprocess.Popen(command)
    try:
        while program.poll() is None and os.getppid() == starter:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        program.kill()
    return program.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
