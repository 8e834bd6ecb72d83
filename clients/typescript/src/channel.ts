// How a channel to a gateway is set up.
import { readFileSync } from "node:fs";
import * as grpc from "@grpc/grpc-js";

/** Each the text or the bytes of a PEM file. */
export interface Tls {
  /** Whom to trust. Unset = whom Node.js trusts. */
  ca?: string | Uint8Array;
  /** The caller's certificate, if the gateway asks for one, and its key. */
  certificate?: string | Uint8Array;
  key?: string | Uint8Array;
}

export interface ClientOptions {
  /** The gateway key, sent with every call. */
  apiKey?: string;
  /** Connect with TLS: `true` to trust whom Node.js trusts. Unset = in the clear. */
  tls?: boolean | Tls;
  /** Milliseconds for a whole call, a stream to its end; for calls that do not set their own. Unset = the gateway's limit. */
  timeoutMs?: number;
}

const MANIFEST = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

// Bytes; the gateway takes and sends as much.
const MAX_MESSAGE = 32 * 1024 * 1024;

// gRPC asks again only before anything of an answer has come. The gateway says in grpc-retry-pushback-ms when, or
// that it should not because a provider may have done what was asked.
const SERVICE_CONFIG = {
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.2s",
        maxBackoff: "5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};

const OPTIONS: grpc.ClientOptions = {
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_send_message_length": MAX_MESSAGE,
  "grpc.max_receive_message_length": MAX_MESSAGE,
  "grpc.primary_user_agent": `trunkline-client-typescript/${MANIFEST.version}`,
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
};

/** A channel that connects with the first call. */
export function openChannel(address: string, tls: ClientOptions["tls"]): grpc.Client {
  return new grpc.Client(address, credentials(tls), OPTIONS);
}

function credentials(tls: ClientOptions["tls"]): grpc.ChannelCredentials {
  if (!tls) return grpc.credentials.createInsecure();
  const { ca, key, certificate } = tls === true ? {} : tls;
  return grpc.credentials.createSsl(pem(ca), pem(key), pem(certificate));
}

function pem(file: string | Uint8Array | undefined): Buffer | null {
  return file === undefined ? null : Buffer.from(file);
}
