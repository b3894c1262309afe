package artifact_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"unsafe"

	"flipside/artifact"
)

// blockPlan has a file of several blocks, the last of them short, and one behind it.
func blockPlan() *plan {
	p := newPlan()
	p.files[0].content = incompressible(9<<20 + 777)
	return p
}

// TestBlock: whole blocks that a disk can take, given back by others and out of order.
func TestBlock(t *testing.T) {
	plan := blockPlan()
	r, p, f := openFile(t, bytes.NewReader(plan.bytes()))
	defer r.Close()
	var got []byte
	var held *artifact.Block
	var giving sync.WaitGroup
	for {
		b, err := f.Block()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := min(artifact.BlockSize, int(f.Size)-len(got)); len(b.Data) != want || cap(b.Data) != artifact.BlockSize {
			t.Errorf("a block of %d bytes, with room for %d, at %d; want %d", len(b.Data), cap(b.Data), len(got), want)
		}
		if at := uintptr(unsafe.Pointer(&b.Data[0])); at%uintptr(os.Getpagesize()) != 0 {
			t.Errorf("a block at %#x; want it at a page", at)
		}
		got = append(got, b.Data...)
		clear(b.Data[:cap(b.Data)]) // it is ours
		if held == nil {
			held = b
			continue
		}
		giving.Go(b.Release)
	}
	held.Release()
	giving.Wait()
	if string(got) != plan.files[0].content {
		t.Error("the blocks are not the content")
	}
	if f, err := p.Next(); err != nil || f.Name != "two" {
		t.Errorf("the next file: %v", err)
	}
}

// TestBlockAfterRead: what Read has left of a block comes first.
func TestBlockAfterRead(t *testing.T) {
	plan := blockPlan()
	r, _, f := openFile(t, bytes.NewReader(plan.bytes()))
	defer r.Close()
	got := make([]byte, 1000)
	if _, err := io.ReadFull(f, got); err != nil {
		t.Fatal(err)
	}
	b, err := f.Block()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, b.Data...)
	b.Release()
	rest, err := io.ReadAll(f)
	if err != nil || string(got)+string(rest) != plan.files[0].content {
		t.Errorf("%d bytes by Read and Block, %d behind them, %v", len(got), len(rest), err)
	}
	if _, err := f.Block(); err != io.EOF {
		t.Errorf("Block at the end: %v", err)
	}
}

// TestBlockWrong: of a file with a wrong checksum all blocks come but the last.
func TestBlockWrong(t *testing.T) {
	plan := blockPlan()
	plan.wrongSum()
	r, _, f := openFile(t, bytes.NewReader(plan.bytes()))
	defer r.Close()
	n := 0
	b, err := f.Block()
	for ; err == nil; b, err = f.Block() {
		n++
		b.Release()
	}
	if n != 9 || !errors.Is(err, artifact.ErrChecksum) {
		t.Errorf("%d blocks, %v; want 9, and a wrong checksum", n, err)
	}
}

// TestBlockClosed: a Reader that is closed hands out nothing, and takes back what was lent.
func TestBlockClosed(t *testing.T) {
	r, _, f := openFile(t, bytes.NewReader(blockPlan().bytes()))
	b, err := f.Block()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.Release()
	if _, err := f.Block(); err == nil || err == io.EOF {
		t.Errorf("Block of a closed Reader: %v", err)
	}
}
