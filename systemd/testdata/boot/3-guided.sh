# What the operations guide has people type on the machine itself, from the page as it is installed, line by line.
guide=/usr/share/doc/mintwarden/guide.md
# lines FROM TO: the commands of the first block between two lines of the guide, without their comments.
lines() { sed -n "/^$1\$/,/^$2/p" $guide | sed -n '/^```sh$/,/^```$/p' | sed '/^```/d; s/  *#.*$//'; }
# typed NAME LINE…: each is run as it stands.
typed() {
	local name=$1 line
	shift
	for line in "$@"; do check "$name: $line" timeout $patience bash -c "$line"; done
}

mapfile -t night < <(lines "# Operations guide" "## MintwardenDown")
check "the guide begins with three commands" test "${#night[@]}" = 3
typed "the first commands of a night" "${night[@]}"
# What was killed and stopped before has left warnings, and nothing but what is at least one is shown.
shown() { ${night[2]} -o cat --no-pager | tee /dev/stderr | jq -er .level | sort -u | tr '\n' ' ' | grep -Eq '^(ERROR )?WARN $'; }
check "the last of them shows warnings, and nothing else" shown

check "a request that changed something is a line with its operation, its token and who asked" \
	said mintwarden '"level":"INFO","msg":"api: request","request_id":"[^"]*","method":"POST","route":"/v1/tokens/{tokenId}/mint","status":202,.*"operation":"op_.*"token":"token_.*"user":"oscar","credential":"cred_'

# The clock is the machine's, which a container does not set: chronyd is told to leave it alone.
chronyd -x "local stratum 10"
until_true test -S /run/chrony/chronyd.sock
mapfile -t clock < <(lines "## Clock wrong" "## HSM unplugged or lost")
check "the page has commands" test "${#clock[@]}" -ge 2
typed "clock wrong" "${clock[@]}"
check "and the clock and each node are lines of the last" eval "${clock[-1]} | grep -Eq '^[a-zA-Z]+ +clock' && ${clock[-1]} | grep -Eq '^[a-zA-Z]+ +node'"

# The token is lost with its machine's power, and comes back from a backup that is older than what was signed since.
# SoftHSM2's backup is a copy of its directory.
T=/var/lib/mintwarden-seal/tokens
cp -a $T /root/token.backup
check "something is minted since the backup" eval 'op=$(asked since-the-backup 1) && approved $op ann bob && completed $op'
more 1
mapfile -t token < <(lines "## HSM unplugged or lost" "## etcd read-only")
check "the page has three commands" test "${#token[@]}" = 3
must "the token is lost: operations are in flight" begin token-lost
typed "HSM lost" "${token[0]}"
rm -rf $T
cp -a /root/token.backup $T
typed "HSM lost" "${token[1]}"
must "the token is back" until_true all_up
typed "HSM lost" "${token[2]}"
end "the token is lost"
