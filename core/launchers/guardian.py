"""The process that owns a start-up script and everything it starts, and outlives the manager.

    python -I -S guardian.py CONTROL_FD STATUS_FD GRACE -- ARGV...

    manager --control pipe--> guardian --> script --> server --> its workers ...
            <--status pipe---

Control: the lines `term` and `kill` act on every member of the tree. The end of the pipe, whose
only write end the manager holds, means that the manager is gone, however it went: members are
asked to end, and GRACE seconds later they are killed. SIGTERM to the guardian means the same.
Status: `pid SCRIPT GUARDIAN`, `exit CODE` (of the script; minus N: signal N), and `end` once no
member lives. An end without `end` means that somebody killed the guardian.

Linux: as a child subreaper it inherits every orphan of the tree, also one that left the session,
so that `waitpid` knows exactly when the tree is empty. Elsewhere there is no such thing: members
are the descendants of the script, its process group, and what was one of these when last looked
at; a daemon in a session of its own, started between two looks, is missed there (the environment
mark of `leftovers` is what finds it). Nothing is polled while the script of the tree lives.

Only the standard library, and little of it: it runs once per model and costs 26 ms and 10 MB.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

if sys.platform == "win32":
    raise ImportError("a Job Object does the guardian's work on Windows")

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: list[str]) -> None:
    """Detach from the manager, start the script, and stay until its tree is empty."""
    control, status, grace, command = own(argv[1]), own(argv[2]), float(argv[3]), argv[5:]
    if os.fork():
        os._exit(0)  # a supervisor that kills its direct children must not hit the guardian
    os.setsid()
    Guardian(control, status, grace).run(command)
    os._exit(0)  # at once: the manager waits for our end of the status pipe


def own(number: str) -> int:
    """The same pipe under a low number that no child inherits: `select` knows 1024 of them, and a
    busy manager has more."""
    descriptor = os.dup(int(number))
    os.close(int(number))
    return descriptor


class Guardian:
    """One tree, from its first process to its last."""

    def __init__(self, control: int, status: int, grace: float) -> None:
        self.control = control
        self.status = status
        self.grace = grace
        self.script = 0
        self.exit_code: int | None = None
        self.orphaned = False
        """The manager is gone, or somebody asked the guardian to end."""
        self.kill_at: float | None = None
        """From this (monotonic) time on members are killed until none is left."""
        self.kill_pause = 0.01
        self.known: set[int] = set()
        """Not Linux: the members at the last look."""
        self.wake, self.feed = os.pipe()
        """Readable when a signal came: a child ended."""

    def run(self, command: list[str]) -> None:
        for end in (self.wake, self.feed):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.feed, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in ENDING:
            signal.signal(number, lambda *_: self.abandon())
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        if not self.spawn(command):
            return
        self.let_go_of_output()
        while not self.empty():
            sources = [self.wake] if self.orphaned else [self.wake, self.control]
            ready = select.select(sources, [], [], self.pause())[0]
            if self.wake in ready:
                os.read(self.wake, 4096)
            if self.control in ready:
                self.obey(os.read(self.control, 4096))
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                self.kill()
        self.tell("end")

    # -- the script ------------------------------------------------------------------------------

    def spawn(self, command: list[str]) -> bool:
        """Start the script; False, with the reason in the output, if that is not possible."""
        guardian = os.getpid()
        report, failed = os.pipe()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self.script = os.fork()
        except OSError as error:
            complain(command, str(error.strerror))
            self.tell("exit 127")
            self.tell("end")
            return False
        if not self.script:
            self.tell(f"pid {os.getpid()} {guardian}")  # known before the script can say anything
            become_script(command, guardian, failed, mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(failed)
        reason = os.read(report, 4096)
        os.close(report)
        if reason:
            complain(command, reason.decode())
        return True

    def let_go_of_output(self) -> None:
        """Hold neither the output pipe, which must end with the tree, nor the script's folder."""
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.close(null)
        os.chdir("/")

    # -- orders ----------------------------------------------------------------------------------

    def obey(self, data: bytes) -> None:
        if not data:
            self.abandon()
        if b"term" in data:
            self.send(signal.SIGTERM)
        if b"kill" in data:
            self.kill_at = time.monotonic()

    def abandon(self) -> None:
        """End the tree: there is nobody left who wants it."""
        if not self.orphaned:
            self.orphaned = True
            self.kill_at = min(self.kill_at or 1e18, time.monotonic() + self.grace)
            if self.script:
                self.send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill all members; again after a pause, for those born meanwhile."""
        self.send(signal.SIGKILL)
        self.kill_at = time.monotonic() + self.kill_pause
        self.kill_pause = min(0.5, self.kill_pause * 1.5)  # the kernel may hold one for long

    def pause(self) -> float | None:
        """How long nothing needs to be looked at; None: until something happens."""
        if self.kill_at is not None:
            return max(0.0, self.kill_at - time.monotonic())
        if not LINUX and self.exit_code is not None:
            return 1.0  # the rest are not our children: nothing tells us of their end
        return None

    def tell(self, line: str) -> None:
        try:
            os.write(self.status, line.encode() + b"\n")
        except OSError:
            return  # nobody listens any more

    # -- the tree --------------------------------------------------------------------------------

    def send(self, number: int) -> None:
        for pid in self.members():
            try:
                os.kill(pid, number)
            except OSError:
                continue  # it ended by itself

    def empty(self) -> bool:
        """Collect the dead; True when no member of the tree is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                return False
            self.known.discard(pid)
            if pid == self.script:
                self.exit_code = os.waitstatus_to_exitcode(status)
                self.tell(f"exit {self.exit_code}")
        return LINUX or not self.members()

    def members(self) -> list[int]:
        if LINUX:
            return descendants(os.getpid())
        self.known = relatives(os.getpid(), self.script, self.known)
        try:
            os.read(self.wake, 4096)  # the end of `ps` is no news; `empty` is asked before we wait
        except BlockingIOError:
            pass
        return list(self.known)


def complain(command: list[str], reason: str) -> None:
    """Say it where the output of the script would be."""
    try:
        os.write(1, f"cannot start {command[0]}: {reason}\n".encode())
    except OSError:
        return  # nobody reads it any more


def become_script(command: list[str], guardian: int, failed: int, mask: set[int]) -> None:
    """In the forked child: turn into the script; never returns.

    The signals that end it are still blocked: one sent before this point is not lost.
    """
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # in case somebody kills the guardian
        if os.getppid() != guardian:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (*ENDING, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores the last two
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(failed, str(error.strerror).encode())
    finally:
        os._exit(127)


def prctl(option: int, value: int) -> None:
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Linux: every process below `pid`, the dead that nobody collected included."""
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children(todo.pop())
        found += below
        todo += below
    return found


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}/task/{pid}") and not os.path.exists(
            f"/proc/{pid}/task/{pid}/children"
        ):
            return [child for child, parent in parents() if parent == pid]  # a slim kernel
    except OSError:
        pass  # it ended meanwhile
    return found


def parents() -> list[tuple[int, int]]:
    """Linux: (process, its parent) of all processes."""
    pairs: list[tuple[int, int]] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                pairs.append((int(name), int(file.read().rpartition(")")[2].split()[1])))
        except OSError:
            continue
    return pairs


def relatives(guardian: int, script: int, known: set[int]) -> set[int]:
    """Not Linux: the living members of the tree, as far as `ps` can tell."""
    read, write = os.pipe()
    ps = os.fork()
    if not ps:
        os.dup2(write, 1)
        try:
            os.execvp("ps", ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="])
        finally:
            os._exit(127)
    os.close(write)
    with open(read, encoding="ascii", errors="replace") as file:
        rows = [row for line in file if len(row := line.split()) == 4]
    os.waitpid(ps, 0)
    living = {
        int(pid): (int(parent), int(group)) for pid, parent, group, state in rows if state[0] != "Z"
    }
    found = {pid for pid in known if pid in living}
    found |= {pid for pid, (_, group) in living.items() if group == script}
    todo = [guardian, *found]
    while todo:
        above = todo.pop()
        below = {pid for pid, (parent, _) in living.items() if parent == above} - found
        found |= below
        todo += below
    return found - {guardian, ps}


if __name__ == "__main__":
    main(sys.argv)
