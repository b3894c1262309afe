package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pipe reads what may have to be waited for: pipes, sockets, character devices. The wait ends with
// the context, whether the descriptor is blocking or not: standard input is shared with other
// processes, so we may not change how it behaves.
type pipe struct {
	ctx  context.Context
	f    *os.File
	fd   int
	name string

	wake    *os.File // an eventfd that becomes readable when ctx is done
	stop    func() bool
	stopped chan struct{} // closed when nobody writes to wake any more
}

// newPipe takes f over unless there is an error. fd is f's descriptor.
func newPipe(ctx context.Context, f *os.File, fd int, name string) (*pipe, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an event descriptor: %w", err)
	}
	p := &pipe{
		ctx: ctx, f: f, fd: fd, name: name,
		wake: os.NewFile(uintptr(wake), "eventfd"), stopped: make(chan struct{}),
	}
	p.stop = context.AfterFunc(ctx, func() {
		defer close(p.stopped)
		// It cannot block (the counter is 0) and cannot fail (the descriptor is open until stopped).
		_, _ = p.wake.Write(binary.NativeEndian.AppendUint64(nil, 1))
	})
	return p, nil
}

func (p *pipe) Size() int64 { return -1 }

func (p *pipe) Close() error {
	if !p.stop() {
		<-p.stopped // it is writing, or has
	}
	_ = p.wake.Close() // nothing was stored in it
	return p.f.Close()
}

func (p *pipe) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		if err := p.wait(); err != nil {
			return 0, err
		}
		n, err := unix.Read(p.fd, b)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR: // somebody else was faster
			continue
		case err != nil:
			return 0, explainRead(p.name, err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// wait returns nil when a read will not block for long. A named pipe that had no writer yet is not
// ready; once its last writer has gone it is, and the read says EOF.
func (p *pipe) wait() error {
	fds := []unix.PollFd{
		{Fd: int32(p.fd), Events: unix.POLLIN},
		{Fd: int32(p.wake.Fd()), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case p.ctx.Err() != nil:
			return p.ctx.Err()
		case err == unix.EINTR:
			continue
		case err != nil:
			return explainRead(p.name, err)
		}
		return nil
	}
}
