"""What a run may leave on a host, and the shell script that finds and removes it.

Everything that is made on a host carries the run's id (eight hexadecimal digits) as tcp-lab-ID: the folder in /tmp, the
line in authorized_keys, the kernel's trace instance. What has no name of its own (a host route, tcpdump, the link's
settings) is noted in that folder before it is made. Only what is marked so, and is the user's own, is ever removed.
"""

import re
from dataclasses import dataclass

_ID = "[0-9a-f]" * 8
UNDO = "undo"  # a shell script in the run's folder that puts settings, routes and packet filters back
# The line that `harness.session` writes: from one address, and with our mark at its end.
KEY_LINE = r'^from="[0-9.]*"[^ ]* ssh-ed25519 [A-Za-z0-9+/=]* tcp-lab-'

# Shell functions for a POSIX shell; $1 of `sweep` is a pattern of run ids. Prints "== removed ID WHAT" for each thing.
SWEEP = rf"""
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
me=$(id -u)
removed() {{ echo "== removed $1 $2"; }}
is_mine() {{ # a real folder of this very user: in /tmp anybody may make one
    [ -d "$1" ] && [ ! -L "$1" ] || return 1
    found=$(ls -ldn "$1") && read -r _ _ owner _ <<END
$found
END
    [ "$owner" = "$me" ]
}}
below() {{ # the processes below one, itself first
    echo "$1"
    for stat in /proc/[0-9]*/stat; do
        {{ read -r pid _ _ parent _ <"$stat"; }} 2>/dev/null || continue
        [ "$parent" != "$1" ] || (below "$pid")
    done
}}
born() {{ # when a process began, in ticks since the machine did (proc(5), field 22)
    {{ read -r line <"/proc/$1/stat"; }} 2>/dev/null || return 1
    # shellcheck disable=SC2086
    set -- ${{line##*) }}
    echo "${{20}}"
}}
end_process() {{ # $1: its pid, $2: when it began; its number may be another's by now
    [ -n "$2" ] && [ "$(born "$1")" = "$2" ] || return 1
    all=$(below "$1")
    grep -q '^sudo' "/proc/$1/cmdline" || {{ kill -TERM "$1" 2>/dev/null && return; }}
    # shellcheck disable=SC2086
    sudo -n kill -TERM $all 2>/dev/null
}}
sweep_folder() {{ # $1: the folder, $2: the run's id
    pid='' began='' route=''
    for note in "$1"/*.process; do
        {{ read -r pid began <"$note"; }} 2>/dev/null || continue
        ! end_process "$pid" "$began" || removed "$2" "its tcpdump, process $pid"
    done
    [ ! -f "$1/{UNDO}" ] || {{
        sh "$1/{UNDO}" >/dev/null 2>&1
        removed "$2" "its settings, routes and packet filters"
    }}
    [ ! -f "$1/route" ] || read -r route <"$1/route"
    # shellcheck disable=SC2086
    [ -z "$route" ] || ! ip route del $route 2>/dev/null || removed "$2" "the route $route"
    rm -rf "$1"
    [ -e "$1" ] || removed "$2" "$1"
}}
sweep_keys() {{ # $1: the pattern
    file=~/.ssh/authorized_keys
    for kept in "$file".tcp-lab-*; do # a rewriting that was cut short
        case $kept in "$file".tcp-lab-$1) rm -f "$kept" && removed "${{kept##*-}}" "$kept" ;; esac
    done
    [ -f "$file" ] && grep -q '{KEY_LINE}'"$1"'$' "$file" || return 0
    for run in $(grep '{KEY_LINE}'"$1"'$' "$file" | sed 's/.*-//'); do removed "$run" "its line in $file"; done
    kept=$file.tcp-lab-$id
    # The file keeps its inode, mode and owner, and every other line.
    (umask 077 && grep -v '{KEY_LINE}'"$1"'$' "$file" >"$kept")
    [ "$?" -gt 1 ] || cat "$kept" >"$file" # 1: no other line; more: it could not be written
    rm -f "$kept"
}}
sweep_traces() {{ # $1: the pattern
    for instance in /sys/kernel/tracing/instances/tcp-lab-*; do
        name=${{instance##*/}}
        case $name in tcp-lab-$1-server | tcp-lab-$1-client) ;; *) continue ;; esac
        # Testbeds within this machine have theirs in the same place. What is in use cannot be removed (its watcher has
        # a file of it open), or is named by a process that is about to open it.
        ! grep -q -- "$name" /proc/[0-9]*/cmdline 2>/dev/null || continue
        run=${{name#tcp-lab-}}
        ! rmdir "$instance" 2>/dev/null || removed "${{run%-*}}" "the trace instance $name"
    done
}}
sweep() {{
    for folder in /tmp/tcp-lab-*; do
        case $folder in /tmp/tcp-lab-$1.??????) ;; *) continue ;; esac
        run=${{folder#/tmp/tcp-lab-}}
        ! is_mine "$folder" || sweep_folder "$folder" "${{run%.*}}"
    done
    sweep_keys "$1"
    sweep_traces "$1"
}}
any_run='{_ID}'
"""


@dataclass(frozen=True, slots=True)
class Removed:
    """A thing that was removed.

    Attributes:
        run_id: whose it was.
        what: in words.
    """

    run_id: str
    what: str


def parse_removed(text: str) -> list[Removed]:
    """What a sweep says it has removed."""
    return [Removed(*found) for found in re.findall(r"^== removed ([0-9a-f]{8}) (.+)$", text, re.MULTILINE)]
