"""One run at a time on a host: a lock that is held by a process there, which ends when our connection does.

The lock is a symbolic link in the host's /tmp, made by ln(1) in one step, whose target names the holder; it needs
nothing but a POSIX shell and is seen by all users of the host. Its keeper, a shell on the host, holds it until its
input ends, which is also when the harness was killed; then it removes what the run left, and the lock. A lock whose
keeper is gone (the host was switched off) is taken over.
"""

import getpass
import platform
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.announcing import Announce
from harness.errors import HarnessError, one_line
from harness.hosts.host import Host, RemoteProcess, Testbed
from harness.hosts.leftovers import SWEEP, Removed, parse_removed
from harness.waiting import wait_for

LOCK = "/tmp/tcp-lab-lock"  # noqa: S108 - one for all users of the host
PATIENCE_SECONDS = 120
_SLACK_SECONDS = 30.0

# $1: the run's id, $2: who runs it, $3: for how many seconds to wait.
KEEPER = rf"""
{SWEEP}
id=$1 who=$2 patience=$3
lock={LOCK}
mine=$id:$$:$(date +%s):$who
holder() {{ found=$(ls -ld "$lock" 2>/dev/null) && echo "${{found##* -> }}"; }}
is_alive() {{ # $1: ID:PID:…
    run=${{1%%:*}} rest=${{1#*:}}
    pid=${{rest%%:*}}
    case $pid in '' | *[!0-9]*) return 0 ;; esac # not ours to judge
    if [ -r "/proc/$pid/cmdline" ]; then
        grep -q "$run" "/proc/$pid/cmdline" 2>/dev/null
    else # no /proc, or one that hides other users' processes
        said=$(kill -0 "$pid" 2>&1) || case $said in *permitted*) ;; *) return 1 ;; esac
    fi
}}
break_lock() {{ # one breaker at a time, and only the lock that was seen to be dead
    mkdir "$lock.breaking" 2>/dev/null || return
    [ "$(holder)" != "$1" ] || rm -f "$lock" 2>/dev/null
    rmdir "$lock.breaking"
}}
finish() {{
    trap '' TERM HUP INT PIPE
    sweep "$id" >/dev/null 2>&1
    [ "$(holder)" != "$mine" ] || rm -f "$lock"
    exit
}}
trap finish TERM HUP INT PIPE
waited=0 told='' tries=0
until ln -s "$mine" "$lock" 2>/dev/null && [ "$(holder)" = "$mine" ]; do
    if ! them=$(holder); then # it went in between; or it cannot be made at all
        [ "$((tries += 1))" -lt 20 ] || {{ echo "== failed $(ln -s "$mine" "$lock" 2>&1)"; exit; }}
        continue
    fi
    case $them in "$id:"*) break ;; esac # this very run's: both hosts are one machine
    is_alive "$them" || break_lock "$them"
    [ "$(holder)" = "$them" ] || continue
    [ "$waited" -lt "$patience" ] || {{ echo "== held $them"; is_alive "$them" || echo "== stale"; exit; }}
    [ "$told" = "$them" ] || echo "== waiting $them"
    told=$them waited=$((waited + 1))
    sleep 1
done
sweep "$any_run"
echo "== alone"
while read -r _; do :; done
finish
"""
_HOLDER = re.compile(r"(?P<run>[0-9a-f]{8}):(?P<pid>\d+):(?P<since>\d+):(?P<who>.*)")


def _who() -> str:
    """Who runs this, as it stands in the lock."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return re.sub(r"[^A-Za-z0-9@._-]", "?", f"{user}@{platform.node()}")[:60]


def _described(holder: str) -> str:
    """A lock's holder in words."""
    found = _HOLDER.fullmatch(holder)
    if not found:
        return f"somebody ({LOCK} there is {one_line(holder, 60)})"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(found["since"])))
    return f"run {found['run']} of {found['who']}, since {since} by the host's clock, process {found['pid']} there"


@contextmanager
def _alone_on(host: Host, run_id: str, patience: int, announce: Announce) -> Iterator[list[Removed]]:
    """Hold one host's lock while the block runs; yields what was removed of runs that are over."""
    told: set[str] = set()

    def settled(process: RemoteProcess) -> str | None:
        said = process.output()
        for holder in re.findall(r"^== waiting (.*)$", said, re.MULTILINE):
            if holder not in told:
                told.add(holder)
                announce(f"wait for the {host.role} host: it is used by {_described(holder)}")
        return said if re.search(r"^== (alone|held|failed)", said, re.MULTILINE) or not process.runs else None

    with host.start("sh", "-c", KEEPER, "sh", run_id, _who(), str(patience)) as process:
        said = wait_for(f"the {host.role} host", lambda: settled(process), seconds=patience + _SLACK_SECONDS)
        if held := re.search(r"^== held (.*)$", said, re.MULTILINE):
            waited = f"waited {patience} s for it; " if patience else ""
            mend = "run it again when that has ended"
            if "== stale" in said:  # another user's, in a /tmp where each removes only his own
                mend = f"that process is gone, but the lock is not ours to remove: have its owner remove {LOCK} there"
            raise HarnessError(
                f"{host.role} ({host.entry.address}): it is used by {_described(held[1])}; {waited}{mend}"
            )
        if "== alone" not in said:
            why = one_line(said.partition("== failed ")[2] or process.output("stderr")) or "nothing"
            raise HarnessError(f"{host.role} ({host.entry.address}): {LOCK} cannot be made there; it said: {why}")
        try:
            yield parse_removed(said)
        finally:
            if process.runs:
                process.end_input()
                process.wait()


@contextmanager
def alone(
    testbed: Testbed, run_id: str, announce: Announce, *, patience: int = PATIENCE_SECONDS
) -> Iterator[dict[str, list[Removed]]]:
    """Hold the locks of both hosts while the block runs, unless the hosts are the harness's own.

    What runs that are over left there is removed first, and told. When the block is left, or the harness was killed,
    what this run left is removed, too.

    Args:
        testbed: the hosts.
        run_id: names the run on both.
        announce: told whom we wait for, and what was removed.
        patience: for how many seconds to wait for another run.

    Yields:
        What was removed, by role.

    Raises:
        HarnessError: another run uses a host; says which, whose, and since when.
    """
    removed: dict[str, list[Removed]] = {}
    with ExitStack() as stack:
        if not testbed.owned:
            # In one order for all: two runs with the roles swapped must not wait for each other.
            for host in sorted(testbed.hosts, key=lambda host: host.entry.address):
                removed[host.role] = stack.enter_context(_alone_on(host, run_id, patience, announce))
                for one in removed[host.role]:
                    announce(f"removed on the {host.role} host, left by run {one.run_id}: {one.what}")
        yield removed
