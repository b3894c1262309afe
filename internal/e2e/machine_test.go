package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"flipside/internal/hosttest"
)

// patience is how long anything may take: much longer than it ever does, as the host may be busy.
const patience = 5 * time.Minute

func hex(n int) string { return "0x" + strconv.FormatInt(int64(n), 16) }

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// machine is a running QEMU.
type machine struct {
	t       *testing.T
	cmd     *exec.Cmd
	console *console
	port    net.Conn // the guest's control port
	from    *bufio.Reader
	qmp     qmp
	wg      sync.WaitGroup
	conns   []net.Conn
	dead    chan struct{} // closed when QEMU has ended
	over    sync.Once
	booted  int // where on the console this machine begins
}

// start powers a board up. medium is a file for a second disk, that cannot be changed, or "". When
// the guest resets, QEMU ends: in one that goes on, the second boot takes much longer, as it has to
// throw away what it translated for the first one, bit by bit.
func (b *board) start(t *testing.T, d *disk, console *console, medium string, more ...string) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") // short: the path of a socket has a limit
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machine{t: t, console: console, booted: console.mark(), dead: make(chan struct{})}
	listen := func(name string) (*net.UnixListener, string) {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		must(t, err)
		return l.(*net.UnixListener), path
	}
	disks, diskPath := listen("disk")
	must(t, disks.SetDeadline(time.Now().Add(patience)))
	ports, portPath := listen("port")
	monitors, monitorPath := listen("qmp")
	args := append([]string{}, b.args...)
	args = append(args, "-accel", "tcg", "-m", strconv.Itoa(b.memory), "-no-reboot", "-nodefaults", "-vga", "none", "-display", "none",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", "socket,id=port,path="+portPath, "-device", b.control+",chardev=port",
		"-qmp", "unix:"+monitorPath,
		"-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path="+diskPath,
		"-device", "virtio-blk-pci,drive=disk,bootindex=0",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")
	if medium != "" {
		args = append(args, "-drive", "if=none,id=medium,format=raw,readonly=on,file="+medium, "-device", "virtio-blk-pci,drive=medium")
	}
	if b.flash != nil {
		args = append(args, "-drive", "if=pflash,index=1,format=raw,readonly=on,file="+b.flash(t))
	}
	m.cmd = exec.Command(hosttest.Tool(t, b.pkg, b.qemu), append(args, more...)...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	must(t, err)
	m.cmd.Stderr = m.cmd.Stdout
	must(t, m.cmd.Start())
	t.Cleanup(m.kill)
	m.wg.Go(func() {
		m.console.copy(out)
		_ = m.cmd.Wait() // it is killed as a rule
		close(m.dead)
	})
	m.wg.Go(func() {
		if err := m.serveDisk(disks, d); err != nil {
			m.console.note(err.Error())
		}
	})
	conns := m.accept(ports, monitors)
	m.port, m.qmp.conn = conns[0], conns[1]
	m.from, m.qmp.answers = bufio.NewReader(m.port), bufio.NewReader(m.qmp.conn)
	return m
}

// serveDisk serves d to the QEMU that comes to l, until that ends.
func (m *machine) serveDisk(l *net.UnixListener, d *disk) error {
	c, err := l.Accept()
	l.Close()
	if err != nil {
		return err
	}
	defer c.Close()
	return serve(c, d)
}

// accept waits for QEMU to come to each of its sockets.
func (m *machine) accept(listeners ...*net.UnixListener) []net.Conn {
	m.t.Helper()
	conns := make([]net.Conn, len(listeners))
	errs := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		must(m.t, l.SetDeadline(time.Now().Add(patience)))
		wg.Go(func() { conns[i], errs[i] = l.Accept() })
	}
	accepted := make(chan struct{})
	go func() { wg.Wait(); close(accepted) }()
	select {
	case <-accepted:
	case <-m.dead:
		for _, l := range listeners {
			l.Close()
		}
		<-accepted
	}
	for i, l := range listeners {
		l.Close()
		if errs[i] != nil {
			m.fatalf("QEMU: %v", errs[i])
		}
	}
	m.conns = conns
	return conns
}

// kill cuts the power.
func (m *machine) kill() {
	m.over.Do(func() {
		_ = m.cmd.Process.Kill()
		<-m.dead
		for _, c := range m.conns {
			if c != nil {
				c.Close()
			}
		}
		m.wg.Wait()
	})
}

func (m *machine) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nthe console:\n%s", fmt.Sprintf(format, args...), m.console.tail())
}

// up is what a system says when it has come up.
type up struct {
	part    int
	release string
}

// errReset: the guest has reset itself.
var errReset = errors.New("the guest has reset itself")

// waitUp waits for a system to come up, for a reset, or for a bootloader that has given up.
func (m *machine) waitUp() (up, error) {
	m.t.Helper()
	type said struct {
		line string
		err  error
	}
	lines := make(chan said, 1)
	must(m.t, m.port.SetReadDeadline(time.Now().Add(patience)))
	go func() {
		for {
			line, err := m.from.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "@up ") {
				lines <- said{line, err}
				return
			}
		}
	}()
	stopped := m.console.appears("e2e: stopped", m.booted)
	select {
	case s := <-lines:
		var u up
		if errors.Is(s.err, io.EOF) || isReset(s.err) {
			return u, errReset
		}
		if s.err != nil {
			return u, fmt.Errorf("no system came up: %w", s.err)
		}
		if _, err := fmt.Sscanf(s.line, "@up %d %s", &u.part, &u.release); err != nil {
			return u, fmt.Errorf("the guest said %q: %w", s.line, err)
		}
		return u, nil
	case <-stopped:
		_ = m.port.SetReadDeadline(time.Now())
		<-lines
		return up{}, errors.New("the bootloader stopped")
	}
}

// answer is what a command in the guest printed, and its exit code.
type answer struct {
	code        int
	out, stderr string
}

func (m *machine) run(command string) answer {
	m.t.Helper()
	a, err := m.try(command)
	if err != nil {
		m.fatalf("%s: %v", command, err)
	}
	return a
}

// try is run that may be interrupted by a power cut.
func (m *machine) try(command string) (a answer, err error) {
	if strings.Contains(command, "\n") {
		return a, fmt.Errorf("%q has more than one line", command)
	}
	if err := m.send(command); err != nil {
		return a, err
	}
	return m.answer()
}

func (m *machine) send(command string) error {
	_, err := io.WriteString(m.port, command+"\n")
	return err
}

func (m *machine) answer() (a answer, err error) {
	if err := m.port.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	var out, complaints int
	line, err := m.from.ReadString('\n')
	if err != nil {
		return a, fmt.Errorf("no answer: %w", err)
	}
	if _, err := fmt.Sscanf(line, "@done %d %d %d", &a.code, &out, &complaints); err != nil {
		return a, fmt.Errorf("the guest said %q: %w", line, err)
	}
	text := make([]byte, out+complaints)
	if _, err := io.ReadFull(m.from, text); err != nil {
		return a, err
	}
	a.out, a.stderr = string(text[:out]), string(text[out:])
	return a, nil
}
