package artifact

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// xzAhead unpacks several blocks of a stream at a time, those whose headers say how large they are: xz
// writes such files with -T. Each is read whole, and unpacked whole, in a goroutine of its own.
//
// It only ever takes a short cut. A block that is wrong in any way is given back unread, with all that
// was read behind it, and the xzReader finds out by itself what is wrong. So whatever is refused is
// refused in the same words, after the same bytes.
type xzAhead struct {
	jobs   []*xzJob // in the order of the file; the first one is handed out
	spare  []*xzJob
	most   int  // jobs at a time; less than two: none
	memory int  // of each
	off    bool // nothing is read ahead any more
	work   sync.WaitGroup
	stop   atomic.Bool
}

// xzJob is a block being unpacked.
type xzJob struct {
	memory []byte
	xzBlock
	raw  []byte // the block as it stands in the file, or its beginning
	dict int
	data lzma2
	out  []byte
	done chan bool // whether all was right
}

// next starts as many blocks as there is room for, and returns the content of the first of them; false
// if it is for the xzReader to unpack what comes next.
func (a *xzAhead) next(x *xzReader) ([]byte, bool) {
	for !a.off && (a.most == 0 || len(a.jobs) < a.most) && a.start(x) {
	}
	if len(a.jobs) == 0 {
		return nil, false
	}
	j := a.jobs[0]
	if !<-j.done {
		a.giveBack(x)
		return nil, false
	}
	x.blocks++
	x.addSizes(uint64(j.unpadded()), uint64(j.wantUnpacked))
	return j.out, true
}

// release is called when the first block was handed out.
func (a *xzAhead) release() {
	a.spare = append(a.spare, a.jobs[0])
	a.jobs = a.jobs[1:]
}

// start begins with the block that comes next in the file, if it is one to be unpacked here.
func (a *xzAhead) start(x *xzReader) bool {
	b, dict, ok := x.peekBlock()
	if !ok {
		return false
	}
	need := b.rawSize() + b.wantUnpacked + overshoot
	if a.most == 0 {
		a.plan(need)
	}
	if a.most < 2 || need > int64(a.memory) {
		return false
	}
	j := a.job()
	j.xzBlock, j.dict = b, dict
	n, err := io.ReadFull(x.in, j.memory[:b.rawSize()])
	j.raw = j.memory[:n]
	a.jobs = append(a.jobs, j)
	if err != nil {
		a.off = true
		j.done <- false
		return false
	}
	a.work.Go(func() { j.done <- j.unpack(&a.stop) })
	return true
}

// plan decides by the first block how many are unpacked at a time.
func (a *xzAhead) plan(need int64) {
	a.most = 1
	processors := min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) // which may be more, for other reasons
	if n := min(int64(processors), maxXZAhead/need); n >= 2 && room(minXZRoom) {
		a.most = int(n)
		a.memory = maxXZAhead / a.most
	}
}

// job is one that nobody uses. Memory is not touched before it is used.
func (a *xzAhead) job() *xzJob {
	if n := len(a.spare); n > 0 {
		j := a.spare[n-1]
		a.spare = a.spare[:n-1]
		return j
	}
	return &xzJob{memory: make([]byte, a.memory), done: make(chan bool, 1)}
}

// giveBack lets x read once more what was read ahead.
func (a *xzAhead) giveBack(x *xzReader) {
	a.wait()
	var all []io.Reader
	for _, j := range a.jobs {
		all = append(all, bytes.NewReader(j.raw))
	}
	x.in.Reader = bufio.NewReaderSize(io.MultiReader(append(all, x.in.Reader)...), readBuffer)
	a.jobs = nil
}

// wait ends all goroutines.
func (a *xzAhead) wait() {
	a.off = true
	a.stop.Store(true)
	a.work.Wait()
}

// peekBlock looks at the header of the block that comes next, without reading it; false if there is
// none, or if it does not say how large the block is.
func (x *xzReader) peekBlock() (b xzBlock, dict int, ok bool) {
	size, err := x.in.Peek(1)
	if err != nil || size[0] == 0 {
		return b, 0, false
	}
	h, err := x.in.Peek((int(size[0]) + 1) * 4)
	if err != nil {
		return b, 0, false
	}
	body, sum := h[:len(h)-4], h[len(h)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return b, 0, false
	}
	b = xzBlock{header: int64(len(h)), wantPacked: -1, wantUnpacked: -1}
	stated, err := b.parse(body[1:])
	// More than fits makes the sum of both overflow.
	ok = err == nil && min(b.wantPacked, b.wantUnpacked) >= 0 && max(b.wantPacked, b.wantUnpacked) <= maxXZAhead
	b.check, _ = newXZCheck(x.check)
	return b, int(max(min(stated, b.wantUnpacked), minXZDict)), ok
}

// unpadded is the size of the block as the index has it, rawSize as the file has it.
func (b *xzBlock) unpadded() int64 { return b.header + b.wantPacked + b.checkSize() }

func (b *xzBlock) rawSize() int64 { return (b.header+b.wantPacked+3)&^3 + b.checkSize() }

func (b *xzBlock) checkSize() int64 {
	if b.check == nil {
		return 0
	}
	return int64(b.check.Size())
}

// unpack unpacks the block to the memory behind it, and says whether all of it is right.
func (j *xzJob) unpack(stop *atomic.Bool) bool {
	packed := bytes.NewReader(j.raw[j.header:][:j.wantPacked])
	want := int(j.wantUnpacked)
	j.data.begin(packed, j.dict, j.memory[len(j.raw):][:want+overshoot])
	for j.data.err == nil {
		if stop.Load() || j.data.left > 0 && j.data.unread >= want {
			return false
		}
		j.data.err = j.data.more(want)
	}
	j.out = j.data.ring[:want]
	return j.data.err == io.EOF && j.data.unread == want && packed.Len() == 0 && j.checked()
}

// checked compares padding and check.
func (j *xzJob) checked() bool {
	behind := j.raw[j.header+j.wantPacked:]
	padding, sum := behind[:int64(len(behind))-j.checkSize()], behind[int64(len(behind))-j.checkSize():]
	if !bytes.Equal(padding, make([]byte, len(padding))) {
		return false
	}
	if j.check == nil {
		return true
	}
	j.check.Write(j.out)
	return bytes.Equal(sum, j.want())
}
