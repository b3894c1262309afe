package bootenv

import (
	"context"
	"maps"
	"slices"
)

// Change is a variable before and after. Undefined is "".
type Change struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Preview is what Try(part) would change. It writes nothing.
func Preview(ctx context.Context, env Env, part int) ([]Change, error) {
	after := trial(part)
	names := slices.Sorted(maps.Keys(after))
	before, err := env.Read(ctx, names...)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, name := range names {
		if before[name] != after[name] {
			changes = append(changes, Change{name, before[name], after[name]})
		}
	}
	return changes, nil
}
