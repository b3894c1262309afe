package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"flipside/internal/report"
)

// man prints the man page, section 8, in the macros of man(7).
func (f *flipside) man(c *cli.Context) error {
	if err := noArgument(c); err != nil {
		return err
	}
	_, err := io.WriteString(os.Stdout, wordsOf(c.App).man(f.Version, f.day()))
	return err
}

// day is that of the build, or, where that is not known, today: a page must have one.
func (f *flipside) day() time.Time {
	if f.built.IsZero() {
		return time.Now()
	}
	return f.built
}

func (w words) man(version string, date time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH FLIPSIDE 8 %s \"flipside %s\" \"System administration\"\n", date.UTC().Format(time.DateOnly), roff(version))
	fmt.Fprintf(&b, ".SH NAME\nflipside \\- %s\n", roff(w.usage))
	b.WriteString(".SH SYNOPSIS\n.B flipside\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIargument\\fR]\n")
	b.WriteString(".SH DESCRIPTION\n" + roff(`An update is installed into the root filesystem that is not running, and tried with the next boot. `+
		`If the new system does not come up, or nobody commits it, the bootloader goes back to the old one. `+
		`Other payloads go to update modules. Options may stand anywhere.`) + "\n")
	b.WriteString(".SH COMMANDS\n")
	for _, c := range w.commands {
		if c.group {
			continue
		}
		fmt.Fprintf(&b, ".SS %s", roffArg("flipside "+strings.TrimSpace(c.name+" "+c.argument)))
		fmt.Fprintf(&b, "\n%s.\n", roff(sentence(c.usage)))
		writeOptions(&b, c.options)
	}
	b.WriteString(".SH OPTIONS\nOf every command:\n")
	writeOptions(&b, w.options)
	b.WriteString(".SH EXIT STATUS\n")
	for code, meaning := range report.Meanings {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code, roff(meaning))
	}
	b.WriteString(".SH FILES\n")
	for _, f := range [][2]string{
		{"/etc/mender/mender.conf, /var/lib/mender/mender.conf", "configuration"},
		{"/var/lib/mender/device_type", "what artifacts must be made for"},
		{"/var/lib/mender/flipside/", "what is installed, and what is in progress"},
		{"/usr/share/mender/modules/v3/", "update modules"},
		{"/etc/fw_env.config", "where U-Boot's environment is"},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	return b.String()
}

// writeOptions lists options, but not --help, which each command has.
func writeOptions(b *strings.Builder, options []option) {
	for _, o := range options {
		if o.names[0] == "--help" {
			continue
		}
		var forms []string
		for _, name := range o.names {
			form := "\\fB" + roff(name) + "\\fR"
			if o.value != "" {
				form += " \\fI" + roff(o.value) + "\\fR"
			}
			forms = append(forms, form)
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", strings.Join(forms, ", "), roff(o.usage))
	}
}

// sentence begins with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// roff is text that means itself.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// roffArg is text as one argument of a macro.
func roffArg(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `""`) + `"` }
