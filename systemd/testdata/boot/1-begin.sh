# The package is installed, an instance begins by the ceremony, and people mint.
check "it is installed" dpkg -i /test/this.deb
check "nothing runs before a ceremony" fails systemctl is-active mintwarden mintwarden-seal

# A chain, which is no part of the appliance.
cat >/etc/systemd/system/devnet.service <<-'UNIT'
	[Unit]
	Description=a chain for the test
	[Service]
	ExecStart=/usr/bin/mintwardend devnet --dir /var/lib/devnet --rpc 127.0.0.1:8545 --period 500ms
	StateDirectory=devnet
	[Install]
	WantedBy=multi-user.target
UNIT
systemctl enable --now devnet

# Roots, of callers and of etcd, and what they issue; in life on another machine.
mkdir -p -m 0700 $P /root/etcd
mintwarden cert ca /root/pki --name acme
mintwarden cert ca /root/pki-etcd --name acme-etcd
mintwarden cert issue api --host 127.0.0.1 --ca /root/pki --out /root/pki
mintwarden cert issue server --host 127.0.0.1 --ca /root/pki-etcd --out /root/etcd --algorithm ecdsa
for n in mintwarden root mintwarden-seal; do mintwarden cert issue $n --ca /root/pki-etcd --out /root/etcd --algorithm ecdsa; done
cp /root/pki/{ca,api-ecdsa,api-mldsa}.crt $C/tls/
cp /root/pki-etcd/root-ecdsa.crt $C/tls/etcd-ca.crt
for n in server mintwarden root mintwarden-seal; do cp /root/etcd/$n-ecdsa.crt $C/tls/etcd-$n.crt; done
encrypt() { systemd-creds encrypt --with-key=host --name="$1" "$2" "$3"; }
for n in api-ecdsa api-mldsa; do encrypt api_$n.key /root/pki/$n.key $C/credentials/api/$n.key; done
for n in server mintwarden root; do encrypt api_etcd-$n.key /root/etcd/$n-ecdsa.key $C/credentials/api/etcd-$n.key; done
encrypt seal_etcd.key /root/etcd/mintwarden-seal-ecdsa.key $C/credentials/seal/etcd.key
head -c 32 /dev/urandom | encrypt seal_unseal - $C/credentials/seal/unseal
head -c 32 /dev/urandom | encrypt api_webhook - $C/credentials/api/webhook
sed -i 's/^# \[webhooks\]/[webhooks]/; s/^# key_file/key_file/; s/^# allow_networks/allow_networks/' $C/mintwarden.toml
chmod 0644 $C/credentials/*/*
sed -i 's/^chain_id = .*/chain_id = 2080377/; s/^confirmations = .*/confirmations = 2\nblock_period = "1s"/' $C/mintwarden.toml

# A software token, by the drop-in that the package documents.
mkdir -p /etc/systemd/system/mintwarden-seal.service.d
cp /usr/share/doc/mintwarden/software-token.conf.example /etc/systemd/system/mintwarden-seal.service.d/token.conf
printf 'directories.tokendir = /var/lib/mintwarden-seal/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' >$C/softhsm2.conf
install -d -o mintwarden-seal -g mintwarden-seal -m 0700 /var/lib/mintwarden-seal /var/lib/mintwarden-seal/tokens
systemctl daemon-reload

must "all is enabled" systemctl enable mintwarden-etcd-proxy@127.0.0.1:2379.socket mintwarden-seal mintwarden
must "the way to etcd listens" systemctl start mintwarden-etcd-proxy@127.0.0.1:2379.socket
must "the seal starts" timeout $patience systemctl start mintwarden-seal
check "it was ready only when it answered, sealed and without a token" said mintwarden-seal '"seal answers".*"sealed":true,"token":false'
systemctl start --no-block mintwarden # it tries until the ceremony names charter 1

# The people, each with a key of another kind, made by OpenSSL.
key() { # PERSON ALGORITHM
	openssl genpkey -out $P/$1.key -algorithm $2 ${3:+-pkeyopt $3} && openssl pkey -in $P/$1.key -pubout -out $P/$1.pub && chmod 0600 $P/$1.key
}
for person in carol dave ann; do key $person ed25519; done
for person in erin bob cat; do key $person EC ec_paramgen_curve:P-256; done
cat >$P/ceremony.toml <<-TOML
	instance = "acme-1"
	environment = "production"
	tenant = "example"
	seal_config = "$C/seal.toml"
	serve_config = "$C/mintwarden.toml"
	bootstrap = "$C/bootstrap.json"
	admin = "root"
	[tls]
	dir = "/root/pki"
	[[network]]
	name = "quantum"
	kind = "quantum"
	chain_id = 2080377
	scheme = "dilithium3"
	currency = "QC"
	default_max_fee = "1000000000000000000"
	daily_fee = "100000000000000000000"
	[custodians]
	threshold = 2
	$(for n in carol dave erin; do printf '[[custodians.member]]\nname = "%s"\npublic_keys = ["%s.pub"]\nkey = "%s.key"\n' $n $n $n; done)
	$(for n in ann bob cat; do printf '[[person]]\nname = "%s"\npublic_keys = ["%s.pub"]\n' $n $n; done)
	[groups]
	approvers = ["ann", "bob", "cat"]
	[flags]
	software_token_accepted = true
	host_key_accepted = true
TOML
must "the ceremony is held" env SOFTHSM2_CONF=$C/softhsm2.conf mintwarden init --config $P/ceremony.toml --token-backed-up --yes \
	--shares $P/shares --keys $P/keys --credential $C/credentials/seal/pin --credential-name seal_pin
cp $P/ceremony/charter1.sha256 $P/
for person in root carol dave erin ann bob cat; do
	cp $P/keys/$person.apikey $P/keys/$person.crt $P/
	cp $P/keys/$person.key $P/$person.tls.key
done
must "it serves once there is a charter" until_true systemctl is-active mintwarden
systemctl restart mintwarden # which takes the first users

# From now on the seal starts without a person: it takes the PIN from the credential that the ceremony left.
chmod 0644 $C/credentials/seal/pin
sed -i 's/^# \[pin\]/[pin]/; s/^# credential/credential/' $C/seal.toml
systemctl restart mintwarden-seal
must "it unseals by the encrypted credential" until_true said mintwarden-seal '"seal answers".*"sealed":false,"token":true'

check "nothing is wrong with it" until_true nothing_wrong
told() { { cat $C/*.* $P/ceremony/* /test/log; journalctl --no-pager -b -o json; } | grep -aqF "$(systemd-creds decrypt --name=seal_pin $C/credentials/seal/pin -)"; }
check "no file and no log has the PIN, which nobody saw" fails told

# A vault with a wallet, whom the chain's faucet knows, and a policy of two custodians.
by root user create oscar --role operator
by root credential create --user oscar --out $P/oscar.apikey
mintwarden cert issue oscar --ca /root/pki --out $P --algorithm ecdsa
mv $P/oscar-ecdsa.crt $P/oscar.crt
mv $P/oscar-ecdsa.key $P/oscar.tls.key
by oscar vault create treasury
wallet=$(by oscar wallet create --vault treasury --json | jq -er .address)
curl -s -H 'Content-Type: application/json' -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"devnet_fund\",\"params\":[\"$wallet\"]}" http://127.0.0.1:8545
echo '[{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers"},{"type":"MAX_AMOUNT","amount":"1000000000000000000000000"}]' >$P/rules.json
proposal=$(by oscar policy propose --name default --rules $P/rules.json --json)
for custodian in carol erin; do
	by $custodian policy sign "$(jq -er .id <<<"$proposal")" --key $P/$custodian.key --yes --expect-digest "$(jq -er .documentDigest <<<"$proposal")"
done
by oscar token create --name "Example Institutional Token" --symbol EIT --max-supply 1000000 --vault treasury --policy default --json | jq -er .id >$P/token
op=$(by oscar token deploy "$(cat $P/token)" --idempotency-key deploy --json | jq -er .operationId)
must "a token is deployed, with two approvals" eval 'approved $op ann bob && completed $op'
op=$(asked first 100)
must "a mint with two approvals over mTLS" eval 'approved $op ann bob && completed $op'
check "the chain has it" supply 100
again() { [ "$(asked first 100)" = "$op" ]; }
check "asked for again it is the same mint" again
check "which is not minted again" supply 100
check "webhooks' key came as a credential" by root webhook create --url https://10.20.0.1/hook --out $P/hook.secret
check "without a client certificate nobody is let in" fails curl -sf --cacert /root/pki/ca.crt https://127.0.0.1:8443/v1/tokens
