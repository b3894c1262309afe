package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/progress"
	"flipside/internal/source"
)

// sourceFlags are the options of the commands that open a source.
func sourceFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "take the newest artifact of a directory without asking"},
		&cli.StringFlag{Name: "wait", Usage: "wait as long as `TIME`, like 60s, for a USB stick", DefaultText: "not at all"},
		&cli.IntFlag{Name: "retries", Usage: "give up after `N` tries more in a row that bring nothing", DefaultText: "10; a few while the server was never reached"},
		&cli.StringFlag{Name: "timeout", Usage: "give up a download that is not complete after `TIME`, like 90s or 2h", DefaultText: "none"},
		&cli.StringFlag{Name: "stall-timeout", Usage: "try again when nothing came for `TIME`", DefaultText: source.DefaultStallTimeout.String()},
		&cli.StringFlag{Name: "limit-rate", Usage: "download `RATE` bytes a second at most, like 500k or 2M", DefaultText: "no limit"},
		&cli.StringSliceFlag{Name: "header", Usage: "send `'NAME: VALUE'` to the web server, or what stands in @FILE, a line each; may be repeated"},
	)
}

// sourceOptions are what the command line says about the source.
func (f *flipside) sourceOptions(c *cli.Context) (o source.Options, err error) {
	o.UserAgent = "flipside/" + f.Version
	if o.Retries, err = retries(c); err != nil {
		return o, err
	}
	if o.Timeout, err = duration(c, "timeout"); err != nil {
		return o, err
	}
	if o.StallTimeout, err = duration(c, "stall-timeout"); err != nil {
		return o, err
	}
	if c.IsSet("stall-timeout") && o.StallTimeout == 0 {
		o.StallTimeout = -1 // none
	}
	if o.WaitMedium, err = duration(c, "wait"); err != nil {
		return o, err
	}
	f.yes = c.Bool("yes")
	if o.LimitRate, err = rate(c, "limit-rate"); err != nil {
		return o, err
	}
	if o.Header, err = headers(c.StringSlice("header")); err != nil {
		return o, err
	}
	o.TrustedCerts = c.String("trusted-certs")
	o.SkipVerify = c.Bool("skipverify")
	o.NotBefore, o.Evidence = f.built, "this flipside"
	return o, nil
}

// sourceArguments reads a command line that names a source.
func (f *flipside) sourceArguments(c *cli.Context) (uri string, o source.Options, err error) {
	// First: a header without quotation marks would look like an argument too many, and be shown.
	if o, err = f.sourceOptions(c); err != nil {
		return "", o, err
	}
	uri, err = argument(c, "a path to an artifact, a URL, or -")
	return uri, o, err
}

// sourceOf completes the options with what the device is configured for and knows, if there is one,
// and with who listens.
func (f *flipside) sourceOf(d *device.Device, o source.Options) source.Options {
	o.Notify = func(text string) { f.watch.Emit(progress.Event{Kind: progress.Note, Text: text}) }
	o.Warn = func(text string) { f.watch.Emit(progress.Event{Kind: progress.Warning, Text: text}) }
	if d == nil {
		return o
	}
	o.TrustedCerts = cmp.Or(o.TrustedCerts, d.Config.ServerCertificate)
	o.Certificate, o.Key = d.Config.HttpsClient.Certificate, d.Config.HttpsClient.Key
	o.SkipVerify = o.SkipVerify || d.Config.SkipVerify
	o.Choose = f.chooser(d)
	if newest, file := d.NewestTime(); newest.After(o.NotBefore) && !f.absurd(newest) {
		o.NotBefore, o.Evidence = newest, file
	}
	return o
}

// absurd says whether a time on the device cannot be right either: it was written while the clock
// was far ahead. Were it believed, no certificate would do until somebody comes and corrects it.
func (f *flipside) absurd(t time.Time) bool {
	const lifetime = 20 // years that this very program may be in use
	return !f.built.IsZero() && t.After(f.built.AddDate(lifetime, 0, 0))
}

// again repeats an install that found the file exchanged on the server before the device began to
// do anything with it: then the new file is as good as the old one.
func (f *flipside) again(run func() (*deployment.Result, error)) (*deployment.Result, error) {
	const enough = 3 // a server that exchanges it each time is broken
	for i := 1; ; i++ {
		result, err := run()
		var begun *deployment.Failure
		if i == enough || !errors.Is(err, source.ErrChanged) || errors.As(err, &begun) {
			return result, err
		}
		f.watch.Emit(progress.Event{Kind: progress.Note, Text: err.Error() + "; starting again with the new one"})
	}
}

// sourceAnywhere is sourceOf for a command that need not have a device. Where there is one, a web
// server is asked, and a directory is searched, as an install would do it.
func (f *flipside) sourceAnywhere(c *cli.Context, uri string, o source.Options) (source.Options, error) {
	on, err := f.deviceOptions(c)
	if err != nil {
		return o, err
	}
	if !source.Web(uri) {
		o = f.sourceOf(nil, o)
		o.Choose = f.chooserOn(on)
		return o, nil
	}
	d, err := device.Open(on)
	named := slices.ContainsFunc([]string{"config", "fallback-config", "datastore", "sandbox"}, c.IsSet)
	if err != nil && !named {
		d, err = nil, nil // it is a computer like others
	}
	return f.sourceOf(d, o), err
}

// redacted are arguments as others may see them.
func redacted(args []string) []string {
	shown := make([]string, len(args))
	for i, arg := range args {
		shown[i] = source.Redact(arg)
	}
	return shown
}

func retries(c *cli.Context) (int, error) {
	n := c.Int("retries")
	switch {
	case !c.IsSet("retries"):
		return 0, nil // the default
	case n < 0:
		return 0, usage("option --retries cannot be %d", n)
	case n == 0:
		return -1, nil // none
	}
	return n, nil
}

// duration reads an option like 90s, 1h30m, or just 90; 0 means no limit, or that it is not there.
func duration(c *cli.Context, name string) (time.Duration, error) {
	if !c.IsSet(name) {
		return 0, nil
	}
	text := c.String(name)
	d, err := time.ParseDuration(text)
	if seconds, numeric := strconv.ParseUint(text, 10, 31); numeric == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, usage("option --%s cannot be %q: write a time like 90s or 1h30m", name, text)
	}
	return d, nil
}

// rate reads an option like 500k or 1.5M, in the units of curl and wget; 0 if it is not there.
func rate(c *cli.Context, name string) (int64, error) {
	if !c.IsSet(name) {
		return 0, nil
	}
	text := c.String(name)
	number, unit := text, 1.0
	if i := strings.IndexAny(text, "kKmMgG"); i >= 0 && i == len(text)-1 {
		number, unit = text[:i], map[string]float64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[strings.ToLower(text[i:])]
	}
	n, err := strconv.ParseFloat(number, 64)
	if n *= unit; err != nil || !(n >= 1 && n < math.MaxInt64/2) { // also if it is no number
		return 0, usage("option --%s cannot be %q: write bytes per second, like 500k or 2M", name, text)
	}
	return int64(n), nil
}

// ours are headers that a download that may have to go on where it broke must set itself.
var ours = []string{"Range", "If-Range", "Accept-Encoding"}

// headers reads what --header says. Nothing of it may be shown: it is there for passwords.
func headers(lines []string) (http.Header, error) {
	h := http.Header{}
	for i, line := range lines {
		where := fmt.Sprintf("option --header, number %d", i+1)
		content := []string{line}
		if name, isFile := strings.CutPrefix(line, "@"); isFile {
			var err error
			if content, err = headerFile(name); err != nil {
				return nil, err
			}
			where = name
		}
		for _, text := range content {
			name, value, found := strings.Cut(text, ":")
			name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
			switch {
			case !found || name == "" || value == "":
				return nil, usage("%s: write 'NAME: VALUE', in quotation marks; it is not shown here because it may be a secret", where)
			case slices.Contains(ours, name):
				return nil, usage("%s: flipside sets %s itself", where, name)
			}
			h.Add(name, value)
		}
	}
	return h, nil
}

// headerFile reads headers, a line each, that are not to be seen on a command line.
func headerFile(name string) (lines []string, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, usage("reading headers from %s: %w", name, err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
