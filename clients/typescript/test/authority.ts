import { createSign, generateKeyPairSync, type KeyObject } from "node:crypto";

/** Key and certificate of somebody, in PEM. */
export interface Identity {
  readonly key: string;
  readonly cert: string;
}

/** What a certificate is made for. */
export interface Wish {
  readonly ip?: readonly number[];
  readonly dns?: string;
  /** When it ends. Default: in an hour. */
  readonly notAfter?: Date;
}

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const oid = (...bytes: number[]) => der(0x06, Buffer.from(bytes));
const time = (t: Date) => der(0x18, Buffer.from(`${t.toISOString().replace(/[-:T]|\.\d+Z/g, "")}Z`));
const extension = (id: Buffer, value: Buffer) => sequence(id, der(0x01, Buffer.from([0xff])), der(0x04, value));
const ecdsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));

/** A CA for tests: X.509 in as many lines as they need. */
export class Authority {
  readonly #keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  readonly #name: string;
  #serial = 1;
  /** Its own certificate, in PEM. */
  readonly cert: string;

  constructor(name: string) {
    this.#name = name;
    const basicConstraints = extension(oid(0x55, 0x1d, 0x13), sequence(der(0x01, Buffer.from([0xff]))));
    this.cert = this.#sign(name, this.#keys.publicKey, new Date(Date.now() + 3_600_000), basicConstraints);
  }

  /** Issues a certificate. */
  issue(name: string, wish: Wish): Identity {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const names = [
      ...(wish.dns === undefined ? [] : [der(0x82, Buffer.from(wish.dns))]),
      ...(wish.ip === undefined ? [] : [der(0x87, Buffer.from(wish.ip))]),
    ];
    const subjectAltName = extension(oid(0x55, 0x1d, 0x11), sequence(...names));
    return {
      key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      cert: this.#sign(name, publicKey, wish.notAfter ?? new Date(Date.now() + 3_600_000), subjectAltName),
    };
  }

  #sign(subject: string, key: KeyObject, notAfter: Date, ...extensions: Buffer[]): string {
    const distinguished = (name: string) => sequence(der(0x31, sequence(oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(name)))));
    const body = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))), der(0x02, Buffer.from([this.#serial++])), ecdsaWithSha256, distinguished(this.#name),
      sequence(time(new Date(notAfter.getTime() - 86_400_000)), time(notAfter)), distinguished(subject),
      key.export({ type: "spki", format: "der" }), der(0xa3, sequence(...extensions)),
    );
    const signature = createSign("sha256").update(body).sign(this.#keys.privateKey);
    const whole = sequence(body, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
    return `-----BEGIN CERTIFICATE-----\n${whole.toString("base64").replace(/.{64}/g, "$&\n").trim()}\n-----END CERTIFICATE-----\n`;
  }
}
