// A real gRPC server whose StreamGenerate does what a test says.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { Client, type ClientOptions, StreamGenerateResponseSchema } from "@trunkline/client";

export type Event = MessageInitShape<typeof StreamGenerateResponseSchema>;
export type Call = grpc.ServerWritableStream<Buffer, Event>;

const asIs = (bytes: Buffer) => bytes;
const SERVICE: grpc.ServiceDefinition = {
  StreamGenerate: {
    path: "/trunkline.v1.GatewayService/StreamGenerate",
    requestStream: false,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: (event: Event) => Buffer.from(toBinary(StreamGenerateResponseSchema, create(StreamGenerateResponseSchema, event))),
    responseDeserialize: asIs,
  },
};

/** Lets `use` call a server that answers with `play`. */
export async function calling(play: (call: Call) => void, use: (client: Client) => Promise<void>, options: ClientOptions = {}): Promise<void> {
  const server = new grpc.Server();
  server.addService(SERVICE, { StreamGenerate: play });
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const client = new Client(`127.0.0.1:${port}`, options);
  try {
    await use(client);
  } finally {
    client.close();
    server.forceShutdown();
  }
}

/** Plays events and ends in good order. */
export function playing(...events: Event[]): (call: Call) => void {
  return (call) => {
    for (const event of events) call.write(event);
    call.end();
  };
}

export function started(text: string, partIndex = 0): Event {
  return { event: { case: "partStarted", value: { partIndex, part: { data: { case: "text", value: text } } } } };
}

export function added(text: string, partIndex = 0): Event {
  return { event: { case: "partDelta", value: { partIndex, delta: { case: "text", value: text } } } };
}

export const COMPLETED: Event = { event: { case: "completed", value: { response: { id: "call-1" } } } };
