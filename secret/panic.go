package secret

import (
	"fmt"
	"runtime"
)

// OfPanic says of a recovered panic's value what may be written down: its type,
// and the words of a fault that the runtime found, which name types, lengths and
// indexes. Anything else may hold what the code had in its hands when it failed;
// where that was stands in the stack.
func OfPanic(value any) string {
	if fault, ok := value.(runtime.Error); ok {
		return fault.Error()
	}
	return fmt.Sprintf("of type %T", value)
}
