"""What this machine can run, and the mend for each lack."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

from harness.cli import say
from harness.errors import HarnessError, one_line
from harness.hosts.embedded import holding_nothing, tool
from harness.language import _
from harness.messages import translated
from harness.reports.columns import left

_TOOLS = {
    "tcpdump": "tcpdump",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "ss": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "unshare": "util-linux",
}
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: the thing.
        works: whether it is there; None if it is of no account.
        says: the proof, or the mend.
    """

    what: str
    works: bool | None
    says: str


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(_("Python 3.11 or newer"), sys.version_info >= (3, 11), version)


def _tools() -> list[Finding]:
    found = []
    for name, package in _TOOLS.items():
        path = shutil.which(name, path=_PATH)
        found.append(
            Finding(
                name, path is not None, path or _("run: {command}").format(command=f"sudo apt-get install {package}")
            )
        )
    return found


def _namespaces() -> Finding:
    """Really make the namespaces of a testbed, and take them away again."""
    what = _("embedded testbed, as root") if os.geteuid() == 0 else _("embedded testbed, without root")
    try:
        tool("unshare")
        holding_nothing()
    except HarnessError as error:
        return Finding(what, False, translated(str(error).removeprefix("embedded: ")))
    return Finding(what, True, _("namespaces can be made"))


def _other_way() -> Finding:
    """The embedded testbed for the other kind of user."""
    if os.geteuid() != 0:
        says = _("works for root on any Linux (not tried: you are not root)")
        return Finding(_("embedded testbed, as root"), None, says)
    what = _("embedded testbed, without root")
    try:
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--net", "true"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what, None, _("not tried: {cause}").format(cause=one_line(str(error))))
    if done.returncode:
        words = _("ordinary users may not make namespaces here: {cause}")
        return Finding(what, None, words.format(cause=one_line(done.stderr)))
    return Finding(what, None, _("ordinary users can make namespaces here too"))


def _trace() -> Finding:
    what = _("kernel state trace (tracefs)")
    if os.geteuid() == 0:
        return Finding(what, None, _("readable by root: every state transition is compared"))
    return Finding(what, None, _("needs root; socket states are sampled with ss instead"))


def findings() -> list[Finding]:
    """Everything, in order."""
    return [_python(), *_tools(), _namespaces(), _other_way(), _trace()]


def report() -> int:
    """Print the findings; returns 0 if the embedded lab can run here, else 2."""
    found = findings()
    marks = {True: "✓", False: "✗", None: "·"}
    for finding in found:
        say(f" {marks[finding.works]} {left(finding.what, 32)} {finding.says}")
    lacks = [finding for finding in found if finding.works is False]
    say()
    if lacks:
        say(_("the embedded lab cannot run here yet: {count} to mend (✗ above)").format(count=len(lacks)))
        return 2
    say(_("the embedded lab can run here: ./invoke run-handshake-lab"))
    return 0
