package cmdline_test

import (
	"errors"
	"strings"
	"testing"

	"flipside/internal/cmdline"
)

var spec = cmdline.Spec{
	Global: cmdline.Options{"config": true, "c": true, "skipverify": false},
	Commands: map[string]cmdline.Options{
		"install":        {"reboot-exit-code": false, "stop-before": true},
		"commit":         {},
		"sandbox":        {},
		"sandbox create": {"slot-size": true},
		"verify":         {"c": false},
	},
}

func TestArrange(t *testing.T) {
	for in, want := range map[string]string{
		"install f --reboot-exit-code":         "install --reboot-exit-code f",
		"install f --stop-before Cleanup -c x": "-c x install --stop-before Cleanup f",
		"--config=x install f":                 "--config=x install f",
		"install --skipverify f":               "--skipverify install f",
		"-install f":                           "install f",
		"--commit":                             "commit",
		"install -install":                     "install -install",
		"install -":                            "install -",
		"install -- -odd":                      "install -- -odd",
		"install --stop-before -- f":           "install --stop-before -- f",
		"install --unknown f":                  "install --unknown f",
		"install f --stop-before":              "install --stop-before",
		"-c x install f --config":              "-c x --config",
		"sandbox create d --slot-size":         "sandbox create --slot-size",
		"-c":                                   "-c",
		"install f --help":                     "install --help",
		"sandbox create d --slot-size 4 -c x":  "-c x sandbox create --slot-size 4 d",
		"sandbox boot d":                       "sandbox boot d",
		"verify -c f":                          "verify -c f",
		"--unknown install":                    "--unknown install",
		"":                                     "",
		"commit extra words":                   "commit extra words",
		"install sandbox create":               "install sandbox create",
	} {
		got := strings.Join(cmdline.Arrange(strings.Fields(in), spec), " ")
		if got != want {
			t.Errorf("Arrange(%s) = %s; want %s", in, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	for theirs, ours := range map[string]string{
		"flag provided but not defined: -force":                  "no such option: --force",
		"flag provided but not defined: -f":                      "no such option: -f",
		"flag needs an argument: -stop-before":                   "option --stop-before needs a value",
		"flag needs an argument: -c":                             "option -c needs a value",
		`invalid value "many" for flag -slot-size: parse error`:  `option --slot-size cannot be "many"`,
		`invalid boolean value "perhaps" for -json: parse error`: `option --json cannot be "perhaps"`,
		"bad flag syntax: ---x":                                  "no such option: ---x",
		"something else":                                         "something else",
	} {
		if got := cmdline.Explain(errors.New(theirs)).Error(); got != ours {
			t.Errorf("Explain(%s) = %s; want %s", theirs, got, ours)
		}
	}
}
