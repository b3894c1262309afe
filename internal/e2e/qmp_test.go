package e2e_test

import (
	"bufio"
	"encoding/json"
	"net"
	"time"
)

// qmp is QEMU's machine protocol: see docs/interop/qmp-spec.txt there.
type qmp struct {
	conn    net.Conn
	answers *bufio.Reader
	greeted bool
}

// monitor changes the machine while it runs.
func (m *machine) monitor(command string, arguments map[string]any) {
	m.t.Helper()
	if !m.qmp.greeted {
		m.qmp.greeted = true
		m.monitor("qmp_capabilities", nil)
	}
	must(m.t, m.qmp.conn.SetDeadline(time.Now().Add(patience)))
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	text, err := json.Marshal(request)
	must(m.t, err)
	_, err = m.qmp.conn.Write(append(text, '\n'))
	must(m.t, err)
	for {
		line, err := m.qmp.answers.ReadString('\n')
		if err != nil {
			m.fatalf("%s: QEMU's monitor: %v", command, err)
		}
		var answer map[string]json.RawMessage
		must(m.t, json.Unmarshal([]byte(line), &answer))
		if answer["error"] != nil {
			m.fatalf("%s: QEMU says %s", command, line)
		}
		if answer["return"] != nil {
			return // all else is its greeting, and events
		}
	}
}
