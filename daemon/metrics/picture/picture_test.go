package picture_test

import (
	"bytes"
	"image/png"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/metrics/picture"
)

func panels() []picture.Panel {
	line := func(name string, to float64) picture.Series {
		s := picture.Series{Name: name}
		for at := range 60 {
			s.Points = append(s.Points, picture.Point{At: float64(at), Value: to * float64(at%7)})
		}
		return s
	}
	many := []picture.Series{line("none", 0)}
	for range 12 {
		many = append(many, line("same", 2))
	}
	return []picture.Panel{
		{Title: "Seal", Unit: "short", Single: true, Words: map[float64]string{1: "up"}, Y: 1, W: 12, H: 4, Series: []picture.Series{{Points: []picture.Point{{0, 1}}}}},
		{Title: "Alarms", Unit: "short", Single: true, X: 12, Y: 1, W: 12, H: 4, Series: []picture.Series{{Points: []picture.Point{{0, 0}}}}},
		{Title: "Time", Unit: "s", Y: 5, W: 12, H: 8, Series: []picture.Series{line("a", 0.001), line("b", 90)}},
		{Title: "Size", Unit: "bytes", X: 12, Y: 5, W: 12, H: 8, Series: many},
	}
}

func TestTheSameDataIsTheSamePicture(t *testing.T) {
	one, err := picture.Draw(panels())
	if err != nil {
		t.Fatal(err)
	}
	two, err := picture.Draw(panels())
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("drawn again it is another one: %v", err)
	}
	i, err := png.Decode(bytes.NewReader(one))
	if err != nil || i.Bounds().Dx() != 1200 || i.Bounds().Dy() != 360 {
		t.Errorf("%v, %v", i.Bounds(), err)
	}
}

func TestAPanelWithoutDataIsAnError(t *testing.T) {
	ps := panels()
	ps[2].Series = []picture.Series{{Name: "nothing"}}
	if _, err := picture.Draw(ps); err == nil || !strings.Contains(err.Error(), `"Time"`) {
		t.Errorf("got %v", err)
	}
	if _, err := picture.Draw(nil); err == nil {
		t.Error("a picture of nothing")
	}
}
