package webhook

import (
	"encoding/base64"
	"errors"
	"reflect"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/packed"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// delivered is a delivery as earlier versions kept it.
const delivered0 = `{"id":"del_01M81ESBVQ3HTA5Y0BVG4Y81ZN","eventId":"evt_01M81ESBV587S02SRMJYX87BAB","eventType":"approval.decision","order":"op_01M81ESBRGBQQBQRW8MK4JEX99","status":"DELIVERED","attempts":[{"at":"2026-11-22T11:03:15.587Z","status":200,"ms":1}],"tries":1,"createdAt":"2026-11-22T11:03:15.57Z","finishedAt":"2026-11-22T11:03:15.588Z","body":"{\"id\":\"evt_01M81ESBV587S02SRMJYX87BAB\",\"type\":\"approval.decision\",\"createdAt\":\"2026-11-22T11:03:15Z\",\"tenantId\":\"dev\",\"data\":{\"tokenId\":\"token_01M81ERTXAF7TXR9M62FK4TNN8\",\"operationId\":\"op_01M81ESBRGBQQBQRW8MK4JEX99\",\"operationType\":\"MINT\",\"status\":\"PENDING_SIGNATURE\",\"transactionRequestId\":\"txreq_01M81ESBRGBQQBQRW8MK4JEX99\",\"network\":\"quantum-chain-devnet\",\"amount\":\"10\",\"recipient\":\"0xb2ea92c68d902EA74fce17b3ae33b2f0A3D949A6\",\"requestedBy\":\"operator\",\"requiredApprovals\":2,\"approvalGroup\":\"approvers\",\"approvedBy\":[\"approver-1\",\"approver-2\"],\"intentDigest\":\"sha256:0d0bf2bb7911d5ba0902223e09769378042dc264888855aba34449980565e543\",\"approver\":\"approver-2\",\"decision\":\"APPROVE\",\"expiresAt\":\"2026-11-23T11:03:15Z\",\"receipt\":\"/v1/token-operations/op_01M81ESBRGBQQBQRW8MK4JEX99/receipt\"}}"}`

// packed0 is the same as this version keeps it.
const packed0 = `AczWS27CMBAG4Lt0XSrP2I5n2CVqoAKBlBDRUHUTE3MEzl/JJmnerbrqOn7Invk/px87gvSUnDP5VsT6IpLzVl0IPo4NOF0iwlBN5iTwlB92l5JMEieNJg85whV07Bmx4dfJt0mWJVn+Toe92qUlcyeIvwkuwAqxAFgLuQb9osn8LcqDZcxMtAfDiJay7k84vqlQ+iZ0o4vyn6cc6O09gULt7n7uDy4QpHlRxhtTlDkfItzsVXE80ufTcxOrIRf+HONK9WcsKvJ4Fr4fTD+30/4zmiztPI9M7e6TxvhNh7xYdBXjNaKaBaaxUberA2Nl5aS0eBOxfGXFcdRK43/H/iFDohb2htYaBqi1rQQLRJROsIlYGhIK6ytGiohI68pWUinFTEJH2mkle+Z5S0JrBgCXGJuSCVYo21iGZm35WWZqpuZ9vb4GAA==`

func TestADeliveryThatWasStoredEarlierIsRead(t *testing.T) {
	t.Parallel()
	text, err := base64.StdEncoding.DecodeString(packed0)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := parseDelivery(store.KV{Key: "k", Value: []byte(delivered0)})
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDelivery(store.KV{Key: "k", Value: text})
	if err != nil || !reflect.DeepEqual(d, plain) {
		t.Errorf("got %+v (%v), want %+v", d, err, plain)
	}
	now := plain.stored()
	if d, err := parseDelivery(store.KV{Key: "k", Value: now}); err != nil || !reflect.DeepEqual(d, plain) {
		t.Errorf("got %+v (%v), want %+v", d, err, plain)
	}
	if len(now) > 400 {
		t.Errorf("%d bytes, as JSON it has %d; %s", len(now), len(delivered0), base64.StdEncoding.EncodeToString(now))
	}
	if text, err := deliveryText(store.KV{Value: now}); err != nil || string(text) != delivered0 {
		t.Errorf("%s, %v", text, err)
	}
}

func FuzzParseDelivery(f *testing.F) {
	f.Add([]byte(delivered0))
	f.Add(storedDelivery.Pack([]byte(delivered0)))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDelivery(store.KV{Key: "k", Value: b})
		if err != nil {
			return
		}
		again, err := parseDelivery(store.KV{Key: "k", Value: d.stored()})
		if errors.Is(err, packed.ErrPacked) && len(encode(d)) > maxDelivery {
			return
		}
		if err != nil || string(encode(again)) != string(encode(d)) {
			t.Errorf("%+v came back as %+v (%v)", d, again, err)
		}
	})
}
