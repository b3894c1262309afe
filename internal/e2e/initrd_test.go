package e2e_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"flipside/internal/hosttest"
)

// initrd is an initial RAM disk that mounts the root filesystem. It is compressed, to fit beside the
// kernel into a small memory.
func initrd(t *testing.T, d debian) []byte {
	t.Helper()
	var c cpio
	for _, dir := range []string{"bin", "dev", "modules", "proc", "root"} {
		c.add(dir, 0o040755, nil)
	}
	c.add("bin/busybox", 0o100755, hosttest.Read(t, d.busybox))
	for _, applet := range []string{"sh", "mount", "umount", "insmod", "cat", "switch_root"} {
		c.add("bin/"+applet, 0o120777, []byte("busybox"))
	}
	files := moduleFiles(t, d, earlyModules...)
	for _, file := range files {
		c.add("modules/"+moduleName(file)+".ko", 0o100644, hosttest.Read(t, file))
	}
	c.add("modules/list", 0o100644, moduleList(files))
	c.add("init", 0o100755, hosttest.Read(t, "testdata/initrd-init"))
	c.add("TRAILER!!!", 0, nil)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(c.Bytes())
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// cpio is an archive as the kernel unpacks it: see Documentation/driver-api/early-userspace/buffer-format.rst.
type cpio struct {
	bytes.Buffer
	entries int
}

func (c *cpio) add(name string, mode int, content []byte) {
	c.entries++
	c.WriteString("070701")
	for _, field := range []int{c.entries, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0} {
		fmt.Fprintf(c, "%08x", field)
	}
	c.WriteString(name + "\x00")
	c.align()
	c.Write(content)
	c.align()
}

func (c *cpio) align() { c.Write(make([]byte, -c.Len()&3)) }
