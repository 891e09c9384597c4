package store

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"regexp"
	"testing"
	"time"
)

// TestAnEventIsWrittenAsJSONHasIt: what encode writes by hand is what the encoder would.
func TestAnEventIsWrittenAsJSONHasIt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 4, 27, 10, 14, 0, 0, time.UTC)
	for _, e := range []PendingEvent{
		{ID: NewID("evt_"), Type: "token.minted", At: at, Order: "op_1", Data: jsontext.Value(`{"a":1}`)},
		{ID: NewID("evt_"), Type: "a.b_c.d", At: at.Add(120 * time.Millisecond), Data: jsontext.Value(`{"reason":"<é\u0001\"&>"}`)},
	} {
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.encode(); string(got) != string(want) {
			t.Errorf("written as %s, want %s", got, want)
		}
		if read, err := ParsePendingEvent(e.encode()); err != nil || read.ID != e.ID || !read.At.Equal(e.At) || read.Order != e.Order || string(read.Data) != string(e.Data) {
			t.Errorf("%s is read as %+v, %v", e.encode(), read, err)
		}
	}
}

// TestNamesInKeys holds the checks of ids, types and orders against what they stand for.
func TestNamesInKeys(t *testing.T) {
	t.Parallel()
	kind, order := regexp.MustCompile(`^[a-z]+(\.[a-z_]+)+$`), regexp.MustCompile(`^[0-9A-Za-z_]{0,64}$`)
	id := regexp.MustCompile(`^[a-z]+_[0-9A-HJKMNP-TV-Z]{26}$`)
	const ulid = "01JXXXXXXXXXXXXXXXXXXXXXXX"
	for _, s := range []string{
		"", "a", "a.b", "a_b.c", "a.b_c", "a.", ".a", "a..b", "a.b.", "A.b", "a.B", "a.b1", "a.b.c_", "é.b", "a.b\n", "op_1", "op/1", "Zz9_", "a b", "a\x00",
		"0123456789012345678901234567890123456789012345678901234567890123", "01234567890123456789012345678901234567890123456789012345678901234",
		"op_" + ulid, "op_" + ulid + "\n", "op_" + ulid[1:], "op_" + ulid + "0", "op__" + ulid[1:], "_" + ulid, "OP_" + ulid, "op1_" + ulid, "op_01JXXXXXXXXXXXXXXXXXXXXXXI",
		"op_01jxxxxxxxxxxxxxxxxxxxxxxx", "op_../" + ulid[3:], "op" + ulid, "token_op_" + ulid,
	} {
		if got, want := isEventType(s), kind.MatchString(s); got != want {
			t.Errorf("%q as a type: %t", s, got)
		}
		if got, want := isOrder(s), order.MatchString(s); got != want {
			t.Errorf("%q as an order: %t", s, got)
		}
		if got, want := ValidID("", s), id.MatchString(s); got != want {
			t.Errorf("%q as an id: %t", s, got)
		}
	}
	if ValidID("token_", "op_"+ulid) {
		t.Error("an operation's id is a token's")
	}
}
