package choose

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Ask asks on a terminal. An empty answer is the newest. It returns with ctx's error when ctx is
// done, and ErrDeclined for "n", "q" and the end of input.
func Ask(ctx context.Context, in, out *os.File, q Question) (int, error) {
	for _, s := range q.Skipped {
		fmt.Fprintln(out, s)
	}
	fmt.Fprintf(out, "artifacts for this device in %s:\n", q.Where)
	places := !samePlace(q.Fits)
	for i, c := range q.Fits {
		line := fmt.Sprintf("%3d  %s", i+1, c)
		if places {
			line += "  in " + c.Place
		}
		if i == 0 {
			line += "  <- newest"
		}
		fmt.Fprintln(out, line)
	}
	for {
		fmt.Fprintf(out, "which one? 1 to %d, Enter for 1, n for none: ", len(q.Fits))
		answer, err := readLine(ctx, in)
		if err == io.EOF {
			return 0, ErrDeclined
		}
		if err != nil {
			return 0, err
		}
		switch answer = strings.ToLower(strings.TrimSpace(answer)); answer {
		case "", "y", "yes":
			return 0, nil
		case "n", "no", "q", "none":
			return 0, ErrDeclined
		}
		if n, err := strconv.Atoi(answer); err == nil && 1 <= n && n <= len(q.Fits) {
			return n - 1, nil
		}
	}
}

// readLine reads a line from a terminal, which hands out whole lines. io.EOF is the end of input.
func readLine(ctx context.Context, in *os.File) (string, error) {
	const look = 200 // ms until the next look at ctx: nobody notices
	for {
		fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, look)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err == unix.EINTR || err == nil && n == 0:
			continue
		case err != nil:
			return "", fmt.Errorf("waiting for an answer: %w", err)
		}
		line := make([]byte, 1024)
		switch n, err := unix.Read(int(in.Fd()), line); {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err == unix.EIO:
			return "", io.EOF // the terminal is gone
		case err != nil:
			return "", fmt.Errorf("reading the answer: %w", err)
		case n == 0:
			return "", io.EOF
		default:
			return string(line[:n]), nil
		}
	}
}
