package command

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// help prints what c can do, in the library's layout.
func help(app *cli.App, c *cli.Command) error {
	w := tabwriter.NewWriter(os.Stdout, 1, 8, 2, ' ', 0)
	fmt.Fprintf(w, "NAME:\n   %s - %s\n\nUSAGE:\n   %s", c.HelpName, c.Usage, c.HelpName)
	title := "OPTIONS"
	if c.HelpName == app.Name {
		title = "GLOBAL OPTIONS"
		fmt.Fprintf(w, " [global options] command [command options]\n\nVERSION:\n   %s\n", app.Version)
	} else if c.ArgsUsage == "" {
		fmt.Fprint(w, " [command options]\n")
	} else {
		fmt.Fprintf(w, " [command options] %s\n", c.ArgsUsage)
	}
	if len(c.Subcommands) > 0 {
		fmt.Fprint(w, "\nCOMMANDS:\n")
	}
	for _, sub := range c.Subcommands {
		fmt.Fprintf(w, "   %s\t%s\n", sub.Name, sub.Usage)
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, option := range allFlags(c) {
		fmt.Fprintf(w, "   %s\n", option)
	}
	return w.Flush()
}
