// A `holdfast dev` of its own for a test: the binary HOLDFAST_BIN, on free ports.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Starts it, 60 s at the most; `stop` ends it and removes what it left. */
export async function startDev() {
  const home = mkdtempSync(join(tmpdir(), "holdfast-"));
  const ports = ["grpc", "http", "metrics", "sim"].map((name) => `--${name}-port=0`);
  const process_ = spawn(process.env.HOLDFAST_BIN, ["dev", ...ports], { cwd: home, stdio: ["ignore", "pipe", "pipe"] });
  const stop = async () => {
    if (process_.exitCode === null && process_.signalCode === null) {
      process_.kill("SIGTERM");
      await once(process_, "exit");
    }
    rmSync(home, { recursive: true, force: true });
  };
  let said = "";
  const ready = new Promise((resolve, reject) => {
    const look = (part) => {
      said += part;
      if (said.includes("Ctrl-C ends it")) resolve();
    };
    process_.stdout.on("data", look);
    process_.stderr.on("data", look);
    process_.on("exit", () => reject(new Error(`holdfast dev ended: ${said}`)));
    setTimeout(() => reject(new Error(`holdfast dev did not start: ${said}`)), 60_000).unref();
  });
  try {
    await ready;
  } catch (err) {
    await stop();
    throw err;
  }
  const dir = join(home, ".holdfast");
  const { addr, ca, cert, key } = JSON.parse(readFileSync(join(dir, "client.json"), "utf8"));
  return { home, stop, options: { target: addr, caFile: join(dir, ca), certFile: join(dir, cert), keyFile: join(dir, key) } };
}
