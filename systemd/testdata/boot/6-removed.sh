# The package goes: what it leaves, and what it takes.
check "it stops in order" timeout $patience systemctl stop mintwarden mintwarden-seal
check "no stop took too long" fails said 'mintwarden*' "Failed with result 'timeout'"
systemctl start mintwarden-seal mintwarden
check "it is removed" dpkg -r mintwarden
check "which stops it" fails systemctl is-active mintwarden mintwarden-seal mintwarden-etcd-proxy@127.0.0.1:2379.socket
check "no process of it is left" fails pgrep -u mintwarden,mintwarden-seal,mintwarden-proxy
check "configuration stays" test -e $C/seal.toml
check "state stays" test -e /var/lib/mintwarden-seal/unseal.key.encrypted
check "it is installed again" dpkg -i /test/next.deb
must "and goes on where it was" eval 'systemctl start mintwarden-etcd-proxy@127.0.0.1:2379.socket mintwarden-seal mintwarden; until_true all_up && supply $(total)'
check "a purge" dpkg -P mintwarden
check "takes configuration" fails test -e $C/seal.toml
check "and state" fails test -e /var/lib/mintwarden-seal
