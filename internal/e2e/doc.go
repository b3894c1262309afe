// Package e2e has only tests: they build devices for QEMU out of Debian's packages, with real
// bootloaders, and update them. One is a PC with GRUB and Mender's two-copy environment, the other
// an arm64 board with U-Boot and a redundant environment on its disk. A guest has BusyBox, our
// static binary, and nothing else that could help it. QEMU emulates in software, so it needs no
// KVM, and a device boots in 2 to 5 seconds; root is for the NFS server alone.
//
// The guest's disk is served by the test, over NBD: it has a volatile cache, so it knows what
// was flushed and what was not. The power-cut tests record what a device writes during whole
// updates, cut that anywhere, lose what was not flushed sector by sector, boot what is left, and
// expect a device that can be relied upon. Before that they prove, with builds that are broken on
// purpose, that they would find something.
//
//	go test ./internal/e2e -timeout 30m                      # as in CI
//	go test ./internal/e2e -v -run 'TestUpdates/grub'        # the stories on one device
//	go test ./internal/e2e -v -run PowerCut -cuts 1000 -timeout 0
//	go test ./internal/e2e -v -run PowerCut -cuts 99999 -for 8h -timeout 0
//	go test ./internal/e2e -v -run PowerCut -seed 4711       # the cuts of an earlier run
//
// The Debian packages that they need are installed by .ci/tools. Kernels and the arm64 BusyBox are
// downloaded by the first run, into flipside/ of the user's cache directory.
package e2e
