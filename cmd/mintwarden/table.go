package main

import (
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	format "github.com/jedib0t/go-pretty/v6/text"

	"github.com/mintwarden/mintwarden/policy"
)

// rows is a table for people; every cell is escaped. One of two columns says
// one thing's properties and has its id in the header.
type rows struct {
	header []string
	cells  [][]string
	spare  []string // headers of columns to leave out, first ones first, where not all fit
}

func (r *rows) add(cells ...string) { r.cells = append(r.cells, cells) }

// render lays the table out for a terminal of that many columns, 0 if that is
// not known: as a box, else as a box without some columns, which it then says,
// else as lines. Ids, addresses and digests are never torn.
func (r *rows) render(width int) string {
	e := r.escaped()
	if width <= 0 || e.wide() <= width {
		return e.box()
	}
	if len(e.header) == 2 {
		return e.lines(width)
	}
	var left []string
	narrow := e
	for _, name := range e.spare {
		narrow = narrow.without(name)
		left = append(left, name)
		if narrow.wide() <= width {
			return narrow.box() + hanging("Left out at this width: ", strings.Join(left, ", ")+"; --json prints all.", width) + "\n"
		}
	}
	return e.blocks(width)
}

func (r *rows) escaped() *rows {
	out := &rows{header: escapedCells(r.header), spare: r.spare}
	for _, cells := range r.cells {
		out.cells = append(out.cells, escapedCells(cells))
	}
	return out
}

func escapedCells(cells []string) []string {
	out := make([]string, len(cells))
	for i, s := range cells {
		out[i] = policy.Printable(s)
	}
	return out
}

// wide is how many columns the box takes.
func (r *rows) wide() int {
	sum := 1
	for n := range r.header {
		sum += 3 + r.column(n)
	}
	return sum
}

func (r *rows) column(n int) int {
	most := format.StringWidth(r.header[n])
	for _, cells := range r.cells {
		most = max(most, format.StringWidth(cells[n]))
	}
	return most
}

func (r *rows) without(name string) *rows {
	n := slices.Index(r.header, name)
	if n < 0 {
		return r
	}
	out := &rows{header: slices.Delete(slices.Clone(r.header), n, n+1)}
	for _, cells := range r.cells {
		out.cells = append(out.cells, slices.Delete(slices.Clone(cells), n, n+1))
	}
	return out
}

func (r *rows) box() string {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Format.Header = format.FormatDefault // ids stand in headers, and go from there into other commands
	w.AppendHeader(row(r.header))
	for _, cells := range r.cells {
		w.AppendRow(row(cells))
	}
	return w.Render() + "\n"
}

func row(cells []string) table.Row {
	out := make(table.Row, len(cells))
	for i, s := range cells {
		out[i] = s
	}
	return out
}

// lines is a table of two columns without its box.
func (r *rows) lines(width int) string {
	var b strings.Builder
	pad := min(r.column(0), width/3)
	for _, cells := range append([][]string{r.header}, r.cells...) {
		property(&b, cells[0], cells[1], pad, width)
	}
	return b.String()
}

// blocks is one record after the other, each cell on a line of its own. A record
// without a first cell goes on with the one before.
func (r *rows) blocks(width int) string {
	var b strings.Builder
	pad := 0
	for _, h := range r.header {
		pad = max(pad, format.StringWidth(h))
	}
	for n, cells := range r.cells {
		if n > 0 && cells[0] != "" {
			b.WriteByte('\n')
		}
		for i, s := range cells {
			if s == "" {
				continue
			}
			head := r.header[i]
			if cells[0] == "" {
				head = ""
			}
			property(&b, head, s, pad, width)
		}
	}
	if len(r.cells) == 0 {
		b.WriteString("none\n")
	}
	return b.String()
}

// property is a name and what it has, below it where that is too long beside it.
func property(b *strings.Builder, name, value string, pad, width int) {
	longest := 0
	for word := range strings.SplitSeq(value, " ") {
		longest = max(longest, format.StringWidth(word))
	}
	size := format.StringWidth(name)
	if size > pad || pad+2+longest > width {
		if name != "" {
			b.WriteString(name + "\n")
		}
		margin := len(name) - len(strings.TrimLeft(name, " ")) + 2
		b.WriteString(hanging(strings.Repeat(" ", margin), value, width) + "\n")
		return
	}
	b.WriteString(hanging(name+strings.Repeat(" ", pad-size+2), value, width) + "\n")
}
