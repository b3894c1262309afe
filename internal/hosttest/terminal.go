package hosttest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal opens a pseudo terminal with so many columns: what a program writes to slave is read from
// master, and the other way round. To close master is to hang up. Where it is not possible at all,
// the test ends.
func Terminal(t Test, columns uint16) (master, slave *os.File) {
	helper(t)
	master, slave, err := openTerminal(columns)
	if err != nil {
		Lacks(t, fmt.Sprintf("this test needs pseudo terminals: %v", err))
	}
	return master, slave
}

func openTerminal(columns uint16) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = master.Close()
		}
	}()
	number, err := unlock(master, columns)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}

// unlock makes the other end ready to be opened, and returns its number.
func unlock(master *os.File, columns uint16) (number int, err error) {
	raw, err := master.SyscallConn()
	if err != nil {
		return 0, err
	}
	control := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err != nil {
			return
		}
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	})
	if control != nil {
		return 0, control
	}
	return number, err
}
