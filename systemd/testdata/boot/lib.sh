# What the parts of the test in a booted system share. Each check writes one line to /test/results: "ok NAME" or
# "not ok NAME", of which the Go test makes a test.
C=/etc/mintwarden
P=/root/people # what people keep, each on a machine of his own: keys, shares, API keys
SEAL=/run/mintwarden-seal/seal.sock
patience=120 # seconds that anything may take, on a slow machine

check() {
	local name=$1 said=ok
	shift
	"$@" || said="not ok"
	echo "$said $name" >>/test/results
}
# must ends the run where nothing that follows could be right.
must() {
	check "$@"
	tail -n 1 /test/results | grep -q "^ok " || give_up
}
give_up() {
	journalctl --no-pager -b -o short-monotonic -n 300 -u 'mintwarden*' -u devnet
	exit 1
}
fails() { ! "$@"; }
until_true() {
	local end=$((SECONDS + patience))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
as() {
	local user=$1
	shift
	setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
}
main_pid() { systemctl show -P MainPID "$1"; }
said() { journalctl --no-pager -b -o cat -u "$1" | grep -q "$2"; }

# by PERSON COMMAND…: mintwarden, as that person runs it, with the ledger verified from charter 1 on.
by() {
	local person=$1
	shift
	MINTWARDEN_URL=https://127.0.0.1:8443 MINTWARDEN_CA=/root/pki/ca.crt MINTWARDEN_CERT=$P/$person.crt MINTWARDEN_KEY=$P/$person.tls.key \
		MINTWARDEN_API_KEY_FILE=$P/$person.apikey XDG_STATE_HOME=$P/state/$person \
		mintwarden --charter1 $P/charter1.sha256 --patience ${patience}s "$@"
}
# asked KEY AMOUNT: oscar's request for a mint, and prints its operation. The same KEY is the same request.
asked() { by oscar token mint "$(cat $P/token)" --amount "$2" --to treasury --idempotency-key "$1" --json | jq -er .operationId; }
# approved OPERATION PERSON…: each signs exactly what the appliance shows.
approved() {
	local op=$1 person digest
	shift
	for person in "$@"; do
		digest=$(by "$person" operation show "$op" --json | jq -er .intentDigest) || return
		by "$person" approve "$op" --key "$P/$person.key" --yes --expect-digest "$digest" || return
	done
}
is() { [ "$(by oscar operation show "$1" --json | jq -er .status)" = "$2" ]; }
completed() { by oscar operation watch "$1" --timeout ${patience}s; }
# supply TOKENS: what the contract has minted, which is the balance of the only account that it was minted to.
supply() { [ "$(by oscar token balance "$(cat $P/token)" treasury --json | jq -er .total)" = "${1}000000000000000000" ]; }

# The number of tokens that there must be; each check of survives adds two.
total() { cat $P/total; }
more() { echo $(($(cat $P/total) + $1)) >$P/total; }

all_up() {
	systemctl is-active mintwarden-seal mintwarden "mintwarden-etcd-proxy@127.0.0.1:2379.socket" &&
		[ "$(by oscar token list --json | jq -r '.data | length')" = 1 ] && curl -sf http://127.0.0.1:9464/readyz
}
# begin KEY: one operation that waits for its second approval, and one that is on its way to the chain.
begin() {
	waiting=$(asked "$1-waiting" 1) && approved "$waiting" ann &&
		going=$(asked "$1-going" 1) && approved "$going" ann bob &&
		printf 'waiting=%s\ngoing=%s\n' "$waiting" "$going" >$P/begun
}
# end NAME: what begin began is completed, each once.
end() {
	. $P/begun
	check "$1: what was under way is completed" completed "$going"
	check "$1: what waited for an approval waits" is "$waiting" PENDING_AUTHORIZATION
	check "$1: and is completed with it" eval 'approved $waiting bob && completed $waiting'
	more 2
	check "$1: each was minted once" supply "$(total)"
}
# survives NAME COMMAND…: the command ends something while operations are in flight.
survives() {
	local name=$1
	shift
	must "$name: operations are in flight" begin "${name// /-}"
	check "$name: it ends" "$@"
	must "$name: it comes back without a person" until_true all_up
	end "$name"
}
nothing_wrong() { mintwardend check | tee /dev/stderr | fails grep -q "^WRONG"; }
