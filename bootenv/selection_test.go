package bootenv_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"flipside/bootenv"
)

// memory is an environment in memory that remembers each write.
type memory struct {
	vars   bootenv.Vars
	writes []bootenv.Vars
}

func (m *memory) Read(ctx context.Context, names ...string) (bootenv.Vars, error) {
	return maps.Clone(m.vars), nil
}

func (m *memory) Write(ctx context.Context, changes bootenv.Vars) error {
	m.writes = append(m.writes, changes)
	maps.Copy(m.vars, changes)
	return nil
}

func (m *memory) Inspect(ctx context.Context) (bootenv.Report, error) {
	return bootenv.Report{}, nil
}

func TestReadSelection(t *testing.T) {
	for _, tt := range []struct {
		vars bootenv.Vars
		want bootenv.Selection
		err  string
	}{
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0"}, bootenv.Selection{Part: 2}, ""},
		{bootenv.Vars{"mender_boot_part": "10", "upgrade_available": "1"}, bootenv.Selection{Part: 10, Trial: true}, ""},
		{bootenv.Vars{"mender_boot_part": "0", "upgrade_available": "0"}, bootenv.Selection{}, ""}, // a UBI volume
		{bootenv.Vars{"mender_boot_part": "02", "upgrade_available": "0"}, bootenv.Selection{Part: 2}, ""},
		{bootenv.Vars{"mender_boot_part": "2"}, bootenv.Selection{}, "upgrade_available is not defined"},
		{bootenv.Vars{"upgrade_available": "0"}, bootenv.Selection{}, "mender_boot_part is not defined"},
		{bootenv.Vars{"mender_boot_part": "two", "upgrade_available": "0"}, bootenv.Selection{}, `"two"`},
		{bootenv.Vars{"mender_boot_part": "-2", "upgrade_available": "0"}, bootenv.Selection{}, `"-2"`},
		{bootenv.Vars{"mender_boot_part": "0x2", "upgrade_available": "0"}, bootenv.Selection{}, `"0x2"`},
		{bootenv.Vars{"mender_boot_part": "99999999999", "upgrade_available": "0"}, bootenv.Selection{}, "99999999999"},
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "2"}, bootenv.Selection{}, `"2"; it must be 0 or 1`},
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0", "mender_check_saveenv_canary": "1", "mender_saveenv_canary": "1"}, bootenv.Selection{Part: 2}, ""},
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0", "mender_check_saveenv_canary": "0"}, bootenv.Selection{Part: 2}, ""},
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0", "mender_saveenv_canary": "0"}, bootenv.Selection{Part: 2}, ""},
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0", "mender_check_saveenv_canary": "1"}, bootenv.Selection{}, "canary"},
		{bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0", "mender_check_saveenv_canary": "1", "mender_saveenv_canary": "0"}, bootenv.Selection{}, "canary"},
	} {
		got, err := bootenv.ReadSelection(t.Context(), &memory{vars: tt.vars})
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("ReadSelection(%v) = %+v, %v; want %+v, %q", tt.vars, got, err, tt.want, tt.err)
		}
		if tt.err == "canary" && !errors.Is(err, bootenv.ErrCanary) {
			t.Errorf("ReadSelection(%v) = %v; want ErrCanary", tt.vars, err)
		}
	}
}

// TestSelect: what each function writes, in one write, and when it refuses.
func TestSelect(t *testing.T) {
	try := func(part int) func(bootenv.Env) error {
		return func(env bootenv.Env) error { return bootenv.Try(t.Context(), env, part) }
	}
	confirm := func(part int) func(bootenv.Env) error {
		return func(env bootenv.Env) error { return bootenv.Confirm(t.Context(), env, part) }
	}
	revert := func(part int) func(bootenv.Env) error {
		return func(env bootenv.Env) error { return bootenv.Revert(t.Context(), env, part) }
	}
	onTrial := bootenv.Vars{"mender_boot_part": "10", "mender_boot_part_hex": "a", "upgrade_available": "1", "bootcount": "0"}
	for _, tt := range []struct {
		name        string
		part, trial string
		do          func(bootenv.Env) error
		want        bootenv.Vars // nil: refused
		err         error
	}{
		{"try", "2", "0", try(10), onTrial, nil},
		{"try again", "10", "1", try(10), onTrial, nil},
		{"try another", "3", "1", try(10), nil, nil},
		{"try what is selected", "10", "0", try(10), nil, nil},
		{"try nonsense", "2", "0", try(-1), nil, nil},
		{"try without knowing", "", "0", try(10), nil, nil},
		{"confirm", "10", "1", confirm(10), bootenv.Vars{"upgrade_available": "0"}, nil},
		{"confirm again", "10", "0", confirm(10), bootenv.Vars{"upgrade_available": "0"}, nil},
		{"confirm after the fallback", "2", "0", confirm(10), nil, bootenv.ErrNotSelected},
		{"confirm another", "2", "1", confirm(10), nil, bootenv.ErrNotSelected},
		{"revert", "10", "1", revert(2), bootenv.Vars{"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0"}, nil},
		{"revert after the fallback", "2", "0", revert(2), bootenv.Vars{"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0"}, nil},
		{"revert after confirming", "10", "0", revert(2), bootenv.Vars{"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0"}, nil},
		{"revert garbage", "x", "y", revert(2), bootenv.Vars{"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vars := bootenv.Vars{"mender_boot_part": tt.part, "upgrade_available": tt.trial, "bootcount": "1", "other": "x"}
			if tt.part == "" {
				delete(vars, "mender_boot_part")
			}
			env := &memory{vars: maps.Clone(vars)}
			err := tt.do(env)
			if tt.want == nil {
				if err == nil || tt.err != nil && !errors.Is(err, tt.err) || len(env.writes) > 0 {
					t.Errorf("%v, and wrote %v; want a refusal, %v", err, env.writes, tt.err)
				}
				return
			}
			if err != nil || len(env.writes) != 1 || !maps.Equal(env.writes[0], tt.want) {
				t.Errorf("%v, and wrote %v; want %v in one write", err, env.writes, tt.want)
			}
			vars["mender_check_saveenv_canary"] = "1"
			env = &memory{vars: vars}
			if err := tt.do(env); !errors.Is(err, bootenv.ErrCanary) || len(env.writes) > 0 {
				t.Errorf("without the canary: %v, and wrote %v; want ErrCanary", err, env.writes)
			}
		})
	}
}
