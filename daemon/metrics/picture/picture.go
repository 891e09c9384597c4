// Package picture draws the dashboard's panels as Grafana would lay them out, from what a Prometheus answered: for
// the README, where no Grafana runs.
//
// It promises that the same data gives the same bytes, and that a panel without data is an error and no empty
// frame. It draws lines and single values, which is all that the dashboard has.
package picture

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/png"
	"math"
	"regexp"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Series is one line of a panel.
type Series struct {
	Name   string
	Points []Point // by time
}

// Point is a sample: seconds since the picture's beginning, and its value.
type Point struct{ At, Value float64 }

// Panel is one frame.
type Panel struct {
	Title      string
	Unit       string // Grafana's: short, s, bytes, ops, reqps, percentunit
	Single     bool   // the last value alone, of each series
	Words      map[float64]string
	X, Y, W, H int // on Grafana's grid of 24 columns
	Series     []Series
}

const (
	column    = 50 // pixels of a grid's column
	row       = 30 // and of its row
	dpi       = 96
	gap       = 6 // pixels around a panel
	mostNamed = 6 // series in a legend; the fullest ones
)

var (
	ground = color.RGBA{0xf4, 0xf5, 0xf7, 0xff}
	paper  = color.RGBA{0xff, 0xff, 0xff, 0xff}
	ink    = color.RGBA{0x24, 0x29, 0x2e, 0xff}
	faint  = color.RGBA{0xd8, 0xdc, 0xe0, 0xff}
	lines  = []color.RGBA{{0x1f, 0x77, 0xb4, 0xff}, {0xe3, 0x6c, 0x0a, 0xff}, {0x2c, 0x8a, 0x2c, 0xff}, {0xc0, 0x28, 0x28, 0xff},
		{0x7b, 0x52, 0xab, 0xff}, {0x8c, 0x56, 0x4b, 0xff}, {0xd0, 0x5f, 0xb0, 0xff}, {0x6f, 0x6f, 0x6f, 0xff}, {0x9a, 0x9a, 0x10, 0xff}, {0x10, 0x9a, 0xa8, 0xff}}
)

// Draw gives a PNG of panels, as high as they need.
func Draw(panels []Panel) ([]byte, error) {
	top, bottom := math.MaxInt, 0
	for _, p := range panels {
		top, bottom = min(top, p.Y), max(bottom, p.Y+p.H)
	}
	if bottom == 0 {
		return nil, fmt.Errorf("picture: no panels")
	}
	width, height := 24*column, (bottom-top)*row
	c := vgimg.NewWith(vgimg.UseWH(pixels(width), pixels(height)), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(ground))
	all := vgdraw.New(c)
	for _, p := range panels {
		frame := vgdraw.Crop(all, pixels(p.X*column+gap), -pixels(width-(p.X+p.W)*column+gap),
			pixels((bottom-p.Y-p.H)*row+gap), -pixels((p.Y-top)*row+gap))
		frame.SetColor(paper)
		frame.Fill(frame.Rectangle.Path())
		if err := p.draw(vgdraw.Crop(frame, pixels(8), -pixels(10), pixels(6), -pixels(6))); err != nil {
			return nil, err
		}
	}
	whole := c.Image()
	few := image.NewPaletted(whole.Bounds(), colors())
	draw.Draw(few, few.Bounds(), whole, image.Point{}, draw.Src)
	var out bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	if err := e.Encode(&out, few); err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	return out.Bytes(), nil
}

// colors are ours, what lies between each of them and the paper, and a web page's.
func colors() color.Palette {
	all := color.Palette{ground, paper, ink, faint}
	for _, c := range append([]color.RGBA{ink}, lines...) {
		for step := range 8 {
			mix := func(a, b uint8) uint8 { return uint8((int(a)*(8-step) + int(b)*step) / 8) }
			all = append(all, color.RGBA{mix(c.R, paper.R), mix(c.G, paper.G), mix(c.B, paper.B), 0xff})
		}
	}
	return append(all, palette.WebSafe[:256-len(all)]...)
}

func pixels(n int) vg.Length { return vg.Length(n) * vg.Inch / dpi }

func (p *Panel) draw(c vgdraw.Canvas) error {
	series := slices.DeleteFunc(slices.Clone(p.Series), func(s Series) bool { return len(s.Points) == 0 })
	if len(series) == 0 {
		return fmt.Errorf("picture: panel %q has no data", p.Title)
	}
	slices.SortStableFunc(series, func(a, b Series) int { return cmp.Or(-cmp.Compare(a.most(), b.most()), cmp.Compare(a.Name, b.Name)) })
	frame := plot.New()
	letters := func(size float64) font.Font {
		return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	}
	frame.Title.Text = p.Title
	frame.Title.TextStyle.Font, frame.Title.TextStyle.Color = letters(10), ink
	if p.Single {
		frame.HideAxes()
		text := p.said(series[0].Points[len(series[0].Points)-1].Value)
		big := frame.Title.TextStyle
		big.Font, big.Color, big.XAlign, big.YAlign = letters(22), lines[2], vgdraw.XCenter, vgdraw.YCenter
		frame.Draw(c)
		c.FillText(big, vg.Point{X: (c.Min.X + c.Max.X) / 2, Y: (c.Min.Y+c.Max.Y)/2 - pixels(8)}, text)
		return nil
	}
	for _, axis := range []*plot.Axis{&frame.X, &frame.Y} {
		axis.Tick.Label.Font, axis.Tick.Label.Color, axis.Color, axis.Tick.Color = letters(7), ink, faint, faint
		axis.Tick.Length = pixels(3)
	}
	frame.X.Tick.Marker = plot.TickerFunc(minutes)
	frame.Y.Tick.Marker = plot.TickerFunc(p.ticks)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = faint, faint
	frame.Add(grid)
	frame.Legend.TextStyle.Font, frame.Legend.TextStyle.Color = letters(6.5), ink
	frame.Legend.Top, frame.Legend.Left, frame.Legend.ThumbnailWidth = true, true, pixels(14)
	for i, s := range series {
		points := make(plotter.XYs, len(s.Points))
		for n, at := range s.Points {
			points[n] = plotter.XY{X: at.At, Y: at.Value}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("picture: panel %q: %w", p.Title, err)
		}
		line.Color, line.Width = lines[i%len(lines)], vg.Points(1.2)
		frame.Add(line)
		if i < mostNamed {
			frame.Legend.Add(shortened(s.Name), line)
		}
	}
	if more := len(series) - mostNamed; more > 0 {
		frame.Legend.Add(fmt.Sprintf("and %d more", more))
	}
	frame.Y.Min = min(0, frame.Y.Min)
	if frame.Y.Max <= frame.Y.Min {
		frame.Y.Max = frame.Y.Min + 1
	}
	// The legend stands over the lines, in a part that they are kept out of.
	frame.Y.Max += (frame.Y.Max - frame.Y.Min) * 0.11 * float64(min(len(series), mostNamed+1))
	frame.Draw(c)
	return nil
}

func (s *Series) most() float64 {
	most := 0.0
	for _, p := range s.Points {
		most = max(most, p.Value)
	}
	return most
}

// id is one of ours, of which a legend shows the end: ids of one day begin alike.
var id = regexp.MustCompile(`([a-z]+_)[0-9A-HJKMNP-TV-Z]{20}([0-9A-HJKMNP-TV-Z]{6})`)

// widest is how many characters of a name stand in a legend.
const widest = 44

func shortened(name string) string {
	name = id.ReplaceAllString(name, "$1…$2")
	if letters := []rune(name); len(letters) > widest {
		return string(letters[:widest]) + "…"
	}
	return name
}

// said is a single value: the word that the dashboard has for it, else the number.
func (p *Panel) said(v float64) string {
	if word, ok := p.Words[v]; ok {
		return word
	}
	return p.number(v)
}

// minutes marks the time since the beginning, five times or so.
func minutes(low, high float64) (ticks []plot.Tick) {
	step := max(15, math.Ceil((high-low)/5/15)*15)
	for at := math.Ceil(low/step) * step; at <= high; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%d:%02d", int(at)/60, int(at)%60)})
	}
	return ticks
}

func (p *Panel) ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = p.number(ticks[i].Value)
		}
	}
	return ticks
}

// number is a value in the panel's unit.
func (p *Panel) number(v float64) string {
	short := func(v float64) string {
		switch {
		case v >= 1e6:
			return fmt.Sprintf("%.3gM", v/1e6)
		case v >= 1e4:
			return fmt.Sprintf("%.3gk", v/1e3)
		}
		if v >= 100 {
			return fmt.Sprintf("%.0f", v)
		}
		return fmt.Sprintf("%.3g", v)
	}
	switch p.Unit {
	case "s":
		if v > 0 && v < 1 {
			return fmt.Sprintf("%.3g ms", v*1000)
		}
		if v >= 60 {
			return (time.Duration(v) * time.Second).String()
		}
		return short(v) + " s"
	case "bytes":
		return short(v/(1<<20)) + " MiB"
	case "ops", "reqps":
		return short(v) + "/s"
	case "percentunit":
		return short(v*100) + " %"
	}
	return short(v)
}
