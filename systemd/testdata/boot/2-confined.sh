# What systemd gave each process, as the kernel has it.
seal=$(main_pid mintwarden-seal) serve=$(main_pid mintwarden)
for n in seal serve; do
	pid=${!n}
	check "$n: it has no capability" grep -q "^CapBnd:.0000000000000000" /proc/$pid/status
	check "$n: it cannot gain privileges" grep -q "^NoNewPrivs:.1" /proc/$pid/status
	check "$n: its system calls are filtered" grep -q "^Seccomp:.2" /proc/$pid/status
	check "$n: it dumps no core" grep -q "^Max core file size  *0  *0 " /proc/$pid/limits
	check "$n: it is no user of a person" fails grep -q "^Uid:.0" /proc/$pid/status
	check "$n: no secret stands in its environment or arguments" fails grep -aqiE 'BEGIN|PRIVATE|qcs_|pin=' /proc/$pid/environ /proc/$pid/cmdline
done
check "the seal shut itself in" said mintwarden-seal "shut in by Landlock"
check "it has no network" test "$(nsenter -t $seal -n ls /sys/class/net | wc -w)" = 1
check "it has a root of its own" fails test -e /proc/$seal/root/test
check "it reads the credential's kind" said mintwarden-seal '"unseal key".*"encrypted":true'

connects() {
	local code=0
	as "$1" curl -s -m 5 --unix-socket "$2" http://x/ || code=$?
	[ $code != 7 ] # CURLE_COULDNT_CONNECT
}
E=/run/mintwarden-etcd/127.0.0.1:2379.sock
check "the API's user reaches the seal" connects mintwarden $SEAL
check "another user does not" fails connects games $SEAL
check "the seal's user reaches the way to etcd" connects mintwarden-seal $E
check "the API's does not" fails connects mintwarden $E
# It may end in error: etcd hangs up on whoever shows no certificate, now or a moment later.
etcd() { [[ $(openssl s_client -unix $E -CAfile $C/tls/etcd-ca.crt -verify_return_error -verify_ip 127.0.0.1 </dev/null || true) == *"Verification: OK"* ]]; }
check "etcd is reached through its way, by its certificate" etcd

# The level of both logs changes while they run.
for n in mintwarden:mintwarden.toml mintwarden-seal:seal.toml; do
	unit=${n%:*} file=$C/${n#*:}
	pid=$(main_pid $unit)
	cp $file $file.before
	printf '\n[log]\nlevel = "debug"\n' >>$file
	systemctl kill --kill-who=main -s HUP $unit
	check "$unit: its log's level changes at run time" until_true said $unit '"was":"INFO","now":"DEBUG"'
	mv $file.before $file
	systemctl kill --kill-who=main -s HUP $unit
	check "$unit: and back" until_true said $unit '"was":"DEBUG","now":"INFO"'
	check "$unit: it goes on" [ "$(main_pid $unit)" = "$pid" ]
done

# What the documented drop-in for a network HSM opens, and what it leaves shut.
net() { [ "$(readlink /proc/"$(main_pid mintwarden-seal)"/ns/net)" = "$(readlink /proc/1/ns/net)" ]; }
check "the seal's network is not the machine's" fails net
cp /usr/share/doc/mintwarden/network-hsm.conf.example /etc/systemd/system/mintwarden-seal.service.d/network-hsm.conf
systemctl daemon-reload
systemctl restart mintwarden-seal
check "with the drop-in for a network HSM it is" until_true net
check "and it serves" until_true all_up
check "with no address in reach but the HSM's" eval '[ "$(systemctl show -P IPAddressAllow mintwarden-seal)" = 192.0.2.10/32 ]'
check "and a root of its own" fails test -e /proc/"$(main_pid mintwarden-seal)"/root/test
rm /etc/systemd/system/mintwarden-seal.service.d/network-hsm.conf
systemctl daemon-reload
systemctl restart mintwarden-seal
check "without it everything is as before" until_true eval '! net && all_up'
