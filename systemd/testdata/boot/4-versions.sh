# The next version of the package and back, with operations in flight.
runs() { curl -s http://127.0.0.1:9464/metrics | grep -q "^mintwarden_build_info.*version=\"$1\""; }
replaced() { readlink /proc/"$(main_pid "$1")"/exe | grep -q "(deleted)$"; }
install() { DEBIAN_FRONTEND=noninteractive dpkg -i --force-confdef --force-confold "$1"; }
echo "# mine" >>$C/seal.toml
check "it runs the first version" until_true runs 1.2.3
seal=$(main_pid mintwarden-seal)
survives "upgrade" install /test/next.deb
check "upgrade: the API runs the next version" until_true runs 1.2.4
check "upgrade: the seal goes on as it was" eval '[ "$(main_pid mintwarden-seal)" = $seal ] && replaced mintwarden-seal'
survives "upgrade of the seal" systemctl restart mintwarden-seal
check "upgrade: the seal runs the next version" fails replaced mintwarden-seal
check "configuration is not overwritten" grep -q "^# mine" $C/seal.toml
seal=$(main_pid mintwarden-seal)
survives "downgrade" install /test/this.deb
check "downgrade: the API runs the first version again" until_true runs 1.2.3
check "downgrade: the seal goes on as it was" [ "$(main_pid mintwarden-seal)" = $seal ]
survives "downgrade of the seal" systemctl restart mintwarden-seal
check "downgrade: the seal runs the first version" fails replaced mintwarden-seal
