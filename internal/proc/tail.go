package proc

// TailSize is how many bytes a Tail keeps: enough for the last words of a program.
const TailSize = 10 << 10

// Tail is a writer that keeps the last TailSize bytes. Its zero value is ready.
type Tail struct {
	kept []byte
	cut  bool
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > TailSize {
		p, t.cut = p[n-TailSize:], true
	}
	if over := len(t.kept) + len(p) - TailSize; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	t.kept = append(t.kept, p...)
	return n, nil
}

// String is what was kept. If something was dropped before it, it begins with "...".
func (t *Tail) String() string {
	if t.cut {
		return "..." + string(t.kept)
	}
	return string(t.kept)
}
