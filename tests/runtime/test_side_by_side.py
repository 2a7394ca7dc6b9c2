"""Jobs in processes of their own: none is left behind, whatever befalls the others."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.runtime.running import ROOT, clean_environment

PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def running(body: str) -> "Iterator[subprocess.Popen[str]]":
    """A program of two jobs, `one` and `two`, that `body` defines; it says the pid of each as it begins."""
    program = textwrap.dedent(
        """
        import os, signal, sys, time
        from libs.common.runtime.side_by_side import end_when_told, side_by_side

        def says(job):
            def said():
                os.write(1, b"%d\\n" % os.getpid())
                job()
            return said

        def waits():
            while True:
                time.sleep(60)

        def is_deaf():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            says(waits)()
        """
    ) + textwrap.dedent(body)
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=clean_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def begun(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    assert process.stdout is not None
    return [psutil.Process(int(process.stdout.readline())) for _ in range(2)]


def test_told_again_while_it_ends_it_leaves_nobody_behind() -> None:
    with running(
        """
        end_when_told()
        side_by_side({"one": is_deaf, "two": says(waits)}, patience=1)
        """
    ) as process:
        jobs = begun(process)
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert process.wait(20) == 0
        assert not any(job.is_running() for job in jobs)


@pytest.mark.skipif(sys.platform != "linux", reason="stands in for the first process of a container")
def test_the_end_of_somebody_else_s_orphan_is_nobody_s_end() -> None:
    """Without an init, the command is given the orphans of its container."""
    with running(
        f"""
        import ctypes
        ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1)

        def leaves_an_orphan():
            # A child of a child, whose parent has gone: it is given to the process above us.
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(0.2)
                os._exit(0)
            os.wait()
            waits()

        end_when_told()
        side_by_side({{"one": says(leaves_an_orphan), "two": says(waits)}}, patience=1)
        """
    ) as process:
        jobs = begun(process)
        time.sleep(1)
        assert process.poll() is None and all(job.is_running() for job in jobs)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0


def test_who_ended_first_is_told_by_name() -> None:
    with running(
        """
        side_by_side({"one": says(waits), "two": says(lambda: sys.exit(3))}, patience=1)
        """
    ) as process:
        begun(process)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 3
        assert "process.ended" in said and "two" in said and "exit_code=3" in said.replace(" ", "")


def test_each_has_a_name_of_its_own_in_the_list_of_processes() -> None:
    with running(
        """
        end_when_told()
        side_by_side({"one": says(waits), "two": says(waits)}, patience=1)
        """
    ) as process:
        titles = sorted(" ".join(job.cmdline())[-6:] for job in begun(process))
        process.terminate()
        assert process.wait(20) == 0
        assert titles == [" (one)", " (two)"]
