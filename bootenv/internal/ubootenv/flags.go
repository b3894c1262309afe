package ubootenv

// Scheme is how the flags bytes of two valid copies say which is the current one.
type Scheme int

const (
	// Incremental: the higher number, with 0 after 255. Files, block devices, NAND, UBI.
	Incremental Scheme = iota
	// Boolean: 1 is current, 0 obsolete, 0xFF erased. NOR flash, where a byte can be cleared
	// without erasing.
	Boolean
)

// Flags bytes of the Boolean scheme.
const (
	FlagObsolete = 0
	flagActive   = 1
	flagErased   = 0xFF
)

// Current is which of two valid copies with these flags U-Boot loads: 0 or 1.
func (s Scheme) Current(f0, f1 byte) int {
	newer := f1 > f0
	if s == Boolean {
		switch {
		case f0 == f1 || f0 == flagErased:
			newer = false
		case f1 == flagErased:
			newer = true
		default:
			newer = f0 == FlagObsolete && f1 == flagActive
		}
	} else if f0 == 255 && f1 == 0 || f0 == 0 && f1 == 255 {
		// The one wrap that U-Boot knows. It is not arithmetic modulo 256.
		newer = f1 == 0
	}
	if newer {
		return 1
	}
	return 0
}

// Next is the flags byte of a copy that follows one with the flags byte current.
func (s Scheme) Next(current byte) byte {
	if s == Boolean {
		return flagActive
	}
	return current + 1
}
