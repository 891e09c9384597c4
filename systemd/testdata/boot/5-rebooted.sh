# The machine was rebooted while operations were in flight, and nobody did anything since.
must "reboot: everything is up without a person" until_true all_up
end "reboot"
check "reboot: nothing of ours failed" eval '[ -z "$(systemctl list-units --failed --no-legend "mintwarden*")" ]'
check "reboot: nothing is wrong" until_true nothing_wrong
check "both logs verify from charter 1 on, as before the reboot" by oscar audit verify
each() { [ "$(by oscar operation list --limit 0 --json | jq -r '.data[].status' | sort -u)" = COMPLETED ]; }
check "every operation that was ever asked for is completed" each
json() { journalctl --no-pager -b -o cat _SYSTEMD_UNIT=mintwarden.service + _SYSTEMD_UNIT=mintwarden-seal.service | jq . >/dev/null; }
check "every line of both logs is JSON" json
