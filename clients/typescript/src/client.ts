// The client.
import type { DescMessage, DescMethodServerStreaming, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { type CallOptions, serverStream, unary } from "./calls.js";
import { type ClientOptions, openChannel } from "./channel.js";
import {
  GatewayService,
  type GenerateRequestSchema,
  type GenerateResponse,
  type HealthCheckRequestSchema,
  type HealthCheckResponse,
  type StreamGenerateResponse,
  type UsageStatsRequestSchema,
  type UsageStatsResponse,
} from "./generated/trunkline/v1/gateway_service_pb.js";
import { AnswerStream } from "./stream.js";

/** What to generate: a GenerateRequest, or the fields of one. */
export type GenerateInit = MessageInitShape<typeof GenerateRequestSchema>;

/** A gateway at an address: host:port. Every call fails with a TrunklineError. */
export class Client {
  readonly #channel: grpc.Client;
  readonly #metadata = new grpc.Metadata();
  readonly #defaults: CallOptions;

  constructor(address: string, options: ClientOptions = {}) {
    this.#channel = openChannel(address, options.tls);
    this.#defaults = options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs };
    if (options.apiKey) this.#metadata.set("authorization", `Bearer ${options.apiKey}`);
  }

  /** The whole answer. */
  generate(request: GenerateInit, options: CallOptions = {}): Promise<GenerateResponse> {
    return this.call(GatewayService.method.generate, request, options);
  }

  /** The answer as it is made. The call begins when the stream is read. */
  stream(request: GenerateInit, options: CallOptions = {}): AnswerStream {
    const method = GatewayService.method.streamGenerate;
    const begun = ({ event }: StreamGenerateResponse) => event.case !== "heartbeat";
    const all = { ...this.#defaults, ...options };
    return new AnswerStream(() => serverStream(this.#channel, method, request, this.#metadata, all, begun));
  }

  /** How the gateway is, and each of its providers if asked for. */
  health(request: MessageInitShape<typeof HealthCheckRequestSchema> = {}, options: CallOptions = {}): Promise<HealthCheckResponse> {
    return this.call(GatewayService.method.healthCheck, request, options);
  }

  /** A page of counts, tokens, cost and times of the ledger's calls; by default of the last day. */
  usage(request: MessageInitShape<typeof UsageStatsRequestSchema> = {}, options: CallOptions = {}): Promise<UsageStatsResponse> {
    return this.call(GatewayService.method.usageStats, request, options);
  }

  /** Any other method: `client.call(ModelService.method.listModels, { availableOnly: true })`. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return unary(this.#channel, method, request, this.#metadata, { ...this.#defaults, ...options });
  }

  /** Any other method that streams: `client.callStream(AdminService.method.exportUsage, {})`. */
  callStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    return serverStream(this.#channel, method, request, this.#metadata, { ...this.#defaults, ...options });
  }

  /** Close the channel once the calls that run have ended. */
  close(): void {
    this.#channel.close();
  }
}
