"""Run a program that ends when the job that started it ends, even by SIGKILL.

On Linux the kernel kills the program when its parent ends; elsewhere this process stays as the parent and polls the
job. Run as a script: `tether.py PID PROGRAM ARGUMENT...`, where PID is the process number of the job.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h; kept across exec
SECONDS_BETWEEN_LOOKS = 0.5


def main(starter: int, command: list[str]) -> int:
    """Execute the program, or start and watch it; nothing is started if the job has already ended.

    Args:
        starter: process number of the job.
        command: the program and its arguments.

    Returns:
        Exit status, if this process was not replaced by the program.
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
