package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a stack of three parts that note when they stop.
func fixture() (s *Stack, order *[]string, kill func(error)) {
	s, order = New(slog.New(slog.DiscardHandler)), new([]string)
	end := make(chan error, 2)
	note := func(name string) func(context.Context) error {
		return func(context.Context) error { *order = append(*order, name); return nil }
	}
	s.Push("store", time.Second, note("store"))
	s.Serve("rpc", time.Second, func() error { return <-end }, func(ctx context.Context) error {
		end <- nil
		return note("rpc")(ctx)
	})
	s.Push("watcher", time.Second, note("watcher"))
	return s, order, func(err error) { end <- err }
}

func TestPartsStopInReverseOrder(t *testing.T) {
	s, order, _ := fixture()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"watcher", "rpc", "store"}, *order); diff != "" {
		t.Fatal(diff)
	}
}

func TestWhenOneServerDiesAllStop(t *testing.T) {
	s, order, kill := fixture()
	cause := errors.New("listener broke")
	kill(cause)
	if err := s.Wait(t.Context()); !errors.Is(err, cause) || !strings.Contains(err.Error(), "rpc: ") {
		t.Fatalf("got %v", err)
	}
	if len(*order) != 3 {
		t.Fatalf("stopped only %v", *order)
	}
}

func TestAPartThatHangsGetsItsGraceAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, order, _ := fixture()
		s.Push("slow", 7*time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		err := s.Stop()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stopping slow") {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(began); took != 7*time.Second || len(*order) != 3 {
			t.Fatalf("took %v, stopped %v", took, *order)
		}
	})
}

func TestAPartHasEndedBeforeTheOneBelowItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(slog.New(slog.DiscardHandler))
		open := true
		s.Push("store", time.Second, func(context.Context) error { open = false; return nil })
		told := make(chan struct{})
		s.Serve("user of the store", 10*time.Second, func() error {
			<-told
			<-time.After(3 * time.Second)
			if !open {
				t.Error("the store was closed under its user")
			}
			return nil
		}, func(context.Context) error { close(told); return nil })
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAPartThatNeverEndsIsLeftBehindWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, order, _ := fixture()
		release := make(chan struct{})
		s.Serve("deaf", 7*time.Second, func() error { <-release; return nil }, func(context.Context) error { return nil })
		err := s.Stop()
		if err == nil || !strings.Contains(err.Error(), "stopping deaf: it did not end within 12s") || len(*order) != 3 {
			t.Fatalf("got %v, stopped %v", err, *order)
		}
		close(release)
	})
}
