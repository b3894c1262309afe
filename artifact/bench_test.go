package artifact_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"flipside/artifact"
)

// BenchmarkRead reads 16 MiB of payload, per compression, and zeros, which an image is full of. MB/s are
// of what is unpacked.
func BenchmarkRead(b *testing.B) {
	for _, content := range [][]byte{textual(16 << 20), make([]byte, 16<<20)} {
		for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.Zstd, artifact.XZ} {
			s := smallSpec(c)
			s.Files = []artifact.FileSpec{artifact.FileBytes("image.ext4", content)}
			file := written(b, s)
			name := string(c)
			if content[0] == 0 {
				name += " zeros"
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				b.ReportAllocs()
				for b.Loop() {
					if err := discardAll(bytes.NewReader(file)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// textual makes size bytes that compress about as root file systems do, to a third.
func textual(size int) []byte {
	var b bytes.Buffer
	for i := uint64(0); b.Len() < size; i++ {
		fmt.Fprintf(&b, "line %d of a file, with %x in it\n", i, i*i*2654435761)
	}
	return b.Bytes()[:size]
}

func discardAll(r io.Reader) error {
	rd, err := artifact.NewReader(r, nil)
	if err != nil {
		return err
	}
	defer rd.Close()
	p, err := rd.Next()
	if err != nil {
		return err
	}
	for {
		f, err := p.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if _, err := f.WriteTo(io.Discard); err != nil {
			return err
		}
	}
	if _, err := rd.Next(); err != io.EOF {
		return err
	}
	return nil
}
