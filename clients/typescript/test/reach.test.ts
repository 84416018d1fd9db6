import assert from "node:assert/strict";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createSecureServer } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createServer as createTlsServer } from "node:tls";

import { Code, ConnectError } from "@connectrpc/connect";

import { Client, ConfigError, Unreachable, type ClientOptions } from "../src/index.js";
import { explained } from "../src/reach.js";
import { Authority, type Identity } from "./authority.js";

const ca = new Authority("broker's CA"), otherCa = new Authority("another CA");
const here = { ip: [127, 0, 0, 1] };
const broker = ca.issue("broker", here), caller = ca.issue("caller", { dns: "caller.test" });

/** Port of a server that lives as long as the test. */
async function listen(t: TestContext, server: Server): Promise<string> {
  server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return String((server.address() as AddressInfo).port);
}

/** A server that no call ever gets an answer from. */
function tls(t: TestContext, own: Identity, options: { requestCert?: boolean } = {}): Promise<string> {
  const server = createSecureServer({ ...own, ca: ca.cert, rejectUnauthorized: true, ...options });
  server.on("sessionError", () => undefined).on("tlsClientError", () => undefined);
  return listen(t, server);
}

function folder(t: TestContext, contents: Record<string, string>): (name: string) => string {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-"));
  t.after(() => { rmSync(dir, { recursive: true }); });
  for (const [name, content] of Object.entries(contents)) writeFileSync(join(dir, name), content);
  return (name) => join(dir, name);
}

/** Options of a caller whom all is well with, but for the port. */
function wellFor(t: TestContext): { file: (name: string) => string; options: Omit<ClientOptions, "target"> } {
  const stranger = otherCa.issue("stranger", { dns: "stranger.test" });
  const file = folder(t, {
    "ca.crt": ca.cert, "other.crt": otherCa.cert, "caller.crt": caller.cert, "caller.key": caller.key,
    "stranger.crt": stranger.cert, "stranger.key": stranger.key,
  });
  return { file, options: { certFile: file("caller.crt"), keyFile: file("caller.key"), caFile: file("ca.crt"), timeoutMs: 10_000 } };
}

const failures: {
  name: string;
  serve: (t: TestContext) => Promise<string>;
  with?: (file: (name: string) => string) => Partial<ClientOptions>;
  host?: string;
  why: RegExp;
}[] = [
  { name: "a CA that is another one", serve: (t) => tls(t, broker), with: (file) => ({ caFile: file("other.crt") }), why: /not issued by the CA in .*other\.crt: set caFile/ },
  { name: "the system's CAs", serve: (t) => tls(t, broker), with: () => ({ caFile: undefined }), why: /not issued by a CA of the system: set caFile/ },
  { name: "a host whose name is another one", serve: (t) => tls(t, ca.issue("b", { dns: "broker.test" })), why: /not for 127\.0\.0\.1 but for DNS:broker\.test: set target/ },
  { name: "a certificate that has expired", serve: (t) => tls(t, ca.issue("b", { ...here, notAfter: new Date(Date.now() - 1000) })), why: /has expired: have it renewed/ },
  {
    name: "a caller that is not believed", serve: (t) => tls(t, broker, { requestCert: true }),
    with: (file) => ({ certFile: file("stranger.crt"), keyFile: file("stranger.key") }), why: /ended the connection.*believes the CA of the certificate in .*stranger\.crt/,
  },
  { name: "a port without TLS", serve: (t) => listen(t, createHttpServer()), why: /does not speak TLS: set target/ },
  { name: "a port without HTTP/2", serve: (t) => listen(t, createTlsServer({ ...broker }, (s) => s.on("error", () => undefined))), why: /does not speak HTTP\/2: check that target/ },
  {
    name: "plaintext to a port with TLS", serve: (t) => tls(t, broker),
    with: () => ({ certFile: undefined, keyFile: undefined, caFile: undefined, plaintext: true }), why: /one without TLS, or leave plaintext out/,
  },
  { name: "a port at which nothing listens", serve: () => Promise.resolve("1"), why: /nothing listens at 127\.0\.0\.1:1/ },
];
for (const { name, serve, with: other, why } of failures) {
  test(`a call and a watch say in words what is wrong with ${name}`, async (t) => {
    const { file, options } = wellFor(t);
    const client = new Client({ target: `127.0.0.1:${await serve(t)}`, ...options, ...other?.(file) });
    t.after(() => client.close());
    const source = client.tokenSource("a/b/c");
    const right = (err: unknown) => {
      assert.ok(err instanceof Unreachable && err.temporary, String(err));
      assert.equal(err.code, "UNAVAILABLE");
      assert.match(err.message, why);
      assert.doesNotMatch(err.message, /SSL routines|altnames|self-signed/, "the library's own words are the cause's");
      assert.ok(err.cause instanceof Error);
      return true;
    };
    await assert.rejects(source.token(), right);
    for await (const event of source.watch()) {
      assert.ok(event.type === "unavailable" && right(event.error));
      break;
    }
  });
}

test("a file that is gone when a connection is made fails that connection, with its name", async (t) => {
  const { file, options } = wellFor(t);
  const client = new Client({ target: `127.0.0.1:${await tls(t, broker)}`, ...options });
  t.after(() => client.close());
  unlinkSync(file("caller.key"));
  await assert.rejects(client.tokenSource("a/b/c").token(), (err) =>
    err instanceof Unreachable && err.code === "UNAVAILABLE" && err.cause instanceof ConfigError &&
    /^holdfast: UNREACHABLE: reading the caller's key: ENOENT.*caller\.key'; check keyFile$/.test(err.message));
});

const material: { name: string; with: (file: (name: string) => string) => Partial<ClientOptions>; why: RegExp }[] = [
  { name: "a CA's file without a certificate", with: (file) => ({ caFile: file("caller.key") }), why: /caller\.key holds no PEM certificate; check caFile/ },
  { name: "a key of another certificate", with: (file) => ({ keyFile: file("stranger.key") }), why: /stranger\.key: the key does not belong to the certificate/ },
  { name: "a certificate's file that holds the key", with: (file) => ({ certFile: file("caller.key") }), why: /caller\.key: it holds no PEM certificate; check certFile/ },
  { name: "a key's file that holds the certificate", with: (file) => ({ keyFile: file("caller.crt") }), why: /caller\.crt: it holds no PEM key without a passphrase; check keyFile/ },
];
for (const { name, with: other, why } of material) {
  test(`no client is made of ${name}, and the words say which file`, (t) => {
    const { file, options } = wellFor(t);
    assert.throws(() => new Client({ target: "x:1", ...options, ...other(file) }), (err) => {
      assert.ok(err instanceof ConfigError);
      assert.match(err.message, why);
      assert.doesNotMatch(err.message, /x:1|routines/);
      return true;
    });
  });
}

const way = { target: "b.test:1", host: "b.test", plaintext: false, certFile: "c.crt", caFile: "ca.crt" };
const alerts: { code: string; way?: Partial<typeof way> | { certFile: undefined }; why: RegExp }[] = [
  { code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", why: /refused the certificate in c\.crt \(unknown ca\)/ },
  { code: "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", why: /refused the certificate in c\.crt \(certificate expired\)/ },
  { code: "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE", why: /refused the certificate in c\.crt \(bad certificate\)/ },
  { code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", way: { certFile: undefined }, why: /demands a client certificate: set certFile/ },
  { code: "ERR_SSL_SOMETHING_NEW", why: /no TLS connection to b\.test:1 \(ERR_SSL_SOMETHING_NEW\)/ },
  { code: "ENOTFOUND", why: /no host b\.test: check target/ },
  { code: "ETIMEDOUT", why: /does not answer/ },
];
for (const { code, way: other, why } of alerts) {
  test(`words for ${code}, which the socket knows and the call does not`, () => {
    const cause = Object.assign(new Error("raw"), { code });
    const err = explained(new ConnectError("closed", Code.Canceled), cause, { ...way, ...other });
    assert.ok(err instanceof ConnectError && err.code === Code.Unavailable);
    assert.match(err.rawMessage, why);
    assert.equal(err.cause, cause);
  });
}

test("words for a connection that pings found dead", () => {
  const dead = explained(new ConnectError("PING timed out", Code.Unavailable), undefined, way);
  assert.ok(dead instanceof ConnectError && dead.code === Code.Unavailable && dead.rawMessage.startsWith("b.test:1 does not answer"));
});

test("what is not known is left as it is", () => {
  for (const err of [new ConnectError("x", Code.DeadlineExceeded), new ConnectError("x", Code.NotFound), new Error("x")]) {
    assert.equal(explained(err, undefined, way), err);
  }
  const odd = new ConnectError("x", Code.Internal, undefined, undefined, Object.assign(new Error("y"), { code: "E_ODD" }));
  assert.equal(explained(odd, undefined, way), odd);
});
