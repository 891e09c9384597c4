#!/bin/bash
# Runs in a booted system, as a unit of it: once before and once after a reboot.
set -u
exec >>/test/log 2>&1
set -x
export HOME=/root
cd /test || exit
. ./lib.sh
if [ ! -e stage ]; then
	for part in 1-begin 2-confined 3-killed 3-guided 4-versions; do . ./$part.sh; done
	begin reboot || give_up
	touch stage
	systemctl reboot
	exit
fi
for part in 5-rebooted 6-removed; do . ./$part.sh; done
echo done >>results
systemctl poweroff
