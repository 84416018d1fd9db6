import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type UnaryRequest, type UnaryResponse } from "@connectrpc/connect";

import { systemClock } from "../src/clock.js";
import { Client, ClientClosed, ConfigError, Unreachable, type ClientOptions } from "../src/index.js";
import { FakeClock } from "../src/testing/index.js";
import { fromCall } from "../src/status.js";
import { tokenFile } from "../src/tokenfile.js";
import { GetAccessTokenResponseSchema } from "../src/gen/holdfast/v1/token_service_pb.js";

/** A server that speaks just enough gRPC to hand out a token over plaintext. */
async function serve(t: TestContext, answer: "a token" | "nothing") {
  const headers: Record<string, unknown>[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream, got) => {
    headers.push(got);
    stream.on("error", () => undefined);
    if (answer === "nothing") return;
    const now = Date.now();
    const message = toBinary(GetAccessTokenResponseSchema, create(GetAccessTokenResponseSchema, {
      accessToken: "t", generation: 1n, serverTime: timestampFromMs(now), expiresAt: timestampFromMs(now + 60_000),
    }));
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => { stream.sendTrailers({ "grpc-status": "0" }); });
    stream.resume().on("end", () => stream.end(frame));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { headers, sessions, target: `127.0.0.1:${String((server.address() as AddressInfo).port)}` };
}

test("a call carries its deadline, in whole milliseconds, and what interceptors add", async (t) => {
  const { headers, target } = await serve(t, "a token");
  const client = new Client({
    target, plaintext: true, timeoutMs: 12_345,
    interceptors: [(next) => (request) => {
      request.header.set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
      return next(request);
    }],
  });
  t.after(() => client.close());
  assert.equal((await client.tokenSource("a/b/c").token()).value, "t");
  assert.match(String(headers[0]?.["grpc-timeout"]), /^12\d{3}m$/);
  assert.match(String(headers[0]?.traceparent), /^00-0af765/);
});

test("a broker that does not answer is given up after timeoutMs, and close leaves nothing", async (t) => {
  const { target } = await serve(t, "nothing");
  const before = process.getActiveResourcesInfo().filter((r) => r === "Timeout").length;
  const client = new Client({ target, plaintext: true, timeoutMs: 50 });
  await assert.rejects(client.tokenSource("a/b/c").token(), (err) => err instanceof Unreachable && err.code === "DEADLINE_EXCEEDED" && err.temporary &&
    err.message === "holdfast: UNREACHABLE: the broker did not answer in time: try later, or allow more by timeoutMs");
  await client.close();
  assert.equal(process.getActiveResourcesInfo().filter((r) => r === "Timeout").length, before);
});

test("a broker that is not there is an error at once", async () => {
  const client = new Client({ target: "127.0.0.1:1", plaintext: true });
  await assert.rejects(client.tokenSource("a/b/c").token(), (err) => err instanceof Unreachable && err.code === "UNAVAILABLE");
  await client.close();
});

test("close opens no connection for a call that an interceptor held up", async (t) => {
  const { headers, sessions, target } = await serve(t, "a token");
  let go: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (go = resolve));
  const client = new Client({ target, plaintext: true, interceptors: [(next) => async (request) => {
    await held;
    return next(request);
  }] });
  const call = assert.rejects(client.tokenSource("a/b/c").token(), ClientClosed);
  const closed = client.close();
  go();
  await closed;
  await call;
  await client.close();
  await new Promise((resolve) => setTimeout(resolve, 100)); // what would come would come at once
  assert.deepEqual({ calls: headers.length, connections: sessions.size }, { calls: 0, connections: 0 });
});

test("details that are no messages make an error all the same", () => {
  const details = [{ type: "google.rpc.ErrorInfo", value: new Uint8Array([0x0a, 0xff]) }];
  const err = fromCall(Object.assign(new ConnectError("odd", Code.PermissionDenied), { details }));
  assert.ok(err instanceof Unreachable && err.code === "PERMISSION_DENIED");
});

test("a timer that is longer than timers can be does not run at once", async () => {
  let ran = false;
  const cancel = systemClock.after(2 ** 31, () => { ran = true; }, false);
  await new Promise((resolve) => setTimeout(resolve, 20));
  cancel();
  assert.equal(ran, false);
});

const refused: { name: string; options: ClientOptions; why: RegExp }[] = [
  { name: "no identity", options: { target: "x:1" }, why: /no identity/ },
  { name: "a certificate without its key", options: { target: "x:1", certFile: "c" }, why: /no identity/ },
  { name: "two identities", options: { target: "x:1", certFile: "c", keyFile: "k", tokenFile: "t" }, why: /certificate and a token/ },
  { name: "plaintext with an identity", options: { target: "localhost:1", tokenFile: "t", plaintext: true }, why: /not both/ },
  { name: "plaintext across a network", options: { target: "broker.test:1", plaintext: true }, why: /in the clear/ },
  { name: "plaintext to a name that looks local", options: { target: "127.evil.test:1", plaintext: true }, why: /in the clear/ },
  { name: "a file that is not there", options: { target: "x:1", certFile: "/none/c", keyFile: "/none/k" }, why: /caller's certificate.*ENOENT/ },
  { name: "no port", options: { target: "broker.test" }, why: /target "broker\.test": it has no port; write host:port, e\.g\. "broker\.test:7443"/ },
  { name: "a URL", options: { target: "https://broker.test:1/x" }, why: /no URL; write "broker\.test:1"/ },
  { name: "a URL without a port", options: { target: "https://broker.test" }, why: /no URL; write "broker\.test:7443"/ },
  { name: "a URL of gRPC", options: { target: "dns:///broker.test:1" }, why: /no URL; write "broker\.test:1"/ },
  { name: "a URL of its own", options: { target: "holdfast://broker.test:1" }, why: /no URL; write "broker\.test:1"/ },
  { name: "an address of IPv6 without brackets", options: { target: "::1:7443" }, why: /write an IPv6 address in brackets, e\.g\. "\[::1\]:7443"/ },
  { name: "no target", options: { target: "" }, why: /target "": .*write host:port, e\.g\. "holdfast\.internal:7443"/ },
  { name: "a variable that is not set", options: { target: undefined as unknown as string }, why: /target is not set; write host:port/ },
  { name: "a port that is none", options: { target: "broker.test:99999" }, why: /port 99999.*1 to 65535/ },
  { name: "a name that is a port", options: { target: "broker.test:grpc" }, why: /write host:port, e\.g\. "holdfast\.internal:7443"/ },
  { name: "no time at all", options: { target: "localhost:1", plaintext: true, timeoutMs: 0 }, why: /timeoutMs 0/ },
  { name: "no end of time", options: { target: "localhost:1", plaintext: true, timeoutMs: Infinity }, why: /timeoutMs Infinity: want/ },
  { name: "more time than a timer has", options: { target: "localhost:1", plaintext: true, timeoutMs: 2 ** 31 }, why: /timeoutMs 2147483648: want/ },
];
for (const { name, options, why } of refused) {
  test(`no client is made of ${name}`, () => {
    assert.throws(() => new Client(options), (err) => err instanceof ConfigError && why.test(err.message));
  });
}

test("no client is made of a file that holds no certificate, or no single token", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-"));
  t.after(() => { rmSync(dir, { recursive: true }); });
  const file = (name: string, content: string) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  assert.throws(() => new Client({ target: "x:1", certFile: file("c", "x"), keyFile: file("k", "y") }), ConfigError);
  assert.throws(() => new Client({ target: "x:1", tokenFile: file("t", "two words secret") }), (err) =>
    err instanceof ConfigError && !err.message.includes("secret"));
});

test("a token's file is read again after 5 s, and one that is being replaced does not end the token", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-"));
  t.after(() => { rmSync(dir, { recursive: true }); });
  const file = join(dir, "token");
  writeFileSync(file, "one\n");
  const clock = new FakeClock();
  const interceptor = tokenFile(file, clock);
  const shown = async () => {
    const header = new Headers();
    await interceptor(() => Promise.resolve({} as UnaryResponse))({ header } as UnaryRequest);
    return header.get("authorization");
  };
  assert.equal(await shown(), "Bearer one");
  writeFileSync(file, "two");
  assert.equal(await shown(), "Bearer one");
  await clock.advance(5000);
  assert.equal(await shown(), "Bearer two");
  writeFileSync(file, "");
  await clock.advance(5000);
  assert.equal(await shown(), "Bearer two");
});
