package metrics_test

import (
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The README shows every picture that is here and no other, and they are small. They are made by make pictures.
func TestPicturesOfTheReadme(t *testing.T) {
	readme := read(t, filepath.Join("..", "..", "README.md"))
	paths, err := filepath.Glob("pictures/*.png")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pictures: %v", err)
	}
	sum := int64(0)
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			sum += info.Size()
		}
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !strings.Contains(readme, "](daemon/metrics/"+path+")") {
			t.Errorf("the README does not show %s", path)
		}
	}
	if n := strings.Count(readme, "](daemon/metrics/pictures/"); n != len(paths) {
		t.Errorf("the README shows %d pictures of %d", n, len(paths))
	}
	if sum > 300<<10 {
		t.Errorf("the pictures have %d bytes", sum)
	}
}
