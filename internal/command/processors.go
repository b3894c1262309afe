package command

import (
	"os"
	"runtime"
)

// makeRoom lets Go code run while writes wait for the medium. A system call keeps one of GOMAXPROCS until
// the runtime notices, which may take 10 ms, so there is one more for each of the two writes that are
// in flight. On a single processor this saves up to a fifth of the time. Who sets GOMAXPROCS knows better.
func makeRoom() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
}
