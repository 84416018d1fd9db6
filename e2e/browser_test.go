package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// browser is a headless Chromium with a profile of its own.
type browser struct {
	ctx   context.Context
	shots string
	count int
}

// startBrowser starts Chromium on a fresh, temporary profile and ends it with the test. Screenshots go to
// the directory that E2E_SCREENSHOTS names, or else to a temporary one that
// the test removes.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("Chromium is not installed: run `make test`, or `apt-get install chromium` (%v)", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // tests run as root in containers, where Chromium's sandbox cannot start
		chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, // the broker's certificate is of an authority that lives for one test
		chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.WindowSize(1000, 900),
		chromedp.WSURLReadTimeout(rig.Patience),
	)
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for Chromium to close and to leave its profile alone
		cancel()
		cancelAlloc()
	})
	b := &browser{ctx: ctx, shots: os.Getenv("E2E_SCREENSHOTS")}
	if b.shots == "" {
		b.shots = t.TempDir()
	}
	if err := chromedp.Do(ctx); err != nil { // without a deadline, which would end the browser too
		t.Fatalf("starting Chromium: %v", err)
	}
	return b
}

// do runs the actions within rig.Patience; step names them in a failure.
func (b *browser) do(t *testing.T, step string, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, rig.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatalf("%s: %v\nthe page is %s", step, err, b.text(t))
	}
}

// shoot saves a screenshot and returns the text that a person reads on the page.
func (b *browser) shoot(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, rig.Patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("taking a screenshot of the page %s: %v", name, err)
	}
	b.count++
	file := filepath.Join(b.shots, fmt.Sprintf("%s-%d-%s.png", strings.ReplaceAll(t.Name(), "/", "_"), b.count, name))
	if err := os.WriteFile(file, png, 0o600); err != nil {
		t.Fatal(err)
	}
	return b.text(t)
}

// text returns the page's address and visible text.
func (b *browser) text(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, rig.Patience)
	defer cancel()
	address, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return fmt.Sprintf("unreadable: %v", err)
	}
	body, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		return fmt.Sprintf("%s, unreadable: %v", address, err)
	}
	return address + "\n" + body
}

// atProvider is on the provider's first page: its login, or its consent page if
// the person is still logged in from before.
const atProvider = chromedp.CSS("#login, #consent")

// allow logs in at the provider as account, if it asks, and allows what is
// asked for; last is an element of the page that must follow.
func (b *browser) allow(t *testing.T, account string, last chromedp.CSS) {
	t.Helper()
	b.decide(t, account, "#allow", last)
}

// deny is allow with the other answer.
func (b *browser) deny(t *testing.T, account string, last chromedp.CSS) {
	t.Helper()
	b.decide(t, account, "#deny", last)
}

func (b *browser) decide(t *testing.T, account string, button, last chromedp.CSS) {
	t.Helper()
	b.do(t, "waiting for the provider", chromedp.WaitVisible(atProvider))
	if strings.Contains(b.shoot(t, "provider"), "Log in") {
		b.do(t, "logging in at the provider",
			chromedp.SendKeys(chromedp.CSS("input[name=account]"), account),
			chromedp.Click(chromedp.CSS("#submit")),
			chromedp.WaitVisible(chromedp.CSS("#consent")))
		b.shoot(t, "provider-consent")
	}
	b.do(t, "answering with "+string(button), chromedp.Click(button), chromedp.WaitVisible(last))
}
