package packed

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
)

var kind = New(2, `{"action":"operation.approval_recorded","actorId":"approver-1","actorType":"user","assertedBy":"seal","createdAt":"20`+
	`26-11-22T10:00:00.000Z","ip":"127.0.0.1","metadata":{},"requestId":"","resourceType":"operation","tenantId":"","userAgent":""}`)

// value is one of the kind.
const value = `{"action":"operation.submitted","actorId":"somebody","actorType":"user","assertedBy":"api","createdAt":"2026-11-22T11:03:08.43Z"}`

func TestTheExactBytesComeBack(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for _, value := range []string{"", "{}", value, strings.Repeat("ab", 5000), "\x02marked", "\x02"} {
		all.Go(func() {
			for range 20 {
				stored := kind.Pack([]byte(value))
				if len(stored) > len(value) && !strings.HasPrefix(value, "\x02") {
					t.Errorf("%.20q has %d bytes, packed %d", value, len(value), len(stored))
				}
				got, err := kind.Unpack(stored, len(value))
				if err != nil || string(got) != value {
					t.Errorf("%.20q came back as %.20q (%v)", value, got, err)
				}
			}
		})
	}
	all.Wait()
}

// What is stored already is read with the same mark and dictionary for ever.
func TestAValueThatWasPackedEarlierIsRead(t *testing.T) {
	t.Parallel()
	earlier, err := hex.DecodeString("02c2eae5e2d2a4dccc921234af16e7e7a626e5a754c2fc8fc7a389059978fc696865606c6560a167621ca5540b1800")
	if err != nil {
		t.Fatal(err)
	}
	got, err := kind.Unpack(earlier, 200)
	if err != nil || string(got) != value {
		t.Errorf("%q, %v; packed now it is %q", got, err, kind.Pack([]byte(value)))
	}
	if got, err := kind.Unpack([]byte("{}"), 1); err != nil || string(got) != "{}" {
		t.Errorf("%q, %v", got, err)
	}
}

// A value of a kilobyte does not become a gigabyte in memory, and nothing hides behind its end.
func TestAttack_ABombInAPackedValue(t *testing.T) {
	t.Parallel()
	bomb := kind.Pack(bytes.Repeat([]byte{'a'}, 64<<20))
	if _, err := kind.Unpack(bomb, 1000); !errors.Is(err, ErrPacked) {
		t.Errorf("a bomb of %d bytes: %v", len(bomb), err)
	}
	whole := kind.Pack([]byte(value))
	for name, b := range map[string][]byte{"cut": whole[:len(whole)-3], "longer": append(bytes.Clone(whole), 0), "bare mark": {2}} {
		if got, err := kind.Unpack(b, 1000); !errors.Is(err, ErrPacked) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte{2})
	f.Add(kind.Pack([]byte(value)))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 16
		value, err := kind.Unpack(b, most)
		if err != nil {
			if !errors.Is(err, ErrPacked) {
				t.Error(err)
			}
			return
		}
		if kind.Packed(b) && len(value) > most {
			t.Errorf("%d bytes", len(value))
		}
		again, err := kind.Unpack(kind.Pack(value), len(value))
		if err != nil || !bytes.Equal(again, value) {
			t.Errorf("%q came back as %q (%v)", value, again, err)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	for b.Loop() {
		if _, err := kind.Unpack(kind.Pack([]byte(value)), 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
