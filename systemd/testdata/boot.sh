#!/bin/bash
# Runs as a unit of a booted system in which the package was just installed, and writes to /test/results one line a
# check: "ok NAME" or "not ok NAME". The Go test makes a test of each. /test/pki holds certificates for etcd and API.
set -u
exec >/test/log 2>&1
set -x
C=/etc/mintwarden
check() {
	local name=$1 said=ok
	shift
	"$@" || said="not ok"
	echo "$said $name" >>/test/results
}
until_true() { local end=$((SECONDS + $1)); shift; until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done; }
as() { local user=$1; shift; setpriv --reuid "$user" --regid "$user" --clear-groups "$@"; }
main_pid() { systemctl show -P MainPID "$1"; }
said() { journalctl --no-pager -b -o cat -u "$1" | grep -q "$2"; }
fails() { ! "$@"; }

check "nothing runs before a ceremony" fails systemctl is-active mintwarden mintwarden-seal

for n in ca etcd-ca api-ecdsa api-mldsa etcd-server etcd-mintwarden etcd-root etcd-mintwarden-seal; do cp /test/pki/$n.crt $C/tls/; done
encrypt() { systemd-creds encrypt --with-key=host --name="$1" "$2" "$3"; }
for n in api-ecdsa api-mldsa etcd-server etcd-mintwarden etcd-root; do encrypt api_$n.key /test/pki/$n.key $C/credentials/api/$n.key; done
encrypt seal_etcd.key /test/pki/etcd-mintwarden-seal.key $C/credentials/seal/etcd.key
head -c 32 /dev/urandom >/run/wrap && encrypt seal_unseal /run/wrap $C/credentials/seal/unseal
printf 12345678 >/run/pin && encrypt seal_pin /run/pin $C/credentials/seal/pin
chmod 0644 $C/credentials/*/*
sed -i 's/^# \[pin\]/[pin]/; s/^# credential/credential/' $C/seal.toml
sed -i 's/^# charter1.*/charter1 = "sha256:0000000000000000000000000000000000000000000000000000000000000000"/' $C/mintwarden.toml
mkdir -p /etc/systemd/system/mintwarden-seal.service.d
cp /usr/share/doc/mintwarden/software-token.conf.example /etc/systemd/system/mintwarden-seal.service.d/token.conf
printf 'directories.tokendir = /var/lib/mintwarden-seal/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' >$C/softhsm2.conf
install -d -o mintwarden-seal -g mintwarden-seal -m 0700 /var/lib/mintwarden-seal /var/lib/mintwarden-seal/tokens
SOFTHSM2_CONF=$C/softhsm2.conf as mintwarden-seal softhsm2-util --init-token --free --label mintwarden --pin 12345678 --so-pin 87654321
systemctl daemon-reload

check "the configuration is taken" mintwardend check --config-only
check "the way to etcd listens" systemctl start mintwarden-etcd-proxy@127.0.0.1:2379.socket
check "the seal starts" timeout 60 systemctl start mintwarden-seal
check "it was ready only when it answered, with its token" said mintwarden-seal '"seal answers".*"sealed":false,"token":true'
check "it shut itself in" said mintwarden-seal "shut in by Landlock"
P=$(main_pid mintwarden-seal)
check "it has no capability" grep -q "^CapBnd:.0000000000000000" /proc/$P/status
check "it cannot gain privileges" grep -q "^NoNewPrivs:.1" /proc/$P/status
check "it dumps no core" grep -q "^Max core file size  *0  *0 " /proc/$P/limits
check "it has no network" test "$(nsenter -t $P -n ls /sys/class/net | wc -w)" = 1
check "it has a root of its own" fails test -e /proc/$P/root/test
check "it reads the credential's kind" said mintwarden-seal '"unseal key".*"encrypted":true'

connects() { as "$1" python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$2"; }
check "the API's user reaches the seal" connects mintwarden /run/mintwarden-seal/seal.sock
check "another user does not" fails connects games /run/mintwarden-seal/seal.sock
check "the seal's user reaches the way to etcd" connects mintwarden-seal /run/mintwarden-etcd/127.0.0.1:2379.sock
check "the API's does not" fails connects mintwarden /run/mintwarden-etcd/127.0.0.1:2379.sock

systemctl start --no-block mintwarden
etcd() { openssl s_client -unix /run/mintwarden-etcd/127.0.0.1:2379.sock -CAfile $C/tls/etcd-ca.crt -verify_return_error -verify_ip 127.0.0.1 </dev/null; }
check "etcd is reached through its way, by its certificate" until_true 60 etcd
check "the store took its users" until_true 60 said mintwarden "chain node does not answer"

kill -KILL "$(pgrep -P $P | head -1)"
check "a worker that was killed comes back, without a person" until_true 30 pgrep -P $P
kill -STOP $P
other() { local now; now=$(main_pid mintwarden-seal); [ "$now" != 0 ] && [ "$now" != "$P" ]; }
check "the watchdog ends a seal that was stopped" until_true 60 other
check "which is up again" until_true 30 systemctl is-active mintwarden-seal
kill -KILL "$(main_pid mintwarden-seal)"
check "a seal that was killed is up again" until_true 30 systemctl is-active mintwarden-seal
journalctl --no-pager -b -o cat -u mintwarden-seal | tail -n 80
check "it stops in order" timeout 45 systemctl stop mintwarden mintwarden-seal

echo "# mine" >>$C/seal.toml
check "the next version is installed" env DEBIAN_FRONTEND=noninteractive dpkg -i --force-confdef --force-confold /test/next.deb
check "configuration is not overwritten" grep -q "^# mine" $C/seal.toml
check "it is removed" dpkg -r mintwarden
check "configuration stays" test -e $C/seal.toml
check "state stays" test -e /var/lib/mintwarden-seal/unseal.key.encrypted
check "a purge" dpkg -P mintwarden
check "takes configuration" fails test -e $C/seal.toml
check "and state" fails test -e /var/lib/mintwarden-seal
echo done >>/test/results
