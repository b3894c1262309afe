// Command bench measures flipside against its own stages, the shell, and other updaters, on loop
// devices: .ci/bench runs it. Nothing here is part of flipside.
//
// Each round runs every contender once, one after the other; what is printed are medians over the
// rounds, and of the ratios within a round, so that a machine that is busy for a while does not
// decide who is faster.
package main
