#!/bin/sh
# The handshake lab by hand: what `./invoke run-handshake-lab` does on the embedded testbed, as somebody who
# knows the tools would do it at a terminal, with nothing of the harness. bench_run.py times the two.
#
# Works as root and as an ordinary user. Everything is in namespaces of its own and on a private tmpfs, so
# nothing is left behind. Prints "N packets captured"; any error is one line on stderr and status 1.
set -eu
PATH=$PATH:/usr/sbin:/sbin # an ordinary user's PATH often lacks sshd, ip, ethtool and tcpdump

# First start: once more, as process 1 of a PID namespace. All that it starts dies with it.
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] && as_user='' || as_user='--user --map-current-user --keep-caps'
    # shellcheck disable=SC2086 # the options are words
    exec unshare $as_user --net --mount --pid --fork --kill-child sh "$0" inside
fi
[ $$ -eq 1 ] || { echo "by_hand.sh takes no argument" >&2; exit 1; }
user=$(id -un)
sshd=$(command -v sshd) || { echo "by_hand.sh: sshd is not installed" >&2; exit 1; }
mount -t tmpfs -o mode=0755 tmpfs /run || exit 1
mount -t proc proc /proc 2>/dev/null || true # some containers forbid it, and the outer one serves
mkdir /run/sshd /run/lab                     # /run/sshd is sshd's privilege separation directory
cd /run/lab

# From here stderr is a file, whose last line is the reason if a step fails.
exec 3>&2 2>errors
trap '[ $? -eq 0 ] || { echo "by_hand.sh: $(grep . errors | tail -n 1)" >&3; exit 1; }' EXIT
trap 'echo interrupted >&2; exit 1' HUP INT TERM

fail() { echo "$*" >&2; exit 1; }

# wait_for PID LOG COMMAND...: poll until COMMAND succeeds, while PID lives and for at least 10 s.
wait_for() {
    pid=$1 log=$2 tries=2000
    shift 2
    until "$@"; do
        kill -0 "$pid" 2>/dev/null || fail "${log%.log} ended early: $(tail -n 1 "$log")"
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "gave up waiting for: $*"
        sleep 0.005
    done
}

# Two hosts and the link between them.
ip netns add server
ip netns add client
ip link add ens33 netns server type veth peer name ens33 netns client
for host in server=192.168.1.63 client=192.168.1.64; do
    name=${host%=*}
    ip -n "$name" address add "${host#*=}/24" dev ens33
    ip -n "$name" link set ens33 up
    # Without offloads the capture shows the segments as they would be on a wire.
    ip netns exec "$name" ethtool -K ens33 tso off gso off gro off tx off rx off >/dev/null
done
# The client acknowledges a FIN at once instead of with its own: the close has four segments.
ip -n client route replace 192.168.1.0/24 dev ens33 src 192.168.1.64 quickack 1

# The client's sshd.
ssh-keygen -q -t ed25519 -N '' -C '' -f host_key
ssh-keygen -q -t ed25519 -N '' -C '' -f user_key
echo "192.168.1.64 $(cat host_key.pub)" >known_hosts
cat >sshd_config <<CONFIG
HostKey $PWD/host_key
PidFile none
AuthorizedKeysFile $PWD/user_key.pub
StrictModes no # in a user namespace / belongs to nobody that sshd trusts
UsePAM no
PrintMotd no
CONFIG
# Without PAM, sshd refuses an account whose password is locked by a "!".
echo "$user:*:::::::" >shadow
[ ! -e /etc/shadow ] || mount --bind shadow /etc/shadow
ip netns exec client "$sshd" -D -e -f "$PWD/sshd_config" 2>sshd.log &
listens() { ip netns exec client ss -Hltn 'sport = :22' | grep -q .; }
wait_for $! sshd.log listens

# Capture on the server. The shell opens the file: tcpdump as root gives up its rights before it would.
ip netns exec server tcpdump -i ens33 -n -S --immediate-mode -U -w - 'tcp port 22' >capture.pcap 2>tcpdump.log &
tcpdump=$!
wait_for $tcpdump tcpdump.log grep -q 'listening on' tcpdump.log

# The session. Its last ACK is in when the server's socket is gone or in TIME-WAIT: mostly ssh closes first and
# sends that ACK, in a few runs of a hundred sshd does, and the TIME-WAIT is then the client's.
echo 'uname -sr; exit' | ip netns exec server ssh -F none -T -l "$user" -i user_key \
    -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=yes \
    -o UserKnownHostsFile=known_hosts -o GlobalKnownHostsFile=/dev/null 192.168.1.64 >session.txt
closed() { open=$(ip netns exec server ss -Htn exclude time-wait 'dport = :22') && [ -z "$open" ]; }
wait_for $tcpdump tcpdump.log closed

# tcpdump may be a packet behind the kernel, and what it has not read when it is stopped is lost. SIGUSR1 has it
# write its counters; it has read all when they agree. Then stop it by its pid.
read_all() {
    kill -USR1 $tcpdump
    grep -q 'tcpdump: \([0-9]*\) packets captured, \1 packets received' tcpdump.log
}
wait_for $tcpdump tcpdump.log read_all
kill -INT $tcpdump
wait $tcpdump || fail "tcpdump failed: $(tail -n 1 tcpdump.log)"
tcpdump -n -S -r capture.pcap >capture.txt
captured=$(sed -n 's/ packets captured$//p' tcpdump.log)
received=$(sed -n 's/ packets received by filter$//p' tcpdump.log)
[ "${captured:-none}" = "$received" ] || fail "tcpdump captured ${captured:-none} of ${received:-no} packets"
echo "$captured packets captured"
