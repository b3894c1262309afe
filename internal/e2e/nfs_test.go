package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"flipside/internal/hosttest"
)

// nfs installs from an NFS server on the host.
func nfs(u *unit) {
	port := serveNFS(u.t, u.shelf.dir)
	if a := u.run("network"); a.code != 0 {
		u.fatalf("network: %s%s", a.out, a.stderr)
	}
	u.says(8, fmt.Sprintf("install 'nfs://10.0.2.2:%d/export/missing.mender?vers=4'", port), "no such file")
	u.idle(partA, release(1))
	u.flipside(0, fmt.Sprintf("install 'nfs://10.0.2.2:%d/export/release-2.mender?vers=4'", port))
	u.ends(partB, release(2))
}

const ganesha = `NFS_CORE_PARAM { NFS_Port = %d; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; Protocols = 4; }
NFSv4 { Graceless = true; RecoveryRoot = %q; }
EXPORT { Export_Id = 1; Path = %q; Pseudo = /export; Access_Type = RO; SecType = sys; Squash = None; FSAL { Name = VFS; } }
`

// serveNFS serves dir as /export, and returns the port.
func serveNFS(t *testing.T, dir string) int {
	t.Helper()
	hosttest.NeedRoot(t, "NFS-Ganesha, which opens files by their handles")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	must(t, free.Close())
	work := t.TempDir()
	path := func(name string) string { return filepath.Join(work, name) }
	must(t, os.Mkdir(path("recovery"), 0o755))
	must(t, os.WriteFile(path("conf"), fmt.Appendf(nil, ganesha, port, path("recovery"), dir), 0o600))
	server := exec.Command(hosttest.Tool(t, "nfs-ganesha", "ganesha.nfsd"), "-F", "-f", path("conf"), "-L", path("log"), "-p", path("pid"), "-N", "EVENT")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	must(t, server.Start())
	gone := make(chan struct{})
	go func() { _ = server.Wait(); close(gone) }()
	t.Cleanup(func() { _ = server.Process.Kill(); <-gone })
	for deadline := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", free.Addr().String())
		if err == nil {
			must(t, c.Close())
			return port
		}
		select {
		case <-gone:
			t.Fatalf("ganesha.nfsd has ended:\n%s", hosttest.Read(t, path("log")))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("ganesha.nfsd does not answer: %v\n%s", err, hosttest.Read(t, path("log")))
		}
	}
}
