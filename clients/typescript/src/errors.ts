// How a call fails: the status, and the typed details that the gateway puts on it.
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./generated/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "./generated/google/rpc/status_pb.js";
import { type CallFailure, CallFailureSchema, ErrorReason } from "./generated/trunkline/v1/call_pb.js";

/** The name of a status code: "UNAVAILABLE". */
export type Code = keyof typeof grpc.status;

/** Why the gateway failed a call. Empty if gRPC itself, or something between here and the gateway, made the status. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED"> | "";

/** A field of the request that is wrong, and what would be right. */
export interface FieldViolation {
  field: string;
  description: string;
}

interface Facts {
  code: Code;
  reason?: Reason;
  retryDelayMs?: number;
  fieldViolations?: readonly FieldViolation[];
  metadata?: Readonly<Record<string, string>>;
  callId?: string;
  failure?: CallFailure;
  isRetryable?: boolean;
}

/** A call that failed. */
export class TrunklineError extends Error {
  override readonly name = "TrunklineError";
  readonly code: Code;
  /** Of a gateway that is newer than this client perhaps a word that is not in the type. */
  readonly reason: Reason;
  /** Until another try makes sense, if the gateway says so. */
  readonly retryDelayMs: number | undefined;
  readonly fieldViolations: readonly FieldViolation[];
  /** ErrorInfo.metadata. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The call's id in the gateway's log. Empty if the call did not get there. */
  readonly callId: string;
  /** Set once the call got as far as a target: what happened there, and what it used all the same. */
  readonly failure: CallFailure | undefined;
  /** The same call may succeed if it is sent again, and no part of an answer is paid for twice. */
  readonly isRetryable: boolean;

  constructor(message: string, facts: Facts, options?: ErrorOptions) {
    super(message, options);
    this.code = facts.code;
    this.reason = facts.reason ?? "";
    this.retryDelayMs = facts.retryDelayMs;
    this.fieldViolations = facts.fieldViolations ?? [];
    this.metadata = facts.metadata ?? {};
    this.callId = facts.callId ?? "";
    this.failure = facts.failure;
    this.isRetryable = facts.isRetryable ?? false;
  }
}

/** The error for a call whose signal was aborted; `cause` is the signal's reason. */
export function aborted(signal: AbortSignal): TrunklineError {
  return new TrunklineError("the call was cancelled", { code: "CANCELLED" }, { cause: signal.reason });
}

/** The error for a stream that ended in good order before the answer was whole. */
export function interrupted(callId: string): TrunklineError {
  const facts: Facts = { code: "ABORTED", reason: "STREAM_INTERRUPTED", callId };
  return new TrunklineError("the stream ended before the answer was whole", facts);
}

/** The error for what gRPC reports. `begun`: a part of the answer has come already. */
export function errorOf(error: grpc.ServiceError, begun: boolean): TrunklineError {
  const trailers = error.metadata;
  const details = new Details(trailers);
  const info = details.find(ErrorInfoSchema);
  const retry = details.find(RetryInfoSchema)?.retryDelay;
  const failure = details.find(CallFailureSchema);
  const ours = info?.domain === "trunkline" ? info : undefined;
  const forbidden = text(trailers, "grpc-retry-pushback-ms").startsWith("-");
  const facts: Facts = {
    code: grpc.status[error.code] as Code,
    reason: (ours?.reason ?? "") as Reason,
    fieldViolations: details.find(BadRequestSchema)?.fieldViolations ?? [],
    metadata: ours?.metadata ?? {},
    callId: text(trailers, "trunkline-call-id") || (failure?.id ?? ""),
    isRetryable: !begun && !forbidden && (error.code === grpc.status.UNAVAILABLE || retry !== undefined),
    ...(retry && { retryDelayMs: durationMs(retry) }),
    ...(failure && { failure }),
  };
  return new TrunklineError(error.details, facts, { cause: error });
}

function text(trailers: grpc.Metadata, key: string): string {
  return String(trailers.get(key)[0] ?? "");
}

/** The typed details of a status. What cannot be read, as somebody on the way changed it, is not there. */
class Details {
  readonly #status: Status | undefined;

  constructor(trailers: grpc.Metadata) {
    const packed = trailers.get("grpc-status-details-bin")[0];
    this.#status = packed instanceof Uint8Array ? readable(() => fromBinary(StatusSchema, packed)) : undefined;
  }

  find<T extends DescMessage>(schema: T): MessageShape<T> | undefined {
    for (const packed of this.#status?.details ?? []) {
      const found = readable(() => anyUnpack(packed, schema));
      if (found) return found;
    }
    return undefined;
  }
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
