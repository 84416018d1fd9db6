// Command bench measures what the product costs on top of plain gRPC. Every
// figure is a ratio against a bare grpc-go server that is measured in the same
// run, in alternation, so that a slow or busy machine shifts both.
//
//	go run ./cmd/bench SUITE [-json FILE] [-cases LIST] [-rounds N] [-duration D]
//
// Suites:
//
//	hot     GetAccessToken of a 2 KiB token over mTLS, answered from the hot
//	        cache by everything that serve has switched on, against a bare
//	        server that sends the same bytes with no work behind them
//	noise   the bare server against a second bare server: how far from 1 a
//	        ratio is on this machine when there is nothing to measure
//
// Cases are named mtls-c64-k4: 64 concurrent callers over 4 connections. Each
// caller sends its next call when the previous one was answered. Metrics are
// rps, p50_ms, p99_ms (as the callers see them) and cpu_us, the processor time
// of the server process, user and system, per call.
//
// Server and load generator are processes of their own, each pinned to one
// core and to GOMAXPROCS=1. With one core the server is saturated from a few
// callers on: rps is then the inverse of its own and the kernel's work per
// call, and latency is mostly queueing.
//
// The value, the base and the ratio are medians over the rounds; the ratio is
// the median of the rounds' own ratios, which a drift between rounds does not
// touch. The table also shows the ratio's lowest and highest round.
package main
