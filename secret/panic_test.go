package secret

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAPanicSaysItsTypeAndNothingThatItHolds(t *testing.T) {
	var list []int
	for _, row := range []struct {
		name string
		fail func()
		want string
	}{
		{"text", func() { panic(canary) }, "of type string"},
		{"error", func() { panic(errors.New(canary)) }, "of type *errors.errorString"},
		{"struct", func() { panic(struct{ s string }{canary}) }, "of type struct { s string }"},
		{"index", func() { _ = list[len(canary)] }, "index out of range [11] with length 0"},
		{"type", func() { _ = any(canary).(fmt.Stringer) }, "interface conversion: string is not fmt.Stringer"},
		{"nothing", func() { panic(nil) }, "panic called with nil argument"},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer func() {
				if got := OfPanic(recover()); !strings.Contains(got, row.want) || strings.Contains(got, canary) {
					t.Errorf("got %q, want %q", got, row.want)
				}
			}()
			row.fail()
		})
	}
}
