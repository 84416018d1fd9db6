import { readFileSync } from "node:fs";

import type { Interceptor } from "@connectrpc/connect";

import type { Clock } from "./clock.js";
import { ConfigError, inShort } from "./errors.js";

/**
 * The least time between two looks at a token's file, in milliseconds. Orchestrators
 * replace it long before the old token ends: Kubernetes does when a fifth of its life is left.
 */
const lookMs = 5000;

/**
 * Shows the bearer token in the file with each call. The file is read again when
 * lookMs have passed; one that is just being replaced does not end the token that
 * was in it. Throws ConfigError if it cannot be read now.
 */
export function tokenFile(file: string, clock: Clock): Interceptor {
  let header = `Bearer ${read(file)}`;
  let looked = clock.monotonic();
  return (next) => (request) => {
    const now = clock.monotonic();
    if (now - looked >= lookMs) {
      try {
        header = `Bearer ${read(file)}`;
        looked = now;
      } catch {
        // The old token may still be good; the next call looks again.
      }
    }
    request.header.set("authorization", header);
    return next(request);
  };
}

function read(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (err) {
    throw new ConfigError(`reading the caller's token: ${inShort(err)}`);
  }
  if (text === "" || /\s/.test(text)) throw new ConfigError(`reading the caller's token: ${file} does not hold one token`);
  return text;
}
