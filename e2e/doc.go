// Package e2e runs the real holdfast binary against an authorization server
// that shares no code with it: npm's certified oidc-provider, with rotation of
// refresh tokens and reuse detection on, and a person's part played by a real
// headless Chromium. What the simulator and the broker could both have
// misunderstood in the same way shows here.
//
// It holds tests only; what runs the broker for them is package rig. They need
// node, the packages of package-lock.json and Chromium; `make test` installs all
// three. A missing one fails the tests and is named with the command that
// installs it: nothing is skipped. Below it, package machine holds the faults of
// the machine, and the module fosite a second independent provider, with a leeway.
package e2e
