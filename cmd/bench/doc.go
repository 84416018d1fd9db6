// Command bench measures what the product costs on top of plain gRPC, and what
// it loses when it is killed. Every figure of cost is a ratio against a bare
// grpc-go server that is measured in the same run, in alternation, so that a slow
// or busy machine shifts both.
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
//	crash   measures no ratio: kills the broker and counts what it lost; see below
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
//
// # The case brownout
//
//	go run ./cmd/bench hot -cases brownout [-rounds N] [-duration D]
//
// Hot answers of one grant while callers wait for a provider that takes 2 s
// (brownout-slow), while nobody listens where the provider should be (brownout-dead),
// and while some hundred other grants a second are refreshed (brownout-refresh). They
// are drawn over connections, as callers draw them; and, in the lines that end in
// -inside, in the broker's own process, where a call takes some ten microseconds and
// nothing hides what locks, waits and the scheduler do. The base is the same broker
// undisturbed, slice by slice in alternation.
//
// # The suite crash
//
//	go run ./cmd/bench crash [-kills N] [-seed S] [-grants N] [-dir DIR] [-json FILE]
//
// It builds the released binary and one with crash points, lets them serve over
// a store on a real disk against a simulated provider, a lenient and a strict
// one, and kills them by SIGKILL N times while callers draw tokens: see package
// cmd/bench/crash. A kill takes about a second. The seed, which is printed, makes
// the same plan of kills again.
//
// Metrics are kills (and kills:POINT for each crash point, kills:random for the
// rest); lost, the grants that yield no good token any more; late_sends, the spent
// tokens that were sent after the leeway, and last_tries, the announced ones of
// them; saved_in_leeway, the spent tokens whose successor was lost and that a
// repeat inside the leeway brought another of; regressions, the answers to callers
// that a later one took back; rotations and answers, how much went on meanwhile. The exit
// code is 1 if there is a loss or a regression, or a late send that is no last try. The lines
// of -json have the fields suite, case, metric, value and unit.
//
// # The suite refresh
//
//	go run ./cmd/bench refresh [-store KIND] [-cases LIST] [-rounds N] [-duration D] [-grants N] [-dir DIR] [-json FILE]
//
// Whole rotations: a caller asks for the token of a grant whose token has ended,
// the broker announces an attempt durably, spends, settles durably and answers.
// Each call takes the next of many grants. Beside it, slice by slice in
// alternation, the broker's own client asks the same token endpoint, a few lines
// of net/http in a process of its own, with no broker: each POST over a connection
// of its own, as a rotation does it. Every rotation is counted at the endpoint as
// exactly one POST, or the run fails. The processes have all cores.
//
// Cases are named c64-50ms-limit16: 64 callers, a provider that takes 50 ms to
// answer, and provider.concurrency of 16 in the configuration (256 where the name
// has none). Metrics are rotations a second, with the provider's own answers
// as their base; p50_ms and p99_ms likewise; cpu_us of the broker's process for a
// rotation, beside that of the client alone; syncs for a rotation, of which two
// commits that share nothing need four, since Badger syncs its write-ahead log
// and its value log for each. With one caller, beside_two_writes_ms compares the
// time of a rotation with that of its parts: a synced transaction of bare Badger that
// stores as many bytes, a POST, and another such transaction, one after the other.
// beside_sum_ms has as its base the sum of what each part takes when nothing else is
// done in between; a sync after a POST takes longer than one after a sync. parts is how
// many such sequences a second there are, beside the provider's own answers: what a
// rotation could reach that seals, checks and decides nothing. Many callers share
// transactions there as they do in the broker, and beside_parts compares the two.
//
// With -store postgres each broker's store is a database of one private server, which
// syncs, with PostgreSQL's default settings. Cases whose provider answers at once have
// a third side: pgbench with as many clients on as many connections, in a database
// with the product's tables and as many grants. Its script is what a rotation writes:
// two transactions, of one prepared statement each, that store all of a grant's
// record and append an entry to its journal, in bytes as many as the product's. It
// looks for no conflict, groups nothing and trims no journal. The brokers are stopped
// (SIGSTOP) during its turns, and what it counted is compared with the database.
// beside_pgbench is rotations a second with its pairs a second as their base; with
// one caller, beside_two_writes_ms has the provider's time plus that of a pair as its
// base. syncs are the commits of a rotation, each of which syncs PostgreSQL's log once
// at the most. A goal that the table names is one of the ratio.
//
// # The suite scale
//
//	go run ./cmd/bench scale [-store KIND] [-sizes LIST] [-rounds N] [-idle D] [-duration D] [-dir DIR] [-json FILE]
//
// Stores of 10,000, 100,000 and a million grants of 3 KB, side by side, so that
// growth can be read off. Each is loaded in bulk by a process of its own, opened
// by bare Badger with the same options and by the product, each in a process of
// its own, from a cold page cache (its files were dropped from it) and a warm one;
// then the product serves all of them at once. Metrics are load_rate and the most
// memory of loading; ready_cold and ready_warm, until the product serves, with bare
// Badger's opening as their base; idle memory, anonymous (what only the process's
// end gives back) and resident (with mapped files); hot_p99 of the same thousand
// grants, in alternation with the smallest store, which is its base; rate, p99 and
// memory under a load by Zipf's law over all grants; due_scan_N, the time to find N
// due grants; the size on disk loaded, after a fifth of all grants was changed, and
// after the value log was collected. Where nothing else is named the base is the
// smallest store's figure.
//
// With -store postgres the stores are databases of one private server, which syncs,
// with PostgreSQL's default settings, and the processes are replicas: all memory is
// theirs, not the server's. After loading, outside of its time, the database is vacuumed
// and a checkpoint made, so that neither falls into what is measured. For ready_cold
// the server was stopped, its files dropped from the page cache, and started again; for
// ready_warm they were all read. Sizes are the sum of pg_total_relation_size of the
// product's tables, disk_changed with disk_loaded as its base. due_scan_N reads the
// index that claims go by, and claims nothing.
//
// # The suite storm
//
//	go run ./cmd/bench storm [-grants N] [-callers N] [-replicas N] [-store KIND] [-json FILE]
//
// Replicas are processes of the product's binary over one PostgreSQL, which the
// suite starts from the machine's own binaries. Every caller of every grant asks
// at every replica, sixteen grants at a time, while all access tokens have ended.
// Metrics are posts, which must be as many as there are grants; posts_twice, with
// a token that had been sent before; answered, failed and wrong, answers with
// another token than other callers of the grant got; took, p50 and p99. The exit
// code is 1 unless each grant took one POST and each caller got its token.
//
// # The suite hostile
//
//	go run ./cmd/bench hostile [-connections N] [-attacks LIST] [-duration D] [-json FILE]
//
// It attacks the product in one way after another, as strangers and as a caller
// whose certificate was stolen, while eight honest callers and one newcomer after
// another draw tokens: see package cmd/bench/hostile. Attackers run on the
// lowest priority, since theirs are other machines. The server and the attackers need a file for each of
// the N half-open connections (ulimit -n).
//
// Metrics are honest_calls and honest_failed; p99 and connect_p99, of calls on
// standing connections and of such with a handshake, in microseconds, and each in
// per cent of what it was just before the attack; rss and rss_peak, the memory of
// the server at the attack's end and at most since its start, and afterwards rss once it
// has given back what the attacks took, and after how long. The exit code is 1 if an honest call failed. On a machine that has
// other work the percentages say nothing: server, attackers and callers share it.
package main
