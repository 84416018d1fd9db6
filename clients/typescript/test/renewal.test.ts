import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";

import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { GetAccessTokenResponseSchema, WatchAccessTokenResponseSchema } from "../src/gen/holdfast/v1/token_service_pb.js";
import { Client, HoldfastError } from "../src/index.js";
import { Authority } from "./authority.js";

const ca = new Authority("CA");

function bytes(field: number, value: Uint8Array | string): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(typeof value === "string" ? Buffer.from(value) : value).finish();
}

/** What the broker says to somebody whose certificate has ended, as gRPC sends it. */
const refusal = Buffer.concat([
  new BinaryWriter().tag(1, WireType.Varint).int32(16).finish(), bytes(2, "the client certificate ended"),
  bytes(3, Buffer.concat([
    bytes(1, "type.googleapis.com/google.rpc.ErrorInfo"),
    bytes(2, Buffer.concat([bytes(1, "CALLER_UNAUTHENTICATED"), bytes(2, "holdfast")])),
  ])),
]).toString("base64");

function answer(watched: boolean): Buffer {
  const now = Date.now();
  const token = create(GetAccessTokenResponseSchema, {
    accessToken: "t", generation: 1n, serverTime: timestampFromMs(now), expiresAt: timestampFromMs(now + 60_000),
  });
  const message = watched
    ? toBinary(WatchAccessTokenResponseSchema, create(WatchAccessTokenResponseSchema, { event: { case: "token", value: token } }))
    : toBinary(GetAccessTokenResponseSchema, token);
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}

/** A broker for which the certificates named `old` end when `end` is called, and a client that has one. */
async function serve(t: TestContext) {
  const broker = ca.issue("broker", { ip: [127, 0, 0, 1] });
  const sessions = new Set<ServerHttp2Session>();
  let ended = false;
  let refused = 0;
  const standing = new Set<ServerHttp2Stream>();
  const refuse = (stream: ServerHttp2Stream) => {
    refused++;
    const trailers = { "grpc-status": "16", "grpc-status-details-bin": refusal };
    if (stream.headersSent) {
      stream.on("wantTrailers", () => { stream.sendTrailers(trailers); });
      stream.end();
    } else {
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailers }, { endStream: true });
    }
  };
  const server = createSecureServer({ key: broker.key, cert: broker.cert, ca: ca.cert, requestCert: true });
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined).resume();
    const old = (stream.session?.socket as TLSSocket).getPeerCertificate().subject.CN === "old";
    if (old && ended) {
      refuse(stream);
      return;
    }
    const watched = String(headers[":path"]).endsWith("/WatchAccessToken");
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    if (watched) {
      if (old) standing.add(stream);
      stream.write(answer(true));
    } else {
      stream.on("wantTrailers", () => { stream.sendTrailers({ "grpc-status": "0" }); });
      stream.end(answer(false));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dir = mkdtempSync(join(tmpdir(), "holdfast-"));
  const file = (name: string) => join(dir, name);
  const hold = (name: string) => {
    const { cert, key } = ca.issue(name, { dns: "caller.test" });
    for (const [to, text] of Object.entries({ "caller.key": key, "caller.crt": cert })) {
      writeFileSync(file("new"), text);
      renameSync(file("new"), file(to));
    }
  };
  hold("old");
  writeFileSync(file("ca.crt"), ca.cert);
  const client = new Client({
    target: `127.0.0.1:${String((server.address() as AddressInfo).port)}`, timeoutMs: 20_000,
    certFile: file("caller.crt"), keyFile: file("caller.key"), caFile: file("ca.crt"),
  });
  t.after(async () => {
    await client.close();
    for (const session of sessions) session.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  });
  return {
    client, sessions, refused: () => refused, renew: () => { hold("new"); },
    end: () => {
      ended = true;
      for (const stream of standing) refuse(stream);
    },
  };
}

const unauthenticated = (err: unknown) => err instanceof HoldfastError && err.reason === "CALLER_UNAUTHENTICATED";

test("a connection does not outlive the certificate that it showed, and nobody notices its end", async (t) => {
  const { client, sessions, refused, end, renew } = await serve(t);
  await client.tokenSource("a/b/c").token();
  end();
  await assert.rejects(client.tokenSource("a/b/c").token(), unauthenticated);
  assert.deepEqual({ connections: sessions.size, refused: refused() }, { connections: 1, refused: 1 }, "there was no other certificate yet");
  renew();
  // Many calls are under way when the first of them finds out.
  await Promise.all(Array.from({ length: 50 }, () => client.tokenSource("a/b/c").token()));
  assert.equal(sessions.size, 2);
});

test("a stream is opened at once over a connection that shows the certificate of now", async (t) => {
  const { client, sessions, end, renew } = await serve(t);
  const source = client.tokenSource("a/b/c");
  await source.token();
  end();
  await assert.rejects(source.watch().next(), unauthenticated);
  renew();
  for await (const event of source.watch()) {
    assert.equal(event.type, "token");
    break;
  }
  assert.equal(sessions.size, 2);
});

test("a stream that ended with its certificate comes back, and the token stays", async (t) => {
  const { client, sessions, end, renew } = await serve(t);
  const source = client.tokenSource("a/b/c");
  let events = 0;
  for await (const event of source.watch()) {
    assert.equal(event.type, "token");
    if (++events === 2) break;
    renew();
    end();
  }
  assert.equal(sessions.size, 2);
});
