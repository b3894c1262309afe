package slot_test

import (
	"bytes"
	"testing"

	"flipside/internal/slot"
)

// BenchmarkWrite writes to a loop device: fresh noise, past the page cache and through it, with and
// without reading back; what is there already; and zeros.
func BenchmarkWrite(b *testing.B) {
	const size = 64 * mib
	images := [2][]byte{noise(size, 1), noise(size, 2)}
	for _, mode := range []string{"differs", "read back", "same", "cached", "zeros"} {
		b.Run(mode, func(b *testing.B) {
			c, p := loops(b, size)
			target, err := slot.Open(slot.Access{Config: c, FS: &opens{buffered: mode == "cached"}}, p.Inactive())
			if err != nil {
				b.Fatal(err)
			}
			defer target.Close()
			zeros := make([]byte, size)
			b.SetBytes(size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				image := images[i%2]
				switch mode {
				case "same":
					image = images[0]
				case "zeros":
					image = [2][]byte{zeros, images[0]}[i%2]
				}
				if mode == "read back" {
					_, err = target.WriteAndReadBack(b.Context(), blocks{bytes.NewReader(image)}, size)
				} else {
					_, err = target.Write(b.Context(), blocks{bytes.NewReader(image)}, size)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
